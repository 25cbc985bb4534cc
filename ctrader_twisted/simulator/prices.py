"""A seeded price walk: the same seed and the same number of steps give the same prices."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from random import Random
from typing import NamedTuple

from ctrader_twisted.simulator.symbols import Instrument

#: How far a price strays from where it started, as a part of it, before it is sure to turn.
LEASH = 0.04
#: The chance that only one side means to move; a fifth of these meet the other side and push it,
#: so that about 40 % of all ticks are one-sided.
ONE_SIDED = 0.5


class Move(NamedTuple):
    """One step of one symbol, in points; a side that did not change is None."""

    symbol_id: int
    bid_points: int | None
    ask_points: int | None


class _Stroll:
    """One symbol's price, in its own smallest steps."""

    __slots__ = ("ask", "bid", "instrument", "narrowest", "scale", "widest")

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.scale = instrument.points_per_unit
        self.narrowest = max(1, instrument.spread_units // 2)
        self.widest = instrument.spread_units * 2
        self.bid = instrument.start_units
        self.ask = instrument.start_units + instrument.spread_units

    def step(self, random: Random) -> tuple[int | None, int | None]:
        """New bid and ask in points, each None when it stays."""
        instrument = self.instrument
        stray = (self.bid - instrument.start_units) / (instrument.start_units * LEASH)
        distance = 1 + int(random.random() * instrument.stride_units)
        if random.random() * 2 < 1 + stray:
            distance = -distance
        chance = random.random()
        bid, ask = self.bid, self.ask
        if chance < ONE_SIDED / 2:
            bid += distance
        elif chance < ONE_SIDED:
            ask += distance
        else:
            bid += distance
            ask += distance
        if not self.narrowest <= ask - bid <= self.widest:
            # One side ran into the other, or away from it: both go together instead.
            bid, ask = self.bid + distance, self.ask + distance
        changed_bid = bid * self.scale if bid != self.bid else None
        changed_ask = ask * self.scale if ask != self.ask else None
        self.bid, self.ask = bid, ask
        return changed_bid, changed_ask


class Walk:
    """The prices of all symbols. Ticks are drawn over all of them, whoever listens."""

    def __init__(self, instruments: Sequence[Instrument], seed: int) -> None:
        self._random = Random(seed)
        self._strolls = [_Stroll(instrument) for instrument in instruments]
        self._by_id = {stroll.instrument.symbol_id: stroll for stroll in self._strolls}
        self._shares = list(accumulate(instrument.weight for instrument in instruments))

    def step(self) -> Move:
        """The next tick: one symbol, drawn by weight, one or both sides changed."""
        drawn = bisect_right(self._shares, self._random.random() * self._shares[-1])
        stroll = self._strolls[drawn]
        bid_points, ask_points = stroll.step(self._random)
        return Move(stroll.instrument.symbol_id, bid_points, ask_points)

    def quote(self, symbol_id: int) -> tuple[int, int]:
        """Bid and ask of now, in points."""
        stroll = self._by_id[symbol_id]
        return stroll.bid * stroll.scale, stroll.ask * stroll.scale

    def start(self, symbol_id: int) -> int:
        """The bid at which the walk began, in points; it stands for the last session's close."""
        stroll = self._by_id[symbol_id]
        return stroll.instrument.start_units * stroll.scale

    def move_to(self, symbol_id: int, bid_points: int | None, ask_points: int | None) -> None:
        """Set one or both sides by hand; the walk goes on from there."""
        stroll = self._by_id[symbol_id]
        if bid_points is not None:
            stroll.bid = bid_points // stroll.scale
        if ask_points is not None:
            stroll.ask = ask_points // stroll.scale
