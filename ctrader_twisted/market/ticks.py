"""One-sided spots become whole ticks.

The venue's first event after a subscription brings both sides, later ones only what changed. A
tick is told only when both sides are known, and both from the same life of the session: `forget`
is called at every outage, so that nothing from before is ever laid beside something after it.
A subscription that is renewed is no outage: the last tick stands until there is another price.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from ctrader_twisted.market.model import SpotUpdate, Symbol, SymbolDetails, Tick
from ctrader_twisted.market.units import POINT_DIGITS, round_points

# The end of the year 9999, less two days for time zones: many calendars of clients end there.
LATEST_MS = 253_402_128_000_000


class _Quote:
    """The running state of one symbol. A side of 0 is not known."""

    __slots__ = (
        "ask",
        "bid",
        "digits",
        "is_round",
        "received_ms",
        "seq",
        "symbol",
        "tick",
        "time_ms",
    )

    def __init__(self) -> None:
        self.symbol: Symbol | None = None
        self.digits = 0
        self.is_round = True
        self.bid = self.ask = 0
        self.time_ms = self.received_ms = 0
        self.seq = 0
        self.tick: Tick | None = None


class Ticks:
    """The last whole tick of every symbol, and the making of the next."""

    def __init__(self) -> None:
        self._quotes: dict[int, _Quote] = {}
        # Not among the others, so that no tick of those is looked at twice: quotes of symbols that
        # are subscribed anew, with the bid and the ask from before.
        self._renewed: dict[int, tuple[_Quote, int, int]] = {}
        # The number of the last tick before each symbol was subscribed anew.
        self._seq_before: dict[int, int] = {}

    def know(self, symbol: Symbol, details: SymbolDetails) -> None:
        """From now on ticks of ``symbol`` can be told, rounded to ``details.digits``."""
        quote = self._quote(symbol.symbol_id)
        if quote is None:
            quote = self._quotes[symbol.symbol_id] = _Quote()
        quote.symbol = symbol
        quote.digits = details.digits
        quote.is_round = details.digits >= POINT_DIGITS

    def update(self, spot: SpotUpdate) -> Tick | None:
        """The tick that ``spot`` completes; None if ``spot`` has neither side, or while a side or
        the digits are unknown.
        """
        quote = self._quotes.get(spot.symbol_id)
        if quote is None:
            if spot.symbol_id in self._renewed:
                return self._first_again(spot)
            quote = self._quotes[spot.symbol_id] = _Quote()
        bid, ask, received_ms = spot.bid, spot.ask, spot.received_ms
        # An absent side is 0, and what is remembered of it stands.
        if bid:
            quote.bid = bid
        elif ask:
            bid = quote.bid
        else:
            return None
        if ask:
            quote.ask = ask
        else:
            ask = quote.ask
        time_ms = spot.timestamp_ms
        if not 0 < time_ms < LATEST_MS:
            time_ms = received_ms
        quote.time_ms, quote.received_ms = time_ms, received_ms
        symbol = quote.symbol
        if symbol is None or not bid or not ask:
            return None
        digits = quote.digits
        if not quote.is_round:
            bid, ask = round_points(bid, digits), round_points(ask, digits)
        quote.seq = seq = quote.seq + 1
        tick = quote.tick = Tick(symbol, digits, bid, ask, time_ms, received_ms, seq)
        return tick

    def catch_up(self, symbol_id: int) -> Tick | None:
        """The tick that was held back only because the digits were not known yet, if any."""
        quote = self._quote(symbol_id)
        if quote is None or quote.tick is not None:
            return None
        # An update without a side is no tick; otherwise the other side is the remembered one.
        return self.update(
            SpotUpdate(0, symbol_id, quote.bid, quote.ask, quote.time_ms, quote.received_ms)
        )

    def last(self, symbol_id: int) -> Tick | None:
        """The newest tick of this life of the session; None when there was none."""
        quote = self._quote(symbol_id)
        return None if quote is None else quote.tick

    def is_priced(self, symbol_id: int) -> bool:
        """Whether a price of this symbol has come since its subscription began."""
        quote = self._quote(symbol_id)
        return quote is not None and (quote.bid or quote.ask) > 0

    def newest(self, symbol_ids: Iterable[int]) -> list[Tick]:
        """The newest ticks of those that have had one in this life of the session."""
        quotes = map(self._quote if self._renewed else self._quotes.get, symbol_ids)
        return [q.tick for q in quotes if q is not None and q.tick is not None]

    def ticked(self) -> set[int]:
        """The symbols that have had a tick in this life of the session."""
        renewed = ((number, quote) for number, (quote, *_) in self._renewed.items())
        return {number for number, quote in chain(self._quotes.items(), renewed) if quote.tick}

    def renew(self, symbol_id: int) -> None:
        """The venue is to send this symbol anew, beginning with a price. Its last tick stands; the
        same price over again is none.
        """
        quote = self._quotes.pop(symbol_id, None)
        if quote is not None:
            self._renewed[symbol_id] = (quote, quote.bid, quote.ask)
            self._seq_before[symbol_id] = quote.seq
            quote.bid = quote.ask = 0

    def is_missed(self, symbol_id: int) -> bool:
        """Whether the venue seems to withhold prices of this symbol: none came at all, or the only
        one since it was last subscribed anew was the first, and another one than before.
        """
        if not self.is_priced(symbol_id):
            return True
        quote = self._quotes.get(symbol_id)
        return quote is not None and quote.seq - self._seq_before.get(symbol_id, quote.seq) == 1

    def forget_prices(self, symbol_id: int) -> None:
        """The venue stopped sending this symbol: what is known of its price is no longer true."""
        quote = self._quote(symbol_id)
        if quote is not None:
            self._renewed.pop(symbol_id, None)
            self._quotes[symbol_id] = quote
            quote.bid = quote.ask = 0
            quote.tick = None

    def forget_symbol(self, symbol_id: int) -> None:
        """The symbol is another one now: nothing is told of it until it is known again."""
        self._quotes.pop(symbol_id, None)
        self._renewed.pop(symbol_id, None)
        self._seq_before.pop(symbol_id, None)

    def forget(self) -> None:
        """An outage: prices, digits and sequence numbers all begin again."""
        self._quotes.clear()
        self._renewed.clear()
        self._seq_before.clear()

    # -- inside

    def _quote(self, symbol_id: int) -> _Quote | None:
        quote = self._quotes.get(symbol_id)
        if quote is None and symbol_id in self._renewed:
            quote = self._renewed[symbol_id][0]
        return quote

    def _first_again(self, spot: SpotUpdate) -> Tick | None:
        """The first price of a symbol that was subscribed anew; None while a side is unknown, and
        when it is the price from before, which the venue has not given a newer time.
        """
        quote, *before = self._renewed[spot.symbol_id]
        quote.bid, quote.ask = spot.bid or quote.bid, spot.ask or quote.ask
        if not quote.bid or not quote.ask:
            return None
        del self._renewed[spot.symbol_id]
        self._quotes[spot.symbol_id] = quote
        if [quote.bid, quote.ask] == before:
            # Quoted again, perhaps, but nothing was missed.
            self._seq_before.pop(spot.symbol_id, None)
            if not quote.time_ms < spot.timestamp_ms < LATEST_MS:
                return None
        return self.update(spot)
