"""What the head of a request says: path, headers, credentials, and the other end of its socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.web.iweb import IRequest

from ctrader_twisted.logs import Secret
from ctrader_twisted.web import visitors

# The addresses of the tick stream.
STREAMS = frozenset({b"/", b"/ws"})


def asks_upgrade(request: IRequest) -> bool:
    """Does the request want to become a WebSocket?"""
    return b"websocket" in (request.getHeader(b"upgrade") or b"").lower()


def becomes_websocket(request: Any) -> bool:
    """Will it be one, so that what is wrong can be told by a close code? Everything else gets what
    is wrong at once, whatever its headers ask for.
    """
    return request.method == b"GET" and request.path in STREAMS and asks_upgrade(request)


def is_preflight(request: Any) -> bool:
    """Is this a browser that asks whether a page may ask?"""
    asks = request.requestHeaders.hasHeader(b"access-control-request-method")
    return bool(request.method == b"OPTIONS" and asks)


def first_segment(request: Any) -> bytes:
    """The first word of the path."""
    return bytes(request.path.lstrip(b"/").partition(b"/")[0])


def peer_address(request: Any) -> str:
    """The address at the other end of the socket."""
    return address_of(request.transport.getPeer())


def address_of(peer: object) -> str:
    """The address of one end of a socket, as text."""
    return visitors.UNIX if isinstance(peer, UNIXAddress) else str(getattr(peer, "host", ""))


def header_reader(request: Any) -> Callable[[bytes], str | None]:
    """The headers of a request as text, by their names in lower case."""
    raw = request.requestHeaders.getRawHeaders

    def read(name: bytes) -> str | None:
        # Two headers of one name: the strict reading is both, and no check passes on that.
        values = raw(name)
        # Any octet may stand in a header, and none of them may break us.
        return None if values is None else b", ".join(values).decode("latin-1")

    return read


def bearer_token(request: Any) -> Secret | None:
    """Return the bearer token in Authorization; None without one.

    Credentials of another scheme are not ours: a proxy in front of us may want them (Basic).
    """
    found = []
    for value in request.requestHeaders.getRawHeaders(b"authorization") or ():
        scheme, _, text = value.decode("latin-1").strip().partition(" ")
        if scheme.lower() == "bearer":
            found.append(text.strip())
    # Two tokens: the strict reading is both, and no key is equal to that.
    return Secret(", ".join(found)) if found else None
