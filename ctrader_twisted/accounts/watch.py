"""The watch over one source of prices: it looks every few seconds, and says what changed.

A source is whatever brings ticks by symbol id; each has its own watch, its own health and its own
name, which stands in every sentence that clients read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ctrader_twisted.market.health import Changes, Fresh, Health
from ctrader_twisted.market.hours import ALWAYS_OPEN, Hours
from ctrader_twisted.market.model import FeedNews, SymbolNews
from ctrader_twisted.metrics import Freshness

# While something is silent we look more often, so that its return is told soon.
SOON_S = 1.0
NAMED = 5
# A symbol that is silent for so many times `stale_after_s`, and no less than so long, may have been
# dropped by the venue.
RENEW_TIMES, RENEW_LEAST_S = 10, 300.0
# How many unknown time zones are logged at most, and how many characters of each name.
MOST_UNKNOWN_ZONES, LONGEST_ZONE = 20, 60


@dataclass(frozen=True, slots=True)
class WatchPolicy:
    """``source`` is its name for people; ``stale_after_s`` of silence while its market is open is
    an alarm, looked for every ``check_s``; ``now_ms`` gives the time of day.
    """

    source: str
    stale_after_s: float
    check_s: float
    now_ms: Callable[[], int]

    @property
    def renew_after_s(self) -> float:
        """After how long a silence while its market is open a subscription is renewed."""
        return max(RENEW_LEAST_S, RENEW_TIMES * self.stale_after_s)


class Watch:
    """Looks after the freshness of one source."""

    log = Logger()

    def __init__(
        self,
        *,
        policy: WatchPolicy,
        clock: IReactorTime,
        expected: Callable[[], Iterable[int]],
        last_tick_ms: Callable[[int], int],
        name_of: Callable[[int], str],
        tell: Callable[[FeedNews], None],
        tell_symbols: Callable[[SymbolNews], None],
        renew: Callable[[Mapping[int, float], float], None] = lambda _, __: None,
    ) -> None:
        """``expected`` gives the ids whose ticks should come now; ``last_tick_ms`` when the last
        one of a symbol was read (ms since the epoch, 0: none yet). ``renew`` is told at each look
        what has been silent for long (see `Subscriptions.silent`).
        """
        self.policy = policy
        self._clock = clock
        self._expected = expected
        self._name_of = name_of
        self._tell = tell
        self._tell_symbols, self._renew = tell_symbols, renew
        self._hours: dict[int, Hours] = {}
        self._unknown_zones: set[str] = set()
        self._shared: dict[Hours, Hours] = {}
        self._timer: IDelayedCall | None = None
        self._was_stale = False
        self.health = Health(
            threshold_s=policy.stale_after_s, last_tick=last_tick_ms, hours=self.hours
        )

    def hours(self, symbol_id: int) -> Hours:
        """The trading hours of a symbol; around the clock while nothing is known of them."""
        return self._hours.get(symbol_id, ALWAYS_OPEN)

    def known_hours(self, symbol_id: int) -> Hours | None:
        """The trading hours of a symbol, if the venue has told them."""
        return self._hours.get(symbol_id)

    def know(self, symbol_id: int, hours: Hours) -> None:
        """The venue told the trading hours of a symbol."""
        if hours not in self._shared:
            if len(self._shared) > 2 * len(self._hours):
                # Hours of earlier details, which no symbol has any more.
                self._shared = {one: one for one in self._hours.values()}
            self._shared[hours] = hours
            self._tell_unknown(hours.unknown_zones())
        # Equal hours are one object: a look works them out once.
        self._hours[symbol_id] = self._shared[hours]

    def _tell_unknown(self, zones: set[str]) -> None:
        for name in sorted(zones - self._unknown_zones):
            # Bounded, since the venue could name a new one every second.
            if len(self._unknown_zones) < MOST_UNKNOWN_ZONES:
                self._unknown_zones.add(name)
                self.log.error(
                    "{source}: the time zone {zone!r} is not known; hours in it are taken as "
                    "around the clock, and holidays in it are left out",
                    source=self.policy.source,
                    zone=name[:LONGEST_ZONE],
                )

    def begin(self) -> None:
        """The source is up."""
        self._again(self.policy.check_s)

    def pause(self) -> None:
        """The source is down: that is told by others, and nothing is claimed about freshness."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        was_stale, self._was_stale = self._was_stale, False
        # What came since the last look is noticed before it is forgotten.
        self.freshness()
        self.health.forget(self._clock.seconds())
        if was_stale:
            source = self.policy.source
            self._tell(FeedNews(source, "unwatched", f"{source}: not watched"))

    def is_silent(self, for_s: float) -> bool:
        """Whether markets are open and no symbol at all has ticked for so long."""
        silent_s = self.health.silent_s(self._clock.seconds())
        return self.health.feed is Fresh.STALE and silent_s >= for_s

    def freshness(self) -> Freshness:
        """For a scrape: symbols by state at the last look, and how old the newest tick is."""
        age_s = self.health.newest_age_s(self._clock.seconds(), self.policy.now_ms())
        return Freshness(self.policy.source, self.health.counted(), age_s)

    # -- inside

    def _again(self, delay_s: float) -> None:
        self._timer = self._clock.callLater(delay_s, self._look)

    def _look(self) -> None:
        # The next look first: whatever this one meets, it is not the last.
        self._again(self.policy.check_s)
        now = self._clock.seconds()
        changes = self.health.look(self._expected(), now, self.policy.now_ms())
        if self.health.stale() and self._timer is not None:
            self._timer.reset(min(SOON_S, self.policy.check_s))
        before = self._was_stale
        self._was_stale = self.health.feed is Fresh.STALE
        if changes.feed is not None:
            self._feed_changed(before, now)
        self._symbols_changed(changes)
        # The last step: what it asks for may bring prices at once.
        after_s = self.policy.renew_after_s
        silent = self.health.long_silent(now, after_s)
        if silent:
            self._renew(silent, after_s)

    def _feed_changed(self, was_stale: bool, now: float) -> None:
        source, feed = self.policy.source, self.health.feed
        if feed is Fresh.STALE:
            silent_s = self.health.silent_s(now)
            silent = self._listed(self.health.stale())
            message = f"{source}: no price for {silent_s:.0f} s, although the market is open"
            self.log.warn("{message} ({silent})", message=message, silent=silent)
            self._tell(FeedNews(source, "stale", f"{message} ({silent})"))
        elif was_stale and feed is Fresh.FRESH:
            self.log.info("{source}: prices come again", source=source)
            self._tell(FeedNews(source, "tick_resumed", f"{source}: prices come again"))
        elif was_stale:
            self._tell(FeedNews(source, "quiet", f"{source}: the market is closed"))

    def _symbols_changed(self, changes: Changes) -> None:
        source = self.policy.source
        for code, ids in (("STALE", changes.stale), ("RESUMED", changes.resumed)):
            if not ids:
                continue
            listed = self._listed(ids)
            silent = f"no price for {self.policy.stale_after_s:g} s although the market is open"
            what = silent if code == "STALE" else "prices come again"
            self.log.info("{source}: {what}: {symbols}", source=source, what=what, symbols=listed)
            names = tuple(map(self._name_of, ids))
            self._tell_symbols(SymbolNews(source, code, f"{source}: {what}: {listed}", names))

    def _listed(self, ids: Sequence[int]) -> str:
        """Some names, and how many more there are."""
        names = ", ".join(map(self._name_of, ids[:NAMED]))
        more = len(ids) - NAMED
        return f"{names} and {more} more" if more > 0 else names
