"""The tick stream, `/ws`: one WebSocket client, in and out.

    client                                server
      | -- connect ----------------------> |
      | <------------------------ status -- |   and again at every change
      | -- subscribe {symbols} ----------> |
      | <------------- subscribeResponse -- |
      | <------------ tick (snapshot) ... -- |   the last known, at once
      | <------------------------ tick ... -- |   and then live
      | -- ping / getSubscriptions ------> |
      | <---------- pong / subscriptions -- |

Text JSON, one object a message. A request that cannot be served is answered by `requestError` and
changes nothing; `error` is never sent, because existing pages take it for the end. Who goes on
sending nonsense is shown out with 1008. Each request may carry an `id`, which its reply repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory
from msgspec import UNSET
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ctrader_twisted import contract
from ctrader_twisted.accounts import Account, Wanted
from ctrader_twisted.budget import Bucket
from ctrader_twisted.errors import ClientRequestError
from ctrader_twisted.market.model import Tick
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.web import frames
from ctrader_twisted.web.audience import HEALTH, SLOW, Audience
from ctrader_twisted.web.client_errands import ClientErrand
from ctrader_twisted.web.client_replies import SubscribeReplies
from ctrader_twisted.web.client_requests import (
    check_names,
    read,
    read_header,
    read_id,
    read_subscribe,
    within,
)
from ctrader_twisted.web.doors import Visitor
from ctrader_twisted.web.gate import POLICY, GatedProtocol, check, deflate, refuse, settled
from ctrader_twisted.web.lobby import Lobby
from ctrader_twisted.web.outbox import Outbox

OUR_FAILURE = 1011
OVERLOADED = 1013
PROTOCOL_VERSION = 4400

# Shorter messages do not shrink by enough to be worth a compressor's time.
COMPRESS_FROM = 512

# Bad messages that are forgiven at once, and per second after that.
FORGIVEN = 20.0
FORGIVEN_PER_S = 1.0


class TickStreamProtocol(GatedProtocol):
    """One client."""

    factory: TickStreamFactory
    # Not `log`: Autobahn has an attribute of that name, and logs every frame to it.
    logger = Logger()
    is_in = False
    asked = 0  # Messages that came; the number belongs to the correlation id of each.
    features: frozenset[str] = frozenset()
    # Until somebody says who it is: a stranger.
    visitor = Visitor(address="", is_here=False, needs_key=True)

    def __init__(self) -> None:
        super().__init__()
        self._gone: list[Deferred[object]] = []

    # -- the connection's life (Autobahn calls these)

    def onOpen(self) -> None:
        """The handshake is through."""
        self.forget_handshake()
        now = self.factory.clock.seconds()
        self._rate = Bucket(self.factory.messages_per_s, now, 2 * self.factory.messages_per_s)
        self._patience = Bucket(FORGIVEN_PER_S, now, FORGIVEN)
        self.factory.lobby.opened(self)

    def admitted(self) -> None:
        """Nothing is missing any more (see Guest)."""
        self.is_in = self.factory.audience.enter(self)
        if not self.is_in:
            self.close(OVERLOADED, "there is no room for another client")
        else:
            self.place.admitted()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """One message of the client. Whatever it is, the daemon lives on."""
        if not self.is_in and not self.factory.lobby.heard(self, payload):
            return
        self.asked += 1
        known_as = f"{self.visitor.correlation_id}.{self.asked}"
        with self.factory.audience.client_log.errand(known_as) as errand:
            try:
                self._check_rate()
                self._serve(errand, read_header(payload, isBinary), payload)
            except ClientRequestError as error:
                self._refuse(error, read_id(payload))
                errand.answered(error.code)
            except Exception:
                self.logger.failure("a client's message could not be served")
                self.close(OUR_FAILURE, "an internal error")
                errand.answered("INTERNAL_ERROR")

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """The connection is over, however it ended."""
        self.leave()
        gone, self._gone = self._gone, []
        for each in gone:
            each.callback(None)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The socket is gone; sometimes Autobahn has said goodbye before and says nothing now."""
        super().connectionLost(reason)
        self.onClose(False, None, None)

    # -- what the audience may do (Client)

    def say(self, payload: bytes, frame: bytes, ticks: Sequence[Tick] = ()) -> None:
        """A message that must be delivered: ``frame`` as it is, or ``payload`` compressed for a
        client that agreed to it, where that pays. The last known ``ticks`` follow it.
        """
        now = self.factory.clock.seconds()
        if self.websocket_extensions_in_use and len(payload) >= COMPRESS_FROM:
            self.outbox.sent_at = now
            self.sendMessage(payload)
            frame = b""
        self.outbox.show(ticks, now, frame)

    def close(self, code: int, reason: str) -> None:
        """Close with a code."""
        # Autobahn's sendClose refuses the codes below 3000 that the RFC reserves for servers.
        self.sendCloseFrame(code=code, reasonUtf8=reason.encode()[:123], isReply=False)

    def closed(self) -> Deferred[object]:
        """Fires when the connection is gone."""
        gone: Deferred[object] = Deferred()
        self._gone.append(gone)
        return gone

    def want_changed(self, wanted: Wanted) -> None:
        """Tell the client that a symbol is unavailable, is active again, or does not exist."""
        self._tell_subscribed(UNSET, [wanted])

    # -- requests

    def _serve(self, errand: ClientErrand, header: contract.Header, payload: bytes) -> None:
        serve = _REQUESTS.get(header.type)
        if serve is None:
            known = ", ".join(_REQUESTS)
            raise ClientRequestError(
                "UNKNOWN_TYPE", f"there is no request {header.type[:40]!r}; there are {known}"
            )
        self.factory.metrics.count("client_messages", header.type)
        errand.asks(header.type, header.id)
        told = serve(self, payload, UNSET if header.id is None else header.id)
        errand.answered("done", told or ())

    def _connect(self, payload: bytes, request_id: Any) -> None:
        request = read(payload, contract.Connect)
        if request.protocol not in (None, contract.PROTOCOL):
            self.close(PROTOCOL_VERSION, f"this server speaks protocol {contract.PROTOCOL}")
            return
        self.features = frozenset(request.features)
        health = HEALTH in self.features
        self._reply(self.factory.audience.status(request_id, health=health))

    def _subscribe(self, payload: bytes, request_id: Any) -> list[Wanted]:
        asked, with_snapshots = self._names(payload)
        allowed, beyond = self._within_limit(asked)
        told = [*self.factory.account.subscribe(self.outbox, allowed), *beyond]
        ticks = self._last_ticks(allowed)
        self._tell_subscribed(request_id, told, ticks if with_snapshots else ())
        return told

    def _unsubscribe(self, payload: bytes, request_id: Any) -> None:
        asked, _ = self._names(payload)
        results = self.factory.account.unsubscribe(self.outbox, asked)
        self._reply(
            contract.UnsubscribeResponse(
                id=request_id,
                results=[contract.Result(symbol=w.name, status="unsubscribed") for w in results],
                symbols=self._subscriptions(),
            )
        )

    def _ping(self, payload: bytes, request_id: Any) -> None:
        self._reply(contract.Pong(id=request_id, timestamp=self.factory.now_ms()))

    def _get_subscriptions(self, payload: bytes, request_id: Any) -> None:
        symbols = self.factory.account.subscriptions(self.outbox)
        now_ms = self.factory.now_ms()
        self._reply(contract.Subscriptions(id=request_id, symbols=symbols, timestamp=now_ms))

    # -- inside

    def _names(self, payload: bytes) -> tuple[tuple[str, ...], bool]:
        asked, with_snapshots = read_subscribe(payload)
        check_names(asked, self.factory.audience.limits.symbols)
        return asked, with_snapshots

    def _within_limit(self, names: Sequence[str]) -> tuple[Sequence[str], list[Wanted]]:
        account, limit = self.factory.account, self.factory.audience.limits.symbols
        had = account.subscriptions(self.outbox)
        own, shared = limit - len(had), self.factory.lobby.room(self)
        allowed, beyond = within(names, had, account.exists, min(own, shared))
        code, why = "LIMIT", f"a client may have {limit} symbols"
        if shared < own:
            code, why = "KEY_LIMIT", "the clients of this key have as many symbols as they may"
        for _ in beyond:
            self.factory.metrics.count("subscriptions_refused", code)
        return allowed, [Wanted(name, code=code, message=why) for name in beyond]

    def _subscriptions(self) -> list[str]:
        """What this client is subscribed to now, after a change."""
        symbols = self.factory.account.subscriptions(self.outbox)
        self.factory.lobby.holds(self, len(symbols))
        return symbols

    def _last_ticks(self, names: Sequence[str]) -> list[Tick]:
        ticks = self.factory.account.last_ticks(names)
        self.factory.audience.fanout.recall(ticks)
        return ticks

    def _check_rate(self) -> None:
        wait_s = self._rate.wait(self.factory.clock.seconds())
        wait_s = wait_s or self.factory.lobby.must_wait_s(self)
        if wait_s > 0:
            raise ClientRequestError(
                "RATE_LIMIT",
                "too many messages a second",
                temporary=True,
                retry_after_ms=max(1, round(wait_s * 1000)),
            )
        self._rate.take()

    def _refuse(self, error: ClientRequestError, request_id: contract.Id) -> None:
        self.factory.metrics.count("client_request_errors", error.code)
        retry = UNSET if error.retry_after_ms is None else error.retry_after_ms
        self._reply(
            contract.RequestError(
                id=UNSET if request_id is None else request_id,
                code=error.code,
                message=str(error),
                temporary=error.temporary,
                retry_after_ms=retry,
            )
        )
        if self._patience.wait(self.factory.clock.seconds()) > 0:
            self.close(POLICY, "too many messages that could not be served")
        else:
            self._patience.take()

    def _tell_subscribed(
        self, request_id: Any, told: list[Wanted], ticks: Sequence[Tick] = ()
    ) -> None:
        symbols = self._subscriptions()
        payload, frame = self.factory.replies.write(request_id, told, symbols)
        self.say(payload, frame, ticks)

    def _reply(self, outgoing: contract.Outgoing) -> None:
        payload = frames.encode(outgoing)
        self.say(payload, frames.frame(payload))

    def too_slow(self, reason: str) -> None:
        """The outbox gives up on this client."""
        self.factory.metrics.count("clients_closed_slow")
        self.close(SLOW, reason)

    def leave(self) -> None:
        """Out of every list: the account's wants, the audience, the groups of the fan-out."""
        if self.is_in:
            self.is_in = False
            self.factory.account.leave(self.outbox)
            self.factory.audience.leave(self)
        self.factory.lobby.left(self)
        super().leave()


