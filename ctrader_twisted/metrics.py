"""What is counted. Plain numbers: whoever counts adds one, whoever asks reads."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

# Upper bounds in seconds: the fan-out is a matter of microseconds, the venue one of milliseconds.
FANOUT_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
REQUEST_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Histogram:
    """How often a number was at most each of ``bounds``, and the sum of all."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def cumulative(self) -> list[tuple[str, float]]:
        """Upper bound and how many were at most that, as Prometheus wants them."""
        total, found = 0, []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            total += count
            found.append((bound, float(total)))
        return found


class Freshness(NamedTuple):
    """How fresh the prices of one source are: symbols by state, and the age of its newest tick in
    seconds (None: there was none yet). Asked at a scrape, so that no tick costs anything.
    """

    source: str
    symbols: Mapping[str, int]
    newest_tick_s: float | None


class Metrics:
    """One per daemon, handed to everybody who counts something.

    The fields of the hot path are plain attributes; everything rare goes through `count`.

    Of ticks the books balance: ``ticks_offered`` (a tick times everybody who wanted it) is
    ``ticks_out`` + ``conflated`` + ``ticks_dropped`` + what parked clients still have coming.
    """

    def __init__(self) -> None:
        self.frames_in = 0
        self.ticks_in = 0
        self.ticks_offered = 0
        self.ticks_out = 0
        self.ticks_dropped = 0
        self.frames_out = 0
        self.conflated = 0
        self.clients = 0
        # When the bytes that are being handled were read (seconds of the reactor's clock).
        self.received_at = 0.0
        self.fanout_s = Histogram(FANOUT_S)
        self.request_s: dict[str, Histogram] = {}
        # Whoever watches a source adds itself here.
        self.freshness: list[Callable[[], Freshness]] = []
        self._counted: Counter[tuple[str, str]] = Counter()

    def count(self, name: str, label: str = "") -> None:
        """Add one to ``name``; ``label`` is one of a few (never a client, never a symbol)."""
        self._counted[name, label] += 1

    def counted(self, name: str, label: str = "") -> int:
        """How often `count` was called with these two."""
        return self._counted[name, label]

    def all(self) -> dict[tuple[str, str], int]:
        """Everything that was counted, for a report."""
        return dict(self._counted)

    def requested(self, lane: str, outcome: str, seconds: float | None) -> None:
        """A request to the venue is over: ``answered``, ``refused``, ``timed_out``, ``lost`` or
        ``not_sent``; ``seconds`` since it left, None when it never did.
        """
        self.count("requests", f"{lane}/{outcome}")
        if seconds is not None:
            if lane not in self.request_s:
                self.request_s[lane] = Histogram(REQUEST_S)
            self.request_s[lane].observe(seconds)
