"""The simulated venue as a process of its own, the way a person runs it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

ROOT = Path(__file__).resolve().parents[2]
STARTS_WITHIN_S = 20.0


class VenueProcess(ProcessProtocol):
    """`twistd ctrader-simulator` with the given options; `said` is all that it has printed."""

    def __init__(self, *options: str, environment: Mapping[str, str] | None = None) -> None:
        self.said = ""
        self._waiting: list[tuple[re.Pattern[str], Deferred[re.Match[str]]]] = []
        self._ending: list[Deferred[int | None]] = []
        self._over = False
        arguments = [
            sys.executable,
            "-c",
            "from twisted.scripts.twistd import run; run()",
            "--nodaemon",
            "--pidfile=",
            "ctrader-simulator",
            *options,
        ]
        self._process = reactor.spawnProcess(
            self,
            sys.executable,
            arguments,
            env={**os.environ, **(environment or {})},
            path=str(ROOT),
        )
        self.exit_status: int | None = None

    def says(self, pattern: str) -> Deferred[re.Match[str]]:
        """The first match in what it prints, now or later; fails when the process ends first."""
        found = re.search(pattern, self.said)
        waiting: Deferred[re.Match[str]] = Deferred()
        if found is not None:
            waiting.callback(found)
            return waiting
        self._waiting.append((re.compile(pattern), waiting))
        return waiting.addTimeout(STARTS_WITHIN_S, reactor)

    async def port(self) -> int:
        """Where clients connect, as soon as it listens."""
        return int((await self.says(r"venue listens on .*port (\d+)"))[1])

    async def control_port(self) -> int:
        """Where the switches are."""
        return int((await self.says(r"control port is .*port=(\d+)"))[1])

    def stop(self) -> Deferred[int | None]:
        """End it politely."""
        with suppress(ProcessExitedAlready):
            self._process.signalProcess("TERM")
        return self.end()

    def end(self) -> Deferred[int | None]:
        """Its exit status, when it has ended (None: by a signal)."""
        waiting: Deferred[int | None] = Deferred()
        self._ending.append(waiting)
        if self._over:
            self._tell_end()
        return waiting

    def outReceived(self, data: bytes) -> None:
        """It logs."""
        self.said += data.decode()
        for pattern, waiting in list(self._waiting):
            if (found := pattern.search(self.said)) is not None:
                self._waiting.remove((pattern, waiting))
                waiting.callback(found)

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        """It is gone, and reaped."""
        self._over = True
        self.exit_status = reason.value.exitCode
        waiting, self._waiting = self._waiting, []
        for _, one in waiting:
            one.errback(RuntimeError(f"the venue ended; it said:\n{self.said}"))
        self._tell_end()

    def _tell_end(self) -> None:
        ending, self._ending = self._ending, []
        for one in ending:
            one.callback(self.exit_status)
