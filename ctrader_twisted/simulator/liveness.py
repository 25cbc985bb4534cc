"""The clocks and bounds of one connection: who is silent, or never said who they are, or reads
nothing; and our own beat.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from ctrader_twisted.simulator.behaviour import Behaviour


class Watch:
    """Calls ``cut`` with a reason when a client is silent or unknown for too long, and ``beat``
    when we have said nothing for a while."""

    def __init__(
        self,
        clock: IReactorTime,
        behaviour: Behaviour,
        *,
        cut: Callable[[str], None],
        beat: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._behaviour = behaviour
        self._cut = cut
        self._beat = beat
        self._heard_s = self._said_s = clock.seconds()
        self._silence: IDelayedCall | None = None
        self._stranger: IDelayedCall | None = None
        self._idle: IDelayedCall | None = None

    def start(self, *, stranger: bool = True) -> None:
        """From now on; a stranger has to say who it is in time."""
        self._heard_s = self._said_s = self._clock.seconds()
        behaviour, call = self._behaviour, self._clock.callLater
        self._silence = call(behaviour.silence_cut_s, self._check_silence)
        if stranger:
            self.estranged()
        self._idle = call(behaviour.heartbeat_s, self._check_idle)

    def heard(self) -> None:
        """Something came in."""
        self._heard_s = self._clock.seconds()

    def said(self) -> None:
        """Something went out."""
        self._said_s = self._clock.seconds()

    def introduced(self) -> None:
        """The application has said who it is."""
        if self._stranger is not None and self._stranger.active():
            self._stranger.cancel()
        self._stranger = None

    def estranged(self) -> None:
        """The application has to say who it is (again)."""
        self.introduced()
        self._stranger = self._clock.callLater(
            self._behaviour.unauthenticated_cut_s, self._check_stranger
        )

    def stop(self) -> None:
        """Leave no timer behind."""
        for timer in (self._silence, self._stranger, self._idle):
            if timer is not None and timer.active():
                timer.cancel()
        self._silence = self._stranger = self._idle = None

    def _check_silence(self) -> None:
        left_s = self._heard_s + self._behaviour.silence_cut_s - self._clock.seconds()
        if left_s > 0:
            self._silence = self._clock.callLater(left_s, self._check_silence)
        else:
            self._cut("silent for too long")

    def _check_stranger(self) -> None:
        self._cut("no application authorisation in time")

    def _check_idle(self) -> None:
        left_s = self._said_s + self._behaviour.heartbeat_s - self._clock.seconds()
        if left_s <= 0:
            self._beat()
            left_s = self._behaviour.heartbeat_s
        self._idle = self._clock.callLater(left_s, self._check_idle)


class Bucket:
    """A token bucket that holds one second's worth."""

    def __init__(self, clock: IReactorTime, per_s: float) -> None:
        self._clock = clock
        self._per_s = per_s
        self._tokens = max(1.0, per_s)
        self._seen_s = clock.seconds()

    def take(self) -> bool:
        """True when there was one left."""
        now_s = self._clock.seconds()
        gained = max(0.0, now_s - self._seen_s) * self._per_s
        self._tokens = min(max(1.0, self._per_s), self._tokens + gained)
        self._seen_s = now_s
        if self._tokens < 1 - 1e-9:
            return False
        self._tokens -= 1
        return True


@implementer(IPushProducer)
class Backlog:
    """What a client was sent and does not read. Its transport's producer, to be told of that."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._waiting: int | None = None

    def pauseProducing(self) -> None:
        """The client reads too slowly: what waits for it is counted."""
        self._waiting = 0

    def resumeProducing(self) -> None:
        """It has caught up."""
        self._waiting = None

    def stopProducing(self) -> None:
        """The transport is done; the connection hears of it by itself."""

    def is_too_long_with(self, size: int) -> bool:
        """So many bytes more were written: is it more than a client may leave unread?"""
        if self._waiting is None:
            return False
        self._waiting += size
        return self._waiting > self._limit
