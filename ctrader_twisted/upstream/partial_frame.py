"""Progress and deadline of the frame that is still arriving.

A long answer over a slow line can take longer than the deadline of its request. While its bytes
come in, no other frame can arrive, so request deadlines wait; instead each frame has a deadline.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

PREFIX_BYTES = 4
# A smaller frame is complete at the next read, unless the line is slow.
LARGE_BYTES = 65_536
# Seconds after which a frame of any size counts as long.
SLOW_S = 1.0


class PartialFrame:
    """The incomplete frame of one connection; calls ``too_slow`` if it misses its deadline."""

    def __init__(
        self,
        *,
        clock: IReactorTime,
        timeout_s: float,
        too_slow: Callable[[BaseException], None],
    ) -> None:
        """``too_slow(error)`` is called if a frame is incomplete ``timeout_s`` after its start."""
        self._clock = clock
        self._timeout_s = timeout_s
        self._too_slow = too_slow
        self._rest = b""
        self._began_at = self._grew_at = 0.0
        self._timer: IDelayedCall | None = None

    def look(self, rest: bytes, read: int) -> None:
        """Note what a read of ``read`` bytes left: ``rest`` follows the last complete frame."""
        before, self._rest = len(self._rest), rest
        if not rest:
            return
        now = self._grew_at = self._clock.seconds()
        if before and len(rest) == before + read:
            # No frame was completed by this read, so it is still the same one.
            return
        self._began_at = now
        if self._timer is None:
            self._timer = self._clock.callLater(self._timeout_s, self._check)

    def is_arriving(self, within_s: float) -> bool:
        """Whether a long frame is arriving and its newest byte is at most ``within_s`` old.

        A small frame that has just begun does not count: a busy connection always has one.
        """
        if not self._rest:
            return False
        now = self._clock.seconds()
        is_long = self._announced() > LARGE_BYTES or now - self._began_at >= SLOW_S
        return is_long and now - self._grew_at < within_s

    def stop(self) -> None:
        """Cancel the deadline: the connection ended."""
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
            # The timer was set for an earlier frame, which is complete.
            self._timer = self._clock.callLater(left_s, self._check)
            return
        size = f" of {self._announced()} bytes" if len(self._rest) >= PREFIX_BYTES else ""
        self._too_slow(
            TimeoutError(
                f"a frame{size} was not complete after {self._timeout_s:g} s (frame_timeout_s)"
            )
        )
