"""One-sided spots become whole ticks.

The venue's first event after a subscription brings both sides, later ones only what changed. A
tick is told only when both sides are known, and both from the same life of the session: `forget`
is called at every outage, so that nothing from before is ever laid beside something after it.
"""

from __future__ import annotations

from ctrader_twisted.market.model import SpotUpdate, Symbol, SymbolDetails, Tick
from ctrader_twisted.market.units import round_points


class _Quote:
    """The running state of one symbol."""

    __slots__ = ("ask", "bid", "details", "seq", "symbol", "tick")

    def __init__(self, symbol: Symbol) -> None:
        self.symbol = symbol
        self.details: SymbolDetails | None = None
        self.bid: int | None = None
        self.ask: int | None = None
        self.seq = 0
        self.tick: Tick | None = None


class Ticks:
    """The last whole tick of every symbol, and the making of the next."""

    def __init__(self) -> None:
        self._quotes: dict[int, _Quote] = {}

    def know(self, symbol: Symbol, details: SymbolDetails) -> None:
        """From now on ticks of ``symbol`` can be told, rounded to ``details.digits``."""
        quote = self._quotes.get(symbol.symbol_id)
        if quote is None:
            quote = self._quotes[symbol.symbol_id] = _Quote(symbol)
        quote.symbol = symbol
        quote.details = details

    def is_known(self, symbol_id: int) -> bool:
        """True when the symbol's digits are known."""
        quote = self._quotes.get(symbol_id)
        return quote is not None and quote.details is not None

    def update(self, symbol: Symbol, spot: SpotUpdate) -> Tick | None:
        """The tick that ``spot`` completes; None while a side or the digits are unknown.

        A side of zero is no price (the venue has none yet) and counts as absent.
        """
        quote = self._quotes.get(spot.symbol_id)
        if quote is None:
            quote = self._quotes[spot.symbol_id] = _Quote(symbol)
        if spot.bid:
            quote.bid = spot.bid
        if spot.ask:
            quote.ask = spot.ask
        return self._complete(quote, spot.timestamp_ms, spot.received_ms)

    def catch_up(self, symbol_id: int, now_ms: int) -> Tick | None:
        """The tick that was held back only because the digits were not known yet, if any."""
        quote = self._quotes.get(symbol_id)
        if quote is None or quote.tick is not None:
            return None
        return self._complete(quote, None, now_ms)

    def last(self, symbol_id: int) -> Tick | None:
        """The newest tick of this life of the session; None when there was none."""
        quote = self._quotes.get(symbol_id)
        return None if quote is None else quote.tick

    def forget_prices(self, symbol_id: int) -> None:
        """The venue stopped sending this symbol: what is known of its price is no longer true."""
        quote = self._quotes.get(symbol_id)
        if quote is not None:
            quote.bid = quote.ask = quote.tick = None

    def forget(self) -> None:
        """An outage: prices, digits and sequence numbers all begin again."""
        self._quotes.clear()

    def _complete(self, quote: _Quote, timestamp_ms: int | None, received_ms: int) -> Tick | None:
        details = quote.details
        if quote.bid is None or quote.ask is None or details is None:
            return None
        quote.seq += 1
        quote.tick = Tick(
            quote.symbol,
            details.digits,
            round_points(quote.bid, details.digits),
            round_points(quote.ask, details.digits),
            received_ms if timestamp_ms is None else timestamp_ms,
            received_ms,
            quote.seq,
        )
        return quote.tick
