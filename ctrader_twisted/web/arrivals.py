"""Requests as they arrive: how long they may take, how large they may be, what they are called.

Twisted limits neither the body nor the time in which a request trickles in. Here one deadline
covers a request from its first byte (for the first one: from the connection, TLS included) to its
last, and a body that is announced or grows beyond the limit is answered before it is read.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource
from twisted.web.server import Request

from ctrader_twisted.web import problems
from ctrader_twisted.web.callers import NO_PLACE, Place
from ctrader_twisted.web.client_errands import ClientErrand
from ctrader_twisted.web.doors import Visitor, is_preflight
from ctrader_twisted.web.problems import CORRELATION_HEADER, Refused

# The request line and all headers, line ends included; and how many lines.
HEAD_BYTES = 16 * 1024
HEAD_LINES = 200

# After an early answer the rest of what the client sends is read and thrown away for so long:
# closing at once would make the kernel reset the connection before the answer is read.
LINGER_S = 2.0


class ArrivingRequest(Request):
    """A request with a limit for its body, a correlation id, and errors without tracebacks."""

    channel: ArrivalChannel
    logger = Logger()
    visitor: Visitor
    correlation_id = ""
    errand: ClientErrand | None = None
    body_bytes = 0

    def gotLength(self, length: int | None) -> None:
        """The headers are read; ``length`` is what they announce, None when it is not known."""
        super().gotLength(length)
        if length is not None and length > self.channel.site.body_limit:
            self.channel.refuse(self._too_large())

    def handleContentChunk(self, data: bytes) -> None:
        """Some of the body."""
        self.body_bytes += len(data)
        if self.body_bytes <= self.channel.site.body_limit:
            super().handleContentChunk(data)
        else:
            self.channel.refuse(self._too_large())

    def process(self) -> None:
        """All of it is here."""
        self.site = self.channel.site
        self.correlation_id = problems.correlation_id(self.getHeader(CORRELATION_HEADER))
        self.setHeader(CORRELATION_HEADER, self.correlation_id.encode("ascii"))
        try:
            check_line(self.method, self.path)
            self.channel.site.arrived(self)
        except Refused as refused:
            self._finish_with(refused)
        else:
            if is_preflight(self):
                self._let_pages_call()
            else:
                self._serve()

    def finish(self) -> None:
        """All of the answer is written."""
        super().finish()
        self._answered(str(self.code))

    def connectionLost(self, reason: Failure) -> None:
        """The client did not wait for its answer."""
        super().connectionLost(reason)
        self._answered("gone before it was")

    def render(self, resrc: IResource) -> None:
        """Let a resource answer. (Between Twisted's own headers and the resource's.)"""
        self.setHeader(b"server", b"ctrader-stream")
        self.setHeader(b"x-content-type-options", b"nosniff")
        try:
            super().render(resrc)
        except Refused as refused:
            self._finish_with(refused)

    def processingFailed(self, reason: Failure) -> Failure:
        """A fault of ours: the log has it, the client its correlation id."""
        self.logger.failure("a request failed", reason, correlation_id=self.correlation_id)
        if not self.startedWriting and not self.finished:
            self._finish_with(Refused(500, "the request failed; see the log"))
        return reason

    def _serve(self) -> None:
        # The answer may take longer than this call; the errand lasts until it is given.
        self.errand = self.channel.site.client_log.errand(self.correlation_id, lasts=True)
        self.errand.asks((self.method + b" " + self.path).decode("latin-1"))
        with self.errand:
            super().process()

    def _answered(self, outcome: str) -> None:
        if self.errand is not None:
            self.errand.answered(outcome)

    def _let_pages_call(self) -> None:
        """The browser's question before a page of another origin sends its request."""
        self.setResponseCode(204)
        self.setHeader(b"access-control-allow-methods", b"GET, POST, DELETE")
        allowed = b"Authorization, Content-Type, Idempotency-Key, X-Correlation-Id"
        self.setHeader(b"access-control-allow-headers", allowed)
        self.setHeader(b"access-control-max-age", b"600")
        self.finish()

    def _too_large(self) -> Refused:
        limit = self.channel.site.body_limit
        return Refused(413, f"a request's body has at most {limit} bytes")

    def _finish_with(self, refused: Refused) -> None:
        self.setHeader(b"server", b"ctrader-stream")
        self.setHeader(b"x-content-type-options", b"nosniff")
        octets = problems.answer(self, refused)
        self.setHeader(b"content-length", b"%d" % len(octets))
        if self.method != b"HEAD":
            self.write(octets)
        self.finish()


