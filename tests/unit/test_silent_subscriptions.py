"""Subscriptions that the venue ends without a word after they have ticked are renewed."""

from __future__ import annotations

from ctrader_twisted.accounts import Wanted
from ctrader_twisted.market.hours import Hours
from tests.unit.joined_daemon import JoinedCase
from tests.unit.log_lines import LogLines

SUBSCRIBE, UNSUBSCRIBE = "ProtoOASubscribeSpotsReq", "ProtoOAUnsubscribeSpotsReq"
WANTS = ("EURUSD", "GBPUSD", "XAUUSD")
#: 300 s of silence, a look, and two answers.
SOON_S = 315.0


class SilentCase(JoinedCase):
    """A daemon with three wants that the venue serves."""

    def setUp(self) -> None:
        super().setUp()
        self.start(*WANTS)
        self.run_for(5)
        self.asked = len(self.joint.requests())

    def requests(self, name: str) -> int:
        """How many requests of that class were sent since all was well."""
        return self.joint.requests()[self.asked :].count(name)

    def moved(self, name: str) -> None:
        """A new price of a symbol, which is delivered where it is subscribed."""
        points = 100_000 + round(self.clock.seconds()) % 9_973
        self.mischief.tick(name, bid_points=points, ask_points=points + 10)

    def prices(self) -> dict[str, int]:
        """The number of the newest tick of each symbol that has one."""
        ticks = self.account.last_ticks(WANTS)
        return {tick.symbol.name: tick.seq for tick in ticks}

    def watched(self, seconds: float) -> None:
        """So long, during which no client notices anything but silence."""
        before = self.prices()
        for _ in range(round(seconds * 4)):
            self.run_for(0.25)
            now = self.prices()
            self.assertEqual(now.keys(), set(WANTS))
            self.assertTrue(all(now[name] >= before[name] for name in WANTS))
            before = now
            told = self.account.subscribe(self.floor, WANTS)
            self.assertEqual(told, tuple(map(Wanted, WANTS)))
            self.assertEqual(self.account.confirmed(), 3)
        self.assertEqual((self.floor.news, self.phase()), ([], "connected"))

    def ticking(self, seconds: float = 10) -> set[str]:
        """What ticks now."""
        self.floor.ticks.clear()
        self.run_for(seconds)
        return {tick.symbol.name for tick in self.floor.ticks}


class ForgottenTest(SilentCase):
    """The market moves, and the venue has forgotten some."""

    def test_one(self) -> None:
        """It is renewed after five minutes; nobody notices but for the silence."""
        lines = LogLines(self)
        self.mischief.forget_spots(("EURUSD",))
        self.assertEqual(self.ticking(), {"GBPUSD", "XAUUSD"})
        self.watched(SOON_S - 10)
        self.assertEqual(self.ticking(), set(WANTS))
        codes = [(news.code, news.symbols) for _, news in self.floor.symbols]
        self.assertEqual(codes, [("STALE", ("EURUSD",)), ("RESUMED", ("EURUSD",))])
        self.assertEqual(len(lines.about("they are renewed")), 1)
        self.assertEqual((self.requests(UNSUBSCRIBE), self.requests(SUBSCRIBE)), (1, 1))

    def test_all(self) -> None:
        """The same when nothing comes at all: the alarm ends."""
        self.mischief.forget_spots()
        self.watched(SOON_S)
        self.assertEqual(self.ticking(), set(WANTS))
        self.assertEqual([news.word for _, news in self.floor.health], ["stale", "tick_resumed"])

    def test_again_and_again(self) -> None:
        """A symbol that has ticked since is renewed as soon as the first time."""
        for _ in range(4):
            self.mischief.forget_spots(("EURUSD",))
            self.run_for(SOON_S)
            self.assertEqual(self.ticking(), set(WANTS))

    def test_between_renewals(self) -> None:
        """One that is forgotten a moment after it was renewed."""
        self.mischief.forget_spots(("EURUSD",))
        while not self.requests(SUBSCRIBE):
            self.run_for(0.25)
        self.run_for(0.1, step_s=0.01)
        self.mischief.forget_spots(("EURUSD",))
        self.run_for(2 * SOON_S)
        self.assertEqual(self.ticking(), set(WANTS))


