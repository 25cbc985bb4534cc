"""When a symbol trades, by its weekly sessions, its holidays and its own clock on the wall."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.market.hours import ALWAYS_OPEN, DAY_S, WEEK_S, Holiday, Hours
from ctrader_twisted.market.zones import zone

NEW_YORK = "America/New_York"
#: Monday to Friday, 09:30 to 16:00 by the clocks of New York.
EXCHANGE = Hours(
    NEW_YORK, tuple((day * DAY_S + 34_200, day * DAY_S + 57_600) for day in range(1, 6))
)
#: As recorded for EURUSD: five weekday sessions with a short daily break, by Moscow's clocks.
EURUSD = Hours(
    "Europe/Moscow", tuple((day * DAY_S + 300, (day + 1) * DAY_S - 60) for day in range(1, 6))
)


def at(text: str) -> float:
    """Seconds since the epoch of a UTC time."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


class SessionTest(SynchronousTestCase):
    """The weekly sessions."""

    def test_edges(self) -> None:
        """The first second belongs to a session, the last one does not."""
        # 2025-06-17 is a Tuesday; New York is four hours behind UTC in summer.
        self.assertFalse(EXCHANGE.is_open(at("2025-06-17T13:29:59.9")))
        self.assertTrue(EXCHANGE.is_open(at("2025-06-17T13:30")))
        self.assertTrue(EXCHANGE.is_open(at("2025-06-17T19:59:59.9")))
        self.assertFalse(EXCHANGE.is_open(at("2025-06-17T20:00")))

    def test_summer_time(self) -> None:
        """The week that the clocks change, the session moves by an hour in UTC."""
        self.assertTrue(EXCHANGE.is_open(at("2025-10-31T13:45")))
        self.assertFalse(EXCHANGE.is_open(at("2025-11-03T13:45")))
        self.assertTrue(EXCHANGE.is_open(at("2025-11-03T14:45")))

    def test_opened_at(self) -> None:
        """When the session began."""
        self.assertEqual(EXCHANGE.opened_at(at("2025-06-17T15:00")), at("2025-06-17T13:30"))
        self.assertIsNone(EXCHANGE.opened_at(at("2025-06-17T21:00")))

    def test_weekend(self) -> None:
        """Every minute from Friday's close to Monday's opening is closed, and the breaks are."""
        minute = at("2025-06-20T20:59")
        self.assertFalse(EURUSD.is_open(minute))
        while minute < at("2025-06-22T21:05"):
            self.assertFalse(EURUSD.is_open(minute), minute)
            minute += 60
        self.assertTrue(EURUSD.is_open(at("2025-06-22T21:05")))
        self.assertFalse(EURUSD.is_open(at("2025-06-17T21:02")))

    def test_over_the_end_of_the_week(self) -> None:
        """A session that reaches beyond Saturday goes on on Sunday."""
        hours = Hours("UTC", ((6 * DAY_S, WEEK_S + 3600),))
        self.assertEqual(hours.opened_at(at("2025-06-22T00:30")), at("2025-06-21T00:00"))
        self.assertFalse(hours.is_open(at("2025-06-22T01:00")))

    def test_nothing_known(self) -> None:
        """Without sessions, or with a time zone that nobody knows, we do not sleep for ever."""
        self.assertTrue(ALWAYS_OPEN.is_open(at("2025-06-21T12:00")))
        self.assertEqual(EXCHANGE.unknown_zones(), set())
        nowhere = Hours("Middle-earth/Shire", EXCHANGE.sessions, (Holiday("", "Nowhere", 0, True),))
        self.assertEqual(nowhere.unknown_zones(), {"Middle-earth/Shire", "Nowhere"})
        for moment in ("2025-06-17T09:30", "2025-06-21T12:00", "2025-01-01T12:00"):
            self.assertTrue(nowhere.is_open(at(moment)), moment)

    def test_sessions_that_touch(self) -> None:
        """They are one: nothing opens at midnight, nor where the week ends."""
        days = Hours("UTC", tuple((day * DAY_S, (day + 1) * DAY_S) for day in range(1, 6)))
        self.assertEqual(days.opened_at(at("2025-06-18T00:00:10")), at("2025-06-16T00:00"))
        week = Hours(
            "UTC", tuple((day * DAY_S, (day + 1) * DAY_S) for day in (3, 1, 0, 6, 2, 5, 4))
        )
        self.assertEqual(week.opened_at(at("2025-06-18T00:00:10")), at("2025-06-11T00:00:10"))
        weekend = Hours("UTC", ((0, 3600), (6 * DAY_S, WEEK_S), (3600, 7200), (5000, 9000)))
        self.assertEqual(weekend.opened_at(at("2025-06-22T02:20")), at("2025-06-21T00:00"))
        self.assertFalse(weekend.is_open(at("2025-06-22T02:30")))

    def test_ends_before_it_starts(self) -> None:
        """Such a session goes on over the end of the week; so does one beyond it."""
        for session in (
            (6 * DAY_S + 3600, 7200),
            (6 * DAY_S + 3600, WEEK_S + 7200),
            (13 * DAY_S + 3600, 2 * WEEK_S + 7200),
            (13 * DAY_S + 3600, WEEK_S + 7200),
        ):
            hours = Hours("UTC", (session,))
            self.assertEqual(hours.opened_at(at("2025-06-22T01:59:59")), at("2025-06-21T01:00"))
            self.assertTrue(hours.is_open(at("2025-06-21T23:00")))
            for moment in ("2025-06-22T02:00", "2025-06-18T12:00", "2025-06-21T00:59:59"):
                self.assertFalse(hours.is_open(at(moment)), (session, moment))

    def test_odd_sessions(self) -> None:
        """One of no length opens nothing; only such, or a whole week, are around the clock."""
        hours = Hours("UTC", ((100, 100), (DAY_S, DAY_S + 3600), (2 * DAY_S, 2 * DAY_S)))
        self.assertTrue(hours.is_open(at("2025-06-16T00:30")))
        self.assertFalse(hours.is_open(at("2025-06-17T00:00")))
        for sessions in (
            ((5, 5),),
            ((0, WEEK_S),),
            ((DAY_S, DAY_S + 2 * WEEK_S),),
            ((0, 2**32 - 1),),
        ):
            self.assertTrue(Hours("UTC", sessions).is_open(at("2025-06-18T12:00")), sessions)

    @given(
        st.lists(
            st.tuples(st.integers(0, 2 * WEEK_S), st.integers(0, 2 * WEEK_S)),
            min_size=1,
            max_size=5,
        ),
        st.integers(0, WEEK_S - 1),
    )
    def test_any_sessions(self, sessions: list[tuple[int, int]], second: int) -> None:
        """Open exactly when one of the sessions, counted second by second around the week, is."""

        def length(start: int, end: int) -> int:
            return end - start if end >= start else (end - start) % WEEK_S

        covered = [(second - one[0]) % WEEK_S < length(*one) for one in sessions]
        expected = any(covered) or not any(length(*one) for one in sessions)
        hours = Hours("UTC", tuple(sessions))
        self.assertEqual(hours.is_open(at("2025-06-15T00:00") + second), expected)

    @given(st.integers(0, 2_000_000_000), st.integers(0, WEEK_S - 1), st.integers(1, WEEK_S))
    def test_opened_at_is_within_the_session(self, time_s: int, start: int, length: int) -> None:
        """A session has begun before now, not longer ago than it is long, and was on all the time;
        summer time or not.
        """
        hours = Hours("UTC", ((start, min(start + length, WEEK_S)),))
        opened = hours.opened_at(time_s)
        self.assertEqual(opened is not None, hours.is_open(time_s))
        if opened is not None:
            # A whole week is open all the time: it is taken to have begun a week ago.
            self.assertTrue(0 <= time_s - opened < length or length == WEEK_S)
            self.assertTrue(hours.is_open(opened))


