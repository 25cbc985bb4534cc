"""Why do I get no ticks: breakages staged one by one, and the first broken link of each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted import contract, doctor
from ctrader_twisted.accounts import Group
from ctrader_twisted.diagnosis import Diagnosis
from ctrader_twisted.errors import VenueRefusal
from ctrader_twisted.market.hours import DAY_S, Hours
from ctrader_twisted.market.links import CHAIN, Holds, Link
from ctrader_twisted.upstream.progress import Progress
from tests.unit.joined_daemon import JoinedCase


class _Way:
    """A client's outbox, as far as the diagnosis looks."""

    def __init__(self) -> None:
        self.is_parked = False

    def join(self, group: Group | None) -> None:
        """Consumer."""


class BreakageTest(JoinedCase):
    """Each test breaks one link and asks; `links` are all of them."""

    def build(self) -> None:
        super().build()
        self.diagnosis = Diagnosis(
            progress=self.connection.factory.progress,
            application=self.application,
            account=self.account,
        )
        self.way = _Way()

    def begin(self, *names: str) -> None:
        """Connect, and let a client subscribe."""
        self.connection.startService()
        self.run_for(1)
        if names:
            self.account.subscribe(self.way, names)
            self.run_for(2)

    def broken(self, name: str = "EURUSD") -> contract.Diagnosis:
        """The report, checked for its form."""
        report = self.diagnosis.report(name)
        self.assertEqual([link.name for link in report.links], list(CHAIN))
        self.assertEqual(report.ok, report.first_broken is None)
        self.assertEqual(report.verdict == "broken", not report.ok)
        if report.first_broken is not None:
            self.assertTrue(report.cause and report.advice, report)
            before = report.links[: CHAIN.index(report.first_broken)]
            self.assertNotIn("no", [link.holds for link in before])
        return report

    def test_all_is_well(self) -> None:
        """Every link holds, and says since when where that means something."""
        self.begin("EURUSD")
        report = self.broken()
        self.assertTrue(report.ok, report)
        since = {link.name for link in report.links if link.since is not None}
        self.assertTrue({"process", "socket", "tls", "application", "account", "tick"} <= since)

    def test_socket_refused(self) -> None:
        """Nobody listens at the venue's address."""
        self.mischief.refuse("port")
        self.begin()
        self.run_for(40)
        report = self.broken()
        self.assertEqual(report.first_broken, "socket")
        self.assertIn("refused", report.cause)
        since_first_ms = (report.links[1].since or 0) - self.start_ms
        self.assertLess(since_first_ms, 300, "since the first failure")

    def test_socket_lost(self) -> None:
        """The connection that was there has broken; nothing behind it is claimed to hold."""
        self.begin("EURUSD")
        self.mischief.refuse()
        self.mischief.drop()
        self.run_for(0.1)
        report = self.broken()
        self.assertEqual(report.first_broken, "socket")
        self.assertEqual({link.holds for link in report.links[2:]}, {"unknown"})

    def test_application_refused(self) -> None:
        """The venue refuses the client secret."""
        self.mischief.auth_refused("application", times=0)
        self.begin()
        report = self.broken()
        self.assertEqual(report.first_broken, "application")
        self.assertIn("CTRADER_CLIENT_SECRET", report.advice)
        self.assertEqual(report.links[3].code, "CH_CLIENT_AUTH_FAILURE")

    def test_account_refused(self) -> None:
        """The venue refuses the token; the application is in."""
        self.mischief.auth_refused("account", times=0)
        self.begin()
        report = self.broken()
        self.assertEqual(report.first_broken, "account")
        self.assertIn("CTRADER_ACCESS_TOKEN", report.advice)
        self.assertEqual(report.links[3].holds, "ok")

    def test_account_without_an_answer(self) -> None:
        """The venue does not answer about the account: not the application's fault."""
        self.mischief.swallow("ProtoOAAccountAuthReq", times=0)
        self.begin()
        self.run_for(15)
        self.assertEqual(self.broken().first_broken, "account")

    def test_no_such_symbol(self) -> None:
        """A name that the broker does not have."""
        self.begin()
        report = self.broken("EUR/USD")
        self.assertEqual(report.first_broken, "symbol")
        self.assertIn("availableSymbols", report.advice)

    def test_symbol_disabled(self) -> None:
        """A symbol that is not enabled for this account."""
        self.mischief.symbol_changed(("EURUSD",), enabled=False)
        self.begin()
        report = self.broken()
        self.assertEqual(report.first_broken, "symbol")
        self.assertEqual(report.links[CHAIN.index("symbol")].code, "SYMBOL_DISABLED")

    def test_symbol_disabled_and_wanted(self) -> None:
        """Then the list is asked for again by itself, and the cause says when."""
        self.begin("EURUSD")
        self.mischief.symbol_changed(("EURUSD",), enabled=False)
        self.run_for(65)
        self.assertRegex(self.broken().cause, r"not enabled; the list is asked for again in \d+ s")
        self.assertEqual(self.account.unavailable(), {"SYMBOL_DISABLED": 1})

    def test_symbol_renamed(self) -> None:
        """A name that the venue does not use any more: the new one is told."""
        self.begin("EURUSD")
        self.mischief.list_renamed(("EURUSD",), times=0)
        self.mischief.drop()
        self.run_for(10)
        report = self.broken()
        self.assertEqual(report.first_broken, "symbol")
        self.assertIn("calls the symbol EURUSD.x now", report.cause)
        self.assertEqual(report.links[CHAIN.index("symbol")].code, "SYMBOL_NOT_LISTED")

    def test_list_that_is_not_believed(self) -> None:
        """Prices come by an older list, and the report says so."""
        self.begin("EURUSD")
        self.mischief.list_short(times=0)
        self.mischief.drop()
        self.run_for(10)
        report = self.broken()
        self.assertTrue(report.ok, report)
        said = report.links[CHAIN.index("symbol")].cause
        self.assertIn("0 enabled symbols", said)
        self.assertIn("asked for again in", said)

    def test_market_open(self) -> None:
        """Since when: on a Tuesday at noon since five past midnight in Moscow."""
        self.begin("EURUSD")
        self.run_for(10)
        market = self.broken().links[CHAIN.index("market")]
        opened = datetime(2025, 6, 16, 21, 5, tzinfo=UTC)
        self.assertEqual((market.holds, market.since), ("ok", opened.timestamp() * 1000))

    def test_market_closed(self) -> None:
        """A Saturday; the advice says when it opens."""
        saturday = datetime(2025, 6, 21, 12, tzinfo=UTC)
        self.start_ms = round(saturday.timestamp() * 1000)
        self.mischief.rate(0)
        self.begin("EURUSD")
        report = self.broken()
        self.assertEqual(report.first_broken, "market")
        self.assertIn("Sunday 2025-06-22 21:05 UTC", report.advice)
        opens = datetime(2025, 6, 22, 21, 5, tzinfo=UTC).timestamp() * 1000
        self.assertEqual(report.links[CHAIN.index("market")].opens, opens)

    def test_market_of_an_unknown_zone(self) -> None:
        """Hours in a time zone that nobody knows are not known; the name is in the cause."""
        self.begin("EURUSD")
        self.run_for(10)
        watch = self.account._feed.watch
        assert watch is not None
        watch.know(1, Hours("Nowhere/Else", ((0, 60),)))
        market = self.broken().links[CHAIN.index("market")]
        self.assertEqual(market.holds, "unknown")
        self.assertIn("no time zone is called 'Nowhere/Else'", market.cause)

    def test_market_closed_and_yet_prices(self) -> None:
        """Prices that come outside the hours prove more than the hours."""
        saturday = datetime(2025, 6, 21, 12, tzinfo=UTC)
        self.start_ms = round(saturday.timestamp() * 1000)
        self.begin("EURUSD")
        self.run_for(10)
        report = self.broken()
        self.assertTrue(report.ok, report)
        self.assertIn("yet prices come", report.links[CHAIN.index("market")].cause)

    def test_a_venue_that_never_closes(self) -> None:
        """Our own venue shows the hours of a real one, and sends prices at any hour: on a Saturday
        what is missing there is the subscription."""
        saturday = datetime(2025, 6, 21, 12, tzinfo=UTC)
        self.start_ms = round(saturday.timestamp() * 1000)
        self.mischief.rate(0)
        self.begin("EURUSD")
        self.assertEqual(self.broken().first_broken, "market")
        self.diagnosis = Diagnosis(
            progress=self.connection.factory.progress,
            application=self.application,
            account=self.account,
            keeps_hours=False,
        )
        report = self.broken()
        self.assertTrue(report.ok, report)
        self.assertIn("at any hour", report.links[CHAIN.index("market")].cause)
        self.account.unsubscribe(self.way, ["EURUSD"])
        self.run_for(10)
        self.assertEqual(self.broken().first_broken, "subscription")

    def test_nobody_has_subscribed(self) -> None:
        """The most ordinary reason of all."""
        self.begin("GBPUSD")
        report = self.broken()
        self.assertEqual(report.first_broken, "subscription")
        self.assertIn('"subscribe"', report.advice)

    def test_subscription_refused(self) -> None:
        """The venue will not send this symbol."""
        self.begin()
        self.mischief.error("ProtoOASubscribeSpotsReq", "SYMBOL_NOT_FOUND", "gone")
        self.account.subscribe(self.way, ["EURUSD"])
        self.run_for(1)
        report = self.broken()
        self.assertEqual(report.first_broken, "subscription")
        self.assertIn("gone", report.cause)
        self.assertRegex(report.cause, r"asked again in [12] s")
        self.assertEqual(report.links[CHAIN.index("subscription")].code, "SYMBOL_NOT_FOUND")
        self.assertEqual(self.account.unavailable(), {"SYMBOL_NOT_FOUND": 1})
        self.run_for(3)
        self.assertTrue(self.broken().ok)
        self.assertEqual(self.account.unavailable(), {})

    def test_subscription_refused_with_an_unknown_code(self) -> None:
        """It is shown as it came, and counted as one of all that are unknown."""
        self.begin()
        self.mischief.error("ProtoOASubscribeSpotsReq", "NEVER_SEEN", times=0)
        self.account.subscribe(self.way, ["EURUSD"])
        self.run_for(1)
        self.assertIn("NEVER_SEEN", self.broken().cause)
        self.assertEqual(self.account.unavailable(), {"UNKNOWN_CODE": 1})
        self.account.leave(self.way)
        self.run_for(10)
        self.assertEqual((self.account.unavailable(), self.account._feed.unavailable), ({}, {}))

    def test_subscription_unanswered(self) -> None:
        """The venue has not answered yet."""
        self.begin()
        self.mischief.swallow("ProtoOASubscribeSpotsReq")
        self.account.subscribe(self.way, ["EURUSD"])
        self.run_for(1)
        self.assertEqual(self.broken().first_broken, "subscription")

    def test_mute(self) -> None:
        """All is open and confirmed, and the venue says nothing."""
        self.begin("EURUSD", "GBPUSD")
        self.mischief.quiet(("EURUSD",))
        self.run_for(60)
        report = self.broken()
        self.assertEqual(report.first_broken, "tick")
        self.assertTrue(self.broken("GBPUSD").ok)

    def test_slow_client(self) -> None:
        """The client that asks is the one that does not read."""
        self.begin("EURUSD")
        self.way.is_parked = True
        report = self.broken()
        self.assertEqual(report.first_broken, "outbox")
        self.assertIn("1 of 1", report.cause)

    def test_on_the_way(self) -> None:
        """While the first attempt is under way nothing is broken, and nothing is claimed."""
        self.connection.startService()
        report = self.broken()
        self.assertIsNone(report.first_broken)
        self.assertEqual({link.holds for link in report.links[1:]}, {"unknown"})
        self.assertEqual((report.ok, report.verdict), (True, "unknown"))
        last = list(doctor.lines(report, 0))[-1]
        self.assertTrue(last.startswith("No link is broken; not known yet: socket, tls,"), last)

    def test_in_the_status(self) -> None:
        """The first broken link on the way to the account stands in every status."""
        self.mischief.auth_refused("account", times=0)
        self.begin()
        trouble: Any = self.diagnosis.trouble()
        self.assertEqual((trouble.name, trouble.code), ("account", "CH_ACCESS_TOKEN_INVALID"))
        self.mischief.clear()
        self.run_for(61)
        self.assertNotIsInstance(self.diagnosis.trouble(), contract.Link)


