"""Autobahn's server protocol with one gate for every byte, and some of its defects worked around.

The gate: Autobahn writes everything (handshake, replies, pongs, close frames) through `sendData`
and nothing else, and says goodbye, whichever side began, through `sendCloseFrame`. So these two
overrides are enough to send ticks past it, safely.

The defects (Autobahn 26.10; `check` tells when one of them is gone, or has moved):

* Options are copied from the factory to every new connection, and the whole list of them is
  pretty-printed for a debug line that nobody sees: two thirds of what a handshake costs. As
  attributes of the class there is nothing left to copy, or to print.
* The arguments of its debug lines are coloured for a terminal before anybody asks whether debug
  lines are wanted: eight times a connection, twice a message. `_without_colours` makes that cheap.
* ``tcpNoDelay`` is read before it is copied, and the error swallowed, so it is never applied. The
  `Outbox` sets the socket's option itself.
* Its timers run on the global reactor, whatever reactor the factory was given; the one of the
  closing handshake is not cancelled when the connection ends.
* A client that says goodbye and then reads nothing would keep its socket for ever: closing waits
  until everything is written, and nobody bounds that wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import autobahn.twisted.websocket
import autobahn.websocket.protocol
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.compress import PerMessageDeflateOffer, PerMessageDeflateOfferAccept
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from ctrader_twisted.errors import ConfigurationError
from ctrader_twisted.web.outbox import Outbox
from ctrader_twisted.web.timers import Timers

# Shared by all who are past their handshake.
_NO_HEADERS: dict[str, Any] = {}
_NO_STATS = autobahn.websocket.protocol.TrafficStats()
_NO_QUEUE: deque[Any] = deque(maxlen=0)


class GatedFactory(Protocol):
    """Who makes gated connections, and their ways out."""

    clock: IReactorTime

    def outbox(self, connection: Any) -> Outbox:
        """A way out for a new connection, which has its transport already."""


class GatedProtocol(WebSocketServerProtocol):
    """A WebSocket connection whose bytes all pass its `Outbox`."""

    factory: GatedFactory
    outbox: Outbox
    closeHandshakeTimeout: float
    _cut: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """The socket is ours: from now on nobody else writes to it."""
        self.outbox = self.factory.outbox(self)
        super().connectionMade()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The socket is gone, and so is every timer."""
        for timer in (self._cut, self.closeHandshakeTimeoutCall):
            if timer is not None and timer.active():
                timer.cancel()
        self._cut = self.closeHandshakeTimeoutCall = None
        super().connectionLost(reason)

    def dropConnection(self, abort: bool = False) -> None:
        """Close when all is written, but do not wait for ever for a peer that does not read."""
        if not abort and self.state != self.STATE_CLOSED:
            self._cut = self.factory.clock.callLater(
                self.closeHandshakeTimeout, self._closeConnection, True
            )
        super().dropConnection(abort)

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        """The gate. (Chopping and syncing are for Autobahn's own test suite.)"""
        self.outbox.write(data)

    def sendCloseFrame(
        self, code: int | None = None, reasonUtf8: bytes | None = None, isReply: bool = False
    ) -> None:
        """No data may follow a close frame: leave first."""
        self.leave()
        super().sendCloseFrame(code, reasonUtf8, isReply)

    def forget_handshake(self) -> None:
        """Let go of what only the handshake needed: a quarter of what an idle client costs."""
        self.http_headers = self.http_request_params = _NO_HEADERS
        self.http_request_data, self.http_response_data = b"", ""
        # Nobody reads the traffic that it counts, and nothing queues past the gate.
        self.trafficStats = _NO_STATS
        self.send_queue = _NO_QUEUE

    def leave(self) -> None:
        """Out of every list; nothing but a close frame goes out from now on."""
        self.outbox.shut()


def settled(factory: WebSocketServerFactory, protocol: type[GatedProtocol]) -> type[GatedProtocol]:
    """``protocol`` with the factory's options as attributes of the class; the factory gets its
    reactor's timers.
    """
    factory._batched_timer = Timers(factory.reactor)
    _without_colours()
    options: dict[str, Any] = {"CONFIG_ATTRS": []}
    for name in protocol.CONFIG_ATTRS:
        value = getattr(factory, name)
        # A function as a class attribute would become a method.
        options[name] = staticmethod(value) if callable(value) else value
    return type(protocol.__name__, (protocol,), options)


def refuse(offers: list[Any]) -> None:
    """No extension: what a client offers is passed over, as the RFC allows."""


def deflate(limit_bytes: int) -> Callable[[list[Any]], PerMessageDeflateOfferAccept | None]:
    """Accept the first permessage-deflate that is offered, for messages of ``limit_bytes`` at the
    most after inflating (a bomb ends with 1009).
    """

    def accept(offers: list[Any]) -> PerMessageDeflateOfferAccept | None:
        for offer in offers:
            if isinstance(offer, PerMessageDeflateOffer):
                return PerMessageDeflateOfferAccept(
                    offer, mem_level=5, max_message_size=limit_bytes
                )
        return None

    return accept


def _without_colours() -> None:
    for module in (autobahn.twisted.websocket, autobahn.websocket.protocol):
        for name in ("hltype", "hlval"):
            if hasattr(module, name):
                setattr(module, name, _plain)


def _plain(value: Any, *_: Any, **__: Any) -> Any:
    return value


def check(protocol: type[GatedProtocol]) -> None:
    """Refuse to start with an Autobahn that is not built as we believe.

    Raises ConfigurationError; better at start than as frames that cut into each other.
    """
    for name in (
        "sendData",
        "sendCloseFrame",
        "dropConnection",
        "_closeConnection",
        "_connectionMade",
        "CONFIG_ATTRS",
    ):
        if not hasattr(WebSocketServerProtocol, name):
            raise ConfigurationError(
                f"this version of Autobahn has no {name}: install one that ctrader-twisted allows"
            )
    missing = [n for n in WebSocketServerProtocol.CONFIG_ATTRS if not hasattr(protocol, n)]
    if missing:
        raise ConfigurationError(f"Autobahn options are not settled: {', '.join(missing)}")
