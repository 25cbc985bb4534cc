"""Connections on which no price comes although markets are open: ended, at a slow rate."""

from __future__ import annotations

from tests.unit.joined_daemon import JoinedCase
from tests.unit.log_lines import LogLines

SUBSCRIBE = "ProtoOASubscribeSpotsReq"
WANTS = ("EURUSD", "GBPUSD", "XAUUSD")


class WithheldCase(JoinedCase):
    """A daemon with three wants that the venue serves."""

    def setUp(self) -> None:
        super().setUp()
        self.start(*WANTS)
        self.run_for(5)

    def connections(self) -> int:
        """How many there were."""
        return len(self.joint.attempts)

    def assert_served(self) -> None:
        """All that was wanted ticks."""
        self.floor.ticks.clear()
        self.run_for(10)
        self.assertEqual({tick.symbol.name for tick in self.floor.ticks}, set(WANTS))
        self.assertEqual((self.account.confirmed(), self.floor.news), (3, []))


class NoPriceTest(WithheldCase):
    """Subscriptions are confirmed and bring nothing."""

    def test_no_price_at_all(self) -> None:
        """The connection is ended five minutes after renewals began, and then ever less often."""
        lines = LogLines(self)
        self.mischief.pretend(SUBSCRIBE, times=0)
        self.mischief.forget_spots()
        self.run_for(550)
        self.assertEqual(self.connections(), 1)
        self.run_for(100)
        self.assertEqual(self.connections(), 2)
        self.assertEqual(len(lines.about("ending the connection")), 1)
        self.run_for(3600, step_s=1)
        self.assertIn(self.connections(), (3, 4))
        self.run_for(43_200, step_s=2)
        self.assertLess(self.connections(), 20)
        self.mischief.clear()
        self.run_for(65)
        self.assert_served()

    def test_again_after_a_day(self) -> None:
        """A second time, long after the first, is as soon as the first."""
        for _ in range(2):
            before = self.connections()
            self.mischief.pretend(SUBSCRIBE, times=0)
            self.mischief.forget_spots()
            self.run_for(650)
            self.assertEqual(self.connections(), before + 1)
            self.mischief.clear()
            self.run_for(65)
            self.assert_served()
            self.run_for(7200, step_s=1)
            self.assertEqual(self.connections(), before + 1)

    def test_after_an_outage(self) -> None:
        """The same when it begins with a new connection."""
        self.mischief.pretend(SUBSCRIBE, times=0)
        self.mischief.drop()
        self.run_for(500)
        before = self.connections()
        self.run_for(200)
        self.assertEqual(self.connections(), before + 1)
        self.mischief.clear()
        self.run_for(65)
        self.assert_served()

    def test_never_a_price(self) -> None:
        """A symbol that never had a price is no reason."""
        self.account.unsubscribe(self.floor, WANTS)
        self.mischief.pretend(SUBSCRIBE, times=0)
        self.account.subscribe(self.floor, ["USDJPY"])
        self.run_for(3600, step_s=1)
        self.assertEqual(self.connections(), 1)

    def test_some(self) -> None:
        """While one symbol ticks the connection is kept."""
        self.mischief.pretend(SUBSCRIBE, times=0)
        self.mischief.forget_spots(WANTS[1:])
        self.run_for(3600, step_s=1)
        self.assertEqual(self.connections(), 1)
        self.mischief.clear()
        self.run_for(65)
        self.assert_served()

    def test_refused(self) -> None:
        """What the venue refuses is no fault of the connection."""
        self.mischief.error(SUBSCRIBE, "SYMBOL_NOT_FOUND", times=0)
        self.mischief.forget_spots()
        self.run_for(3600, step_s=1)
        self.assertEqual(self.connections(), 1)


class FirstPricesOnlyTest(WithheldCase):
    """Each new subscription brings its first price, and nothing follows."""

    def test_first_prices_only(self) -> None:
        """Renewals bring other prices each time, which must come by themselves."""
        self.mischief.quiet()
        self.run_for(850)
        self.assertEqual(self.connections(), 1)
        self.run_for(130)
        self.assertEqual(self.connections(), 2)
        self.mischief.clear()
        self.run_for(2)
        self.assert_served()


class StandingMarketTest(WithheldCase):
    """Nothing moves, and so nothing is withheld."""

    rate = 0.0

    def test_first_prices_that_are_known(self) -> None:
        """Renewals that bring the prices that we know say that all is well."""
        self.run_for(20_000, step_s=2)
        self.assertEqual(self.connections(), 1)
