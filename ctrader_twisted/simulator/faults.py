"""What the venue can be made to do wrong, in four groups: links, octets, replies, news.

Every public method is a switch; it returns how many connections felt it at once (0 for those that
wait for a request). Names of requests are any of a message's names; UnknownMessage otherwise.
Names of symbols raise LookupError when there is none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from google.protobuf.message import Message
from msgspec import Meta
from twisted.internet.defer import Deferred

from ctrader_twisted.pb import api_pb2, common_pb2, model_pb2
from ctrader_twisted.simulator.frames import Refusal, bare, careless_frame, framed
from ctrader_twisted.simulator.rules import Rule
from ctrader_twisted.simulator.venue import Venue
from ctrader_twisted.wire.codec import REGISTRY

# As far as the wire, and a reactor's timers, can take them.
Count = Annotated[int, Meta(ge=0, lt=2**48)]
EnumNumber = Annotated[int, Meta(ge=-(2**31), lt=2**31)]
Seconds = Annotated[float, Meta(ge=0, le=1e8)]
Points = Annotated[int, Meta(gt=0, lt=2**48)]
TicksPerSecond = Annotated[float, Meta(ge=0, le=1e6)]


class LinkFaults:
    """The connections themselves."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._close_port: Callable[[], Deferred[None]] | None = None
        self._open_port: Callable[[], None] | None = None
        self._port_is_closed = False

    def attach(
        self, close_port: Callable[[], Deferred[None]], open_port: Callable[[], None]
    ) -> None:
        """Hand over how the port closes and opens."""
        self._close_port, self._open_port = close_port, open_port

    def drop(self) -> int:
        """Cut every connection, without a word."""
        number = len(self._venue.connections)
        self._venue.abort_all()
        return number

    def refuse(self, how: Literal["close", "port"] = "close") -> int:
        """Let nobody in any more: close new connections at once, or close the port."""
        self._venue.arrivals = "refuse"
        if how == "port" and self._close_port is not None:
            self._port_is_closed = True
            self._close_port()
        return 0

    def mute(self, lasting: bool = False) -> int:
        """Keep reading but say nothing; ``lasting`` goes for those who come later, too."""
        for connection in self._venue.connections:
            connection.mute = True
        if lasting:
            self._venue.arrivals = "mute"
        return len(self._venue.connections)

    def stall(self, lasting: bool = False) -> int:
        """Half-open: neither read nor write nor close; ``lasting`` as in ``mute``."""
        for connection in self._venue.connections:
            connection.stall(True)
        if lasting:
            self._venue.arrivals = "stall"
        return len(self._venue.connections)

    def clear(self) -> None:
        """Speak, listen and let in again."""
        self._venue.arrivals = "welcome"
        for connection in self._venue.connections:
            connection.mute = False
            connection.stall(False)
        if self._port_is_closed and self._open_port is not None:
            self._port_is_closed = False
            self._open_port()