class ProgressTest(SynchronousTestCase):
    """How far the way is open, attempt by attempt."""

    def setUp(self) -> None:
        self.now_ms = 0
        self.progress = Progress(lambda: self.now_ms)

    def holds(self) -> list[str]:
        """The three links."""
        return [link.holds.value for link in self.progress.links()]

    def test_tls(self) -> None:
        """A handshake that fails leaves the socket well, and the next attempt changes nothing
        until it comes further.
        """
        self.progress.begin()
        self.progress.reach("socket")
        self.progress.fail(ValueError(), "the certificate has expired")
        self.assertEqual(self.holds(), ["ok", "no", "unknown"])
        self.now_ms = 5
        self.progress.begin()
        self.assertEqual(self.holds(), ["ok", "no", "unknown"])
        self.progress.reach("socket")
        self.assertEqual(self.holds(), ["ok", "no", "unknown"])
        self.progress.fail(ValueError(), "the certificate has expired")
        self.assertEqual(self.progress.links()[1].since_ms, 0, "since the first time")
        self.progress.begin()
        self.progress.reach("socket")
        self.progress.reach("tls")
        self.assertEqual(self.holds(), ["ok", "ok", "unknown"])

    def test_code(self) -> None:
        """A refusal brings its code, and the advice of its row."""
        for stage in ("socket", "tls"):
            self.progress.reach(stage)
        self.progress.fail(VenueRefusal("CH_OA_CLIENT_NOT_FOUND"), "no")
        link = self.progress.links()[2]
        self.assertEqual(link.code, "CH_OA_CLIENT_NOT_FOUND")
        self.assertIn("CTRADER_CLIENT_ID", link.advice)


