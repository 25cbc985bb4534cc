"""The watch over the prices of the simulated venue: weekends, mute Tuesdays, outages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted import contract
from ctrader_twisted.accounts import Watch, WatchPolicy
from ctrader_twisted.market.hours import Holiday, Hours
from ctrader_twisted.market.model import AccountState, FeedNews, Phase, SymbolNews
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.web.audience import Audience
from ctrader_twisted.web.fanout import Fanout
from tests.unit.joined_daemon import JoinedCase
from tests.unit.log_lines import LogLines


def at_ms(text: str) -> int:
    """Milliseconds since the epoch of a UTC time."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


class WatchCase(JoinedCase):
    """A venue that speaks only when told to."""

    rate = 0.0

    def words(self) -> list[str]:
        """What was told of the feed."""
        return [news.word for _, news in self.floor.health]

    def tick(self, *names: str) -> None:
        """One tick of each."""
        for name in names:
            self.mischief.tick(name, bid_points=108_000 + round(self.clock.seconds()) % 97)


class OtherHoursTest(WatchCase):
    """A venue that gives other trading hours with every description."""

    def test_memory(self) -> None:
        """Only the hours that a symbol has now are kept."""
        self.start("EURUSD", "GBPUSD")
        watch = self.account._feed.watch
        assert watch is not None
        for number in range(1, 1000):
            watch.know(1, Hours(sessions=((0, number),)))
            watch.know(2, Hours(sessions=((0, number),)))
        self.assertLess(len(watch._shared), 10)
        self.assertIs(watch.hours(1), watch.hours(2))


class UnknownZoneTest(WatchCase):
    """The venue names a time zone that nobody knows."""

    def test_said_once(self) -> None:
        """One line for each zone, however many symbols have it; its hours count for nothing, and
        the doctor says that they are not known.
        """
        log = LogLines(self)
        self.start("EURUSD")
        self.run_for(5)
        watch = self.account._feed.watch
        assert watch is not None
        for number in range(50):
            zone = f"Zone {number % 2}"
            watch.know(number, Hours(zone, ((number, number + 60),), (Holiday("", zone, 1, True),)))
        for number in range(1000):
            watch.know(1, Hours(f"No {number}", ((5, 10),)))
        lines = log.about("is not known")
        self.assertEqual(sum("'Zone 0'" in line["message"] for line in lines), 1)
        self.assertLess(len(lines), 25)
        self.assertTrue(watch.hours(1).is_open(at_ms("2025-06-21T12:00") / 1000))


class MuteTuesdayTest(WatchCase):
    """The market is open, the connection stands, and nothing comes."""

    def test_within_the_threshold_and_one_check(self) -> None:
        """The alarm comes 30 to 40 s after the last tick, names the source, and is told once."""
        self.start("EURUSD", "GBPUSD")
        self.run_for(7)
        self.tick("EURUSD")
        last = self.clock.seconds()
        self.run_for(120)
        ((when, news),) = self.floor.health
        self.assertTrue(30 <= when - last <= 40, when - last)
        self.assertEqual(news.word, "stale")
        self.assertIn("cTrader demo", news.message)
        self.assertIn("EURUSD, GBPUSD", news.message)
        self.assertEqual(self.phase(), "connected")

    def test_resumed(self) -> None:
        """A tick ends the alarm, and that is told within a second."""
        self.start("EURUSD")
        self.run_for(60)
        self.tick("EURUSD")
        ticked = self.clock.seconds()
        self.run_for(5)
        self.assertEqual(self.words(), ["stale", "tick_resumed"])
        self.assertLessEqual(self.floor.health[1][0] - ticked, 1.0)
        self.assertIn("cTrader demo", self.floor.health[1][1].message)

    def test_one_symbol_of_two(self) -> None:
        """While one ticks the feed is fresh; who wants the other one is told about it."""
        self.start("EURUSD", "GBPUSD")
        for _ in range(60):
            self.tick("GBPUSD")
            self.run_for(1)
        self.assertEqual(self.words(), [])
        ((_, news),) = self.floor.symbols
        self.assertEqual((news.code, news.symbols), ("STALE", ("EURUSD",)))
        self.tick("EURUSD")
        self.run_for(2)
        self.assertEqual(self.floor.symbols[1][1].code, "RESUMED")

    def test_nobody_wants_anything(self) -> None:
        """Without a subscription there is nothing to be silent."""
        self.start()
        self.run_for(600)
        self.assertEqual(self.words(), [])


