"""Messages of the tick stream as a reader of them needs them. Numbers stay the text they were.

So that 1.10 is printed as 1.10, and not as 1.1.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ctrader_twisted.asking import plain

DAY_MS = 86_400_000
# The year 9999, less what time zones may add.
LAST_MS = 253_402_300_800_000 - 2 * DAY_MS


class NumberText(str):
    """A JSON number, as it was written."""

    __slots__ = ()


Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Quote:
    """A tick: prices as text, the venue's time in ms since the epoch."""

    symbol: str
    bid: str
    ask: str
    spread: str
    timestamp_ms: int
    snapshot: bool = False

    @property
    def time(self) -> datetime:
        """The venue's time, to the millisecond, in UTC."""
        seconds, milliseconds = divmod(self.timestamp_ms, 1000)
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=milliseconds * 1000)


@dataclass(frozen=True, slots=True)
class Situation:
    """Where things stand: our link to the daemon, and what the daemon says of its venue.

    ``word`` is the daemon's status, or ``connecting`` or ``lost`` for the link. ``retry_at`` is
    when the next ``attempt`` begins, in seconds of the reader's clock.
    """

    word: str
    environment: str = ""
    reason: str = ""
    attempt: str = ""
    retry_at: float | None = None


def read(text: str) -> Message:
    """The object that a message holds; ValueError when it holds none."""
    try:
        message = json.loads(text, parse_float=NumberText, parse_int=NumberText)
    except RecursionError as error:
        raise ValueError from error
    if not isinstance(message, dict):
        raise ValueError("not an object")
    return message


def read_quote(message: Message) -> Quote:
    """A `tick`; ValueError when something is missing or is not what it should be."""
    symbol = message.get("symbol")
    if not isinstance(symbol, str) or isinstance(symbol, NumberText):
        raise ValueError("no symbol")
    timestamp_ms = int(_number(message, "timestamp"))
    if not 0 <= timestamp_ms < LAST_MS:
        raise ValueError("no such time")
    return Quote(
        symbol=plain(symbol),
        bid=_number(message, "bid"),
        ask=_number(message, "ask"),
        spread=_number(message, "spread", ""),
        timestamp_ms=timestamp_ms,
        snapshot=message.get("snapshot") is True,
    )


def read_situation(message: Message, now: float) -> Situation:
    """A `status`, looked at when the clock says ``now``."""
    delay_ms = message.get("delayMs")
    retry_at = None
    if isinstance(delay_ms, NumberText):
        retry_at = now + min(max(float(delay_ms), 0.0), DAY_MS) / 1000
    return Situation(
        word=text_of(message, "status") or "unknown",
        environment=text_of(message, "env"),
        reason=text_of(message, "reason") or text_of(message, "message"),
        attempt=text_of(message, "attempt"),
        retry_at=retry_at,
    )


def text_of(message: Message, name: str) -> str:
    """A field of text or of a number, fit for a terminal; empty when it is absent."""
    value = message.get(name)
    return plain(value) if isinstance(value, str) else ""


def _number(message: Message, name: str, default: str | None = None) -> str:
    value = message.get(name, default)
    if isinstance(value, NumberText) or value is default is not None:
        return str(value)
    raise ValueError(f"{name} is no number")
