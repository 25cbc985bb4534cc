"""The venue's state: its catalogue, accounts and tokens, who is connected, and who is somebody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from google.protobuf.message import Message
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ctrader_twisted.pb import api_pb2
from ctrader_twisted.simulator.accounts import Account, Grants
from ctrader_twisted.simulator.behaviour import Behaviour, Credentials
from ctrader_twisted.simulator.catalogue import Catalogue
from ctrader_twisted.simulator.feed import Feed
from ctrader_twisted.simulator.frames import Wording
from ctrader_twisted.simulator.prices import Walk
from ctrader_twisted.simulator.rules import Rules
from ctrader_twisted.simulator.server import VenueConnection
from ctrader_twisted.simulator.symbols import instruments


class Venue:
    """Everything that outlives a connection. Listeners are connections; the clock is handed in."""

    def __init__(
        self,
        clock: IReactorTime,
        now_ms: Callable[[], int],
        *,
        seed: int,
        rate: float,
        burst: int,
        synthetic: int,
        behaviour: Behaviour,
        credentials: Credentials,
    ) -> None:
        listed = instruments(synthetic)
        self.clock = clock
        self.now_ms = now_ms
        self.behaviour = behaviour
        self.credentials = credentials
        self.catalogue = Catalogue(listed)
        self.wording = Wording(behaviour)
        self.rules = Rules()
        self.grants = Grants(credentials, behaviour, now_ms)
        self.accounts = {
            account_id: Account(account_id, may_trade=credentials.may_trade)
            for account_id in credentials.account_ids
        }
        self.feed = Feed(clock, Walk(listed, seed), self.wording, now_ms, rate=rate, burst=burst)
        self.connections: list[VenueConnection] = []
        self.arrivals: Literal["welcome", "refuse", "mute", "stall"] = "welcome"
        self._emptied: list[Deferred[None]] = []

    # -- connections

    def build_connection(self) -> VenueConnection:
        """A protocol for one new client."""
        return VenueConnection(self)

    def admit(self, connection: VenueConnection) -> bool:
        """Whether a connection that was just made may stay."""
        end_ms = self.rules.maintenance_end_ms
        if self.arrivals == "refuse" or (end_ms is not None and self.now_ms() < end_ms):
            return False
        self.connections.append(connection)
        connection.mute = self.arrivals == "mute"
        connection.stall(self.arrivals == "stall")
        return True

    def forget(self, connection: VenueConnection) -> None:
        """A connection has ended: it listens to nothing any more."""
        for account_id in list(connection.accounts):
            self.end_session(connection, account_id)
        if connection in self.connections:
            self.connections.remove(connection)
        if not self.connections:
            emptied, self._emptied = self._emptied, []
            for waiting in emptied:
                waiting.callback(None)

    def when_empty(self) -> Deferred[None]:
        """Fires when nobody is connected."""
        waiting: Deferred[None] = Deferred()
        if self.connections:
            self._emptied.append(waiting)
        else:
            waiting.callback(None)
        return waiting

    def abort_all(self) -> None:
        """Cut every connection without a word."""
        for connection in list(self.connections):
            connection.abort()

    # -- sessions

    def on_account(self, account_id: int) -> list[VenueConnection]:
        """The connections on which an account is authorised."""
        return [one for one in self.connections if account_id in one.accounts]

    def end_session(self, connection: VenueConnection, account_id: int) -> None:
        """An account is authorised there no more, and its subscriptions are gone."""
        connection.accounts.pop(account_id, None)
        seat = (connection, account_id)
        self.feed.unsubscribe(seat, self.feed.subscribed(seat))

    def dismiss(self, connection: VenueConnection, account_id: int) -> None:
        """End a session and say so with an AccountDisconnectEvent."""
        self.end_session(connection, account_id)
        connection.send(api_pb2.ProtoOAAccountDisconnectEvent(ctidTraderAccountId=account_id))

    def invalidate(self, access_token: str | None, reason: str, *, end_sessions: bool) -> None:
        """Tell every session of a token (None: of any) that it is no longer good."""
        for connection in list(self.connections):
            affected = [
                account_id
                for account_id, token in connection.accounts.items()
                if access_token in (None, token)
            ]
            if not affected:
                continue
            connection.send(
                api_pb2.ProtoOAAccountsTokenInvalidatedEvent(
                    ctidTraderAccountIds=affected, reason=reason
                )
            )
            for account_id in affected if end_sessions else ():
                self.dismiss(connection, account_id)

    def tell(self, account_id: int, message: Message) -> None:
        """Send an event to every connection of an account."""
        for connection in self.on_account(account_id):
            connection.send(message)

    def publish(
        self, symbol: str, *, bid_points: int | None = None, ask_points: int | None = None
    ) -> None:
        """One tick by hand, at once; LookupError for an unknown symbol."""
        self.feed.publish(self.catalogue.named(symbol).symbol_id, bid_points, ask_points)