class ZoneTest(SynchronousTestCase):
    """What the venue calls a time zone."""

    def offset_h(self, name: str) -> float | None:
        """How far east of Greenwich it is in the summer of 2025; None when it is not known."""
        found = zone(name)
        if found is None:
            return None
        offset = datetime(2025, 7, 1, tzinfo=found).utcoffset()
        return None if offset is None else offset.total_seconds() / 3600

    def test_certain(self) -> None:
        """Names of the database, and fixed offsets as Java writes them."""
        for name, hours in {
            "UTC": 0, "GMT": 0, "utc": 0, "Z": 0, "Etc/UTC": 0, "GMT0": 0,
            "GMT+3": 3, "UTC+2": 2, "gmt-5": -5, "GMT+03:00": 3, "UTC+0530": 5.5, "+03:00": 3,
            "UTC-3:30": -3.5, "GMT +3": 3, " UTC+2 ": 2, "GMT+14": 14, "UT+1": 1,
            "Etc/GMT-3": 3, "Etc/GMT+3": -3, "EST": -5, "EET": 3, "Europe/Moscow": 3,
            "europe/moscow": 3, "America/New_York": -4, "EST5EDT": -4,
        }.items():  # fmt: skip
            self.assertEqual(self.offset_h(name), hours, name)

    def test_not_certain(self) -> None:
        """Everything else is unknown, and raises nothing."""
        for name in (
            "", " ", "MSK", "IST", "Eastern Standard Time", "GMT3", "GMT+15", "GMT+99", "UTC+2:75",
            "GMT+", "+", "UTC+1+1", "localtime", "posixrules", "../../etc/passwd", "/etc/passwd",
            "Europe", "a" * 100_000, "GMT+\u0663", "\ufffd", "Europe/Moscow\0",
        ):  # fmt: skip
            self.assertIsNone(zone(name), name)


