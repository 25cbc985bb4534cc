"""A venue and a daemon as processes, both of which a test may end and start again."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from ctrader_twisted.web.keys import add_key

_OURS = re.compile(r"CTRADER_|SIMULATOR_|(HOST|PORT|WS_PORT)$")
STARTS_WITHIN_S = 30.0


class Process:
    """`twistd` with these arguments; `says` waits for something that it prints."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.said = ""
        self._over = False
        self._news = threading.Condition()
        environment = {name: text for name, text in os.environ.items() if not _OURS.match(name)}
        self._process = subprocess.Popen(
            [str(Path(sys.executable).with_name("twistd")), "-n", "--pidfile=", *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._news:
                self.said += line
                self._news.notify_all()
        with self._news:
            self._over = True
            self._news.notify_all()

    def says(self, pattern: str) -> re.Match[str]:
        """The first match in what it prints, now or later."""
        with self._news:
            self._news.wait_for(
                lambda: self._over or re.search(pattern, self.said), STARTS_WITHIN_S
            )
        found = re.search(pattern, self.said)
        assert found, f"{pattern!r} was not printed; this was: {self.said[-2000:]}"
        return found

    def stop(self) -> None:
        """End it, politely at first."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
        self._reader.join(5)
        assert self._process.stdout is not None
        self._process.stdout.close()


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class House:
    """The venue, its switches, and the daemon, at one address however often it is restarted."""

    def __init__(self, folder: Path, *, rate: float, symbols: int, private: bool = False) -> None:
        """``private``: every client needs ``key``, also one on this machine."""
        self.folder = folder
        self._options: list[str] = []
        if private:
            keys = folder / "keys.json"
            self.key = add_key(keys, "ops", ["read"], "now").reveal()
            self._options = ["--require-key=yes", f"--keys-file={keys}"]
        self.port = free_port()
        self.venue = Process(
            folder,
            "ctrader-simulator",
            "--port=0",
            "--control-port=0",
            f"--rate={rate}",
            f"--symbols={symbols}",
            "--ca-out=ca.pem",
        )
        self._venue_port = self.venue.says(r"venue listens on .*port (\d+)")[1]
        self._control_port = int(self.venue.says(r"control port is .*port=(\d+)")[1])
        try:
            self.start()
        except BaseException:
            self.venue.stop()
            raise

    @property
    def address(self) -> str:
        """Of the page."""
        return f"http://localhost:{self.port}/"

    def start(self) -> None:
        """Start the daemon."""
        self.daemon = Process(
            self.folder,
            "ctrader-stream",
            f"--ws-port={self.port}",
            "--host=localhost",
            f"--port={self._venue_port}",
            "--ca-file=ca.pem",
            "--backoff-initial-s=2",
            "--symbols-per-client=1000",
            *self._options,
        )
        try:
            self.daemon.says("is ready: ")
        except BaseException:
            self.daemon.stop()
            raise

    def restart(self) -> None:
        """End the daemon, and start another at the same address."""
        self.daemon.stop()
        self.start()

    def switch(self, name: str, **arguments: Any) -> None:
        """Flip a switch of the venue."""
        with socket.create_connection(("127.0.0.1", self._control_port), 10) as control:
            line = json.dumps({"do": name, **arguments}).encode() + b"\n"
            control.sendall(line)
            answer = json.loads(control.makefile("rb").readline())
        assert answer["ok"], answer

    def stop(self) -> None:
        """End both."""
        self.daemon.stop()
        self.venue.stop()