class OctetFaults:
    """Frames that are not what they should be, sent at once to every connection."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def half_frame(self, then: Literal["silence", "close"] = "silence") -> int:
        """Half a spot event, and then nothing, or the end."""
        frame = framed(b"\x08" + b"\x01" * 40)
        return self._send(frame[: len(frame) // 2], then)

    def garbage(self, size: Annotated[int, Meta(ge=1, le=1 << 20)] = 64) -> int:
        """A frame of a true length with bytes that are no message."""
        return self._send(framed(b"\xff" * size))

    def oversize(self, length: Annotated[int, Meta(ge=1, le=2**32 - 1)] = 2**31) -> int:
        """Announce a frame of that many bytes, and say nothing more."""
        return self._send(length.to_bytes(4, "big"), "silence")

    def unknown_type(self, payload_type: Annotated[int, Meta(ge=1, lt=2**31)] = 9999) -> int:
        """A sound envelope with a payload type that nobody has heard of."""
        envelope = common_pb2.ProtoMessage(payloadType=payload_type, payload=b"\x08\x01")
        return self._send(framed(envelope.SerializeToString()))

    def missing_field(self, message: str = "ProtoOASpotEvent", request: str = "") -> int:
        """A message without any of its required fields: now, or as reply to the next request."""
        if request:
            name = REGISTRY.find(request).class_name
            self._venue.rules.add(Rule(name=name, careless=True))
            return 0
        return self._send(careless_frame(bare(message)))

    def unknown_fields(self, on: bool = True) -> int:
        """From now on every message carries a field that no definition has."""
        self._venue.wording.newer_fields = on
        return 0

    def clear(self) -> None:
        """Send what we know, again."""
        self._venue.wording.newer_fields = False

    def _send(self, octets: bytes, then: str = "") -> int:
        connections = list(self._venue.connections)
        for connection in connections:
            connection.write(octets)
            if then == "silence":
                connection.mute = True
            elif then == "close":
                connection.close()
        return len(connections)


class ReplyFaults:
    """What happens to requests; ``times`` 0 means until cleared."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def swallow(self, request: str, do_the_work: bool = False, times: Count = 1) -> int:
        """No answer; with ``do_the_work`` everything else happens."""
        return self._add(request, Rule(ignored=not do_the_work, unanswered=True, times=times))

    def late(self, request: str, seconds: Seconds = 10.0, times: Count = 1) -> int:
        """Serve it that much later; others overtake it."""
        return self._add(request, Rule(delay_s=seconds, times=times))

    def duplicate(self, request: str, copies: Count = 2, times: Count = 1) -> int:
        """Send the reply more than once."""
        return self._add(request, Rule(copies=copies, times=times))

    def error(
        self,
        request: str,
        code: str,
        description: str = "",
        retry_after_s: Count | None = None,
        maintenance_end_s: Count | None = None,
        proxy: bool = False,
        close: bool = False,
        times: Count = 1,
    ) -> int:
        """Refuse it with that code; ``proxy`` uses ProtoErrorRes, ``close`` hangs up after it."""
        refusal = Refusal(
            code,
            description,
            proxy=proxy,
            retry_after_s=retry_after_s,
            maintenance_end_s=maintenance_end_s,
            close=close,
        )
        return self._add(request, Rule(refusal=refusal, times=times))

    def auth_refused(
        self,
        what: Literal["application", "account"] = "application",
        code: str = "",
        times: Count = 1,
    ) -> int:
        """Refuse the application (CH_CLIENT_AUTH_FAILURE) or an account
        (CH_ACCESS_TOKEN_INVALID), or with a code of one's own."""
        if what == "application":
            request, usual = "ProtoOAApplicationAuthReq", "CH_CLIENT_AUTH_FAILURE"
        else:
            request, usual = "ProtoOAAccountAuthReq", "CH_ACCESS_TOKEN_INVALID"
        return self._add(request, Rule(refusal=Refusal(code or usual, "Refused"), times=times))

    def slow(self, seconds: Seconds = 1.0) -> int:
        """Serve every request that much later, in order."""
        self._venue.rules.delay_s = seconds
        return 0

    def maintenance(self, seconds: Seconds = 60.0) -> int:
        """Refuse requests, close their connections, and let nobody in, for that long."""
        self._venue.rules.maintenance_end_ms = self._venue.now_ms() + int(seconds * 1000)
        return 0

    def back_end_down(self) -> int:
        """Answer CANT_ROUTE_REQUEST to whatever concerns an account."""
        self._venue.rules.back_end_down = True
        return 0

    def clear(self) -> None:
        """Answer everything, again."""
        self._venue.rules.clear()

    def _add(self, request: str, rule: Rule) -> int:
        rule.name = REGISTRY.find(request).class_name
        self._venue.rules.add(rule)
        return 0


