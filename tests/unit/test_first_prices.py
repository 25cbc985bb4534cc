"""Subscriptions that are confirmed and send no price."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.upstream.first_prices import FirstPrices
from tests.unit.joined_daemon import JoinedCase
from tests.unit.log_lines import LogLines

MONTH_S = 30 * 86_400.0


class DeadListingTest(SynchronousTestCase):
    """Symbols that never have a price."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.priced: set[int] = set()
        self.renewals: list[tuple[float, set[int]]] = []
        self.lines = LogLines(self)
        self.prices = FirstPrices(
            clock=self.clock, heard=self.priced.__contains__, renew=self.renew
        )

    def renew(self, symbol_ids: Collection[int]) -> None:
        """Ended and begun again, at once."""
        self.renewals.append((self.clock.seconds(), set(symbol_ids)))
        self.prices.stop(symbol_ids)
        self.prices.expect(symbol_ids)

    def pass_time(self, seconds: float) -> None:
        """From one timer to the next."""
        ends = self.clock.seconds() + seconds
        while calls := self.clock.getDelayedCalls():
            due = min(call.getTime() for call in calls)
            if due > ends:
                break
            self.clock.advance(due - self.clock.seconds())
        self.clock.advance(ends - self.clock.seconds())

    def gaps(self) -> list[float]:
        """Seconds between one renewal and the next."""
        times = [0.0, *(at for at, _ in self.renewals)]
        return [now - before for before, now in pairwise(times)]

    def test_a_month(self) -> None:
        """Every minute for an hour, then every ten minutes, all of them together; two lines in the
        log.
        """
        self.prices.expect(range(1, 51))
        self.pass_time(MONTH_S)
        self.assertEqual(self.gaps()[:5], [10.0, 20.0, 40.0, 60.0, 60.0])
        self.assertEqual(set(self.gaps()[60:]), {600.0})
        self.assertLess(len(self.renewals), 4400)
        self.assertTrue(all(len(ids) == 50 for _, ids in self.renewals))
        self.assertEqual(len(self.lines.about("no first price")), 2)
        self.prices.end()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_price_after_all(self) -> None:
        """Then it is like any other; what is wanted anew is, too."""
        self.prices.expect([1, 2])
        self.pass_time(86_400)
        self.priced.add(1)
        self.pass_time(1200)
        self.assertEqual(self.renewals[-1][1], {2})
        self.priced.clear()
        self.prices.stop([2])
        self.prices.forget([2])
        self.renewals.clear()
        began = self.clock.seconds()
        self.prices.expect([1, 2])
        self.pass_time(15)
        self.assertEqual(self.renewals, [(began + 10, {1, 2})])
        self.prices.end()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class DaemonTest(JoinedCase):
    """The whole way."""

    rate = 0.0

    def test_asked_for_anew(self) -> None:
        """A symbol that had no price for hours: who wants it after a time in which nobody did waits
        ten seconds for the next look, and not ten minutes.
        """
        lines = LogLines(self)
        self.mischief.pretend("ProtoOASubscribeSpotsReq", 0)
        self.start("EURUSD")
        self.run_for(3 * 3600, step_s=5)
        asked = self.joint.requests().count("ProtoOASubscribeSpotsReq")
        self.assertLess(asked, 60 + 3 + 6 * 3)
        self.assertEqual(len(lines.about("no first price")), 2)
        self.account.unsubscribe(self.floor, ["EURUSD"])
        self.run_for(10)
        self.account.subscribe(self.floor, ["EURUSD"])
        self.run_for(1)
        self.mischief.clear()
        self.run_for(12)
        self.assertEqual({tick.symbol.name for tick in self.floor.ticks}, {"EURUSD"})
