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
* An unacceptable offer of compression ends the connection, even with compression off, and so does
  an unknown extension such as ``permessage-bzip2``. So Autobahn is given acceptable offers only
  (see `extension_offers`).
* A handshake that fails is answered by a line of plain text; and whatever a stranger does wrong, a
  ping that is not answered included, is a warning in the log. Here it is counted.
* Its timers run on the global reactor, whatever reactor the factory was given; the one of the
  closing handshake is not cancelled when the connection ends.
* A client that says goodbye and then reads nothing would keep its socket for ever: closing waits
  until everything is written, and nobody bounds that wait.
* Pings are answered without limit, and frames of no message (empty, split, after the goodbye) are
  parsed without limit: one client that sends nothing else makes all the others wait. So frames have
  an allowance; who has used it up is shown out, and nothing more is read of it.
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

from ctrader_twisted.budget import Bucket
from ctrader_twisted.errors import ConfigurationError
from ctrader_twisted.logs import redact
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.web import problems
from ctrader_twisted.web.callers import NO_PLACE, Place
from ctrader_twisted.web.doors import Visitor
from ctrader_twisted.web.extension_offers import acceptable_offers
from ctrader_twisted.web.outbox import Outbox
from ctrader_twisted.web.problems import Refused
from ctrader_twisted.web.timers import Timers

_REASON_LENGTH = 200

POLICY = 1008
# Frames per second, whatever is in them: so many for each message that is allowed, for who splits
# messages, and at least so many. Twice as many at once.
FRAMES_PER_MESSAGE = 10.0
LEAST_FRAMES_PER_S = 50.0

# Shared by all who are past their handshake.
_NO_HEADERS: dict[str, Any] = {}
_NO_STATS = autobahn.websocket.protocol.TrafficStats()
_NO_QUEUE: deque[Any] = deque(maxlen=0)


class GatedFactory(Protocol):
    """Who makes gated connections, and their ways out."""

    clock: IReactorTime
    metrics: Metrics
    messages_per_s: float

    def outbox(self, connection: Any) -> Outbox:
        """A way out for a new connection, which has its transport already."""


class _Silence:
    """A logger that says nothing."""

    def _nothing(self, *_: Any, **__: Any) -> None:
        """Nothing."""

    trace = debug = info = warn = error = _nothing


class GatedProtocol(WebSocketServerProtocol):
    """A WebSocket connection whose bytes all pass its `Outbox`."""

    factory: GatedFactory
    outbox: Outbox
    visitor: Visitor
    place: Place = NO_PLACE
    closeHandshakeTimeout: float
    log = _Silence()
    _cut: IDelayedCall | None = None
    # What may come; made at the first frame, since most clients say hardly anything.
    _frames: Bucket | None = None

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
        self.place.leave()
        super().connectionLost(reason)

    def dropConnection(self, abort: bool = False) -> None:
        """Close when all is written, but do not wait for ever for a peer that does not read."""
        if not abort and self.state != self.STATE_CLOSED:
            self._cut = self.factory.clock.callLater(
                self.closeHandshakeTimeout, self._closeConnection, True
            )
        super().dropConnection(abort)

    def onFrameBegin(self) -> None:
        """A frame begins, of whatever kind."""
        now = self.factory.clock.seconds()
        if self._frames is None:
            rate = max(LEAST_FRAMES_PER_S, FRAMES_PER_MESSAGE * self.factory.messages_per_s)
            self._frames = Bucket(rate, now, 2 * rate)
        if self._frames.wait(now) > 0:
            self._hear_no_more()
        else:
            self._frames.take()
        super().onFrameBegin()

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        """The gate. (Chopping and syncing are for Autobahn's own test suite.)"""
        self.outbox.write(data)

    def sendCloseFrame(
        self, code: int | None = None, reasonUtf8: bytes | None = None, isReply: bool = False
    ) -> None:
        """No data may follow a close frame: leave first."""
        self.leave()
        super().sendCloseFrame(code, reasonUtf8, isReply)

    def failHandshake(self, reason: str, code: int = 400, responseHeaders: Any = None) -> None:
        """No handshake: a problem, like every other error. (Autobahn has a line of text, made of
        what the client sent.)
        """
        self.wasNotCleanReason = reason
        refused = bad_handshake(reason, code, dict(responseHeaders or ()))
        self.factory.metrics.count("requests_refused_at_the_door", refused.code)
        known_as = self.visitor.correlation_id or problems.correlation_id(None)
        self.outbox.write(problems.response(refused, known_as))
        self.dropConnection()

    def onAutoPingTimeout(self) -> None:
        """The client did not answer a ping."""
        self.factory.metrics.count("clients_silent")
        super().onAutoPingTimeout()

    def _parseExtensionsHeader(self, header: str, removeQuotes: bool = True) -> list[Any]:
        """Return the acceptable offers only."""
        return acceptable_offers(header)

    def forget_handshake(self) -> None:
        """Let go of what only the handshake needed: a quarter of what an idle client costs."""
        self.http_headers = self.http_request_params = _NO_HEADERS
        self.http_request_data, self.http_response_data = b"", ""
        # Nobody reads the traffic that it counts, and nothing queues past the gate.
        self.trafficStats = _NO_STATS
        self.send_queue = _NO_QUEUE

    def _hear_no_more(self) -> None:
        """Say goodbye, unless that is said already; the closing handshake's time-out ends it."""
        if self.state == self.STATE_OPEN:
            self.factory.metrics.count("client_request_errors", "TOO_MANY_FRAMES")
            self.sendCloseFrame(code=POLICY, reasonUtf8=b"too many frames")
        self.data = b""
        transport: Any = self.transport
        transport.pauseProducing()

    def leave(self) -> None:
        """Out of every list; nothing but a close frame goes out from now on."""
        self.outbox.shut()


def settled(factory: WebSocketServerFactory, protocol: type[GatedProtocol]) -> type[GatedProtocol]:
    """``protocol`` with the factory's options as attributes of the class; the factory gets its
    reactor's timers.
    """
    factory._batched_timer = Timers(factory.reactor)
    # Who may come from where is said by the doors, with a code that browsers see.
    factory.allowNullOrigin = True
    _without_colours()
    options: dict[str, Any] = {"CONFIG_ATTRS": []}
    for name in protocol.CONFIG_ATTRS:
        value = getattr(factory, name)
        # A function as a class attribute would become a method.
        options[name] = staticmethod(value) if callable(value) else value
    return type(protocol.__name__, (protocol,), options)


def bad_handshake(reason: str, code: int, headers: dict[str, str]) -> Refused:
    """What Autobahn finds wrong with a handshake, as a problem: its reason quotes the client."""
    words = "".join(c if c.isprintable() else "?" for c in redact(reason))[:_REASON_LENGTH]
    if code == 426 or "Sec-WebSocket-Version" in headers:
        return Refused(426, words, headers={**headers, "Upgrade": "websocket"})
    if code == 405:
        return Refused(405, words, headers={**headers, "Allow": "GET"})
    return Refused(code, words, code="BAD_HANDSHAKE" if code == 400 else "", headers=headers)


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
        for name in ("hltype", "hlval", "pformat"):
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
        "onFrameBegin",
        "dropConnection",
        "failHandshake",
        "onAutoPingTimeout",
        "_parseExtensionsHeader",
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
