"""One trading account: who wants its prices, and the feed that brings them, wired here.

What is wanted outlives every session; what the venue confirmed does not. Above, an account is
asked by name and answers with values; below, it speaks in symbol ids to its session.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ctrader_twisted.accounts.diagnosis import account_links
from ctrader_twisted.accounts.feed import Feed
from ctrader_twisted.accounts.names import Wanted
from ctrader_twisted.accounts.watch import Watch, WatchPolicy
from ctrader_twisted.market.demand import Consumer, Demand, Group
from ctrader_twisted.market.links import Link
from ctrader_twisted.market.model import AccountState, FeedNews, SymbolNews, Tick
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.refusals import has_advice
from ctrader_twisted.upstream.session import Session


class AccountListener(Protocol):
    """Who is told about an account. Required, so that nothing is said to nobody."""

    def announce(self, state: AccountState) -> None:
        """The account's state changed."""

    def deliver(self, tick: Tick, groups: Collection[Group]) -> None:
        """A tick that somebody wants. Called for every tick, so it must be cheap."""

    def want_changed(self, consumers: Sequence[Consumer], wanted: Wanted) -> None:
        """An accepted subscription has become unavailable, is active again, or was removed because
        the symbol does not exist (see `Wanted`).
        """

    def feed_health(self, news: FeedNews) -> None:
        """The prices of a source went stale, or came back."""

    def symbol_health(self, consumers: Sequence[Consumer], news: SymbolNews) -> None:
        """The same for some symbols; ``consumers`` want at least one of them."""