class HolidayTest(SynchronousTestCase):
    """Days without trading."""

    def hours(self, **more: object) -> Hours:
        """The exchange, with one holiday: Christmas of 2024, a Wednesday."""
        day = int(at("2024-12-25T00:00") // DAY_S)
        fields = {"name": "Christmas", "time_zone": NEW_YORK, "day": day, "recurring": False}
        return Hours(NEW_YORK, EXCHANGE.sessions, (Holiday(**{**fields, **more}),))  # type: ignore[arg-type]

    def test_the_day_by_its_own_clock(self) -> None:
        """It begins and ends at midnight of its own time zone."""
        hours = self.hours()
        self.assertFalse(hours.is_open(at("2024-12-25T15:00")))
        self.assertTrue(hours.is_open(at("2024-12-24T15:00")))
        self.assertTrue(hours.is_open(at("2024-12-26T15:00")))
        found = hours.holiday(at("2024-12-26T04:59"))
        self.assertEqual(found and found.name, "Christmas")
        self.assertIsNone(hours.holiday(at("2024-12-26T05:01")))

    def test_recurring(self) -> None:
        """A recurring one is there every year, the others once."""
        next_year = at("2025-12-25T15:00")
        self.assertTrue(self.hours().is_open(next_year))
        self.assertFalse(self.hours(recurring=True).is_open(next_year))

    def test_part_of_a_day(self) -> None:
        """A late opening: closed until then, and the session counts from then."""
        hours = self.hours(end_s=12 * 3600)
        self.assertFalse(hours.is_open(at("2024-12-25T16:59")))
        self.assertEqual(hours.opened_at(at("2024-12-25T18:00")), at("2024-12-25T17:00"))

    def test_over_at_midnight(self) -> None:
        """After a whole day, what trades around the clock counts from midnight."""
        christmas = self.hours().holidays
        for sessions in ((), ((0, WEEK_S),)):
            crypto = Hours(NEW_YORK, sessions, christmas)
            self.assertIsNone(crypto.opened_at(at("2024-12-26T04:59")))
            self.assertEqual(crypto.opened_at(at("2024-12-26T05:00:20")), at("2024-12-26T05:00"))

    def test_days_that_no_calendar_has(self) -> None:
        """Nonsense (a time in ms, say) is no holiday, and silences nobody."""
        for day in (10**12, -(10**12), 2**63 - 1):
            for recurring in (False, True):
                hours = self.hours(day=day, recurring=recurring)
                self.assertTrue(hours.is_open(at("2024-12-24T15:00")))
                self.assertIsNotNone(hours.opened_at(at("2024-12-24T15:00")))

    def test_many(self) -> None:
        """Ten thousand of other days cost nothing, also where the next opening is looked for."""
        looked: list[int] = []
        covers = Holiday.covers

        def counted(holiday: Holiday, time_s: float) -> bool:
            looked.append(holiday.day)
            return covers(holiday, time_s)

        self.patch(Holiday, "covers", counted)
        saturday = at("2025-06-21T12:00")
        first = int(saturday // DAY_S) + 10
        days = (Holiday("x", NEW_YORK, first + number, False) for number in range(10_000))
        hours = Hours(NEW_YORK, EXCHANGE.sessions, tuple(days))
        self.assertIsNotNone(hours.opens_at(saturday, 8 * DAY_S))
        self.assertIsNone(hours.opened_at(saturday))
        self.assertIsNotNone(hours.opened_at(at("2025-06-23T15:00")))
        self.assertEqual(looked, [])

    @given(
        st.lists(
            st.tuples(
                st.sampled_from([NEW_YORK, "Pacific/Apia", "UTC", "Nowhere"]),
                st.integers(20_250, 20_256) | st.just(10**12),
                st.booleans(),
                st.sampled_from([0, 3600, -5]),
                st.sampled_from([DAY_S, 43_200, 100_000, 0]),
            ),
            max_size=5,
        ),
        st.floats(20_250 * DAY_S, 20_257 * DAY_S),
    )
    def test_found_by_date(
        self, rows: list[tuple[str, int, bool, int, int]], time_s: float
    ) -> None:
        """The same one is on that a look at all of them finds."""
        holidays = tuple(Holiday("x", *row) for row in rows)
        found = Hours("UTC", (), holidays).holiday(time_s)
        self.assertEqual(found is not None, any(one.covers(time_s) for one in holidays))
