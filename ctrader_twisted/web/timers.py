"""Timers for thousands of connections: those due in the same moment share one of the reactor's."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

# How late a ping or a time-out may be.
BUCKET_S = 0.2


class Timers:
    """What Autobahn wants of a timer, on a clock that was handed in.

    Thousands of clients have a ping each; those that are due within the same fifth of a second
    share one timer of the reactor. It stays when the last of them is cancelled, since in a storm
    of handshakes the next one follows at once; none stays when nothing is to come any more.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._due: dict[int, tuple[IDelayedCall, set[Call]]] = {}
        self._to_come = 0

    def call_later(self, delay_s: float, call: Callable[..., object], *args: Any) -> Call:
        """As `callLater`, up to a fifth of a second late."""
        now = self._clock.seconds()
        bucket = ceil((now + delay_s) / BUCKET_S - 1e-6)
        due = self._due.get(bucket)
        if due is None:
            timer = self._clock.callLater(max(0.0, bucket * BUCKET_S - now), self._ring, bucket)
            due = self._due[bucket] = (timer, set())
        one = Call(self, bucket, call, args)
        due[1].add(one)
        self._to_come += 1
        return one

    def forget(self, one: Call) -> None:
        """It was cancelled."""
        self._to_come -= 1
        due = self._due.get(one.bucket)
        if due is not None:
            due[1].discard(one)
        self._rest()

    def _ring(self, bucket: int) -> None:
        for one in list(self._due.pop(bucket)[1]):
            if not one.is_over:
                self._to_come -= 1
                one.ring()
        self._rest()

    def _rest(self) -> None:
        if not self._to_come:
            for timer, _ in self._due.values():
                timer.cancel()
            self._due.clear()


class Call:
    """One call to come: the part of IDelayedCall that Autobahn uses."""

    __slots__ = ("_args", "_call", "_timers", "bucket", "is_over")
    log = Logger()

    def __init__(
        self, timers: Timers, bucket: int, call: Callable[..., object], args: tuple[Any, ...]
    ) -> None:
        self._timers = timers
        self.bucket = bucket
        self._call = call
        self._args = args
        self.is_over = False

    def active(self) -> bool:
        """Is it still to come?"""
        return not self.is_over

    def cancel(self) -> None:
        """It shall not come. Cancelling what is over does nothing."""
        if not self.is_over:
            self.is_over = True
            self._timers.forget(self)

    def ring(self) -> None:
        """Now."""
        self.is_over = True
        try:
            self._call(*self._args)
        except Exception:
            # The others of this fifth of a second belong to other clients.
            self.log.failure("a timer of a WebSocket failed")
