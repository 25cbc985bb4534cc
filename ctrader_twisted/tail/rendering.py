"""How ticks are printed where nothing can be updated in place, and what is said beside them.

Ticks go to standard output, one a line, at once; everything else is one line on standard error.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Protocol, TextIO

from ctrader_twisted.tail.messages import Quote, Situation

NAME = "ctrader-stream"

# A simulator must never be taken for a market.
ENVIRONMENTS = {"simulator": "SIMULATOR, invented prices", "live": "LIVE"}


class View(Protocol):
    """Whatever shows a tail. `tick` may raise OSError when its reader is gone."""

    def tick(self, quote: Quote, text: str) -> None:
        """A price; ``text`` is the message as it came."""

    def note(self, text: str) -> None:
        """One sentence for the person who looks."""

    def refused(self, symbol: str, reason: str) -> None:
        """The daemon will not send this symbol."""

    def situation(self, situation: Situation, now: float) -> None:
        """The link, or the venue behind the daemon, has changed."""


class Lines:
    """One line a tick: UTC, symbol, bid, ask; between tabs, as symbols may have blanks in them."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = out
        self._err = err
        self._said = ""

    def tick(self, quote: Quote, text: str) -> None:
        """A line on standard output."""
        time = quote.time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.write(f"{time}\t{quote.symbol}\t{quote.bid}\t{quote.ask}\n")

    def note(self, text: str) -> None:
        """A line on standard error, as long as there is one."""
        with suppress(OSError):
            self._err.write(f"{NAME}: {text}\n")
            self._err.flush()

    def refused(self, symbol: str, reason: str) -> None:
        """A line on standard error."""
        self.note(f"{symbol} is refused: {reason}")

    def situation(self, situation: Situation, now: float) -> None:
        """A line on standard error, unless it would repeat the last one."""
        text = sentence(situation, now)
        if text != self._said:
            self._said = text
            self.note(text)

    def write(self, text: str) -> None:
        """Write through to standard output."""
        self._out.write(text)
        self._out.flush()


class JsonLines(Lines):
    """The tick messages as they came, one a line."""

    def tick(self, quote: Quote, text: str) -> None:
        """A line on standard output; in JSON a line break can only be white space."""
        self.write(text.replace("\r", " ").replace("\n", " ") + "\n")


def sentence(situation: Situation, now: float) -> str:
    """The situation in words: ``[demo] reconnecting: attempt 3 in 5 s (connection refused)``."""
    where = environment(situation)
    words = {"lost": "no connection to the daemon"}.get(situation.word, situation.word)
    if situation.retry_at is not None:
        left_s = max(0, math.ceil(situation.retry_at - now))
        when = f"in {left_s} s" if left_s else "now"
        words += f": attempt {situation.attempt or '?'} {when}"
    reason = f" ({situation.reason})" if situation.reason else ""
    return f"{where}{' ' if where else ''}{words}{reason}"


def environment(situation: Situation) -> str:
    """The environment in brackets, shouted when it matters; empty while it is unknown."""
    name = situation.environment
    return f"[{ENVIRONMENTS.get(name, name)}]" if name else ""