class Account:
    """One account, as the floors above see it."""

    log = Logger()

    def __init__(
        self,
        *,
        account_id: int,
        access_token: Callable[[], str],
        clock: IReactorTime,
        metrics: Metrics,
        listener: AccountListener,
        run_id: str,
        batch: int,
        grace_s: float,
        watch: WatchPolicy | None = None,
    ) -> None:
        """``access_token`` gives the stored token; ``batch`` ids go
        into one request; a symbol that nobody wants any more is kept for ``grace_s``. ``watch``:
        how the freshness of its prices is watched (None: not at all).
        """
        self.account_id = account_id
        self._clock = clock
        self._listener = listener
        self._demand = Demand(grace_s)
        self._soon: IDelayedCall | None = None
        self._grace: IDelayedCall | None = None
        self._stopped = False
        self._feed = Feed(
            account_id=account_id,
            access_token=access_token,
            clock=clock,
            metrics=metrics,
            wanted=self._wanted,
            announce=self._announce,
            deliver=self._deliver,
            change=self._want_changed,
            run_id=run_id,
            batch=batch,
            make_watch=None if watch is None else partial(self._make_watch, watch),
        )

    @property
    def session(self) -> Session:
        """The session, for the application that opens it."""
        return self._feed.session

    @property
    def state(self) -> AccountState:
        """Where the account stands now."""
        return self._feed.state

    def subscribe(self, consumer: Consumer, names: Sequence[str]) -> tuple[Wanted, ...]:
        """Add wants by name, in any case; wanting twice counts once.

        Before the catalogue is known every name is accepted, pending.
        """
        meaning = self._feed.resolve(names)
        is_new = self._demand.want(consumer, meaning.keys)
        if is_new or not meaning.is_had:
            self._pursue_soon()
        return meaning.wanted

    def unsubscribe(self, consumer: Consumer, names: Iterable[str]) -> list[Wanted]:
        """Remove wants by name; a name that was not wanted is fine."""
        names = list(names)
        if self._demand.unwant(consumer, [n.upper() for n in names], self._clock.seconds()):
            self._pursue_soon()
        return [Wanted(self._feed.spelling(name)) for name in names]

    def leave(self, consumer: Consumer) -> None:
        """The consumer is gone, and its wants with it."""
        if self._demand.leave(consumer, self._clock.seconds()):
            self._pursue_soon()

    def subscriptions(self, consumer: Consumer) -> list[str]:
        """The names that one consumer wants, in order of name."""
        group = self._demand.group_of(consumer)
        if group is None:
            return []
        # Those who want the same stand together, so the list is made once for all of them.
        if group.listing is None or group.listing[0] is not self._feed.catalogue:
            names = sorted(map(self._feed.spelling, group.keys))
            group.listing = (self._feed.catalogue, names)
        return group.listing[1]

    def exists(self, name: str) -> bool:
        """Whether any list of this account had this name; True before the first list."""
        catalogue = self._feed.catalogue
        return catalogue is None or bool(catalogue.by_name(name) or catalogue.former(name))

    def last_ticks(self, names: Sequence[str]) -> list[Tick]:
        """The newest ticks of this life of the session, of those that have had one."""
        return self._feed.last_ticks(names)

    def confirmed(self) -> int:
        """How many symbols the venue has agreed to send."""
        subscriptions = self._feed.subscriptions
        return 0 if subscriptions is None else len(subscriptions.confirmed)

    def unavailable(self) -> dict[str, int]:
        """Count the wanted symbols that are unavailable, by the code sent to clients; codes of the
        venue that we do not know are counted as UNKNOWN_CODE.
        """
        wanted, told = self._wanted(), self._feed.unavailable
        codes = [told[key].code or "" for key in told.keys() & wanted]
        return Counter(code if has_advice(code) else "UNKNOWN_CODE" for code in codes)

    def restored_s(self) -> float | None:
        """How long it took in this life until all that was wanted was confirmed; None: not yet."""
        subscriptions = self._feed.subscriptions
        return None if subscriptions is None else subscriptions.restored_s

    def consumers(self, name: str) -> list[Consumer]:
        """Everybody who wants this symbol, in any case."""
        return self._demand.consumers(name.upper())

    def links(self, name: str, now_ms: int) -> list[Link]:
        """The account's part of the chain of a symbol, from the account to its last tick."""
        is_wanted = name.upper() in self._wanted()
        now = self._clock.seconds()
        return account_links(self._feed, name, is_wanted=is_wanted, now=now, now_ms=now_ms)

    def stop(self) -> None:
        """The daemon ends: no timer of ours may outlive it, though clients may leave later."""
        self._stopped = True
        self._cancel_timers()
        self._feed.end()

    # -- inside

    def _make_watch(self, policy: WatchPolicy, **feed: Any) -> Watch:
        return Watch(
            policy=policy,
            clock=self._clock,
            tell=partial(self._tell, self._listener.feed_health),
            tell_symbols=self._symbol_health,
            **feed,
        )

    def _symbol_health(self, news: SymbolNews) -> None:
        concerned = {c: None for name in news.symbols for c in self._demand.consumers(name.upper())}
        if concerned:
            self._tell(self._listener.symbol_health, list(concerned), news)

    def _deliver(self, ticks: Iterable[Tick]) -> None:
        groups_of, deliver = self._demand.groups, self._listener.deliver
        for tick in ticks:
            groups = groups_of(tick.symbol.key)
            if groups:
                try:
                    deliver(tick, groups)
                except Exception:
                    # The doors are outsiders here: what they do wrong must not cost the connection.
                    self.log.failure("a tick could not be delivered", symbol=tick.symbol.name)

    def _announce(self, state: AccountState) -> None:
        self._tell(self._listener.announce, state)

    def _tell(self, tell: Callable[..., None], *news: Any) -> None:
        try:
            tell(*news)
        except Exception:
            self.log.failure("news of account {account_id} were lost", account_id=self.account_id)

    def _wanted(self) -> set[str]:
        return self._demand.wanted(self._clock.seconds())

    def _want_changed(self, key: str, wanted: Wanted) -> None:
        consumers = self._demand.consumers(key)
        for consumer in consumers if wanted.is_refused else ():
            self._demand.unwant(consumer, [key], self._clock.seconds())
        if consumers:
            self._pursue_soon()
            self._tell(self._listener.want_changed, consumers, wanted)

    def _pursue_soon(self) -> None:
        """Once per reactor turn, so that many requests of clients become one of ours."""
        if self._soon is None and not self._stopped:
            self._soon = self._clock.callLater(0, self._pursue)

    def _pursue(self) -> None:
        self._cancel_timers()
        if self._feed.subscriptions is not None:
            self._feed.subscriptions.pursue()
        # Graces run during outages and pauses too. Looking drops those that are over.
        self._feed.forget_all_but(self._wanted())
        ends = self._demand.next_change()
        if ends is not None:
            delay_s = max(0.0, ends - self._clock.seconds())
            self._grace = self._clock.callLater(delay_s, self._pursue)

    def _cancel_timers(self) -> None:
        for timer in (self._soon, self._grace):
            if timer is not None and timer.active():
                timer.cancel()
        self._soon = self._grace = None


class Accounts:
    """Who is running. The tick stream serves the first account."""

    def __init__(self, accounts: Sequence[Account]) -> None:
        self._by_id: Mapping[int, Account] = {a.account_id: a for a in accounts}
        self.first = accounts[0]

    def get(self, account_id: int) -> Account | None:
        """The account with this ctidTraderAccountId."""
        return self._by_id.get(account_id)
