"""The prices of one account: from its session to whole ticks.

A feed lives through many sessions. Each time one is ready a new `Subscriptions` begins, with
nothing in it that an earlier one had: what clients want is asked for again, and a price from
before an outage is never laid beside one from after it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ctrader_twisted import errands
from ctrader_twisted.accounts.causes import Causes
from ctrader_twisted.accounts.listing import Listing
from ctrader_twisted.accounts.names import Meaning, Names, Wanted
from ctrader_twisted.accounts.watch import Watch
from ctrader_twisted.accounts.withheld import WithheldPrices
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
from ctrader_twisted.refusals import advice_for
from ctrader_twisted.upstream.session import Session
from ctrader_twisted.upstream.subscriptions import Subscriptions


class Feed:
    """Prices of one account (implements SessionListener)."""

    log = Logger()
    # (code, reason, when) of what keeps the account shut; it stays during new attempts.
    trouble: tuple[str, str, float] | None = None
    subscriptions: Subscriptions | None = None

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
        change: Callable[[str, Wanted], None],
        run_id: str,
        batch: int,
        make_watch: Callable[..., Watch] | None = None,
    ) -> None:
        """``wanted()``: the keys to subscribe; ``deliver`` takes whole ticks; ``change(key,
        wanted)``: a wanted key became unavailable, active or refused. ``run_id`` begins the name
        of every epoch.
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
        # By key: what clients were last told about a wanted symbol that is unavailable.
        self.unavailable: dict[str, Wanted] = {}
        self.listing = Listing(clock=clock, metrics=metrics, ask=self.session.list_again)
        self._names = Names(
            causes=self._causes, relist=self._relist_soon, unavailable=self.unavailable
        )
        self._announce = announce
        self._deliver = deliver
        self._change = change
        self._run_id, self._lives = run_id, 0
        self._batch = batch
        self.ticks = Ticks()
        # What ticked in an earlier life: a symbol that never did says nothing of the connection.
        self._once_ticked: set[int] = set()
        self._withheld = WithheldPrices(clock=clock, end=self.session.end_connection)
        self._left_over: set[int] = set()
        self._belated: set[int] = set()
        self.changed_at = clock.seconds()
        self.watch = None if make_watch is None else self._watched_by(make_watch)

    @property
    def catalogue(self) -> Catalogue | None:
        """The symbols of the account; None before the first list."""
        return self.listing.catalogue

    # -- what the session tells

    def connecting(self) -> None:
        """An attempt begins."""
        self._become(Phase.CONNECTING)

    def ready(self, catalogue: Catalogue, kept: bool) -> None:
        """Authenticated, and the symbols are known: clients hear it first, restore follows."""
        self._lives += 1
        self.listing.take(catalogue)
        names = self.catalogue.names if self.catalogue else ()
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
            had=self._had,
            belated=self._was_belated,
            heard=self.ticks.is_priced,
            renewed=self._renewed,
        )
        self._left_over, self._belated = set(), set()
        self.state = AccountState(
            Phase.CONNECTED, epoch=f"{self._run_id}-{self._lives}", symbols=names
        )
        self.log.info(
            "account {account_id} is ready: {count} symbols",
            account_id=self.session.account_id,
            count=len(names),
        )
        self.changed_at, self.trouble = self._clock.seconds(), None
        self._announce(self.state)
        self._review()
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
        self.log.error(
            "the venue refuses: {reason}; {advice}",
            reason=reason,
            advice=advice_for(code),
            code=code,
        )
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
        """Take a new list of symbols. What clients want stays wanted even if the list lacks it."""
        before = self.catalogue
        if self.listing.take(catalogue) and self.catalogue is not None:
            renamed = self.catalogue.renamed_since(before) if before else []
            others = [now.symbol_id for was, now in renamed if was.key != now.key]
            others += self._moved(before, self.catalogue)
            for symbol_id in others:
                self.ticks.forget_symbol(symbol_id)
            if self.catalogue.names != self.state.symbols:
                self.state = replace(self.state, symbols=self.catalogue.names)
                self._announce(self.state)
            if self.subscriptions is not None:
                changed = [now.symbol_id for _, now in renamed]
                self.subscriptions.describe_again([*changed, *others])
        self._review()
        if self.subscriptions is not None:
            self.subscriptions.pursue()

    def not_relisted(self) -> None:
        """The request for a new list of symbols failed."""
        self.listing.failed()

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

    def forget_all_but(self, wanted: Collection[str]) -> None:
        """Drop what clients were told about symbols that are not in ``wanted``."""
        for key in [key for key in self.unavailable if key not in wanted]:
            del self.unavailable[key]

    def end(self) -> None:
        """The life of the session is over."""
        if self.subscriptions is not None:
            self._left_over = self.subscriptions.may_be_subscribed()
            self.subscriptions.end()
            self.subscriptions = None
        if self.watch is not None:
            self.watch.pause()
        self.listing.end()
        self._withheld.forget()
        self._once_ticked |= self.ticks.ticked()
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

    def _renewed(self, symbol_ids: Iterable[int]) -> None:
        for symbol_id in symbol_ids:
            self.ticks.renew(symbol_id)

    def _refused(self, symbol_id: int, error: VenueRefusal) -> None:
        symbol = self.catalogue.by_id(symbol_id) if self.catalogue else None
        if error.code in {"SYMBOL_NOT_FOUND", "UNKNOWN_SYMBOL"}:
            self._relist_soon()
        if symbol is not None:
            why = f"the venue does not send {symbol.name} now: {error}; it is asked again"
            self._cannot_be_had(symbol.key, Wanted(symbol.name, True, error.code, why))

    def _had(self, symbol_ids: Collection[int]) -> None:
        keys = self._keys(symbol_ids)
        for key in keys if self.unavailable else ():
            if (told := self.unavailable.pop(key, None)) is not None:
                self._tell(key, Wanted(told.name))
        self._causes.drop(keys)

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
            expected=self._expected,
            last_tick_ms=self._last_tick_ms,
            name_of=self._name_of,
            renew=self._long_silent,
        )
        self._metrics.freshness.append(watch.freshness)
        return watch

    def _long_silent(self, since: Mapping[int, float], after_s: float) -> None:
        if self.watch is not None and self.watch.is_silent(after_s):
            ids = (self._once_ticked | self.ticks.ticked()).intersection(since)
            self._withheld.look(bool(ids) and all(map(self.ticks.is_missed, ids)), after_s)
        if self.subscriptions is not None:
            self.subscriptions.silent(since, after_s)

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

    def _relist_soon(self) -> None:
        if self.subscriptions is not None:
            self.listing.soon()

    def _moved(self, before: Catalogue | None, now: Catalogue) -> list[int]:
        """The former ids of wanted symbols whose id has changed."""
        pairs = (
            [(before.by_name(key), now.by_name(key)) for key in self._wanted()] if before else ()
        )
        return [
            was.symbol_id
            for was, symbol in pairs
            if was is not None and symbol is not None and was.symbol_id != symbol.symbol_id
        ]

    def _keys(self, symbol_ids: Iterable[int]) -> list[str]:
        symbols = map(self.catalogue.by_id, symbol_ids) if self.catalogue else ()
        return [symbol.key for symbol in symbols if symbol is not None]

    def _symbol(self, name: str) -> Symbol | None:
        return None if self.catalogue is None else self.catalogue.by_name(name)

    def _wanted_ids(self) -> set[int]:
        symbols = map(self._symbol, self._wanted())
        return {s.symbol_id for s in symbols if s is not None and s.enabled}

    def _review(self) -> None:
        """Compare the wanted symbols with the newest list, and tell clients what changed."""
        catalogue, is_wanting = self.catalogue, False
        if catalogue is None:
            return
        for key in list(self._wanted()):
            missing = self._names.missing(key, catalogue)
            is_wanting = is_wanting or missing is not None or catalogue.former(key) is not None
            if missing is None:
                continue
            if missing.pending:
                self._cannot_be_had(key, missing)
            elif self.listing.lists > 1:
                # Accepted before there was a list, and in neither of the first two.
                self._tell(key, missing)
                self._causes.drop([key])
        self.listing.is_wanting(is_wanting)

    def _cannot_be_had(self, key: str, wanted: Wanted) -> None:
        """Tell clients why a wanted symbol is unavailable, once for each code; it stays wanted."""
        before = self.unavailable.get(key)
        if before is not None and before.code == wanted.code:
            return
        if key in self._wanted():
            self.unavailable[key] = wanted
            self._tell(key, wanted)

    def _tell(self, key: str, wanted: Wanted) -> None:
        with errands.on_behalf_of(self._causes.of([key]) or errands.current()):
            self._change(key, wanted)

    def _become(self, phase: Phase, **why: Any) -> None:
        before = self.state
        self.state = replace(AccountState(phase, epoch=before.epoch, symbols=before.symbols), **why)
        self._announce(self.state)

    def _trouble(self, code: str, reason: str) -> None:
        self.end()
        since = self._clock.seconds() if self.trouble is None else self.trouble[2]
        self.trouble = (code, reason, since)
