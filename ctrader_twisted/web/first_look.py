"""The first bytes of a connection decide who speaks: a WebSocket at once, or HTTP.

Why it looks like this
----------------------
A WebSocket begins as an HTTP request, and the simple way is to let Twisted's HTTP server read it,
find a resource for it, and hand the connection over. That reads the same few lines twice and makes
half a dozen objects that are thrown away at once: a third of what it costs to let a client in. It
matters in the second after a restart, when thousands come back together.

So the door looks first. If the first bytes are the whole head of a request for the tick stream, in
the plain form that every browser and library sends, the WebSocket begins here, after the same look
at Host, Origin and key that every request gets (`Doors`). Anything else, and anything that is odd
in the least, goes to HTTP untouched, which knows how to refuse it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.protocol import Protocol
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure

from ctrader_twisted.web import problems
from ctrader_twisted.web.arrivals import HEAD_BYTES
from ctrader_twisted.web.callers import Place
from ctrader_twisted.web.problems import CORRELATION_HEADER, Refused

_END = b"\r\n\r\n"
_REQUEST_LINE = re.compile(rb"GET (/(?:ws)?)(?:\?[!-~]*)? HTTP/1\.1\r\n")
# Printable ASCII only, no blank before the colon, no continued lines.
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([ -~\t]*?)[ \t]*")


class UpgradeRequest:
    """The head of a request to become a WebSocket: as much of a request as `Doors` looks at."""

    method = b"GET"

    def __init__(self, path: bytes, headers: dict[bytes, list[bytes]], transport: Any) -> None:
        self.path = path
        self._headers = headers
        self.transport = transport
        self.requestHeaders = self
        self.correlation_id = problems.correlation_id(self.getHeader(CORRELATION_HEADER))

    def getRawHeaders(self, name: bytes) -> list[bytes] | None:
        """All values of a header."""
        return self._headers.get(name.lower())

    def getAllRawHeaders(self) -> Iterable[tuple[bytes, list[bytes]]]:
        """All headers, by their names in lower case."""
        return self._headers.items()

    def getHeader(self, name: bytes) -> bytes | None:
        """The last value of a header."""
        values = self._headers.get(name.lower())
        return None if values is None else values[-1]

    def setHeader(self, name: bytes, value: bytes) -> None:
        """The answer to an upgrade is Autobahn's, and has none of ours."""


def read_upgrade(octets: bytes, transport: Any) -> UpgradeRequest | None:
    """The request whose whole head begins ``octets``, if it asks for the tick stream; else None."""
    line = _REQUEST_LINE.match(octets)
    end = octets.find(_END)
    if line is None or not 0 <= end <= HEAD_BYTES - len(_END):
        return None
    headers: dict[bytes, list[bytes]] = {}
    for one in octets[line.end() : end].split(b"\r\n"):
        header = _HEADER.fullmatch(one)
        if header is None:
            return None
        name, value = header.groups()
        headers.setdefault(name.lower(), []).append(value)
    if [value.lower() for value in headers.get(b"upgrade", ())] != [b"websocket"]:
        return None
    # A body would have to be read before the WebSocket begins.
    if b"content-length" in headers or b"transfer-encoding" in headers:
        return None
    # Autobahn refuses these, although they are one list; HTTP joins them.
    if len(headers.get(b"sec-websocket-extensions", ())) > 1:
        return None
    return UpgradeRequest(line[1], headers, transport)


class FirstLook(Protocol):
    """A new connection until its first bytes are here, and then their messenger."""

    def __init__(self, site: Any, address: IAddress | None, place: Place) -> None:
        """``place`` is what the connection takes up; whoever speaks gives it back."""
        self._site = site
        self._address = address
        self._place = place
        self._speaks: Any = None
        self._deadline: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """The clock runs from here: for TLS, and for the first byte."""
        self._place.opened(self.transport)
        self._deadline = self._site.reactor.callLater(self._site.arrival_timeout_s, self._too_slow)

    def dataReceived(self, data: bytes) -> None:
        """The first bytes, or whatever the transport still gives to us instead of them."""
        if self._speaks is None:
            self._cancel()
            self._hand_over(self._websocket(data) or self._site.build_channel(self._address))
        self._speaks.dataReceived(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Gone, perhaps before it said anything."""
        self._cancel()
        self._place.leave()
        if self._speaks is not None:
            self._speaks.connectionLost(reason)

    def _websocket(self, data: bytes) -> Any:
        request = read_upgrade(data, self.transport)
        if request is None:
            return None
        try:
            return self._site.build_websocket(request, self._address)
        except Refused:
            # HTTP refuses it once more, and says so.
            return None

    def _hand_over(self, protocol: Any) -> None:
        self._speaks = protocol
        protocol.place = self._place
        transport: Any = self.transport
        if isinstance(transport, ProtocolWrapper):
            transport.wrappedProtocol = protocol
        else:
            transport.protocol = protocol
        protocol.makeConnection(transport)

    def _too_slow(self) -> None:
        self._deadline = None
        transport: Any = self.transport
        transport.abortConnection()

    def _cancel(self) -> None:
        timer, self._deadline = self._deadline, None
        if timer is not None and timer.active():
            timer.cancel()
