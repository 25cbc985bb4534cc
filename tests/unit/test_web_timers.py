"""Timers that thousands of connections share: on time, and none left when nothing is to come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.web.timers import BUCKET_S, Timers


class Counting(Clock):
    """Counts the timers that were made."""

    made = 0

    def callLater(self, when: float, what: Callable[..., object], *a: Any, **kw: Any) -> Any:
        """As ever."""
        self.made += 1
        return super().callLater(when, what, *a, **kw)


class TimersTest(SynchronousTestCase):
    """Calls to come, and calls that were cancelled."""

    def setUp(self) -> None:
        self.clock = Counting()
        self.timers = Timers(self.clock)
        self.rung: list[object] = []

    def later(self, delay_s: float, what: object) -> Any:
        """A call to come."""
        return self.timers.call_later(delay_s, self.rung.append, what)

    def test_never_early_and_hardly_late(self) -> None:
        """Whatever was asked for, it comes within a fifth of a second after that."""
        self.clock.advance(0.07)
        for tenths in range(1, 30):
            self.later(tenths / 10, tenths)
        for _ in range(300):
            self.clock.advance(0.01)
            now = self.clock.seconds() - 0.07
            for tenths in range(1, 30):
                if now < tenths / 10 - 1e-6:
                    self.assertNotIn(tenths, self.rung)
                elif now > tenths / 10 + BUCKET_S:
                    self.assertIn(tenths, self.rung)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_storm_shares_a_timer(self) -> None:
        """A thousand handshakes, each over before the next one begins: one timer serves them."""
        waiting = self.later(20, "a ping")
        for _ in range(1000):
            self.later(10, "too slow").cancel()
        self.assertEqual(self.clock.made, 2)
        self.clock.advance(11)
        self.assertEqual(self.rung, [])
        waiting.cancel()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nothing_is_left(self) -> None:
        """When the last call is cancelled, or has come, no timer stays for those before it."""
        first, last = self.later(1, "first"), self.later(2, "last")
        self.later(3, "never").cancel()
        first.cancel()
        first.cancel()
        self.assertEqual(len(self.clock.getDelayedCalls()), 3)
        last.cancel()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.later(9, "never").cancel()
        self.later(1, "now")
        self.later(5, "never").cancel()
        self.clock.advance(1.5)
        self.assertEqual(self.rung, ["now"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_call_cancels_another_of_the_same_moment(self) -> None:
        """A connection that ends takes its other timers along, also while they ring."""
        calls: list[Any] = []

        def ring(number: int) -> None:
            self.rung.append(number)
            calls[1 - number].cancel()

        calls += [self.timers.call_later(1, ring, number) for number in range(2)]
        self.clock.advance(1.5)
        self.assertEqual(len(self.rung), 1)
        self.later(1, "afterwards")
        self.clock.advance(1.5)
        self.assertEqual(self.rung[1:], ["afterwards"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_that_fails(self) -> None:
        """The others of the same moment belong to other clients."""
        self.timers.call_later(1, lambda: 1 // 0)
        self.later(1, "served")
        self.clock.advance(1.5)
        self.assertEqual(self.rung, ["served"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
