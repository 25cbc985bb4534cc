"""A daemon as a process, a simulated venue as another, and raw clients that obey nobody."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.table import memory_kib

TWISTD = str(Path(sys.executable).with_name("twistd"))
UPGRADE = (
    "GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
)


class Child:
    """A twistd process and its log."""

    def __init__(
        self,
        *arguments: str,
        environment: dict[str, str] | None = None,
        descriptors: int | None = None,
        log_to: str | int | None = None,
    ) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self._log = Path(self.folder.name) / "log"
        out = open(log_to or self._log, "wb")  # noqa: SIM115

        def limit() -> None:
            if descriptors is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

        self.process = subprocess.Popen(
            [TWISTD, "-n", "--pidfile=", *arguments],
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=self.folder.name,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **(environment or {})},
            preexec_fn=limit,  # noqa: PLW1509
        )
        out.close()

    @property
    def pid(self) -> int:
        """Its number."""
        return self.process.pid

    def said(self) -> str:
        """Its log."""
        return self._log.read_text(errors="replace")

    def says(self, pattern: str, within_s: float = 20.0) -> re.Match[str]:
        """Wait for a line."""
        found = wait_for(lambda: re.search(pattern, self.said()), within_s)
        if found is None:
            raise TimeoutError(f"{pattern!r} did not come:\n{self.said()[-3000:]}")
        return found

    def memory_kib(self) -> int:
        """Its resident memory."""
        return memory_kib(self.pid)

    def descriptors(self) -> int:
        """How many it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def runs(self) -> bool:
        """It has not ended."""
        return self.process.poll() is None

    def stop(self, number: int = signal.SIGTERM, within_s: float = 15.0) -> float | None:
        """End it; seconds that it took, None when it had to be killed."""
        began = time.monotonic()
        if self.runs():
            self.process.send_signal(number)
        try:
            self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None
        finally:
            self.folder.cleanup()
        return time.monotonic() - began


def a_daemon(*options: str, **more: Any) -> tuple[Child, int]:
    """A daemon with any free port, that listens; and the port."""
    child = Child("ctrader-stream", "--ws-port=0", *options, **more)
    return child, int(child.says(r"http://127\.0\.0\.1:(\d+)/")[1])


def wait_for(look: Callable[[], Any], within_s: float, pause_s: float = 0.01) -> Any:
    """What ``look`` says as soon as that is true; None when it never is."""
    ends = time.monotonic() + within_s
    while True:
        said = look()
        if said or time.monotonic() > ends:
            return said or None
        select.select([], [], [], pause_s)


def frame(payload: bytes, opcode: int = 1, *, compressed: bool = False) -> bytes:
    """A masked frame of a client (the mask is zeros, which the protocol allows)."""
    first = 0x80 | opcode | (0x40 if compressed else 0)
    size = len(payload)
    if size < 126:
        head = bytes([first, 0x80 | size])
    elif size < 65536:
        head = bytes([first, 0xFE]) + size.to_bytes(2, "big")
    else:
        head = bytes([first, 0xFF]) + size.to_bytes(8, "big")
    return head + b"\0\0\0\0" + payload


class Raw:
    """A client on a bare socket: it sends what it likes, and reads when it likes."""

    def __init__(self, port: int, *, more: str = "", receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(10)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(UPGRADE.format(port=port, more=more).encode())
        self._buffer = b""
        while b"\r\n\r\n" not in self._buffer:
            part = self.socket.recv(4096)
            if not part:
                raise ConnectionError(f"refused: {self._buffer[:200]!r}")
            self._buffer += part
        self.answer, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        self.close_code: int | None = None

    def say(self, **message: Any) -> None:
        """One request."""
        self.socket.sendall(frame(json.dumps(message).encode()))

    def hear(self, within_s: float) -> list[dict[str, Any]]:
        """Every text message that comes in that time, or until the end."""
        heard = []
        ends = time.monotonic() + within_s
        while self.close_code is None:
            while (message := self._next()) is not None:
                opcode, payload = message
                if opcode == 8:
                    self.close_code = int.from_bytes(payload[:2], "big")
                    with contextlib.suppress(OSError):
                        self.socket.sendall(frame(payload[:2], 8))
                    self.socket.close()
                elif opcode == 9:
                    self.socket.sendall(frame(payload, 10))
                elif opcode == 1:
                    heard.append(json.loads(payload))
            left = ends - time.monotonic()
            if left <= 0 or self.close_code is not None:
                break
            if select.select([self.socket], [], [], left)[0]:
                try:
                    part = self.socket.recv(1 << 16)
                except OSError:
                    part = b""
                if not part:
                    self.close_code = self.close_code or 1006
                self._buffer += part
        return heard

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def _next(self) -> tuple[int, bytes] | None:
        data = self._buffer
        if len(data) < 2:
            return None
        size, start = data[1] & 0x7F, 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        if len(data) < start + size:
            return None
        self._buffer = data[start + size :]
        return data[0] & 0x0F, data[start : start + size]