class ScrapeTest(WatchCase):
    """What a scrape is told of freshness."""

    def told(self) -> tuple[dict[str, int], float | None]:
        """Symbols by state, and the age of the newest tick."""
        (freshness,) = [ask() for ask in self.metrics.freshness]
        self.assertEqual(freshness.source, "cTrader demo")
        return dict(freshness.symbols), freshness.newest_tick_s

    def assert_about(self, age_s: float | None, expected_s: float) -> None:
        """To half a second: ticks travel, and so does the news of an outage."""
        assert age_s is not None
        self.assertLess(abs(age_s - expected_s), 0.5)

    def test_a_mute_feed(self) -> None:
        """Fresh, then stale, then down: the age grows all the while, and a tick ends it."""
        self.start("EURUSD", "GBPUSD")
        self.tick("EURUSD")
        self.run_for(12)
        symbols, age_s = self.told()
        self.assertEqual((symbols["fresh"], symbols["stale"]), (2, 0))
        self.assert_about(age_s, 12)
        self.run_for(40)
        symbols, age_s = self.told()
        self.assertEqual((symbols["fresh"], symbols["stale"]), (0, 2))
        self.assert_about(age_s, 52)
        self.mischief.refuse()
        self.mischief.drop()
        self.run_for(100)
        symbols, age_s = self.told()
        self.assertEqual(sum(symbols.values()), 0)
        self.assert_about(age_s, 152)
        self.mischief.clear()
        self.run_for(80)
        self.tick("EURUSD")
        self.run_for(1)
        self.assert_about(self.told()[1], 1)

    def test_the_last_words_before_an_outage(self) -> None:
        """A tick that came between the last look and the outage is not forgotten."""
        self.start("EURUSD")
        self.run_for(10)
        self.tick("EURUSD")
        self.run_for(2)
        self.mischief.refuse()
        self.mischief.drop()
        self.run_for(50)
        self.assert_about(self.told()[1], 52)


class WeekendTest(WatchCase):
    """From Friday evening to Monday, with nothing to hear."""

    def setUp(self) -> None:
        super().setUp()
        self.start_ms = at_ms("2025-06-20T20:50")

    def test_no_alarm(self) -> None:
        """Fifty hours of silence raise none; a mute Monday does, 30 to 40 s after the opening."""
        self.start("EURUSD", "XAUUSD")
        while self.now_ms() < at_ms("2025-06-20T20:54:30"):
            self.tick("EURUSD", "XAUUSD")
            self.run_for(5)
        while self.now_ms() < at_ms("2025-06-20T20:59"):
            self.tick("EURUSD")
            self.run_for(5)
        opens_ms = at_ms("2025-06-22T21:05")
        self.run_for((opens_ms - self.now_ms()) / 1000, step_s=5)
        self.assertEqual((self.words(), self.floor.symbols), ([], []))
        self.run_for(120)
        ((when, news),) = self.floor.health
        after_s = (self.start_ms + when * 1000 - opens_ms) / 1000
        self.assertEqual(news.word, "stale")
        self.assertTrue(30 <= after_s <= 41, after_s)

    def test_what_trades_on_a_weekend(self) -> None:
        """A coin trades on a Saturday, and its silence is one."""
        self.start_ms = at_ms("2025-06-21T12:00")
        self.start("EURUSD", "BTCUSD")
        self.run_for(60)
        ((_, news),) = self.floor.health
        self.assertIn("BTCUSD", news.message)
        self.assertNotIn("EURUSD", news.message)

    def test_the_market_closes_during_an_alarm(self) -> None:
        """The alarm ends without a price."""
        self.start("EURUSD")
        self.run_for(700)
        self.assertEqual(self.words(), ["stale", "quiet"])


