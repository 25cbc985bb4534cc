"""The prices of one account: from its session to whole ticks.

A feed lives through many sessions. Each time one is ready a new `Subscriptions` begins, with
nothing in it that an earlier one had: what clients want is asked for again, and a price from
before an outage is never laid beside one from after it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ctrader_twisted import errands
from ctrader_twisted.accounts.causes import Causes
from ctrader_twisted.accounts.names import Meaning, Names, Wanted
from ctrader_twisted.accounts.watch import Watch
from ctrader_twisted.errors import VenueRefusal
from ctrader_twisted.market.model import (
    AccountState,
    Phase,
    SpotUpdate,
    Symbol,
    SymbolDetails,
    Tick,
)
from ctrader_twisted.market.symbols import Catalogue
from ctrader_twisted.market.ticks import Ticks
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.upstream.session import Session
from ctrader_twisted.upstream.subscriptions import Subscriptions

# The list of symbols is fetched again when it may be out of date, but not at every typing error.
RELIST_SOON_S = 1.0
RELIST_PAUSE_S = 60.0


class Feed:
    """Prices of one account (implements SessionListener)."""

    log = Logger()
    # (code, reason, when) of what keeps the account shut; it stays during new attempts.
    trouble: tuple[str, str, float] | None = None
    subscriptions: Subscriptions | None = None
    catalogue: Catalogue | None = None
    # The list of symbols is about to be fetched again, on whose behalf.
    _relist: IDelayedCall | None = None
    _relist_for = ""

    def __init__(
        self,
        *,
        account_id: int,
        access_token: Callable[[], str],
        clock: IReactorTime,
        metrics: Metrics,
        wanted: Callable[[], Collection[str]],
        announce: Callable[[AccountState], None],
        deliver: Callable[[Iterable[Tick]], None],
        withdraw: Callable[[str, Wanted], None],
        run_id: str,
        batch: int,
        make_watch: Callable[..., Watch] | None = None,
    ) -> None:
        """``wanted``: the keys to subscribe; ``deliver`` takes whole ticks; ``withdraw``: a key
        that is wanted cannot be had. ``run_id`` begins the name of every epoch.
        ``make_watch``: makes who looks after the freshness of what comes (see `Watch`).
        """
        self.session = Session(
            account_id=account_id, access_token=access_token, clock=clock, listener=self
        )
        self.state = AccountState(Phase.DISCONNECTED)
        self._clock = clock
        self._metrics = metrics
        self._wanted = wanted
        self._causes = Causes(clock, wanted)
        self._names = Names(causes=self._causes, relist=self._relist_soon)
        self._announce = announce
        self._deliver = deliver
        self._withdraw = withdraw
        self._run_id, self._lives = run_id, 0
        self._batch = batch
        self.ticks = Ticks()
        self._left_over: set[int] = set()
        self._belated: set[int] = set()
        self._listed_at, self.changed_at = 0.0, clock.seconds()
        self.watch = None if make_watch is None else self._watched_by(make_watch)

    # -- what the session tells

    def connecting(self) -> None:
        """An attempt begins."""
        self._become(Phase.CONNECTING)

    def ready(self, catalogue: Catalogue, kept: bool) -> None:
        """Authenticated, and the symbols are known: clients hear it first, restore follows."""
        self._lives += 1
        self._take(catalogue)
        self.subscriptions = Subscriptions(
            session=self.session,
            clock=self._clock,
            wanted=self._wanted_ids,
            described=self._described,
            stopped=self._stopped,
            refused=self._refused,
            batch=self._batch,
            left_over=self._belated.union(self._left_over if kept else ()),
            causes_of=lambda ids: self._causes.of(self._keys(ids)),
            had=lambda ids: self._causes.drop(self._keys(ids)),
            belated=self._was_belated,
        )
        self._left_over, self._belated = set(), set()
        self.state = AccountState(
            Phase.CONNECTED, epoch=f"{self._run_id}-{self._lives}", symbols=catalogue.names
        )
        self.log.info(
            "account {account_id} is ready: {count} symbols",
            account_id=self.session.account_id,
            count=len(catalogue.names),
        )
        self.changed_at, self.trouble = self._clock.seconds(), None
        self._announce(self.state)
        self._withdraw_unknown()
        self.subscriptions.pursue()
        if self.watch is not None:
            self.watch.begin()

    def lost(self, code: str, reason: str) -> None:
        """What the venue confirmed is gone; what is wanted stays."""
        self._trouble(code, reason)
        self._become(Phase.DISCONNECTED, code=code, reason=reason)

    def refused(self, code: str, reason: str) -> None:
        """The venue will not have us."""
        self._trouble(code, reason)
        self.log.error("the venue refuses: {reason}", reason=reason, code=code)
        self._become(Phase.ERROR, code=code, reason=reason)

    def retrying(self, attempt: int, delay_s: float, reason: str) -> None:
        """The next attempt is announced, with its real delay."""
        delay_ms = round(delay_s * 1000)
        code = self.state.code
        self._become(
            Phase.RECONNECTING, code=code, reason=reason, attempt=attempt, delay_ms=delay_ms
        )

    def spots(self, updates: Iterable[SpotUpdate]) -> None:
        """Prices: the hot path. Plain calls from here to the socket."""
        self._deliver(self._whole(updates))

    def symbols_changed(self, symbol_ids: Sequence[int]) -> None:
        """Digits and hours may have changed, and what the list says of them as well."""
        if self.subscriptions is not None:
            self.subscriptions.describe_again(symbol_ids)
            self._relist_soon()

    def relisted(self, catalogue: Catalogue) -> None:
        """The list of symbols as it is now: those that are gone are withdrawn."""
        renamed = catalogue.renamed_since(self.catalogue) if self.catalogue else []
        self._take(catalogue)
        for was, now in renamed:
            if was.key != now.key:
                self.ticks.forget_symbol(now.symbol_id)
        if catalogue.names != self.state.symbols:
            self.state = replace(self.state, symbols=catalogue.names)
            self._announce(self.state)
        self._withdraw_unknown()
        if self.subscriptions is not None:
            self.subscriptions.describe_again([now.symbol_id for _, now in renamed])
            self.subscriptions.pursue()

    # -- what the account asks

    def resolve(self, names: Sequence[str]) -> Meaning:
        """What names mean now. Before the catalogue is known every name may mean something."""
        return self._names.resolve(names, self.catalogue, self.subscriptions)

    def spelling(self, name: str) -> str:
        """The catalogue's spelling of a name; the name itself when it is not known."""
        symbol = self._symbol(name)
        return name if symbol is None else symbol.name

    def last_ticks(self, names: Sequence[str]) -> list[Tick]:
        """The newest ticks of this life of the session, of those that have had one."""
        return self.ticks.newest(self._names.ids(names, self.catalogue) if self.catalogue else ())

    def end(self) -> None:
        """The life of the session is over."""
        if self.subscriptions is not None:
            self._left_over = self.subscriptions.may_be_subscribed()
            self.subscriptions.end()
            self.subscriptions = None
        if self.watch is not None:
            self.watch.pause()
        if self._relist is not None:
            self._relist.cancel()
            self._relist = None
        self.ticks.forget()

    # -- what the subscriptions tell

    def _described(self, details: Sequence[SymbolDetails]) -> None:
        for known in details:
            symbol = self.catalogue.by_id(known.symbol_id) if self.catalogue else None
            if symbol is not None:
                self.ticks.know(symbol, known)
                if self.watch is not None:
                    self.watch.know(known.symbol_id, known.hours)
        # Prices may have come before their digits, and waited for them.
        waited = (self.ticks.catch_up(known.symbol_id) for known in details)
        self._deliver(tick for tick in waited if tick is not None)

    def _was_belated(self, symbol_ids: Collection[int]) -> None:
        if self.subscriptions is not None:
            self.subscriptions.doubt(symbol_ids)
        else:
            self._belated.update(symbol_ids)

    def _stopped(self, symbol_ids: Iterable[int]) -> None:
        # No more prices of these: what we remember of them is no longer the price.
        for symbol_id in symbol_ids:
            self.ticks.forget_prices(symbol_id)

    def _refused(self, symbol_id: int, error: VenueRefusal) -> None:
        symbol = self.catalogue.by_id(symbol_id) if self.catalogue else None
        if error.code in {"SYMBOL_NOT_FOUND", "UNKNOWN_SYMBOL"}:
            self._relist_soon()
        if symbol is not None:
            self._give_back(symbol.key, Wanted(symbol.name, code=error.code, message=str(error)))

    # -- inside

    def _whole(self, updates: Iterable[SpotUpdate]) -> Iterator[Tick]:
        complete, came = self.ticks.update, 0
        try:
            for update in updates:
                came += 1
                ours, symbol_id = self.subscriptions, update.symbol_id
                # Else: after the end, after an unsubscription, or never asked for.
                if ours and (symbol_id in ours.confirmed or ours.is_expected(symbol_id)):
                    tick = complete(update)
                    if tick is not None:
                        yield tick
        finally:
            self._metrics.ticks_in += came

    def _watched_by(self, make_watch: Callable[..., Watch]) -> Watch:
        watch = make_watch(
            expected=self._expected, last_tick_ms=self._last_tick_ms, name_of=self._name_of
        )
        self._metrics.freshness.append(watch.freshness)
        return watch

    def _expected(self) -> list[int]:
        """The ids whose ticks should come: confirmed by the venue, and still wanted."""
        confirmed = () if self.subscriptions is None else self.subscriptions.confirmed
        return [] if not confirmed else sorted(self._wanted_ids().intersection(confirmed))

    def _last_tick_ms(self, symbol_id: int) -> int:
        """When the newest tick of this life was read (ms since the epoch); 0 for none."""
        tick = self.ticks.last(symbol_id)
        return 0 if tick is None else tick.received_ms

    def _name_of(self, symbol_id: int) -> str:
        """The name of a symbol."""
        symbol = self.catalogue.by_id(symbol_id) if self.catalogue else None
        return str(symbol_id) if symbol is None else symbol.name

    def _take(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._listed_at = self._clock.seconds()
        if catalogue.shadowed:
            self.log.warn(
                "{count} symbols have the name of another in a different case, and cannot be had",
                count=len(catalogue.shadowed),
            )

    def _relist_soon(self) -> None:
        if self._relist is None and self.subscriptions is not None:
            pause_s = self._listed_at + RELIST_PAUSE_S - self._clock.seconds()
            self._relist = self._clock.callLater(max(RELIST_SOON_S, pause_s), self._list_again)
            errands.lead_on()
            self._relist_for = errands.current()

    def _list_again(self) -> None:
        self._relist = None
        # Asked counts as listed: a venue that gives no list is not to be asked every second.
        self._listed_at = self._clock.seconds()
        with errands.on_behalf_of(self._relist_for):
            self.session.list_again()

    def _keys(self, symbol_ids: Iterable[int]) -> list[str]:
        symbols = map(self.catalogue.by_id, symbol_ids) if self.catalogue else ()
        return [symbol.key for symbol in symbols if symbol is not None]

    def _symbol(self, name: str) -> Symbol | None:
        return None if self.catalogue is None else self.catalogue.by_name(name)

    def _wanted_ids(self) -> set[int]:
        symbols = map(self._symbol, self._wanted())
        return {s.symbol_id for s in symbols if s is not None and s.enabled}

    def _withdraw_unknown(self) -> None:
        for key in list(self._wanted()):
            resolved = self._names.look_up(key, self.catalogue, self.subscriptions)
            if resolved.code is not None:
                self._give_back(key, resolved)

    def _give_back(self, key: str, wanted: Wanted) -> None:
        with errands.on_behalf_of(self._causes.of([key]) or errands.current()):
            self._withdraw(key, wanted)
        self._causes.drop([key])

    def _become(self, phase: Phase, **why: Any) -> None:
        before = self.state
        self.state = replace(AccountState(phase, epoch=before.epoch, symbols=before.symbols), **why)
        self._announce(self.state)

    def _trouble(self, code: str, reason: str) -> None:
        self.end()
        since = self._clock.seconds() if self.trouble is None else self.trouble[2]
        self.trouble = (code, reason, since)