_REQUESTS: dict[str, Callable[[TickStreamProtocol, bytes, Any], list[Wanted] | None]] = {
    "connect": TickStreamProtocol._connect,
    "subscribe": TickStreamProtocol._subscribe,
    "unsubscribe": TickStreamProtocol._unsubscribe,
    "ping": TickStreamProtocol._ping,
    "getSubscriptions": TickStreamProtocol._get_subscriptions,
}


class TickStreamFactory(WebSocketServerFactory):
    """Makes the protocol of each client, with every limit of Autobahn set."""

    def __init__(
        self,
        *,
        reactor: Any,
        now_ms: Callable[[], int],
        account: Account,
        audience: Audience,
        lobby: Lobby,
        metrics: Metrics,
        messages_per_s: float,
        ping_s: float,
        ping_timeout_s: float,
        handshake_timeout_s: float,
        compression: bool,
    ) -> None:
        """``ping_s`` 0 turns the transport pings off (as tests do)."""
        super().__init__(server="ctrader-stream", reactor=reactor)
        self.clock: IReactorTime = reactor
        self.now_ms = now_ms
        self.account = account
        self.audience = audience
        self.lobby = lobby
        self.metrics = metrics
        self.messages_per_s = messages_per_s
        self.replies = SubscribeReplies()
        self.setProtocolOptions(
            webStatus=False,
            # Tell the client why (1007, 1009, ...) instead of cutting the line.
            failByDrop=False,
            maxFramePayloadSize=audience.limits.bytes,
            maxMessagePayloadSize=audience.limits.bytes,
            openHandshakeTimeout=handshake_timeout_s,
            closeHandshakeTimeout=2,
            autoPingInterval=ping_s,
            autoPingTimeout=ping_timeout_s,
            autoPingSize=12,
            perMessageCompressionAccept=deflate(audience.limits.bytes) if compression else refuse,
        )
        self.protocol = settled(self, TickStreamProtocol)
        check(self.protocol)

    def outbox(self, connection: TickStreamProtocol) -> Outbox:
        """A way out for a new connection."""
        return self.audience.outbox(connection.transport, connection.too_slow)