def check_line(method: bytes, path: bytes) -> None:
    """Raises Refused for a method that there is not, and a path that is no text."""
    if method != method.upper():
        # Methods are case-sensitive, but Klein takes each for its upper-case twin.
        raise problems.not_allowed(method, "GET, HEAD")
    try:
        unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(400, "the path is not UTF-8") from None


class ArrivalChannel(HTTPChannel):
    """HTTP/1.1 with a deadline for each request, and an early answer for the unacceptable."""

    site: Any
    transport: Any
    requestFactory = ArrivingRequest
    place: Place = NO_PLACE
    _deadline: IDelayedCall | None = None
    _refused = False
    _next: IDelayedCall | None = None
    # The WebSocket that the connection has become, if it has.
    heir: Any = None
    _head_lines = _head_bytes = 0

    def connectionMade(self) -> None:
        """A connection: its first request begins."""
        super().connectionMade()
        self._begin()

    def lineReceived(self, line: bytes) -> None:
        """A line of the request's head."""
        if self._refused:
            return
        if self._deadline is None:
            self._begin()
        self._head_lines += 1
        self._head_bytes += len(line) + len(self.delimiter)
        if self._head_lines > HEAD_LINES or self._head_bytes > HEAD_BYTES:
            self._head_too_large()
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """A line without an end."""
        self._head_too_large()

    def headerReceived(self, line: bytes) -> bool:
        """One header; False when it is none."""
        try:
            return bool(super().headerReceived(line))
        except ValueError:
            # Python reads no number of so many digits.
            self.refuse(Refused(400, "the Content-Length is no length"))
            return False

    def rawDataReceived(self, data: bytes) -> None:
        """Some of the body, or of the next request, or of what a WebSocket's client says."""
        if self.heir is not None:
            self.heir.dataReceived(data)
        elif not self._refused:
            super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        """The request is complete."""
        if self._refused:
            return
        self._cancel()
        self._head_lines = self._head_bytes = 0
        super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        """A request is answered. If more have come with it, they wait for the next turn, and what
        comes after them in the kernel: hundreds fit into one read, and others want to be served.
        """
        self.paused = True
        super().requestDone(request)
        if self.persistent and self._buffer and not self._refused:
            self._networkProducer.pauseProducing()
            self._next = self.site.reactor.callLater(0, self._go_on)
        else:
            self.paused = False

    def resumeProducing(self) -> None:
        """What we said has left. (More is read when what is here has been looked at.)"""
        super().resumeProducing()
        if self._next is not None:
            self._networkProducer.pauseProducing()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The socket is gone."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._cancel()
        self.place.leave()
        super().connectionLost(reason)

    def refuse(self, refused: Refused) -> None:
        """Answer now, whatever is still to come, and close. Refusing twice does nothing."""
        if self._refused:
            return
        self._refused = True
        self._cancel()
        self.setTimeout(None)
        given = self.requests[-1].getHeader(CORRELATION_HEADER) if self.requests else None
        self.transport.write(problems.response(refused, problems.correlation_id(given)))
        self._deadline = self.site.reactor.callLater(LINGER_S, self._drop)

    def _go_on(self) -> None:
        self._next = None
        self.paused = False
        # First, since the next request may make a WebSocket of this connection.
        if not self._waitingForTransport:
            self._networkProducer.resumeProducing()
        self.dataReceived(b"")

    def _head_too_large(self) -> None:
        if self._head_lines > 1 or self.requests:
            why = f"a request's head has at most {HEAD_BYTES} bytes and {HEAD_LINES} lines"
            self.refuse(Refused(431, why))
        else:
            self.refuse(Refused(414, f"a request's line has at most {HEAD_BYTES} bytes"))

    def _send100Continue(self) -> None:
        if not self._refused:
            super()._send100Continue()

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.refuse(Refused(400, "this is not HTTP as we know it"))

    def _begin(self) -> None:
        self._deadline = self.site.reactor.callLater(self.site.arrival_timeout_s, self._too_slow)

    def _too_slow(self) -> None:
        self._deadline = None
        if self.requests:
            seconds = self.site.arrival_timeout_s
            self.refuse(Refused(408, f"the request did not arrive within {seconds:g} s"))
        else:
            # Nothing was asked, or TLS is not even agreed: there is nobody to answer.
            self.transport.abortConnection()

    def _drop(self) -> None:
        self._deadline = None
        self.transport.abortConnection()

    def _cancel(self) -> None:
        timer, self._deadline = self._deadline, None
        if timer is not None and timer.active():
            timer.cancel()