class IlliquidTest(SilentCase):
    """A market that stands still, although it is open."""

    rate = 0.0

    def test_a_day(self) -> None:
        """Three or four requests an hour, no tick, and nothing that is said to come again."""
        self.run_for(86_400, step_s=5)
        self.assertLess(self.requests(SUBSCRIBE), 48)
        self.assertEqual(self.requests(UNSUBSCRIBE), self.requests(SUBSCRIBE))
        self.assertNotIn("tick_resumed", [news.word for _, news in self.floor.health])
        self.assertNotIn("RESUMED", [news.code for _, news in self.floor.symbols])
        self.assertEqual(set(self.prices().values()), {1})
        self.assertEqual(len(self.joint.attempts), 1)

    def test_same_price(self) -> None:
        """The snapshot of a renewal that says what we know is no tick, and nothing is fresh."""
        ticks = len(self.floor.ticks)
        self.watched(SOON_S)
        self.assertEqual(self.requests(SUBSCRIBE), 1)
        self.assertEqual(len(self.floor.ticks), ticks)
        self.assertEqual([news.word for _, news in self.floor.health], ["stale"])
        self.run_for(400)
        self.assertEqual(self.requests(SUBSCRIBE), 1)
        self.run_for(250)
        self.assertEqual(self.requests(SUBSCRIBE), 2)
        self.mischief.forget_spots(("EURUSD",))
        self.watched(1300)
        self.assertEqual(len(self.floor.ticks), ticks)
        self.moved("EURUSD")
        self.assertEqual(self.ticking(1), {"EURUSD"})

    def test_other_price(self) -> None:
        """A snapshot with another price is one: prices come again."""
        self.mischief.forget_spots()
        self.run_for(100)
        self.moved("EURUSD")
        self.run_for(SOON_S - 100)
        self.assertEqual([news.word for _, news in self.floor.health], ["stale", "tick_resumed"])
        self.assertEqual(self.prices(), {"EURUSD": 2, "GBPUSD": 1, "XAUUSD": 1})

    def test_same_price_of_a_newer_time(self) -> None:
        """The venue has quoted it since, as it was: that is fresh, too."""
        (tick,) = self.account.last_ticks(["EURUSD"])
        self.mischief.forget_spots()
        self.run_for(100)
        self.mischief.tick("EURUSD", bid_points=tick.bid, ask_points=tick.ask)
        self.run_for(SOON_S - 100)
        self.assertEqual(self.prices()["EURUSD"], 2)

    def test_closed(self) -> None:
        """Outside its hours a silent symbol is left alone."""
        watch = self.account._feed.watch
        assert watch is not None
        for number in self.account._feed._expected():
            watch.know(number, Hours("UTC", ((0, 1),)))
        self.run_for(2000)
        self.assertEqual(self.requests(SUBSCRIBE), 0)

    def test_just_opened(self) -> None:
        """What was silent overnight is renewed when its market has been open for so long."""
        watch = self.account._feed.watch
        assert watch is not None
        # From 12:30 on Tuesday.
        opens = 2 * 86_400 + 12 * 3600 + 1800
        for number in self.account._feed._expected():
            watch.know(number, Hours("UTC", ((opens, opens + 7200),)))
        self.run_for(1800 + 250)
        self.assertEqual(self.requests(SUBSCRIBE), 0)
        self.run_for(70)
        self.assertEqual(self.requests(SUBSCRIBE), 1)

    def test_clock_jumps(self) -> None:
        """A jump of the time of day renews nothing."""
        for jump_s in (86_400, -172_800):
            self.start_ms += jump_s * 1000
            self.run_for(60)
        self.assertEqual(self.requests(SUBSCRIBE), 0)


