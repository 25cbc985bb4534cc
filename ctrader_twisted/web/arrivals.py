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
from twisted.web.resource import IResource
from twisted.web.server import Request

from ctrader_twisted.web import problems
from ctrader_twisted.web.callers import NO_PLACE, Place
from ctrader_twisted.web.client_errands import ClientErrand
from ctrader_twisted.web.cors import preflight_headers
from ctrader_twisted.web.doors import Visitor
from ctrader_twisted.web.endings import EndingChannel
from ctrader_twisted.web.problems import CORRELATION_HEADER, Refused
from ctrader_twisted.web.request_head import is_preflight
from ctrader_twisted.web.targets import RestOfHead, split_target

# The request line and all headers, line ends included; and how many lines.
HEAD_BYTES = 16 * 1024
HEAD_LINES = 200

# After an early answer the rest of what the client sends is read and thrown away for so long:
# closing at once would make the kernel reset the connection before the answer is read.
LINGER_S = 2.0

# Seconds to wait for the end of a head that is too large before it is answered: Origin, which the
# answer needs, may come after the line that is too long.
HEAD_END_S = 1.0


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

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Split the target of a complete request, which may be a whole http address.

        Its authority then replaces Host (RFC 9112 3.2.2), which must be there once all the same.
        """
        authority, target = split_target(path)
        if authority is not None:
            hosts = len(self.requestHeaders.getRawHeaders(b"host") or ())
            if hosts == 1 or (hosts == 0 and version == b"HTTP/1.0"):
                self.requestHeaders.setRawHeaders(b"host", [authority])
        super().requestReceived(command, target, version)

    def process(self) -> None:
        """Check the complete request, and serve or refuse it."""
        self.site = self.channel.site
        self.correlation_id = problems.correlation_id(self.getHeader(CORRELATION_HEADER))
        self.setHeader(CORRELATION_HEADER, self.correlation_id.encode("ascii"))
        for name, value in self.channel.site.cors_headers(self).items():
            self.setHeader(name, value)
        try:
            check_line(self.method, self.path)
            self.channel.site.arrived(self)
            check_target(self.method, self.path)
        except Refused as refused:
            self._finish_with(refused)
        else:
            if is_preflight(self):
                self._let_pages_call()
            elif self.path == b"*":
                self._tell_methods()
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
        self._set_own_headers()
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
        for name, value in preflight_headers().items():
            self.setHeader(name, value)
        self.finish()

    def _tell_methods(self) -> None:
        """OPTIONS of the whole server. (Twisted's answer names its version.)"""
        self.setHeader(b"allow", b"GET, HEAD")
        self.setHeader(b"content-length", b"0")
        self._set_own_headers()
        self.finish()

    def _set_own_headers(self) -> None:
        self.setHeader(b"server", b"ctrader-stream")
        self.setHeader(b"x-content-type-options", b"nosniff")

    def _too_large(self) -> Refused:
        limit = self.channel.site.body_limit
        return Refused(413, f"a request's body has at most {limit} bytes")

    def _finish_with(self, refused: Refused) -> None:
        self._set_own_headers()
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


def check_target(method: bytes, path: bytes) -> None:
    """Raise Refused for a target that is neither a path nor an http address."""
    if method == b"CONNECT":
        raise problems.not_allowed(method, "GET, HEAD")
    if path == b"*" and method != b"OPTIONS":
        raise problems.not_allowed(method, "OPTIONS")
    if not path.startswith(b"/") and path != b"*":
        raise Refused(400, "the target of a request is a path, or an http address of this server")
    if path.startswith(b"//"):
        # Routing would skip the empty segment and serve a resource under a second path.
        raise problems.not_found(path)


class ArrivalChannel(EndingChannel):
    """HTTP/1.1 with a deadline for each request, and an early answer for the unacceptable."""

    requestFactory = ArrivingRequest
    place: Place = NO_PLACE
    _deadline: IDelayedCall | None = None
    _refused = False
    _next: IDelayedCall | None = None
    # The WebSocket that the connection has become, if it has.
    heir: Any = None
    _head_lines = _head_bytes = 0
    # The last line of the head, which Twisted may not have parsed yet; and, once the head is too
    # large, the reader of its rest and the refusal that is sent after it.
    _last_line = b""
    _rest: RestOfHead | None = None
    _waiting: Refused | None = None

    def connectionMade(self) -> None:
        """A connection: its first request begins."""
        super().connectionMade()
        self._begin()

    def dataReceived(self, data: bytes) -> None:
        """Some bytes."""
        if self._waiting is None:
            super().dataReceived(data)
        else:
            self._read_rest(data)

    def lineReceived(self, line: bytes) -> None:
        """A line of the request's head."""
        if self._refused:
            return
        if self._deadline is None:
            self._begin()
        self._head_lines += 1
        self._head_bytes += len(line) + len(self.delimiter)
        previous, self._last_line = self._last_line, line
        if self._head_lines > HEAD_LINES or self._head_bytes > HEAD_BYTES:
            self._head_too_large(previous, line + self.delimiter)
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """A line without an end."""
        self._head_too_large(self._last_line, line)

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
        self._last_line = b""
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
            self.close_if_done()

    def readConnectionLost(self) -> None:
        """The client sends no more, the end of a head that is too large included."""
        if self._waiting is not None:
            self._answer_waiting()
        super().readConnectionLost()

    def close_if_done(self) -> None:
        """Close if nothing is left to answer."""
        if self._next is None:
            super().close_if_done()

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
        self._answer(refused)

    def _answer(self, refused: Refused) -> None:
        request = self.requests[-1] if self.requests else ArrivingRequest(self)
        if self._rest is None and self.line_mode and self._last_line:
            # Origin may be among the bytes that are here and will not be parsed any more.
            self._rest = RestOfHead(HEAD_BYTES)
            self._rest.feed(self._last_line + self.delimiter + self._buffer)
        for origin in self._rest.origins if self._rest is not None else ():
            request.requestHeaders.addRawHeader(b"origin", origin)
        known_as = problems.correlation_id(request.getHeader(CORRELATION_HEADER))
        headers = self.site.cors_headers(request)
        self.transport.write(problems.response(refused, known_as, headers))
        self._deadline = self.site.reactor.callLater(LINGER_S, self._drop)

    def _go_on(self) -> None:
        self._next = None
        self.paused = False
        # First, since the next request may make a WebSocket of this connection.
        if not self._waitingForTransport:
            self._networkProducer.resumeProducing()
        self.dataReceived(b"")
        self.close_if_done()

    def _head_too_large(self, held: bytes, octets: bytes) -> None:
        """Refuse the head once its rest was searched for Origin. ``held`` is the line before, if
        there is one; ``octets`` are those beyond the limit.
        """
        if self._refused:
            return
        if self._head_lines > 1 or self.requests:
            why = f"a request's head has at most {HEAD_BYTES} bytes and {HEAD_LINES} lines"
            self._waiting = Refused(431, why)
        else:
            self._waiting = Refused(414, f"a request's line has at most {HEAD_BYTES} bytes")
        self._refused = True
        self._cancel()
        self.setTimeout(None)
        here = (held + self.delimiter if held else b"") + octets + self._buffer
        self._buffer = b""
        self._rest = RestOfHead(HEAD_BYTES + len(here))
        self._deadline = self.site.reactor.callLater(HEAD_END_S, self._answer_waiting)
        self._read_rest(here)

    def _read_rest(self, octets: bytes) -> None:
        if self._rest is not None:
            self._rest.feed(octets)
            if self._rest.is_complete:
                self._answer_waiting()

    def _answer_waiting(self) -> None:
        waiting, self._waiting = self._waiting, None
        self._cancel()
        if waiting is not None:
            self._answer(waiting)

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
