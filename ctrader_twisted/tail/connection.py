"""The WebSocket of a tail: Autobahn's hooks, turned into plain calls of the follower."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.python.failure import Failure

from ctrader_twisted.tail.follower import Follower, reason_of

# The list of symbols of a large venue is several MiB.
FRAME_LIMIT_BYTES = 16 * 1024 * 1024

NORMAL = 1000


class TailProtocol(WebSocketClientProtocol):
    """One connection to the daemon."""

    factory: TailFactory
    # Autobahn's own, which it does not declare.
    remoteCloseCode: int | None
    remoteCloseReason: str | None
    wasNotCleanReason: str
    _lost_by = ""

    def onOpen(self) -> None:
        """The handshake is through."""
        self.factory.follower.opened(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """One message; the stream has no binary ones, and Autobahn has checked the UTF-8."""
        if not isBinary:
            self.factory.follower.received(payload.decode())

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """Over, or never begun. What the server said counts, even if it hung up in a hurry."""
        if self.remoteCloseCode:
            code, reason = self.remoteCloseCode, self.remoteCloseReason
        else:
            reason = self._lost_by or self.wasNotCleanReason or reason
        self.factory.follower.lost(code or 0, reason or "")

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The socket is gone; of a certificate that was refused only the failure tells."""
        if not self.wasNotCleanReason:
            self._lost_by = reason_of(reason)
        super().connectionLost(reason)

    # -- what the follower may do (Link)

    def send(self, text: str) -> None:
        """One text message."""
        self.sendMessage(text.encode())

    def close(self) -> None:
        """Say goodbye."""
        self.sendClose(NORMAL)


class TailFactory(WebSocketClientFactory):
    """Makes the protocol of one connection, with every limit of Autobahn set."""

    protocol = TailProtocol  # type: ignore[assignment]

    def __init__(self, url: str, follower: Follower, reactor: Any, key: str = "") -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else None
        super().__init__(url, useragent="ctrader-stream tail", headers=headers, reactor=reactor)
        self.follower = follower
        host = urlsplit(url).hostname or ""
        # Autobahn writes the Host header from it, and an IPv6 address needs its brackets there.
        self.host = f"[{host}]" if ":" in host else host
        self.setProtocolOptions(
            maxFramePayloadSize=FRAME_LIMIT_BYTES,
            maxMessagePayloadSize=FRAME_LIMIT_BYTES,
            failByDrop=False,
            openHandshakeTimeout=10,
            # Autobahn rounds this one down to the clock's whole second: 1 s may be none at all.
            closeHandshakeTimeout=2,
            serverConnectionDropTimeout=1,
            autoPingInterval=20,
            autoPingTimeout=20,
        )