class OutageTest(WatchCase):
    """Outages are told by others; the watch is not about them."""

    def test_paused_during_an_outage(self) -> None:
        """Ten minutes without a connection raise no alarm about prices; nor does the way back."""
        self.start("EURUSD")
        self.mischief.refuse()
        self.mischief.drop()
        self.run_for(600)
        self.assertEqual(self.words(), [])
        self.mischief.clear()
        self.run_for(61)
        self.assertEqual(self.phase(), "connected")
        self.tick("EURUSD")
        self.run_for(25)
        self.assertEqual(self.words(), [])

    def test_paused_during_restore(self) -> None:
        """A venue that takes a minute for each answer is slow, not mute."""
        self.start("EURUSD")
        self.mischief.swallow("ProtoOASubscribeSpotsReq", times=3)
        self.mischief.drop()
        for _ in range(50):
            self.run_for(1)
        self.assertEqual(self.account.confirmed(), 1)
        self.assertEqual(self.words(), [])

    def test_lost_while_stale(self) -> None:
        """An alarm ends with the connection, and the next one is told anew."""
        self.start("EURUSD")
        self.run_for(60)
        self.mischief.drop()
        self.run_for(60)
        self.assertEqual(self.words(), ["stale", "unwatched", "stale"])

    def test_the_clock_jumps(self) -> None:
        """An hour forwards, then two backwards, with a tick every second: no alarm."""
        self.start("EURUSD")
        for jump_ms in (3_600_000, -7_200_000):
            self.start_ms += jump_ms
            for _ in range(90):
                self.tick("EURUSD")
                self.run_for(1)
        self.assertEqual(self.words(), [])


class _Outbox:
    """What the audience touches of an outbox."""

    sent_at = 0.0


class _Client:
    """A client that remembers what it is told."""

    def __init__(self, *features: str) -> None:
        self.outbox: Any = _Outbox()
        self.features = frozenset(features)
        self.heard: list[dict[str, Any]] = []

    def say(self, payload: bytes, frame: bytes) -> None:
        """Client."""
        self.heard.append(msgspec.json.decode(payload))

    def words(self) -> list[str]:
        """The statuses."""
        return [one["status"] for one in self.heard if one["type"] == "status"]


