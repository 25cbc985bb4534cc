"""What the service manager is told: ready, how it goes, still alive, stopping (sd_notify).

The watchdog is fed only while something moves: the reactor, because its timer does it; and the
session, because frames arrive, or attempts are made, or the next attempt stands in the calendar. A
daemon that does none of these is stuck, and systemd restarts it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Hashable, Mapping

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

LOOK_S = 1.0


class Herald(Service):
    """Speaks to the socket that systemd names, if it names one."""

    log = Logger()

    def __init__(
        self,
        *,
        clock: IReactorTime,
        status: Callable[[], str],
        progress: Callable[[], Hashable],
        patience_s: float,
        environ: Mapping[str, str] = os.environ,
        pid: int | None = None,
    ) -> None:
        """``status`` is a line for people. ``progress`` must be another value after ``patience_s``
        at the latest, or None when there is rightly nothing to do; else the daemon is stuck.
        """
        self._clock = clock
        self._status = status
        self._progress = progress
        self._patience_s = patience_s
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._watchdog_s = watchdog_s(environ, os.getpid() if pid is None else pid)
        self._told = ""
        self._seen: Hashable = None
        self._moved_at = 0.0
        self._fed_at = 0.0
        self._stuck = False
        self._look = LoopingCall(self._look_round)
        self._look.clock = clock

    def startService(self) -> None:
        """All ports are open: ready."""
        super().startService()
        if not self._address:
            return
        self._moved_at = self._fed_at = self._clock.seconds()
        self._tell("READY=1")
        period_s = min(LOOK_S, self._watchdog_s / 4) if self._watchdog_s else LOOK_S
        self._look.start(period_s).addErrback(self._died)

    def stopService(self) -> None:
        """The goodbye begins."""
        super().stopService()
        if self._look.running:
            self._look.stop()
        self._tell("STOPPING=1\nSTATUS=saying goodbye")

    def _look_round(self) -> None:
        now = self._clock.seconds()
        status = self._status().replace("\n", " ")
        if status != self._told:
            self._told = status
            self._tell(f"STATUS={status}")
        self._take_notice(now)
        if self._watchdog_s and not self._stuck and now - self._fed_at >= self._watchdog_s / 2:
            self._fed_at = now
            self._tell("WATCHDOG=1")

    def _take_notice(self, now: float) -> None:
        progress = self._progress()
        if progress is None or progress != self._seen:
            self._seen, self._moved_at, self._stuck = progress, now, False
        elif not self._stuck and now - self._moved_at >= self._patience_s:
            self._stuck = True
            self.log.error(
                "nothing has moved for {seconds:g} s: the watchdog is not fed any more",
                seconds=self._patience_s,
            )

    def _tell(self, text: str) -> None:
        if not self._address:
            return
        # An @ stands for the null byte of an abstract address.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
                sock.sendto(text.encode("utf-8", "replace"), address)
        except OSError as error:
            self.log.warn("the service manager cannot be told: {reason}", reason=str(error))

    def _died(self, failure: Failure) -> None:
        # Without this timer nobody feeds the watchdog, and that is as it should be.
        self.log.failure("the service manager is told nothing any more", failure)


def watchdog_s(environ: Mapping[str, str], pid: int) -> float:
    """Within how many seconds the watchdog of this process wants to be fed; 0: there is none."""
    microseconds = environ.get("WATCHDOG_USEC", "")
    ours = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
    return int(microseconds) / 1e6 if ours and microseconds.isdecimal() else 0.0