class OpeningTest(SynchronousTestCase):
    """When a market opens next."""

    def test_opens_at(self) -> None:
        """To the minute; None when it does not within the time looked at."""
        hours = Hours("UTC", ((DAY_S + 5 * 3600 + 7 * 60, 2 * DAY_S),))
        sunday = datetime(2025, 6, 22, 12, 0, 30, tzinfo=UTC).timestamp()
        opens = hours.opens_at(sunday, 8 * DAY_S)
        self.assertEqual(opens, datetime(2025, 6, 23, 5, 7, tzinfo=UTC).timestamp())
        self.assertIsNone(hours.opens_at(sunday, 3600))


class ReadableTest(SynchronousTestCase):
    """What the doctor prints."""

    def test_lines(self) -> None:
        """One line a link with its mark, and what to do at the end."""
        report = contract.Diagnosis(
            symbol="EURUSD",
            ok=False,
            verdict="broken",
            first_broken="tls",
            cause="it has expired",
            advice="Wait.",
            links=[
                contract.Link(name="socket", holds="ok", since=1_750_161_600_000),
                contract.Link(name="tls", holds="no", cause="it has expired"),
                contract.Link(name="account", holds="unknown"),
            ],
        )
        said = list(doctor.lines(report, 1_750_161_600_000 + 600_000))
        self.assertEqual(said[0], "  ok  socket        since 12:00:00 UTC (10 min)")
        self.assertEqual(said[1], "  NO  tls           it has expired")
        self.assertEqual(said[2], "   ?  account")
        self.assertEqual(said[-1], "What to do: Wait.")

    def test_nothing_broken(self) -> None:
        """Nothing broken is said as well, and is not the same as everything well."""
        report = doctor.summary("EURUSD", [])
        self.assertEqual(list(doctor.lines(report, 0))[-1], "Every link holds.")
        report = doctor.summary("EURUSD", [Link("socket", Holds.UNKNOWN)])
        self.assertTrue(report.ok)
        self.assertIn("not known yet: socket", list(doctor.lines(report, 0))[-1])