class AudienceTest(SynchronousTestCase):
    """By which words clients hear of it (protocols.md, section 1)."""

    def setUp(self) -> None:
        self.clock = Clock()
        metrics = Metrics()
        self.audience = Audience(
            clock=self.clock,
            now_ms=lambda: 5,
            metrics=metrics,
            fanout=Fanout(clock=self.clock, metrics=metrics, window_s=0.0),
            environment="demo",
            limits=contract.Limits(
                symbols=500, bytes=65536, messages_per_second=50, heartbeat_ms=10_000
            ),
            clients=10,
            outbox_bytes=1 << 20,
            outbox_age_s=5,
        )
        self.old, self.new = _Client(), _Client("health")
        for client in (self.old, self.new):
            self.audience.enter(client)  # type: ignore[arg-type]
        self.audience.announce(AccountState(Phase.CONNECTED, epoch="e", symbols=("EURUSD",)))
        self.forget()

    def forget(self) -> None:
        """Only what follows counts."""
        self.old.heard.clear()
        self.new.heard.clear()

    def news(self, word: Any, source: str = "cTrader demo") -> None:
        """The watch of a source says something."""
        self.audience.feed_health(FeedNews(source, word, f"{source}: something"))

    def test_stale(self) -> None:
        """`stale` for all, with the source and the whole list; then `connected` for old clients."""
        self.news("stale")
        self.assertEqual(self.old.words(), ["stale", "connected"])
        self.assertEqual(self.new.words(), ["stale"])
        for status in (*self.old.heard, *self.new.heard):
            self.assertEqual(status["availableSymbols"], ["EURUSD"])
        self.assertEqual(self.new.heard[0]["source"], "cTrader demo")
        self.assertIn("cTrader demo", self.new.heard[0]["message"])

    def test_resumed(self) -> None:
        """`tick_resumed`, then `connected`, for all."""
        self.news("stale")
        self.forget()
        self.news("tick_resumed")
        for client in (self.old, self.new):
            self.assertEqual(client.words(), ["tick_resumed", "connected"])

    def test_the_answer_to_connect(self) -> None:
        """While stale, who knows the word is answered with it; who does not, with `connected`."""
        self.news("stale")
        self.assertEqual(self.audience.status(health=True).status, "stale")
        self.assertEqual(self.audience.status().status, "connected")
        self.news("tick_resumed")
        self.assertEqual(self.audience.status(health=True).status, "connected")

    def test_the_market_closes(self) -> None:
        """An alarm that ends without a price leads back to `connected`, without `tick_resumed`."""
        self.news("stale")
        self.forget()
        self.news("quiet")
        self.assertEqual((self.old.words(), self.new.words()), ([], ["connected"]))
        self.news("quiet")
        self.assertEqual(self.new.words(), ["connected"])

    def test_lost_while_stale(self) -> None:
        """The outage says it all: no `connected` in between."""
        self.news("stale")
        self.forget()
        self.news("unwatched")
        self.audience.announce(AccountState(Phase.DISCONNECTED, reason="cut"))
        self.assertEqual(self.new.words(), ["disconnected"])

    def test_new_list_while_stale(self) -> None:
        """A new list of symbols does not look like the end of an alarm."""
        self.news("stale")
        self.forget()
        self.audience.announce(AccountState(Phase.CONNECTED, epoch="e", symbols=("A",)))
        self.assertEqual((self.old.words(), self.new.words()), (["connected"], ["stale"]))

    def test_not_connected(self) -> None:
        """What a watch says of prices while there is no session is not told."""
        self.audience.announce(AccountState(Phase.RECONNECTING, attempt=1, delay_ms=5))
        self.forget()
        self.news("stale")
        self.assertEqual(self.old.words(), [])

    def test_symbols(self) -> None:
        """News of single symbols goes, as a warning, to those of the wants who know of health."""
        news = SymbolNews("cTrader demo", "STALE", "cTrader demo: silent", ("EURUSD",))
        self.audience.symbol_health([self.old.outbox, self.new.outbox], news)
        self.assertEqual(self.old.heard, [])
        (warning,) = self.new.heard
        self.assertEqual((warning["type"], warning["code"]), ("warning", "STALE"))
        self.assertEqual(warning["symbols"], ["EURUSD"])

    def test_two_sources(self) -> None:
        """A second source has a watch of its own: each is named, and `connected` comes back for
        good when both are well.
        """
        watches = [self.second("cTrader demo"), self.second("TradingView")]
        for watch in watches:
            watch.begin()
        self.clock.pump([10] * 5)
        self.assertEqual(self.new.words(), ["stale", "stale"])
        self.assertEqual([s["source"] for s in self.new.heard], ["cTrader demo", "TradingView"])
        self.forget()
        self.ticked["TradingView"] = 40_500
        self.clock.pump([1, 1])
        self.assertEqual(self.new.words(), ["tick_resumed", "stale"])
        self.assertEqual([s["source"] for s in self.new.heard], ["TradingView", "cTrader demo"])
        for watch in watches:
            watch.pause()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def second(self, source: str) -> Watch:
        """A source that is not a cTrader account: five callables are all it takes."""
        self.ticked: dict[str, int] = {}
        return Watch(
            policy=WatchPolicy(source, 30, 10, lambda: round(self.clock.seconds() * 1000)),
            clock=self.clock,
            expected=lambda: [1],
            last_tick_ms=lambda _: self.ticked.get(source, 0),
            name_of=str,
            tell=self.audience.feed_health,
            tell_symbols=lambda _: None,
        )
