"""The processes of one measurement: started on a core of their own, asked, ended."""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

_DIE_WITH_PARENT = 1
_libc = ctypes.CDLL(None)


class Broken(Exception):
    """A measurement could not be made; the message says why."""


def cores() -> tuple[int, int]:
    """The core of the server under test, and the one of everything else."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[-1], allowed[0]


class Child:
    """One process, which we started and we end."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        core: int,
        folder: Path,
        environ: Mapping[str, str] | None = None,
        talks: bool = False,
    ) -> None:
        """``talks``: it takes orders and answers in lines of JSON (see `bench.lines`)."""
        self.name = name
        self.said = folder / f"{name}.log"
        self._log: IO[bytes] = self.said.open("wb")
        self._buffer = b""

        def settle() -> None:
            os.sched_setaffinity(0, {core})
            _libc.prctl(_DIE_WITH_PARENT, signal.SIGTERM)

        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
            stdout=subprocess.PIPE if talks else self._log,
            stderr=self._log,
            cwd=folder,
            env=None if environ is None else dict(environ),
            preexec_fn=settle,  # noqa: PLW1509 - we have one thread
        )
        self.pid = self._process.pid

    def is_alive(self) -> bool:
        """Still running."""
        return self._process.poll() is None

    def tell(self, order: str) -> None:
        """Give an order; the answer is `hear`d later."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(order.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self.broken("has ended") from None

    def hear(self, within_s: float = 10.0) -> dict[str, Any]:
        """Its next line."""
        assert self._process.stdout is not None
        stdout = self._process.stdout.fileno()
        ends = time.monotonic() + within_s
        while b"\n" not in self._buffer:
            readable, _, _ = select.select([stdout], [], [], max(0.0, ends - time.monotonic()))
            if not readable:
                raise self.broken(f"did not answer within {within_s:g} s")
            some = os.read(stdout, 65_536)
            if not some:
                raise self.broken("has ended")
            self._buffer += some
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, order: str, within_s: float = 10.0) -> dict[str, Any]:
        """Give an order and wait for the answer."""
        self.tell(order)
        return self.hear(within_s)

    def broken(self, what: str) -> Broken:
        """With the last that it said."""
        words = self.said.read_text(errors="replace").strip().splitlines()[-3:]
        return Broken(f"{self.name} {what}: {' | '.join(words)}")

    def end(self, within_s: float = 10.0) -> None:
        """Ask it to end, and insist."""
        if self.is_alive():
            self._process.terminate()
            try:
                self._process.wait(within_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                stream.close()


class Children:
    """All processes of one measurement; the last that came goes first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._all: list[Child] = []

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_: object) -> None:
        for child in reversed(self._all):
            child.end()

    def start(self, name: str, command: Sequence[str], **how: Any) -> Child:
        """See `Child`."""
        child = Child(name, command, folder=self.folder, **how)
        self._all.append(child)
        return child
