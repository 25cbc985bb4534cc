"""A terminal: one line a symbol, updated in place, and below them how things stand.

What is said beside the prices scrolls away above the block; the block is always the last thing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from os import terminal_size
from typing import TextIO

from ctrader_twisted.tail.messages import Quote, Situation
from ctrader_twisted.tail.rendering import Lines, environment, sentence

PAINT_S = 0.05

UP, DOWN = 1, -1
ARROWS = {UP: "▲", DOWN: "▼", 0: " "}
PLAIN_ARROWS = {UP: "+", DOWN: "-", 0: " "}

GREEN, RED, DIM, LOUD = "32", "31", "2", "1;30;43"
COLOURS = {UP: GREEN, DOWN: RED, 0: ""}

# A text and how it looks.
Piece = tuple[str, str]


@dataclass(slots=True)
class Row:
    """What is known of one symbol: its last quote, and where the price went when it last moved."""

    symbol: str
    quote: Quote | None = None
    direction: int = 0
    refusal: str = ""

    def take(self, quote: Quote) -> None:
        """A new quote; an unchanged bid leaves it to the ask to say where the price goes."""
        if self.quote is not None:
            self.direction = (
                _moved(self.quote.bid, quote.bid)
                or _moved(self.quote.ask, quote.ask)
                or self.direction
            )
        self.symbol, self.quote, self.refusal = quote.symbol, quote, ""


def _moved(before: str, after: str) -> int:
    old, new = float(before), float(after)
    return (new > old) - (new < old)


class Screen(Lines):
    """Draws on a terminal. `paint` is to be called now and then; it writes only what is new."""

    def __init__(
        self,
        out: TextIO,
        err: TextIO,
        *,
        symbols: Sequence[str],
        size: Callable[[], terminal_size],
        colour: bool,
    ) -> None:
        super().__init__(out, err)
        self._rows = {symbol.upper(): Row(symbol) for symbol in symbols}
        self._situation = Situation("connecting")
        self._size = size
        self._colour = colour
        self._arrows = ARROWS if _can_write(out, "▲▼…") else PLAIN_ARROWS
        self._more = "…" if self._arrows is ARROWS else "..."
        self._drawn: list[str] = []
        self._now = 0.0

    def tick(self, quote: Quote, text: str) -> None:
        """Remember the price for the next picture."""
        key = quote.symbol.upper()
        self._rows.setdefault(key, Row(quote.symbol)).take(quote)

    def note(self, text: str) -> None:
        """A line above the block."""
        with suppress(OSError):
            self._erase()
            super().note(text)
            self._draw(self._picture(self._now))

    def refused(self, symbol: str, reason: str) -> None:
        """A line above the block, and the reason where the prices would be."""
        row = self._rows.setdefault(symbol.upper(), Row(symbol))
        row.quote, row.refusal = None, reason
        super().refused(symbol, reason)

    def situation(self, situation: Situation, now: float) -> None:
        """A line above the block, and the last line of it."""
        self._situation, self._now = situation, now
        super().situation(situation, now)

    def paint(self, now: float) -> None:
        """Bring the block up to date; OSError when the terminal is gone."""
        self._now = now
        picture = self._picture(now)
        if picture != self._drawn:
            self._draw(picture)

    # -- the block on the terminal

    def _erase(self) -> None:
        if self._drawn:
            self.write(f"\x1b[{len(self._drawn)}A\r\x1b[J")
            self._drawn = []

    def _draw(self, picture: list[str]) -> None:
        up = f"\x1b[{len(self._drawn)}A\r" if self._drawn else ""
        lines = "".join(f"{line}\x1b[K\n" for line in picture)
        self._drawn = picture
        self.write(f"{up}{lines}\x1b[J")

    # -- what is in it

    def _picture(self, now: float) -> list[str]:
        columns, lines = self._room()
        rows = list(self._rows.values())
        # The heading, the situation, and the line on which the cursor rests.
        room = max(1, lines - 3)
        if len(rows) > room:
            hidden = len(rows) - room + 1
            rows = rows[: room - 1]
            more: list[list[Piece]] = [[(f"{self._more} and {hidden} more", DIM)]]
        else:
            more = []
        pieces = [*self._table(rows), *more, self._status(now)]
        return [self._line(line, columns) for line in pieces]

    def _room(self) -> tuple[int, int]:
        try:
            columns, lines = self._size()
        except OSError:
            columns, lines = 80, 24
        # A line that fills the last column would make some terminals begin another one. Those that
        # do not know their size say 0.
        return (columns or 80) - 1, lines or 24

    def _table(self, rows: list[Row]) -> list[list[Piece]]:
        quotes = [row.quote for row in rows if row.quote is not None]
        bid, ask, spread = (
            max([len(name), *(len(getattr(quote, name)) for quote in quotes)])
            for name in ("bid", "ask", "spread")
        )
        symbol = max([len("symbol"), *(len(row.symbol) for row in rows)])
        heading = (
            f"{'symbol':<{symbol}}    {'bid':>{bid}}  {'ask':>{ask}}  {'spread':>{spread}}  time"
        )
        table: list[list[Piece]] = [[(heading, DIM)]]
        for row in rows:
            table.append([(f"{row.symbol:<{symbol}}  ", ""), *self._prices(row, bid, ask, spread)])
        return table

    def _prices(self, row: Row, bid: int, ask: int, spread: int) -> list[Piece]:
        quote = row.quote
        if quote is None:
            return [(f"  refused: {row.refusal}" if row.refusal else "  no price yet", DIM)]
        time = quote.time.astimezone().strftime("%H:%M:%S.") + f"{quote.timestamp_ms % 1000:03}"
        # Neither what was remembered for us, nor what an outage left behind, is a live price.
        live = self._situation.word == "connected" and not quote.snapshot
        look = COLOURS[row.direction] if live else DIM
        return [
            (f"{self._arrows[row.direction]} {quote.bid:>{bid}}  {quote.ask:>{ask}}", look),
            (f"  {quote.spread:>{spread}}  {time}", "" if live else DIM),
            ("  last known" if not live else "", DIM),
        ]

    def _status(self, now: float) -> list[Piece]:
        where = environment(self._situation)
        rest = sentence(self._situation, now).removeprefix(where)
        look = LOUD if self._situation.environment == "simulator" else "1"
        good = self._situation.word == "connected"
        return [(where, look), (rest.lstrip() if not where else rest, GREEN if good else RED)]

    def _line(self, pieces: list[Piece], columns: int) -> str:
        shown = []
        for text, look in pieces:
            part = text[:columns]
            columns -= len(part)
            coloured = part and look and self._colour
            shown.append(f"\x1b[{look}m{part}\x1b[0m" if coloured else part)
        return "".join(shown)


def _can_write(out: TextIO, text: str) -> bool:
    try:
        text.encode(out.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
