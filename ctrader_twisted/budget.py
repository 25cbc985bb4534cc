"""A token bucket: how often something may happen."""

from __future__ import annotations


class Bucket:
    """``rate`` per second, holding at most ``burst`` (default one second's worth, at least one).

    Time comes in as a number; a clock that steps back takes no tokens away.
    """

    __slots__ = ("_at", "_capacity", "_rate", "_tokens")

    def __init__(self, rate: float, now: float, burst: float | None = None) -> None:
        self._rate = rate
        self._capacity = max(1.0, rate if burst is None else burst)
        self._tokens = self._capacity
        self._at = now

    def wait(self, now: float) -> float:
        """Seconds until a token can be taken; 0 when one is there."""
        elapsed = max(0.0, now - self._at)
        self._at = now
        self._tokens = min(self._capacity, self._tokens + elapsed * self._rate)
        return 0.0 if self._tokens >= 1 - 1e-9 else (1 - self._tokens) / self._rate

    def take(self) -> None:
        """Take the token that `wait` said is there."""
        self._tokens -= 1

    def used(self, now: float) -> float:
        """How much of the capacity is used up: 0 is nothing, 1 is all of it."""
        self.wait(now)
        return 1 - max(0.0, self._tokens) / self._capacity

    def left(self) -> int:
        """How many could be taken at once, as of the last `wait`."""
        return max(0, int(self._tokens + 1e-9))
