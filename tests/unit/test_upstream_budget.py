"""The way out when it is narrow: two budgets, lanes, and fairness between accounts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ctrader_twisted.errors import ConnectionEnded, RequestTimeout
from ctrader_twisted.upstream.requests import Lane
from tests.unit.test_upstream_requests import RequestsCase


class BudgetTest(RequestsCase):
    """How much leaves, and who goes first."""

    def test_lanes_in_order(self) -> None:
        """When the budget is short, closing goes before trading, subscribing, reading, history."""
        self.requests = self.make(ordinary=1, history=1)
        self.ask(0)
        for lane in reversed(Lane):
            self.ask(int(lane) + 1, lane)
        self.clock.pump([1] * 6)
        # History has a budget of its own, so its only request did not wait.
        self.assertEqual(self.numbers(), [0, 6, 1, 2, 3, 4, 5])
        self.drain_quietly()

    def test_fair_between_accounts(self) -> None:
        """One account with many requests does not starve another with few."""
        self.requests = self.make(ordinary=1)
        for _ in range(5):
            self.ask(1, account_id=1)
        self.ask(2, account_id=2)
        self.ask(2, account_id=2)
        self.clock.pump([1] * 6)
        self.assertEqual(self.numbers(), [1, 1, 2, 1, 2, 1, 1])
        self.drain_quietly()

    def test_budgets_are_independent(self) -> None:
        """Exhausted history does not hold up ordinary requests, nor they it."""
        for _ in range(30):
            self.ask(1, Lane.HISTORY)
        self.ask(2, Lane.TRADE)
        self.assertEqual(self.numbers()[-1], 2)
        for _ in range(100):
            self.ask(3)
        before = self.numbers().count(1)
        self.clock.advance(0.25)
        self.assertEqual(self.numbers().count(1), before + 1)
        self.drain_quietly()

    def test_never_more_than_the_venue_allows(self) -> None:
        """With the default rates no second, wherever it begins, holds 51 requests, or 6 old ones.

        The venue allows 50 and 5; a full second's worth saved up would double what leaves.
        """
        for _ in range(200):
            self.ask(1)
        for _ in range(20):
            self.ask(2, Lane.HISTORY)
        self.clock.pump([0.005] * 1000)
        for number, allowed, total in ((1, 50, 200), (2, 5, 20)):
            times = [
                at for at, (who, _) in zip(self.times, self.sent, strict=True) if who == number
            ]
            self.assertEqual(len(times), total)
            busiest = max(sum(1 for at in times if start <= at < start + 1) for start in times)
            self.assertLessEqual(busiest, allowed)
        self.drain_quietly()

    def test_restore_leaves_at_once(self) -> None:
        """The few requests that restore two hundred symbols do not wait for the budget."""
        for _ in range(6):
            self.ask(1)
        self.assertEqual(self.times, [0.0] * 6)
        self.drain_quietly()

    def test_clock_that_steps_back(self) -> None:
        """A step back of the clock neither takes tokens away nor stops the queue."""
        self.requests = self.make(ordinary=1)
        self.clock.advance(1000)
        self.ask(1)
        self.clock.rightNow -= 500
        self.ask(2)
        self.clock.advance(1)
        self.ask(3)
        self.assertEqual(self.numbers(), [1, 2])
        self.drain_quietly()

    def test_clock_with_coarse_numbers(self) -> None:
        """Far from zero a float has few digits; a wait that rounds to nothing must not spin."""
        self.clock.advance(1.7e9)
        self.requests = self.make(ordinary=33)
        for _ in range(90):
            self.ask(1)
        self.clock.pump([0.01] * 300)
        self.assertEqual(len(self.sent), 90)
        self.drain_quietly()

    @given(
        st.lists(
            st.tuples(st.sampled_from(list(Lane)), st.integers(1, 3), st.integers(0, 3)),
            max_size=30,
        )
    )
    def test_each_request_ends_exactly_once(self, plan: list[tuple[Lane, int, int]]) -> None:
        """Answered, cancelled, late or cut: every request ends once, and nothing is left."""
        self.setUp()
        self.requests = self.make(ordinary=5, history=2)
        ends: list[object] = []
        for lane, account_id, fate in plan:
            asked = self.ask(account_id, lane, account_id=account_id)
            asked.addBoth(ends.append)
            if fate == 1:
                asked.cancel()
            elif fate == 2 and self.sent:
                self.settle(self.sent[-1][1])
            elif fate == 3:
                self.clock.advance(0.7)
        self.drain()
        self.assertEqual(len(ends), len(plan))

    def drain_quietly(self) -> None:
        """End everything; the failures are not what the test is about."""
        self.drain()
        self.flushLoggedErrors(ConnectionEnded, RequestTimeout)
