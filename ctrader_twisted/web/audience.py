"""Everybody who is connected to the tick stream, and the one status of the back end.

Implements AccountListener: what the account announces becomes a status for all, what it delivers
goes to the fan-out, and a change of a subscription goes to the clients that have it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import msgspec
from msgspec import UNSET
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ctrader_twisted import contract
from ctrader_twisted.accounts import Consumer, Group, Wanted
from ctrader_twisted.market.model import AccountState, FeedNews, Phase, SymbolNews, Tick
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.web import frames
from ctrader_twisted.web.client_errands import ClientLog
from ctrader_twisted.web.fanout import Fanout
from ctrader_twisted.web.outbox import Outbox

WORDS: dict[Phase, contract.Word] = {
    Phase.DISCONNECTED: "disconnected",
    Phase.CONNECTING: "ctrader-connecting",
    Phase.CONNECTED: "connected",
    Phase.RECONNECTING: "reconnecting",
    Phase.ERROR: "error",
}

SLOW = 4413
GOING_AWAY = 1001


class Client(Protocol):
    """One connected client, as the audience sees it."""

    outbox: Outbox
    features: frozenset[str]

    def say(self, payload: bytes, frame: bytes) -> None:
        """A message that must be delivered, as JSON and as a frame made of it."""

    def close(self, code: int, reason: str) -> None:
        """Say goodbye with a close code."""

    def closed(self) -> Deferred[object]:
        """Fires when the connection is gone."""

    def want_changed(self, wanted: Wanted) -> None:
        """Tell this client about a subscription that it has (see `Wanted`)."""


HEALTH = "health"


class Audience:
    """All clients of the tick stream."""

    log = Logger()

    def __init__(
        self,
        *,
        clock: IReactorTime,
        now_ms: Callable[[], int],
        metrics: Metrics,
        fanout: Fanout,
        environment: str,
        limits: contract.Limits,
        clients: int,
        outbox_bytes: int,
        outbox_age_s: float,
    ) -> None:
        """``clients`` may be connected at once; each outbox holds ``outbox_bytes`` at the most,
        and is closed when its client reads nothing for ``outbox_age_s``.
        """
        self.fanout = fanout
        # Ticks go straight through: a step in between would be taken for every one of them.
        self.deliver: Callable[[Tick, Collection[Group]], None] = fanout.deliver
        self.limits = limits
        # What is broken on the way to the venue: asked at every status (see `Diagnosis`).
        self.trouble: Callable[[], contract.Link | msgspec.UnsetType] = lambda: UNSET
        self.client_log = ClientLog(clock)
        self._clock = clock
        self._now_ms = now_ms
        self._metrics = metrics
        self._environment = environment
        self._room = clients
        self._outbox_bytes = outbox_bytes
        self._outbox_age_s = outbox_age_s
        self._state = AccountState(Phase.DISCONNECTED)
        self._announced_at = clock.seconds()
        # The sources whose prices are stale, by name: there may be more than one source.
        self._stale: dict[str, FeedNews] = {}
        # One outbox, one client: the consumer that an account knows is the outbox.
        self._clients: dict[Consumer, Client] = {}
        # Often enough that a heartbeat sent one look early is still within its period.
        self._look_s = min(1.0, limits.heartbeat_ms / 4000)
        self._sweep = LoopingCall(self._look_round)
        self._sweep.clock = clock

    # -- what the account tells (AccountListener)

    def announce(self, state: AccountState) -> None:
        """A new status, for everybody; encoded and framed once."""
        self._state = state
        self._announced_at = self._clock.seconds()
        if state.phase is not Phase.CONNECTED:
            self.fanout.forget()
        self._tell_where_we_are()

    def feed_health(self, news: FeedNews) -> None:
        """A source went stale, or came back. Old clients subscribe only while the word is
        `connected`, so for them that word follows at once.
        """
        was_stale = self._stale.pop(news.source, None) is not None
        if news.word == "stale":
            self._stale[news.source] = news
        if self._state.phase is not Phase.CONNECTED:
            return
        knowing, others = self._by_health()
        if news.word == "stale":
            status = self._status("stale", news.message, source=news.source)
            self._tell(status, [*knowing, *others])
            self._tell(self.status(), others)
        elif news.word == "tick_resumed":
            status = self._status("tick_resumed", news.message, source=news.source)
            self._tell(status, [*knowing, *others])
            self._tell_where_we_are()
        elif was_stale and news.word == "quiet":
            self._tell(self.status(health=True), knowing)

    def symbol_health(self, consumers: Sequence[Consumer], news: SymbolNews) -> None:
        """Some symbols went stale, or came back: a warning to those who can make use of it."""
        warning = contract.Notice(
            code=news.code, message=news.message, source=news.source, symbols=news.symbols
        )
        concerned = [self._clients.get(consumer) for consumer in consumers]
        self._tell(warning, [c for c in concerned if c is not None and HEALTH in c.features])

    def want_changed(self, consumers: Sequence[Consumer], wanted: Wanted) -> None:
        """Tell the clients that have a subscription that it is unavailable, active or removed."""
        concerned = [self._clients[consumer] for consumer in consumers if consumer in self._clients]
        for client in concerned:
            client.want_changed(wanted)
        if self.client_log.has_room():
            now = "is unavailable" if wanted.code else "is available again"
            # With the correlation id of whoever it was for that the venue, or its list, was asked.
            self.log.info(
                "clients told that {symbol!r} {what}: {count}{why}",
                symbol=wanted.name,
                what="is refused" if wanted.is_refused else now,
                count=len(concerned),
                why=f" ({wanted.code})" if wanted.code else "",
                code=wanted.code,
            )

    # -- clients

    def outbox(self, transport: object, too_slow: Callable[[str], None]) -> Outbox:
        """A way out for a new client."""
        return Outbox(
            transport=transport,
            fanout=self.fanout,
            limit_bytes=self._outbox_bytes,
            too_slow=too_slow,
        )

    def enter(self, client: Client) -> bool:
        """Let a client in; False when there is no room."""
        if len(self._clients) >= self._room:
            self._metrics.count("clients_turned_away")
            return False
        self._clients[client.outbox] = client
        self._metrics.clients = len(self._clients)
        client.outbox.sent_at = self._clock.seconds()
        return True

    def clients(self) -> list[Client]:
        """Everybody who is in."""
        return list(self._clients.values())

    def outboxes(self) -> list[Outbox]:
        """Everybody's way out."""
        return [client.outbox for client in self._clients.values()]

    def leave(self, client: Client) -> None:
        """A client is gone. Leaving twice does nothing."""
        self._clients.pop(client.outbox, None)
        self._metrics.clients = len(self._clients)

    def status(
        self, request_id: contract.Id | msgspec.UnsetType = UNSET, *, health: bool = False
    ) -> contract.Status:
        """The status as it is now, with the whole list of symbols. Only clients that announced
        the feature ``health`` know the word `stale` as a lasting one.
        """
        state = self._state
        if health and self._stale and state.phase is Phase.CONNECTED:
            news = next(iter(self._stale.values()))
            return self._status("stale", news.message, request_id, source=news.source)
        return self._status(WORDS[state.phase], self._sentence(), request_id)

    def _status(
        self,
        word: contract.Word,
        message: str,
        request_id: contract.Id | msgspec.UnsetType = UNSET,
        *,
        source: str = "",
    ) -> contract.Status:
        state = self._state
        return contract.Status(
            id=request_id,
            status=word,
            available_symbols=state.symbols or (),
            protocol=contract.PROTOCOL,
            epoch=state.epoch or UNSET,
            server_time=self._now_ms(),
            env=self._environment,
            limits=self.limits,
            message=message or UNSET,
            source=source or UNSET,
            trouble=self.trouble(),
            attempt=UNSET if state.attempt is None else state.attempt,
            delay_ms=self._delay_left() if state.delay_ms is not None else UNSET,
            code=state.code or UNSET,
            reason=state.reason or UNSET,
        )

    def _sentence(self) -> str:
        """The status in words, for people."""
        state = self._state
        if state.phase is Phase.RECONNECTING and state.delay_ms is not None:
            seconds = self._delay_left() / 1000
            return f"attempt {state.attempt} in {seconds:.1f} s: {state.reason}"
        return state.reason or ""

    def _delay_left(self) -> int:
        """What is left of the delay, for whoever asks in its middle."""
        waited_ms = round((self._clock.seconds() - self._announced_at) * 1000)
        return max(0, (self._state.delay_ms or 0) - waited_ms)

    def _by_health(self) -> tuple[list[Client], list[Client]]:
        """The clients with the feature ``health``, and those without it."""
        everybody = self.clients()
        knowing = [client for client in everybody if HEALTH in client.features]
        return knowing, [client for client in everybody if HEALTH not in client.features]

    def _tell_where_we_are(self) -> None:
        if not self._stale:
            self._tell(self.status(), self.clients())
            return
        knowing, others = self._by_health()
        self._tell(self.status(health=True), knowing)
        self._tell(self.status(), others)

    def _tell(self, message: contract.Outgoing, clients: Sequence[Client]) -> None:
        """One message for many: encoded and framed once."""
        if clients:
            # Ticks that were due before it go before it.
            self.fanout.flush()
            payload = frames.encode(message)
            frame = frames.frame(payload)
            for client in clients:
                client.say(payload, frame)

    # -- the sweep

    def start(self) -> None:
        """Begin to look after idle and stalled clients."""

        def died(failure: Failure) -> None:
            self.log.failure("the sweep over the clients failed", failure)
            self.start()

        self._sweep.start(self._look_s, now=False).addErrback(died)

    def stop(self) -> list[Deferred[object]]:
        """Tell everybody that we are going away; each fires when that client is gone."""
        if self._sweep.running:
            self._sweep.stop()
        clients = list(self._clients.values())
        leaving = [client.closed() for client in clients]
        for client in clients:
            client.close(GOING_AWAY, "the server is shutting down")
        return leaving

    def _look_round(self) -> None:
        now = self._clock.seconds()
        beat = frames.message(contract.Heartbeat(timestamp=self._now_ms()))
        # Early, since looks may be late: at the next one the period could be over.
        idle_s = self.limits.heartbeat_ms / 1000 - 1.5 * self._look_s
        for client in list(self._clients.values()):
            outbox = client.outbox
            if outbox.is_stalled(now, self._outbox_age_s):
                client.close(SLOW, f"nothing was read for {self._outbox_age_s:g} s")
                self._metrics.count("clients_closed_slow")
            elif now - outbox.idle_since() >= idle_s:
                outbox.send(beat, now)
