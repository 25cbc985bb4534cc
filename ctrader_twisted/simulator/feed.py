"""Who listens to which symbol, and the ticks on their way to them.

The ticks are a function of the seed and of the time since the feed began; a listener changes
nothing but where they go. With nobody listening no timer runs: the walk catches up later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ctrader_twisted.pb import api_pb2
from ctrader_twisted.simulator.frames import Wording
from ctrader_twisted.simulator.prices import Move, Walk

#: Moments are never nearer to one another than this; what is due by then goes out together.
PACE_S = 0.002
#: After a pause that is longer than this many ticks (nobody listened, or the machine slept), the
#: market has slept too.
LONGEST_CATCH_UP = 20_000
#: Sums of decimal fractions fall short of whole numbers by about this much.
_ROUNDING = 1e-6


class Listener(Protocol):
    """A connection, as far as the feed knows it."""

    def write(self, octets: bytes) -> None:
        """Send whole frames."""


Seat = tuple[Listener, int]
"""A connection and one of its accounts."""


class Feed:
    """Draws ``rate`` ticks a second in total, ``burst`` of them at a time, and delivers them."""

    def __init__(
        self,
        clock: IReactorTime,
        walk: Walk,
        wording: Wording,
        now_ms: Callable[[], int],
        *,
        rate: float,
        burst: int,
    ) -> None:
        self._clock = clock
        self._walk = walk
        self._wording = wording
        self._now_ms = now_ms
        self._burst = max(1, burst)
        self._rate = rate
        self._origin_s = clock.seconds()
        self._drawn = 0
        self._timer: IDelayedCall | None = None
        # symbol id -> seat -> does it want timestamps?
        self._audience: dict[int, dict[Seat, bool]] = {}
        # Subscribed, but without the first event yet: until then there is nothing to add to.
        self._awaiting_first: set[tuple[Seat, int]] = set()
        # When the price of each symbol was made that has changed since the beginning.
        self._began_ms, self._priced_ms = now_ms(), dict[int, int]()
        self.quiet: set[int] = set()
        self.delivered = 0

    # -- who listens

    def subscribed(self, seat: Seat) -> set[int]:
        """The symbol ids that a seat listens to."""
        return {symbol_id for symbol_id, seats in self._audience.items() if seat in seats}

    @property
    def subscriptions(self) -> int:
        """How many there are, over all seats."""
        return sum(map(len, self._audience.values()))

    def subscribe(self, seat: Seat, symbol_ids: Iterable[int], *, timed: bool) -> None:
        """Deliver these symbols to a seat, once ``snapshot`` has given the first event."""
        self._catch_up()
        for symbol_id in symbol_ids:
            self._awaiting_first.add((seat, symbol_id))
            self._audience.setdefault(symbol_id, {})[seat] = timed
        self._arm()

    def unsubscribe(self, seat: Seat, symbol_ids: Iterable[int]) -> None:
        """Deliver these no more."""
        for symbol_id in symbol_ids:
            seats = self._audience.get(symbol_id, {})
            seats.pop(seat, None)
            self._awaiting_first.discard((seat, symbol_id))
            if not seats:
                self._audience.pop(symbol_id, None)
        if not self._audience:
            self._disarm()

    def snapshot(self, seat: Seat, symbol_ids: Iterable[int], *, session_close: bool) -> None:
        """The latest bid and ask of each symbol that the seat (still) listens to, with the time at
        which they were made.
        """
        frames = []
        for symbol_id in symbol_ids:
            timed = self._audience.get(symbol_id, {}).get(seat)
            if timed is None:
                continue
            self._awaiting_first.discard((seat, symbol_id))
            made_ms = self._priced_ms.get(symbol_id, self._began_ms) if timed else None
            event = self._event(seat[1], Move(symbol_id, *self._walk.quote(symbol_id)), made_ms)
            if session_close:
                event.sessionClose = self._walk.start(symbol_id)
            frames.append(self._wording.frame(event))
        if frames:
            seat[0].write(b"".join(frames))

    # -- ticks

    @property
    def rate(self) -> float:
        """Ticks a second over all symbols; 0 is a market that stands still."""
        return self._rate

    @rate.setter
    def rate(self, rate: float) -> None:
        self._catch_up()
        self._origin_s, self._drawn, self._rate = self._clock.seconds(), 0, rate
        self._disarm()
        self._arm()

    def publish(self, symbol_id: int, bid_points: int | None, ask_points: int | None) -> None:
        """One tick by hand, delivered at once; the walk goes on from there."""
        self._walk.move_to(symbol_id, bid_points, ask_points)
        self._deliver([Move(symbol_id, bid_points, ask_points)])

    def _due(self) -> int:
        """How many ticks of the walk are due and not drawn."""
        passed = (self._clock.seconds() - self._origin_s) * self._rate + _ROUNDING
        return int(passed) // self._burst * self._burst - self._drawn

    def _catch_up(self) -> None:
        """Before the first listener comes: the prices of now, delivered to nobody."""
        if self._timer is not None:
            return
        due = self._due()
        now_ms = self._now_ms()
        for _ in range(min(due, LONGEST_CATCH_UP)):
            self._priced_ms[self._walk.step().symbol_id] = now_ms
        self._drawn += due

    def _arm(self) -> None:
        if self._timer is None and self._audience and self._rate > 0:
            next_s = self._origin_s + (self._drawn + self._burst) / self._rate
            delay_s = max(PACE_S, next_s - self._clock.seconds())
            self._timer = self._clock.callLater(delay_s, self._moment)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _moment(self) -> None:
        self._timer = None
        due = self._due()
        if due > 0:
            self._drawn += due
            self._deliver([self._walk.step() for _ in range(min(due, LONGEST_CATCH_UP))])
        self._arm()

    def _deliver(self, moves: Iterable[Move]) -> None:
        """One write per connection for all of them; each is encoded once per account."""
        parcels: dict[Listener, list[bytes]] = {}
        now_ms = self._now_ms()
        for move in moves:
            self._priced_ms[move.symbol_id] = now_ms
            seats = self._audience.get(move.symbol_id)
            if not seats or move.symbol_id in self.quiet:
                continue
            frames: dict[tuple[int, bool], bytes] = {}
            for seat, timed in seats.items():
                if self._awaiting_first and (seat, move.symbol_id) in self._awaiting_first:
                    continue
                listener, account_id = seat
                wanted = (account_id, timed)
                if wanted not in frames:
                    frames[wanted] = self._wording.frame(
                        self._event(account_id, move, now_ms if timed else None)
                    )
                parcels.setdefault(listener, []).append(frames[wanted])
        for listener, parcel in parcels.items():
            self.delivered += len(parcel)
            listener.write(b"".join(parcel))

    def _event(self, account_id: int, move: Move, time_ms: int | None) -> api_pb2.ProtoOASpotEvent:
        event = api_pb2.ProtoOASpotEvent(ctidTraderAccountId=account_id, symbolId=move.symbol_id)
        if move.bid_points is not None:
            event.bid = move.bid_points
        if move.ask_points is not None:
            event.ask = move.ask_points
        if time_ms is not None:
            event.timestamp = time_ms
        return event
