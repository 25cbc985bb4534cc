"""Readers for the head of a request: path, headers, bearer token, and the peer's address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.web.iweb import IRequest

from ctrader_twisted.logs import Secret
from ctrader_twisted.web import visitors

# The paths of the tick stream.
STREAMS = frozenset({b"/", b"/ws"})


def asks_upgrade(request: IRequest) -> bool:
    """Return True if the request asks for an upgrade to a WebSocket."""
    return b"websocket" in (request.getHeader(b"upgrade") or b"").lower()


def becomes_websocket(request: Any) -> bool:
    """Return True for a GET upgrade of a stream path.

    Only these are refused by a close code; all other requests are refused by an HTTP status.
    """
    return request.method == b"GET" and request.path in STREAMS and asks_upgrade(request)


def is_preflight(request: Any) -> bool:
    """Return True for a CORS preflight request."""
    asks = request.requestHeaders.hasHeader(b"access-control-request-method")
    return bool(request.method == b"OPTIONS" and asks)


def first_segment(request: Any) -> bytes:
    """Return the first segment of the path."""
    return bytes(request.path.lstrip(b"/").partition(b"/")[0])


def peer_address(request: Any) -> str:
    """Return the address at the other end of the socket."""
    return address_of(request.transport.getPeer())


def address_of(peer: object) -> str:
    """Return the address of one end of a socket, as text."""
    return visitors.UNIX if isinstance(peer, UNIXAddress) else str(getattr(peer, "host", ""))


def header_reader(request: Any) -> Callable[[bytes], str | None]:
    """Return a function that reads a header as text, by its name in lower case."""
    raw = request.requestHeaders.getRawHeaders

    def read(name: bytes) -> str | None:
        # Headers of one name are joined, so that no check passes on one of two values.
        values = raw(name)
        # A header may hold any octet, and latin-1 decodes all of them.
        return None if values is None else b", ".join(values).decode("latin-1")

    return read


def header_names(request: Any) -> set[bytes]:
    """The names of all headers of a request, in lower case."""
    return {name.lower() for name, _ in request.requestHeaders.getAllRawHeaders()}


def bearer_token(request: Any) -> Secret | None:
    """Return the bearer token in Authorization; None without one.

    Credentials of another scheme are ignored: they may be for a proxy in front (Basic).
    """
    found = []
    for value in request.requestHeaders.getRawHeaders(b"authorization") or ():
        scheme, _, text = value.decode("latin-1").strip().partition(" ")
        if scheme.lower() == "bearer":
            found.append(text.strip())
    # Two tokens are joined, so that they are equal to no key.
    return Secret(", ".join(found)) if found else None
