"""A connection on which no price comes at all, although markets are open: ended, at a slow rate.

Subscriptions that are renewed one by one heal what the venue forgot of them. Where that brings no
price of any symbol, or nothing but the first one each time, the fault is the connection's.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

# Between two connections that are ended, at most; and after twice as long all begins anew.
LONGEST_S = 3600.0


class WithheldPrices:
    """Ends the connection when prices have been withheld for long; one object for all lives."""

    _due: float | None = None
    _ended_at = float("-inf")
    _times = 0

    def __init__(self, *, clock: IReactorTime, end: Callable[[str], None]) -> None:
        """``end`` ends the connection, for that reason; another one follows by itself."""
        self._clock = clock
        self._end = end

    def look(self, is_withheld: bool, after_s: float) -> None:
        """No price has come for ``after_s`` or longer; ``is_withheld``: although the venue should
        have sent some of each symbol.
        """
        now = self._clock.seconds()
        if not is_withheld:
            self._due = None
            return
        if now - self._ended_at > 2 * LONGEST_S:
            self._times = 0
        if self._due is None:
            self._due = now + min(after_s * 2.0 ** min(self._times, 32), max(after_s, LONGEST_S))
        elif self._due <= now:
            self._due, self._ended_at = None, now
            self._times += 1
            self._end("no price of any symbol comes although the market is open")

    def forget(self) -> None:
        """The connection is over anyway."""
        self._due = None
