"""Is the data fresh? Per symbol and for the feed as a whole, inside trading hours only.

Pure: whoever watches looks every few seconds and hands in what it sees; nothing is done per tick.
Silence is counted on a steady clock, so that a jump of the time of day is neither silence nor
youth; trading hours are asked of the time of day, because that is what they are about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum

from ctrader_twisted.market.hours import Hours


class Fresh(Enum):
    """What is known of the freshness of something. Only a tick makes it fresh."""

    FRESH = "fresh"
    WAITING = "waiting"
    STALE = "stale"
    CLOSED = "closed"


@dataclass(slots=True)
class Pulse:
    """One symbol. ``heard``: steady time of the last tick, or since when one is awaited."""

    heard: float
    ticked: bool = False
    mark: int = 0
    state: Fresh = Fresh.WAITING
    since: float = 0.0


@dataclass(slots=True)
class Changes:
    """What one look found. Symbol ids; ``feed`` is the new state of the feed, if it changed."""

    stale: list[int] = field(default_factory=list)
    resumed: list[int] = field(default_factory=list)
    feed: Fresh | None = None

    def note(self, symbol_id: int, before: Fresh, after: Fresh) -> None:
        """One symbol changed."""
        if after is Fresh.STALE:
            self.stale.append(symbol_id)
        elif before is Fresh.STALE and after is Fresh.FRESH:
            self.resumed.append(symbol_id)


class Health:
    """The freshness of one source.

    ``last_tick`` gives the time of day (ms) at which the last tick of a symbol was read, 0 for
    none; ``hours`` its trading hours.
    """

    def __init__(
        self,
        *,
        threshold_s: float,
        last_tick: Callable[[int], int],
        hours: Callable[[int], Hours],
    ) -> None:
        self.threshold_s = threshold_s
        self._last_tick = last_tick
        self._hours = hours
        self._pulses: dict[int, Pulse] = {}
        self._looked = 0.0
        self._newest: float | None = None
        self.feed = Fresh.CLOSED
        self.feed_since = 0.0

    def look(self, expected: Iterable[int], now: float, now_ms: int) -> Changes:
        """Look at the symbols whose ticks are expected now; what changed since the last look.

        ``now``: the steady clock in seconds; ``now_ms``: the time of day in ms.
        """
        changes = Changes()
        pulses: dict[int, Pulse] = {}
        # Many symbols share their hours; those are worked out once a look.
        opened: dict[int, float | None] = {}
        for symbol_id in expected:
            pulse = pulses[symbol_id] = self._pulses.get(symbol_id) or Pulse(heard=now, since=now)
            self._feel(pulse, self._last_tick(symbol_id), now, now_ms)
            hours = self._hours(symbol_id)
            if id(hours) not in opened:
                opened[id(hours)] = hours.opened_at(now_ms / 1000)
            state = self._state(pulse, opened[id(hours)], now, now_ms)
            if state is not pulse.state:
                changes.note(symbol_id, pulse.state, state)
                pulse.state, pulse.since = state, now
        self._pulses = pulses
        self._looked = now
        feed = _of_all(pulse.state for pulse in pulses.values())
        if feed is not self.feed:
            changes.feed, self.feed, self.feed_since = feed, feed, now
        return changes

    def forget(self, now: float) -> None:
        """The feed is down, or being restored: nothing is expected, and nothing is claimed."""
        self._pulses.clear()
        self.feed, self.feed_since = Fresh.CLOSED, now

    def pulse(self, symbol_id: int) -> Pulse | None:
        """What is known of one symbol; None when its ticks are not expected."""
        return self._pulses.get(symbol_id)

    def silent_s(self, now: float) -> float:
        """How long the feed as a whole has said nothing."""
        return now - max((pulse.heard for pulse in self._pulses.values()), default=now)

    def newest_age_s(self, now: float, now_ms: int) -> float | None:
        """How old the newest tick of all is, also one from before an outage; None without any."""
        for symbol_id, pulse in self._pulses.items():
            self._feel(pulse, self._last_tick(symbol_id), now, now_ms)
        return None if self._newest is None else now - self._newest

    def counted(self) -> dict[str, int]:
        """How many symbols were in each state at the last look."""
        found = Counter(pulse.state for pulse in self._pulses.values())
        return {state.value: found[state] for state in Fresh}

    def stale(self) -> list[int]:
        """The symbols that are silent although they trade."""
        return [number for number, pulse in self._pulses.items() if pulse.state is Fresh.STALE]

    def long_silent(self, now: float, after_s: float) -> dict[int, float]:
        """The symbols that have been silent for so long in this session of their market, and when
        the last tick of each was (steady time).
        """
        since = now - (after_s - self.threshold_s)
        return {
            number: pulse.heard
            for number, pulse in self._pulses.items()
            if pulse.state is Fresh.STALE and pulse.since <= since
        }

    def _feel(self, pulse: Pulse, mark: int, now: float, now_ms: int) -> None:
        if mark and mark != pulse.mark:
            # It came since the last look; when exactly, the time of day says, if it did not jump.
            ago_s = min(max((now_ms - mark) / 1000, 0.0), max(now - self._looked, 0.0))
            pulse.mark, pulse.ticked, pulse.heard = mark, True, now - ago_s
            self._newest = pulse.heard if self._newest is None else max(self._newest, pulse.heard)

    def _state(self, pulse: Pulse, opened_at: float | None, now: float, now_ms: int) -> Fresh:
        if opened_at is None:
            return Fresh.CLOSED
        if now - pulse.heard < self.threshold_s:
            return Fresh.FRESH if pulse.ticked else Fresh.WAITING
        # When a session has only just begun, the silence before it does not count.
        open_s = now_ms / 1000 - opened_at
        if pulse.state is Fresh.STALE or open_s >= self.threshold_s:
            return Fresh.STALE
        return Fresh.WAITING


def _of_all(states: Iterable[Fresh]) -> Fresh:
    """The feed: fresh while anything is, stale when all that trades is silent."""
    found = set(states)
    for state in (Fresh.FRESH, Fresh.STALE, Fresh.WAITING):
        if state in found:
            return state
    return Fresh.CLOSED
