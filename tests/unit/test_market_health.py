"""Fresh or stale, by numbers: no clock, no venue."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.market.health import Changes, Fresh, Health
from ctrader_twisted.market.hours import ALWAYS_OPEN, DAY_S, Hours

#: A Tuesday, 12:00 UTC.
NOON_MS = 1_750_161_600_000
CLOSED = Hours("UTC", ((0, 1),))


class HealthTest(SynchronousTestCase):
    """One source, looked at every ten seconds."""

    def setUp(self) -> None:
        self.ticks: dict[int, int] = {}
        self.hours: dict[int, Hours] = {}
        self.health = Health(
            threshold_s=30,
            last_tick=lambda number: self.ticks.get(number, 0),
            hours=lambda number: self.hours.get(number, ALWAYS_OPEN),
        )
        self.jump_ms = 0

    def tick(self, number: int, at: float) -> None:
        """A tick was read at that time."""
        self.ticks[number] = NOON_MS + self.jump_ms + round(at * 1000)

    def look(self, at: float, *expected: int) -> Changes:
        """One look."""
        return self.health.look(expected or (1,), at, NOON_MS + self.jump_ms + round(at * 1000))

    def test_never_a_tick(self) -> None:
        """A symbol that never ticks is stale after the threshold, counted from when it is due."""
        self.assertEqual(self.look(0).feed, Fresh.WAITING)
        self.assertEqual([self.look(at).stale for at in (10, 20)], [[], []])
        changes = self.look(30)
        self.assertEqual((changes.stale, changes.feed), ([1], Fresh.STALE))

    def test_exact_although_we_look_seldom(self) -> None:
        """Silence counts from the tick, not from the look that noticed it."""
        self.look(0)
        self.tick(1, 1)
        self.look(10)
        self.assertEqual(self.look(30).stale, [])
        self.assertEqual(self.look(31).stale, [1])
        self.assertEqual(self.health.silent_s(31), 30)

    def test_resumed(self) -> None:
        """A tick ends it; it is told once."""
        self.look(0)
        self.look(40)
        self.tick(1, 41)
        changes = self.look(41)
        self.assertEqual((changes.resumed, changes.feed), ([1], Fresh.FRESH))
        self.assertEqual(self.look(42), Changes())

    def test_the_feed_lives_while_one_symbol_does(self) -> None:
        """One silent symbol of two is the symbol's matter; both are the feed's."""
        self.look(0, 1, 2)
        self.tick(2, 35)
        changes = self.look(40, 1, 2)
        self.assertEqual((changes.stale, changes.feed), ([1], Fresh.FRESH))
        changes = self.look(70, 1, 2)
        self.assertEqual((changes.stale, changes.feed), ([2], Fresh.STALE))

    def test_a_new_want_ends_no_alarm(self) -> None:
        """A symbol that nobody has heard yet is no sign of life."""
        self.look(0)
        self.look(40)
        self.assertIsNone(self.look(41, 1, 2).feed)
        self.assertIs(self.health.feed, Fresh.STALE)

    def test_closed_market(self) -> None:
        """Outside its hours a symbol is never stale; when its market closes, an alarm ends."""
        self.hours[1] = CLOSED
        for at in range(0, 7200, 10):
            self.assertEqual(self.look(at).stale, [])
        self.hours[1] = ALWAYS_OPEN
        self.look(7200)
        self.assertIs(self.health.feed, Fresh.STALE)
        self.hours[1] = CLOSED
        changes = self.look(7210)
        self.assertEqual((changes.feed, changes.resumed), (Fresh.CLOSED, []))

    def test_the_opening(self) -> None:
        """The night does not count: after the opening there is the whole threshold to wait."""
        opens_s = 12 * 3600 + 600
        self.hours[1] = Hours("UTC", ((2 * DAY_S + opens_s, 3 * DAY_S),))
        found = [at for at in range(0, 700, 10) if self.look(at).stale]
        self.assertEqual(found, [630])

    def test_an_alarm_outlives_midnight(self) -> None:
        """Sessions that touch: the silence goes on when the next one begins."""
        at_s = 2 * DAY_S + 12 * 3600 + 60
        self.hours[1] = Hours("UTC", ((0, at_s), (at_s, 7 * DAY_S)))
        self.look(0)
        self.assertEqual(self.look(40).stale, [1])
        for at in range(50, 150, 10):
            self.assertEqual(self.look(at), Changes())

    def test_unwanted(self) -> None:
        """A symbol that is no longer expected is forgotten, and begins anew when it is again."""
        self.look(0)
        self.look(40)
        self.look(41, 2)
        self.assertIsNone(self.health.pulse(1))
        self.assertEqual(self.look(50, 1, 2).stale, [])

    def test_outage(self) -> None:
        """After an outage nothing is claimed, and the threshold runs from the beginning."""
        self.look(0)
        self.look(40)
        self.health.forget(41)
        self.assertIs(self.health.feed, Fresh.CLOSED)
        self.assertEqual(self.health.stale(), [])
        self.assertEqual(self.look(60).stale, [])

    def age(self, at: float) -> float | None:
        """What a scrape is told."""
        return self.health.newest_age_s(at, NOON_MS + self.jump_ms + round(at * 1000))

    def test_the_newest_tick(self) -> None:
        """Its age is exact between two looks, the youngest symbol counts, and an outage ends
        nothing: then nothing comes, and it grows.
        """
        self.assertIsNone(self.age(0))
        self.look(0, 1, 2)
        self.assertIsNone(self.age(5))
        self.tick(1, 6)
        self.assertEqual(self.age(8), 2)
        self.look(10, 1, 2)
        self.tick(2, 11)
        self.assertEqual(self.age(19), 8)
        self.health.forget(20)
        self.assertEqual(self.age(100), 89)

    def test_the_age_is_no_matter_of_the_time_of_day(self) -> None:
        """When the clock was set meanwhile, it is at most the time since the last look."""
        self.look(0)
        self.tick(1, 6)
        self.jump_ms = 3_600_000
        self.assertEqual(self.age(8), 8)
        self.jump_ms = 0
        self.assertEqual(self.age(9), 9)

    def test_counted(self) -> None:
        """How many symbols are in which state, all four of them, at the last look."""
        self.hours[3] = CLOSED
        self.look(0, 1, 2, 3)
        self.tick(1, 35)
        self.look(40, 1, 2, 3, 4)
        self.assertEqual(self.health.counted(), {"fresh": 1, "stale": 1, "closed": 1, "waiting": 1})
        self.health.forget(41)
        self.assertEqual(self.health.counted(), {"fresh": 0, "stale": 0, "closed": 0, "waiting": 0})

    @given(st.integers(-(10**10), 10**10))
    def test_jumps_of_the_clock(self, jump_ms: int) -> None:
        """The time of day jumps while ticks come every second: never an alarm because of it."""
        self.setUp()
        found = []
        for at in range(120):
            self.jump_ms = jump_ms if at >= 55 else 0
            self.tick(1, at)
            if at % 10 == 0:
                found += self.look(at).stale
        self.assertEqual(found, [])

    @given(st.lists(st.floats(0.5, 100), min_size=1, max_size=20))
    def test_within_the_threshold_plus_one_look(self, pauses: list[float]) -> None:
        """Whatever the pauses between ticks: each longer than 40 s is an alarm before its end, no
        pause below 30 s is one.
        """
        self.setUp()
        times, now = [], 0.0
        for pause in pauses:
            times.append(now)
            now += pause
        alarms: list[float] = []
        for at in range(0, int(now) + 1, 10):
            for time in times:
                if at - 10 < time <= at:
                    self.tick(1, time)
            if self.look(at).stale:
                alarms.append(at)
        for start, pause in zip(times, pauses, strict=True):
            inside = [at for at in alarms if start < at < start + pause]
            if pause > 40.001:
                self.assertEqual(len(inside), 1, (start, pause, alarms))
                self.assertLessEqual(inside[0] - start, 40.001)
            if pause < 29.999:
                self.assertEqual(inside, [], (start, pause))
