"""The table of the venue's error codes: whole, and walked against the simulated venue."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.accounts import Wanted
from ctrader_twisted.errors import RequestTimeout, VenueRefusal
from ctrader_twisted.pb import common_pb2, model_pb2
from ctrader_twisted.refusals import (
    ADVICE_MAX_S,
    TABLE,
    Remedy,
    advice_for,
    advised_s,
    remedy_for,
    wait_s,
)
from tests.unit.joined_daemon import JoinedCase

PAGE = Path(__file__).parents[2] / "docs" / "venue-errors.md"
ACCOUNT_AUTH = "ProtoOAAccountAuthReq"
APPLICATION_AUTH = "ProtoOAApplicationAuthReq"
SUBSCRIBE = "ProtoOASubscribeSpotsReq"
INVENTED = "NOBODY_HAS_SEEN_THIS"

#: What is asked again only after the longest wait, by whoever asks in the background.
SLOW = {Remedy.FIX, Remedy.GIVE_UP, Remedy.WAIT, Remedy.RECONCILE}


class TableTest(SynchronousTestCase):
    """The table by itself."""

    def test_every_code_of_the_venue(self) -> None:
        """Every code of the two enums has a row, and no row is about something else."""
        known = {*common_pb2.ProtoErrorCode.keys(), *model_pb2.ProtoOAErrorCode.keys()}
        self.assertEqual(set(TABLE), known)

    def test_every_row_has_advice(self) -> None:
        """Each row has a whole sentence for a person; so has a code without a row."""
        for code in (*TABLE, INVENTED):
            self.assertRegex(advice_for(code), r"^[A-Z].*[.)]$")

    def test_the_page_shows_the_table(self) -> None:
        """docs/venue-errors.md has exactly the rows of the table."""
        rows = re.findall(r"^\| `([A-Z_]+)` \| (.+) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
        shown = {code: (remedy, advice) for code, remedy, advice in rows}
        expected = {code: (row.remedy.value, row.advice) for code, row in TABLE.items()}
        self.assertEqual(shown, expected)

    def test_unknown_is_not_repeated(self) -> None:
        """A code that nobody has seen is not retryable."""
        self.assertIs(remedy_for(VenueRefusal(INVENTED)), Remedy.FIX)

    def test_not_authorised_by_description(self) -> None:
        """INVALID_REQUEST means "not authorised" only when its description says so."""
        described = VenueRefusal("INVALID_REQUEST", "Trading account is not authorized")
        self.assertIs(remedy_for(described), Remedy.REAUTHORISE)
        self.assertIs(remedy_for(VenueRefusal("INVALID_REQUEST", "no")), Remedy.FIX)


class WaitTest(SynchronousTestCase):
    """How long we wait."""

    def waits(self, error: BaseException, times: int = 8, now_s: float = 0.0) -> list[float]:
        """The waits of so many failures in a row."""
        return [
            wait_s(error, attempt, first_s=1, longest_s=60, now_s=now_s) for attempt in range(times)
        ]

    def test_doubling(self) -> None:
        """Without advice the wait doubles up to the longest, for months."""
        error = RequestTimeout("late", sent=True)
        self.assertEqual(self.waits(error), [1, 2, 4, 8, 16, 32, 60, 60])
        self.assertEqual(wait_s(error, 100_000, first_s=1, longest_s=60), 60)

    def test_retry_after(self) -> None:
        """The venue's retryAfter is kept to, and grows geometrically from there."""
        error = VenueRefusal("BLOCKED_PAYLOAD_TYPE", retry_after_s=3)
        self.assertEqual(self.waits(error, 6), [3, 6, 12, 24, 48, 60])
        longer = VenueRefusal("BLOCKED_PAYLOAD_TYPE", retry_after_s=90)
        self.assertEqual(self.waits(longer, 3), [90, 90, 90])

    def test_maintenance(self) -> None:
        """A maintenance is waited out to its end, an end in the past is no advice, and no end
        keeps us away for longer than an hour.
        """
        for end_s, wait in ((1600.0, 600.0), (900.0, 1.0), (1e12, ADVICE_MAX_S)):
            error = VenueRefusal("SERVER_IS_UNDER_MAINTENANCE", maintenance_end_s=end_s)
            self.assertEqual(self.waits(error, 1, now_s=1000.0), [wait])
        self.assertEqual(advised_s(RequestTimeout("late", sent=True), 0.0), 0.0)

    def test_token(self) -> None:
        """A token is tried once more soon, and then slowly."""
        self.assertEqual(self.waits(VenueRefusal("CH_ACCESS_TOKEN_INVALID"), 3), [1, 60, 60])

    def test_hopeless(self) -> None:
        """What cannot heal by itself is probed at the longest wait from the first time on."""
        for code in ("CH_CLIENT_AUTH_FAILURE", "RET_ACCOUNT_DISABLED", INVENTED):
            self.assertEqual(self.waits(VenueRefusal(code), 2), [60, 60])


