"""Orderly end of HTTP connections: after the last answer, within a bound, without a log line."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from zope.interface import implementer

# Seconds for which a client that reads nothing may keep a connection that we close: after its last
# answer, which may be long and the line slow, and after a time without a request.
LAST_ANSWER_S = 75.0
IDLE_ANSWER_S = 15.0


@implementer(IHalfCloseableProtocol)
class EndingChannel(HTTPChannel):
    """HTTP/1.1 channel that ends every connection in order and in time.

    Twisted itself drops the answer to a client that closes its sending side, as ``nc -N`` and
    ``socat`` do; waits without a bound until a client has read the last answer; and logs a line for
    each connection that has become idle, health checks included.
    """

    site: Any
    transport: Any
    _cut: IDelayedCall | None = None
    _sends_no_more = False
    _is_lost = False

    def readConnectionLost(self) -> None:
        """Close once all requests are answered, since the client sends no more."""
        self._sends_no_more = True
        self.close_if_done()

    def writeConnectionLost(self) -> None:
        """Do nothing: we never close our sending side alone."""

    def close_if_done(self) -> None:
        """Close if the client sends no more and has all its answers."""
        if self._sends_no_more and not self._handlingRequest:
            self.loseConnection()

    def loseConnection(self) -> None:
        """Close when all is written, or when the client has not read it in time."""
        self._close_within(LAST_ANSWER_S)

    def timeoutConnection(self) -> None:
        """Close an idle connection, without the log line of Twisted."""
        self._close_within(IDLE_ANSWER_S)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The socket is gone."""
        self._is_lost = True
        timer, self._cut = self._cut, None
        if timer is not None:
            timer.cancel()
        super().connectionLost(reason)

    def _close_within(self, seconds: float) -> None:
        if self._cut is None and not self._is_lost:
            self._cut = self.site.reactor.callLater(seconds, self._cut_off)
            super().loseConnection()

    def _cut_off(self) -> None:
        self._cut = None
        self.transport.abortConnection()
