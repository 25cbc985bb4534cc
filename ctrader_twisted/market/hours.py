"""When a symbol trades: weekly sessions and holidays, in the time zone that comes with them.

Times of day are seconds since the epoch; nothing here looks at a clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo

from ctrader_twisted.market.zones import zone

DAY_S = 86_400
WEEK_S = 7 * DAY_S
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a date, not a moment


@dataclass(frozen=True, slots=True)
class Holiday:
    """One day (or a part of it) without trading.

    ``day``: days since the epoch, in ``time_zone``; ``start_s`` and ``end_s``: seconds of that day;
    ``recurring``: the same month and day of every year.
    """

    name: str
    time_zone: str
    day: int
    recurring: bool
    start_s: int = 0
    end_s: int = DAY_S

    def covers(self, time_s: float) -> bool:
        """Whether that time is within the holiday; False if its time zone is unknown."""
        day = self.date()
        if zone(self.time_zone) is None or day is None:
            return False
        local = _local(time_s, self.time_zone)
        if self.recurring:
            today = (local.month, local.day) == (day.month, day.day)
        else:
            today = local.date() == day
        return today and self.start_s <= _second_of_day(local) < self.end_s

    def date(self) -> date | None:
        """The day as a date; None for a number that no calendar has."""
        try:
            return (_EPOCH + timedelta(days=self.day)).date()
        except OverflowError:
            # One bad line must not end the watch over all symbols.
            return None


class Calendar:
    """Holidays by date: a look at one moment costs the same, however many there are."""

    def __init__(self, holidays: Iterable[Holiday]) -> None:
        # By time zone, and in it by date, or by month and day for those of every year.
        self._zones: dict[tzinfo, dict[object, list[Holiday]]] = {}
        for holiday in holidays:
            day, its_zone = holiday.date(), zone(holiday.time_zone)
            if day is not None and its_zone is not None:
                key = (day.month, day.day) if holiday.recurring else day
                self._zones.setdefault(its_zone, {}).setdefault(key, []).append(holiday)

    def near(self, time_s: float, days_back: int = 0) -> Iterator[Holiday]:
        """The holidays whose date is that of the moment, or one of so many days before."""
        for its_zone, days in self._zones.items():
            today = datetime.fromtimestamp(time_s, its_zone).date()
            for back in range(days_back + 1):
                day = today - timedelta(days=back)
                yield from days.get(day, ())
                yield from days.get((day.month, day.day), ())


@dataclass(frozen=True, slots=True)
class Hours:
    """The weekly sessions of one symbol.

    ``sessions``: (start, end) in seconds from Sunday 00:00 of ``time_zone``; the start belongs to
    the session, the end does not. An end before its start, or beyond the week, is in the next week;
    sessions that touch are one. Without sessions, or with an unknown time zone, the symbol is taken
    to trade around the clock: a false alarm is better than a silence that goes unnoticed.
    """

    time_zone: str = "UTC"
    sessions: tuple[tuple[int, int], ...] = ()
    holidays: tuple[Holiday, ...] = ()
    _calendar: Calendar = field(init=False, repr=False, compare=False)
    _merged: tuple[tuple[int, int], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Worked out once: a search for the next opening looks at thousands of moments.
        object.__setattr__(self, "_calendar", Calendar(self.holidays))
        object.__setattr__(self, "_merged", _merge(self.sessions))

    def is_open(self, time_s: float) -> bool:
        """Whether the symbol trades at that time."""
        return self._open_for_s(time_s) is not None and self.holiday(time_s) is None

    def unknown_zones(self) -> set[str]:
        """The names of its time zones that are unknown."""
        names = {self.time_zone, *(holiday.time_zone for holiday in self.holidays)}
        return {name for name in names if zone(name) is None}

    def holiday(self, time_s: float) -> Holiday | None:
        """The holiday that is on at that time, if any."""
        return next((one for one in self._calendar.near(time_s) if one.covers(time_s)), None)

    def opened_at(self, time_s: float) -> float | None:
        """When the session of that time began (seconds since the epoch); None while closed."""
        open_for_s = self._open_for_s(time_s)
        if open_for_s is None or self.holiday(time_s) is not None:
            return None
        # One that ended within the last day began no earlier than the day before yesterday.
        ends = [_end_of(holiday, time_s) for holiday in self._calendar.near(time_s, days_back=2)]
        return max([time_s - open_for_s, *(end for end in ends if end is not None)])

    def opens_at(self, time_s: float, within_s: float) -> float | None:
        """The minute at which it opens next, looked for within that time; None when it does not."""
        step_s, start = 300, time_s // 60 * 60
        for number in range(1, int(within_s // step_s)):
            if self.is_open(start + number * step_s):
                minutes = (start + number * step_s - back * 60 for back in range(4, -1, -1))
                return next(minute for minute in minutes if self.is_open(minute))
        return None

    def _open_for_s(self, time_s: float) -> float | None:
        """How long the weekly session of that time is on; None when there is none."""
        sessions = self._merged
        if not sessions or zone(self.time_zone) is None:
            return float(WEEK_S)
        local = _local(time_s, self.time_zone)
        second = _second_of_week(local)
        for start, length in sessions:
            # One that reaches beyond the end of the week goes on at its beginning.
            open_for_s = (second - start) % WEEK_S
            if open_for_s < length:
                return open_for_s
        return None


def _merge(sessions: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """Sessions as (start, length), merged where they touch or overlap; () if they cover the whole
    week, or if none has a length.
    """
    parts: list[list[int]] = []
    for start, length in sorted((start % WEEK_S, _length(start, end)) for start, end in sessions):
        if parts and start <= parts[-1][0] + parts[-1][1]:
            parts[-1][1] = max(parts[-1][1], start + length - parts[-1][0])
        elif length:
            parts.append([start, length])
    # The last one of the week may reach the first ones of the next.
    while len(parts) > 1 and sum(parts[-1]) >= parts[0][0] + WEEK_S:
        first = parts.pop(0)
        parts[-1][1] = max(parts[-1][1], sum(first) + WEEK_S - parts[-1][0])
    if any(length >= WEEK_S for _, length in parts):
        return ()
    return tuple((start, length) for start, length in parts)


def _length(start: int, end: int) -> int:
    return end - start if end >= start else (end - start) % WEEK_S


def _local(time_s: float, time_zone: str) -> datetime:
    return datetime.fromtimestamp(time_s, zone(time_zone) or UTC)


def _second_of_day(local: datetime) -> float:
    return local.hour * 3600 + local.minute * 60 + local.second + local.microsecond / 1e6


def _second_of_week(local: datetime) -> float:
    return (local.isoweekday() % 7) * DAY_S + _second_of_day(local)


def _end_of(holiday: Holiday, time_s: float) -> float | None:
    """When a holiday of this day or the last one ended; None when none has."""
    since_end_s = _second_of_day(_local(time_s, holiday.time_zone)) - holiday.end_s
    for seconds in (since_end_s, since_end_s + DAY_S):
        if seconds >= 0 and holiday.covers(time_s - seconds - 1e-3):
            return time_s - seconds
    return None


ALWAYS_OPEN = Hours()