class News:
    """What the venue says of its own accord."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def client_disconnect(
        self, reason: str = "Cancelled by the server", close: bool = False
    ) -> int:
        """The application is nobody any more, and so are its accounts."""
        connections = list(self._venue.connections)
        for connection in connections:
            connection.send(api_pb2.ProtoOAClientDisconnectEvent(reason=reason))
            for account_id in list(connection.accounts):
                self._venue.end_session(connection, account_id)
            connection.become_stranger()
            if close:
                connection.close()
        return len(connections)

    def account_disconnect(self, account_id: int | None = None, stale: bool = False) -> int:
        """One account (None: all) is dropped; ``stale`` only says so."""
        number = 0
        for connection in list(self._venue.connections):
            for one in [each for each in connection.accounts if account_id in (None, each)]:
                number += 1
                if stale:
                    event = api_pb2.ProtoOAAccountDisconnectEvent(ctidTraderAccountId=one)
                    connection.send(event)
                else:
                    self._venue.dismiss(connection, one)
        return number

    def token_invalidated(
        self,
        how: Literal["session-ends", "session-survives", "revoked"] = "session-ends",
        reason: str = "Access token was invalidated",
    ) -> int:
        """The event; then the session ends (the stored token opens a new one), or lives on, or
        ends with a token that is void (only its refresh token is still good)."""
        number = sum(bool(connection.accounts) for connection in self._venue.connections)
        if how == "revoked":
            self._venue.grants.revoke()
        self._venue.invalidate(None, reason, end_sessions=how != "session-survives")
        return number

    def token_expired(self) -> int:
        """Access tokens are past their life; running sessions go on."""
        self._venue.grants.expire()
        return 0

    def symbol_changed(
        self,
        symbols: tuple[str, ...] = ("EURUSD",),
        enabled: bool | None = None,
        minimum_cents: Points | None = None,
    ) -> int:
        """Settings of symbols changed (those given do), and every account hears of it."""
        catalogue = self._venue.catalogue
        changed = [
            catalogue.change(symbol, enabled=enabled, minimum_cents=minimum_cents).symbol_id
            for symbol in symbols
        ]
        return self._tell_each(
            lambda one: api_pb2.ProtoOASymbolChangedEvent(ctidTraderAccountId=one, symbolId=changed)
        )

    def trader_updated(self, balance_cents: int | None = None) -> int:
        """Accounts changed by the broker's hand (the balance, if given)."""
        for account in self._venue.accounts.values():
            if balance_cents is not None:
                account.set_balance(balance_cents)
        return self._tell_each(
            lambda one: api_pb2.ProtoOATraderUpdatedEvent(
                ctidTraderAccountId=one, trader=self._venue.accounts[one].trader()
            )
        )

    def newer_values(self, number: EnumNumber = 99) -> int:
        """Send an execution event, with an order in it, of types that no definition has."""
        trade = model_pb2.ProtoOATradeData(symbolId=1, volume=100_000, tradeSide=model_pb2.BUY)
        order = model_pb2.ProtoOAOrder(
            orderId=1, tradeData=trade, orderType=number, orderStatus=number
        )
        return self._tell_each(
            lambda one: api_pb2.ProtoOAExecutionEvent(
                ctidTraderAccountId=one, executionType=number, order=order
            )
        )

    def quiet(self, symbols: tuple[str, ...] = ()) -> int:
        """No more ticks of these symbols (of none named: of all); the walk goes on unheard."""
        catalogue, feed = self._venue.catalogue, self._venue.feed
        feed.quiet.update(catalogue.named(symbol).symbol_id for symbol in symbols)
        if not symbols:
            feed.quiet.update(catalogue.by_id)
        return 0

    def rate(self, ticks_per_s: TicksPerSecond) -> int:
        """Another speed; 0 stops the walk."""
        self._venue.feed.rate = ticks_per_s
        return 0

    def tick(
        self, symbol: str, bid_points: Points | None = None, ask_points: Points | None = None
    ) -> int:
        """One tick by hand, in points (1/100000 of price)."""
        self._venue.publish(symbol, bid_points=bid_points, ask_points=ask_points)
        return len(self._venue.connections)

    def clear(self) -> None:
        """Nobody is quiet any more, and tokens are good."""
        self._venue.grants.restore()
        self._venue.feed.quiet.clear()

    def _tell_each(self, event: Callable[[int], Message]) -> int:
        number = 0
        for account_id in self._venue.accounts:
            number += len(self._venue.on_account(account_id))
            self._venue.tell(account_id, event(account_id))
        return number
