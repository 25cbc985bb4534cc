"""How an HTTP connection ends: when all is answered, within a bound, and without a log line."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from zope.interface import implementer

# How long a client that reads nothing may keep a connection that we close: after an answer that is
# the last one, which may be long and the line slow, and after a time without a request.
LAST_ANSWER_S = 75.0
IDLE_ANSWER_S = 15.0


@implementer(IHalfCloseableProtocol)
class EndingChannel(HTTPChannel):
    """HTTP/1.1 with an end for every connection.

    Twisted drops the answer to a client that closes its sending side, as ``nc -N`` and ``socat``
    do; waits without a bound until a client has read the last answer; and logs a line for each
    connection that has become idle, health checks included.
    """

    site: Any
    transport: Any
    _cut: IDelayedCall | None = None
    _sends_no_more = False
    _is_lost = False

    def readConnectionLost(self) -> None:
        """The client sends no more: what it has asked is answered, and then we close."""
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
        """The client has asked nothing for a while."""
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
