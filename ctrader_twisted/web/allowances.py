"""How much each of many may ask for: one token bucket a name, forgotten when it is full again."""

from __future__ import annotations

from dataclasses import dataclass

from ctrader_twisted.budget import Bucket

# So many names at the most: an attacker with many addresses must not fill the memory.
ROOM = 10_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left: of ``limit`` a second, ``remaining`` now; ``wait_s`` until the next one."""

    limit: float
    remaining: int
    wait_s: float

    def headers(self) -> dict[str, str]:
        """The RateLimit fields, as the IETF's httpapi group drafts them."""
        whole = max(1, round(self.limit))
        reset = 0 if self.remaining else max(1, -int(-self.wait_s // 1))
        return {
            "RateLimit-Policy": f'"default";q={whole};w=1',
            "RateLimit": f'"default";r={self.remaining};t={reset}',
        }


class Allowances:
    """Buckets of ``rate`` a second and ``burst`` at once, by name."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: dict[str, tuple[Bucket, float]] = {}

    def look(self, name: str, now: float) -> float:
        """Seconds that ``name`` has to wait; 0 when it may. Takes nothing."""
        known = self._buckets.get(name)
        return 0.0 if known is None else known[0].wait(now)

    def take(self, name: str, now: float) -> Allowance:
        """Take one, if one is there; ``wait_s`` of what comes back says whether it was."""
        if name not in self._buckets:
            self._make_room(now)
            self._buckets[name] = (Bucket(self._rate, now, self._burst), now)
        bucket, _ = self._buckets[name]
        self._buckets[name] = (bucket, now)
        wait_s = bucket.wait(now)
        if wait_s == 0:
            bucket.take()
        return Allowance(self._rate, bucket.left(), wait_s)

    def _make_room(self, now: float) -> None:
        if len(self._buckets) < ROOM:
            return
        full_again_s = self._burst / self._rate
        for name, (_, used_at) in list(self._buckets.items()):
            if now - used_at >= full_again_s:
                del self._buckets[name]
        while len(self._buckets) >= ROOM:
            # All are in use: the one that was there first loses its memory.
            del self._buckets[next(iter(self._buckets))]
