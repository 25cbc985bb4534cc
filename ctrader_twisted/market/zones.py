"""Time zones by the names that the venue uses; a name whose meaning is not certain is unknown."""

from __future__ import annotations

import re
from datetime import UTC, timedelta, timezone, tzinfo
from functools import cache, lru_cache
from zoneinfo import ZoneInfo, available_timezones

# As Java writes a fixed offset: GMT+3, UTC-05:30, +0300. Unlike in Etc/GMT-3, plus is east.
_OFFSET = re.compile(r"(?:GMT|UTC|UT)?([+-])(\d{1,2})(?::?([0-5]\d))?", re.ASCII)
_UTC = frozenset({"UTC", "GMT", "UT", "Z", "ZULU"})
_MOST_HOURS = 14
# Names of tzdata files whose content depends on the machine, or that are no zones.
_NOT_CERTAIN = frozenset({"localtime", "posixrules", "factory"})
_LONGEST_NAME = 64


def zone(name: str) -> tzinfo | None:
    """The time zone of that name, in any capitals; None if it is unknown."""
    return None if len(name) > _LONGEST_NAME else _zone(name)


@lru_cache(maxsize=256)
def _zone(name: str) -> tzinfo | None:
    plain = name.strip()
    if plain.upper() in _UTC:
        return UTC
    offset = _OFFSET.fullmatch(plain.upper().replace(" ", ""))
    if offset is not None:
        return _fixed(*offset.groups(default="0"))
    found = _names().get(plain.lower())
    try:
        return None if found is None else ZoneInfo(found)
    except (ValueError, OSError, LookupError):
        return None


def _fixed(sign: str, hours: str, minutes: str) -> tzinfo | None:
    east = timedelta(hours=int(hours), minutes=int(minutes))
    if east > timedelta(hours=_MOST_HOURS):
        return None
    return timezone(east if sign == "+" else -east)


@cache
def _names() -> dict[str, str]:
    return {
        name.lower(): name for name in available_timezones() if name.lower() not in _NOT_CERTAIN
    }