class RefusedTest(SilentCase):
    """The renewal itself does not succeed."""

    def forget(self, until_s: float = SOON_S) -> None:
        """The venue forgets one; so long later it has been renewed."""
        self.mischief.forget_spots(("EURUSD",))
        self.run_for(until_s)

    def test_refused(self) -> None:
        """A refused want like any other: told, with its code, and had again later."""
        self.mischief.error(SUBSCRIBE, "SYMBOL_NOT_FOUND", times=0)
        self.forget()
        (told,) = self.floor.news
        self.assertEqual((told.name, told.code, told.pending), ("EURUSD", "SYMBOL_NOT_FOUND", True))
        self.assertEqual((self.account.confirmed(), self.prices().keys()), (2, set(WANTS[1:])))
        (again,) = self.account.subscribe(self.floor, ["EURUSD"])
        self.assertTrue(again.pending)
        self.mischief.clear()
        self.run_for(65)
        self.assertEqual(self.ticking(), set(WANTS))
        self.assertEqual(self.floor.news[-1], Wanted("EURUSD"))

    def test_not_now(self) -> None:
        """A venue that is not able to for a while: pending until it is."""
        for code in ("CANT_ROUTE_REQUEST", "BLOCKED_PAYLOAD_TYPE", "NEVER_SEEN"):
            self.mischief.error(SUBSCRIBE, code, times=0)
            self.forget()
            self.assertEqual(self.account.confirmed(), 2, code)
            (again,) = self.account.subscribe(self.floor, ["EURUSD"])
            self.assertTrue(again.pending, code)
            self.mischief.clear()
            self.run_for(65)
            self.assertEqual(self.ticking(), set(WANTS), code)

    def test_unanswered(self) -> None:
        """No answer to the end, to the beginning, or to both; done or not."""
        for requests in ([SUBSCRIBE], [UNSUBSCRIBE], [UNSUBSCRIBE, SUBSCRIBE]):
            for is_done in (False, True):
                for request in requests:
                    self.mischief.swallow(request, is_done)
                self.forget(SOON_S + 30)
                self.assertEqual(self.ticking(), set(WANTS), (requests, is_done))
                self.assertEqual(self.account.confirmed(), 3)

    def test_end_refused(self) -> None:
        """What cannot be ended for a while is renewed when it can."""
        self.mischief.error(UNSUBSCRIBE, "NEVER_SEEN", times=0)
        self.forget()
        self.assertEqual(self.account.confirmed(), 3)
        self.mischief.clear()
        self.run_for(65)
        self.assertEqual(self.ticking(), set(WANTS))

    def test_pretended(self) -> None:
        """A renewal that is confirmed and not done is renewed within a minute."""
        self.mischief.pretend(SUBSCRIBE, times=2)
        self.forget(SOON_S + 45)
        self.assertEqual(self.ticking(), set(WANTS))
        self.assertEqual(self.floor.news, [])

    def test_not_wanted_any_more(self) -> None:
        """Nobody wants it when it is about to begin again, or is asked for: it ends."""
        for delay_s in (0.0, 1.0):
            self.account.subscribe(self.floor, ["EURUSD"])
            self.run_for(2)
            self.mischief.slow(1.0)
            self.mischief.forget_spots(("EURUSD",))
            asked = self.requests(UNSUBSCRIBE)
            while self.requests(UNSUBSCRIBE) == asked:
                self.run_for(0.25)
            self.account._demand._grace_s = 0.0
            self.run_for(delay_s)
            self.account.unsubscribe(self.floor, ["EURUSD"])
            self.run_for(10)
            self.mischief.clear()
            self.assertEqual(self.account.confirmed(), 2)
            (connection,) = self.simulator.venue.connections
            had = self.simulator.venue.feed.subscribed((connection, 1000001))
            self.assertEqual(len(had), 2)
            self.assertNotIn("EURUSD", self.prices())

    def test_outage_in_between(self) -> None:
        """The connection ends during a renewal: all is restored as always."""
        self.mischief.slow(1.0)
        self.mischief.forget_spots(("EURUSD",))
        while not self.requests(UNSUBSCRIBE):
            self.run_for(0.25)
        self.mischief.drop()
        self.mischief.clear()
        self.run_for(5)
        self.assertEqual(self.ticking(), set(WANTS))


class ManyTest(JoinedCase):
    """Hundreds of symbols."""

    synthetic = 300
    rate = 0.0

    def test_in_batches(self) -> None:
        """Those that are still subscribed cost two requests for each hundred."""
        self.start(*(f"SYM{number:03}" for number in range(300)))
        self.run_for(5)
        asked = len(self.joint.requests())
        self.run_for(SOON_S)
        self.assertEqual(len(self.joint.requests()) - asked, 6)
        self.assertEqual(self.account.confirmed(), 300)

    def test_all_forgotten(self) -> None:
        """Hundreds that the venue has forgotten are had again within the budget, in a minute."""
        self.start(*(f"SYM{number:03}" for number in range(300)))
        self.run_for(5)
        self.mischief.forget_spots()
        self.run_for(SOON_S + 60)
        self.assertEqual(self.simulator.venue.feed.subscriptions, 300)
        self.assertEqual(self.account.confirmed(), 300)