class WalkTest(JoinedCase):
    """Every code, said by the simulated venue to each of the three who ask in the background."""

    CODES = (*TABLE, INVENTED)

    def walk(self) -> list[tuple[str, bool, Remedy]]:
        """Each code by each of the two carriers."""
        return [
            (code, proxy, remedy_for(VenueRefusal(code)))
            for code in self.CODES
            for proxy in (False, True)
        ]

    def again(self) -> None:
        """A new daemon and a new venue."""
        self.tearDown()
        self.setUp()

    def seconds_until_connected(self, most_s: float) -> float:
        """How long it takes from now."""
        began, since = self.clock.seconds(), len(self.floor.states)
        while "connected" not in self.floor.words(since):
            self.assertLess(self.clock.seconds() - began, most_s)
            self.run_for(0.25)
        return self.clock.seconds() - began

    def test_application(self) -> None:
        """Refused once as a program: the connection is made anew after the wait of the row."""
        for code, proxy, remedy in self.walk():
            self.mischief.error(APPLICATION_AUTH, code, proxy=proxy)
            self.connection.startService()
            took = self.seconds_until_connected(70)
            if remedy is Remedy.SUCCEED:
                # Gone on with; that this venue only says so shows at the next request.
                self.assertNotIn(code, [state.code for _, state in self.floor.states])
            elif remedy in SLOW:
                self.assertEqual((took > 44, len(self.joint.attempts)), (True, 2), code)
            else:
                self.assertEqual((took < 3, len(self.joint.attempts)), (True, 2), code)
            if remedy is not Remedy.SUCCEED:
                refused = [state for _, state in self.floor.states if state.code == code]
                self.assertTrue(refused, code)
            self.again()

    def test_account(self) -> None:
        """Refused once as an account: asked again on the same connection, or on a new one."""
        for code, proxy, remedy in self.walk():
            self.mischief.error(ACCOUNT_AUTH, code, proxy=proxy)
            self.connection.startService()
            took = self.seconds_until_connected(70)
            anew = remedy in {Remedy.RECONNECT, Remedy.WAIT_UNTIL}
            self.assertEqual(len(self.joint.attempts), 2 if anew else 1, code)
            if remedy is Remedy.SUCCEED:
                self.assertNotIn(code, [state.code for _, state in self.floor.states])
            elif remedy in SLOW:
                self.assertGreater(took, 59, code)
            else:
                self.assertLess(took, 3, code)
            self.again()

    def test_subscription(self) -> None:
        """Refused once as a subscription of two: what can be had is had, whatever the code."""
        for code, proxy, remedy in self.walk():
            self.start()
            self.mischief.error(SUBSCRIBE, code, proxy=proxy)
            self.want("EURUSD", "GBPUSD")
            self.run_for(3)
            anew = remedy in {Remedy.RECONNECT, Remedy.WAIT_UNTIL}
            self.assertEqual(len(self.joint.attempts), 2 if anew else 1, code)
            if remedy is Remedy.GIVE_UP:
                self.assertEqual(self.account.confirmed(), 0, code)
                self.run_for(60)
            self.assertEqual(self.account.confirmed(), 2, code)
            self.assertEqual(self.floor.withdrawals, [], code)
            self.again()

    def test_one_symbol(self) -> None:
        """Refused as one symbol: told when it is its own fault, wanted and asked for again."""
        for code, proxy, remedy in self.walk():
            self.start("GBPUSD")
            self.mischief.error(SUBSCRIBE, code, proxy=proxy)
            self.want("EURUSD")
            told = [(wanted.code, wanted.pending) for wanted in self.floor.news]
            is_its_own = remedy in {Remedy.FIX, Remedy.RECONCILE, Remedy.WAIT}
            self.assertEqual(told, [(code, True)] if is_its_own else [], code)
            self.run_for(3 if is_its_own and remedy is not Remedy.WAIT else 61)
            self.assertEqual(self.account.confirmed(), 2, code)
            self.assertEqual(self.floor.news[1:], [Wanted("EURUSD")] if is_its_own else [], code)
            self.again()

    def test_unknown_code_is_logged(self) -> None:
        """A code without a row is logged once with all that it said, and counted as one of them."""
        seen: list[str] = []

        def observe(event: LogEvent) -> None:
            seen.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.start()
        self.mischief.error(SUBSCRIBE, INVENTED, "the reason", retry_after_s=7)
        self.want("EURUSD")
        (line,) = [line for line in seen if "do not know" in line]
        for part in (INVENTED, "the reason", "7", "ProtoOASubscribeSpotsReq", "SUBSCRIBE"):
            self.assertIn(part, line)
        self.assertEqual(self.metrics.counted("requests_refused", "UNKNOWN_CODE"), 1)
        self.assertNotIn("simulator-token", " ".join(seen))


