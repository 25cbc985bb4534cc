"""twistd as a process of its own, in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from tests.integration.harness import until

TWISTD = Path(sys.executable).with_name("twistd")
_OURS = re.compile(r"CTRADER_|SIMULATOR_|(HOST|PORT|WS_PORT)$")


def clean_environment(given: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without anything that the daemon would read, and `given`."""
    mine = {name: value for name, value in os.environ.items() if not _OURS.match(name)}
    return {**mine, **(given or {})}


class Process(ProcessProtocol):
    """A child process: what it said, and how it ended."""

    def __init__(self) -> None:
        self.out = ""
        self.err = ""
        self.failure: Failure | None = None
        self._ended: list[Deferred[None]] = []

    def outReceived(self, data: bytes) -> None:
        """Standard output: with -n, the log."""
        self.out += data.decode("utf-8", "replace")

    def errReceived(self, data: bytes) -> None:
        """Standard error: what went wrong before there was a log."""
        self.err += data.decode("utf-8", "replace")

    def processEnded(self, reason: Failure) -> None:
        """Reaped, and everything that it said is here."""
        self.failure = reason
        ended, self._ended = self._ended, []
        for waiting in ended:
            waiting.callback(None)

    @property
    def status(self) -> int | None:
        """The exit status; minus the number of the signal that killed it."""
        assert self.failure is not None, "still runs"
        error = self.failure.value
        return -error.signal if getattr(error, "signal", None) else getattr(error, "exitCode", None)

    async def end(self, seconds: float) -> float:
        """Wait for its end; how many seconds it took."""
        began = reactor.seconds()
        if self.failure is None:
            waiting: Deferred[None] = Deferred()
            self._ended.append(waiting)

            def too_late(*_: object) -> None:
                raise TimeoutError(f"the process still ran after {seconds:g} s\n{self.told()}")

            await waiting.addTimeout(seconds, reactor, onTimeoutCancel=too_late)
        return float(reactor.seconds() - began)

    async def says(self, pattern: str, seconds: float = 15.0) -> re.Match[str]:
        """The first match in its output; ends early when the process does."""

        def look() -> object:
            found = re.search(pattern, self.out) or re.search(pattern, self.err)
            return found or (self.failure is not None and "ended")

        match = await until(look, f"{pattern!r} in the output", seconds)
        assert isinstance(match, re.Match), f"it ended without {pattern!r}\n{self.told()}"
        return match

    def told(self) -> str:
        """Everything that it said."""
        return f"-- out\n{self.out}\n-- err\n{self.err}"

    def descriptors(self) -> int:
        """How many file descriptors it has open."""
        assert self.transport is not None
        return len(os.listdir(f"/proc/{self.transport.pid}/fd"))

    def signal(self, name: str) -> None:
        """Send a signal: TERM, INT, KILL, USR2."""
        assert self.transport is not None
        self.transport.signalProcess(signal.Signals[f"SIG{name}"])


def run(
    folder: Path,
    arguments: Sequence[str | Path],
    environment: Mapping[str, str] | None = None,
) -> Process:
    """Start a command in a folder. Prefer `started`, which also ends it."""
    process = Process()
    command = [str(argument) for argument in arguments]
    reactor.spawnProcess(
        process, command[0], command, env=clean_environment(environment), path=str(folder)
    )
    return process


class started:
    """A process that does not outlive the `async with`."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str | Path] = (TWISTD, "-n", "--pidfile=", "ctrader-stream"),
    ) -> None:
        """Without another `command`: the daemon, in the foreground, with these options."""
        self._process = run(folder, [*command, *options], environment)

    async def __aenter__(self) -> Process:
        return self._process

    async def __aexit__(self, *_: object) -> None:
        if self._process.failure is None:
            with contextlib.suppress(ProcessExitedAlready):
                self._process.signal("KILL")
            await self._process.end(10)


async def listening(process: Process) -> int:
    """The port of a daemon that has started with any free one."""
    match = await process.says(r"http://127\.0\.0\.1:(\d+)/")
    return int(match[1])
