"""Limits for accepting connections on a listening port.

Twisted accepts up to hundreds of connections in one turn of the reactor, and each holds a file
descriptor until the next turn even if it is refused. `ACCEPTS` bounds that, so that the descriptors
kept back for the venue are really free.

When no descriptor is left (the limit was lowered at run time, or another part of the process took
them), Twisted logs several lines for each connection, and may try again in every turn. Here one
line a minute names the limit, and the port pauses before the next try.
"""

from __future__ import annotations

import resource
from errno import EMFILE, errorcode
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import ILogObserver, LogEvent, Logger, globalLogPublisher
from zope.interface import implementer

from ctrader_twisted.budget import Bucket

# Connections accepted in one turn of the reactor.
ACCEPTS = 16
# Seconds between two lines about connections that could not be accepted.
WARN_S = 60.0
# Seconds for which the port pauses if there was no descriptor even to refuse a connection.
PAUSE_S = 1.0

_NOT_ACCEPTED = "Could not accept new connection ({acceptError})"
_CLOSED = "EMFILE recovery: Closed socket from {address}"
_AROUND = (
    "EMFILE encountered; releasing reserved file descriptor.",
    "Re-reserving EMFILE recovery file descriptor.",
)


@implementer(ILogObserver)
class Accepts:
    """Limits one listening port of Twisted, and observes the port's own log events."""

    log = Logger()

    def __init__(self, port: Any, clock: IReactorTime) -> None:
        self._port = port
        self._clock = clock
        self._lines = Bucket(1 / WARN_S, clock.seconds(), 1)
        self._lost = 0
        self._pause: IDelayedCall | None = None
        read = getattr(port, "doRead", None)
        if read is not None:
            port.doRead = lambda: self._read(read)
            port._logger = Logger(namespace=self.log.namespace, observer=self)

    def stop(self) -> None:
        """Cancel the pause: the port is going to be closed."""
        pause, self._pause = self._pause, None
        if pause is not None:
            pause.cancel()

    def __call__(self, event: LogEvent) -> None:
        """Handle a log event of the port: count failures to accept, pass on all other events."""
        template = event.get("log_format")
        if template == _NOT_ACCEPTED:
            self._not_accepted(event["acceptError"])
        elif template == _CLOSED:
            self._lost += 1
            self._warn(errorcode[EMFILE])
        elif template not in _AROUND:
            globalLogPublisher(event)

    def _read(self, read: Any) -> None:
        self._port.numberAccepts = min(self._port.numberAccepts, ACCEPTS)
        read()

    def _not_accepted(self, reason: str) -> None:
        if reason == "ECONNABORTED":
            # The client was gone before it was accepted.
            return
        self._lost += 1
        self._warn(reason)
        # The port stays readable, so without a pause every turn of the reactor would try again.
        if self._pause is None:
            self._port.stopReading()
            self._pause = self._clock.callLater(PAUSE_S, self._resume)

    def _resume(self) -> None:
        self._pause = None
        self._port.startReading()

    def _warn(self, reason: str) -> None:
        if self._lines.wait(self._clock.seconds()) > 0:
            return
        self._lines.take()
        count, self._lost = self._lost, 0
        if reason == errorcode[EMFILE]:
            limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            self.log.warn(
                "connections cannot be accepted: all {limit} file descriptors are in use "
                "({count} attempts since the last such line): raise LimitNOFILE (ulimit -n), or "
                "lower clients and connections_without_key",
                limit=limit,
                count=count,
            )
        else:
            self.log.warn(
                "connections cannot be accepted: the system has no resources for them ({reason}, "
                "{count} attempts since the last such line)",
                reason=reason,
                count=count,
            )