class AdviceTest(JoinedCase):
    """What the venue advises, kept to by each of those who ask."""

    def gaps(self) -> list[int]:
        """Whole seconds between the attempts to connect."""
        times = self.joint.attempts
        return [round(later - sooner) for sooner, later in pairwise(times)]

    def test_maintenance_in_both_units(self) -> None:
        """Its end is in seconds in one carrier and in milliseconds in the other: both are met."""
        for proxy in (False, True):
            end_s = self.now_ms() // 1000 + 600
            self.mischief.error(
                APPLICATION_AUTH,
                "SERVER_IS_UNDER_MAINTENANCE",
                maintenance_end_s=end_s,
                proxy=proxy,
            )
            self.start()
            self.run_for(590)
            self.assertEqual(len(self.joint.attempts), 1)
            self.run_for(12)
            self.assertEqual((len(self.joint.attempts), self.phase()), (2, "connected"))
            self.tearDown()
            self.setUp()

    def test_maintenance_while_connected(self) -> None:
        """It begins in mid-session: noticed at the next request, over at the announced end."""
        self.start("EURUSD")
        self.mischief.maintenance(300)
        self.account.subscribe(self.floor, ["GBPUSD"])
        self.run_for(2)
        self.assertEqual(self.phase(), "reconnecting")
        self.assertEqual(self.account.state.code, "SERVER_IS_UNDER_MAINTENANCE")
        delay_ms = self.account.state.delay_ms or 0
        self.assertTrue(299_000 <= delay_ms <= 302_000, delay_ms)
        self.run_for(305)
        self.assertEqual((self.phase(), self.account.confirmed()), ("connected", 2))
        self.assertEqual(len(self.joint.attempts), 2)

    def test_retry_after_grows(self) -> None:
        """A subscription that is blocked again and again waits 3, 6, 12 s."""
        self.start()
        self.mischief.error(SUBSCRIBE, "BLOCKED_PAYLOAD_TYPE", retry_after_s=3, times=3)
        began = self.clock.seconds()
        self.account.subscribe(self.floor, ["EURUSD"])
        while not self.account.confirmed():
            self.assertLess(self.clock.seconds() - began, 30)
            self.run_for(0.25)
        took_s = self.clock.seconds() - began
        self.assertTrue(21 <= took_s <= 22, took_s)

    def test_an_hour_of_refusals(self) -> None:
        """A wrong secret for an hour: once a minute, never given up, and well at once after."""
        self.mischief.auth_refused("application", times=0)
        self.start()
        self.run_for(3600)
        self.assertTrue(60 <= len(self.joint.attempts) <= 82, len(self.joint.attempts))
        self.assertGreaterEqual(min(self.gaps()), 45)
        self.mischief.clear()
        self.run_for(61)
        self.assertEqual(self.phase(), "connected")
