"""The frame that is still arriving: how much of it is there, and how long it may take.

A long answer over a slow line takes longer than any deadline of a request. While its bytes come in
nothing else can arrive, so no deadline rings; in return each frame has a bound of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

PREFIX_BYTES = 4
# A frame of that size is whole at the next read, unless the line is slow.
LARGE_BYTES = 65_536
# So is any other after so long.
SLOW_S = 1.0


class PartialFrame:
    """What was read of a frame that is not complete; one for each connection."""

    def __init__(
        self,
        *,
        clock: IReactorTime,
        timeout_s: float,
        too_slow: Callable[[BaseException], None],
    ) -> None:
        """``too_slow`` is called when a frame is not complete ``timeout_s`` after it began."""
        self._clock = clock
        self._timeout_s = timeout_s
        self._too_slow = too_slow
        self._rest = b""
        self._began_at = self._grew_at = 0.0
        self._timer: IDelayedCall | None = None

    def look(self, rest: bytes, read: int) -> None:
        """``rest`` is what is left behind the last whole frame, after a read of ``read`` bytes."""
        before, self._rest = len(self._rest), rest
        if not rest:
            return
        now = self._grew_at = self._clock.seconds()
        if before and len(rest) == before + read:
            # Nothing was taken away: it is the same frame, and longer.
            return
        self._began_at = now
        if self._timer is None:
            self._timer = self._clock.callLater(self._timeout_s, self._check)

    def is_arriving(self, within_s: float) -> bool:
        """Whether a frame is on its way, the newest byte of which is not older than ``within_s``.

        A small one that has only begun does not count: on a busy connection there always is one.
        """
        if not self._rest:
            return False
        now = self._clock.seconds()
        is_long = self._announced() > LARGE_BYTES or now - self._began_at >= SLOW_S
        return is_long and now - self._grew_at < within_s

    def stop(self) -> None:
        """The connection is over."""
        self._rest = b""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _announced(self) -> int:
        if len(self._rest) < PREFIX_BYTES:
            return 0
        return int.from_bytes(self._rest[:PREFIX_BYTES], "big")

    def _check(self) -> None:
        self._timer = None
        if not self._rest:
            return
        left_s = self._began_at + self._timeout_s - self._clock.seconds()
        if left_s > 0:
            # The one that the timer was for is complete, and this one began later.
            self._timer = self._clock.callLater(left_s, self._check)
            return
        size = f" of {self._announced()} bytes" if len(self._rest) >= PREFIX_BYTES else ""
        self._too_slow(
            TimeoutError(
                f"a frame{size} was not complete after {self._timeout_s:g} s (frame_timeout_s)"
            )
        )
