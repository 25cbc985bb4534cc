"""What `ctrader-stream tail` prints: in a pipe, as JSON, and on a terminal."""

from __future__ import annotations

import io
import os
import re
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.tail import make_view
from ctrader_twisted.tail.messages import Quote, Situation, read, read_quote, read_situation
from ctrader_twisted.tail.rendering import JsonLines, Lines, sentence
from ctrader_twisted.tail.screen import Screen

# 2026-11-21T12:00:00.123Z
TIME_MS = 1_795_262_400_123

TICK = (
    '{"type":"tick","symbol":"EURUSD","symbolId":1,"bid":1.08510,"ask":1.0852,"spread":0.00010,'
    f'"timestamp":{TIME_MS},"seq":7,"receivedAt":{TIME_MS}}}'
)


def quote(bid: str = "1.08510", ask: str = "1.08520", **more: Any) -> Quote:
    """A quote of EURUSD."""
    return Quote(
        **{"symbol": "EURUSD", "spread": "0.00010", "timestamp_ms": TIME_MS, **more}
        | {"bid": bid, "ask": ask}
    )


class MessageTests(SynchronousTestCase):
    """Reading what the daemon sends."""

    def test_a_tick_keeps_its_digits(self) -> None:
        """1.08510 is not 1.0851."""
        self.assertEqual(read_quote(read(TICK)), quote(ask="1.0852"))

    def test_whole_prices(self) -> None:
        """A price without decimals has none afterwards."""
        message = read(TICK.replace("1.08510", "39000"))
        self.assertEqual(read_quote(message).bid, "39000")

    def test_the_spread_may_be_absent(self) -> None:
        """It is shown as nothing."""
        self.assertEqual(read_quote(read(TICK.replace('"spread"', '"x"'))).spread, "")

    def test_ticks_that_are_none(self) -> None:
        """A missing or wrongly typed field, NaN, an impossible time, and what is no object."""
        for text in [
            TICK.replace('"bid"', '"x"'),
            TICK.replace("1.08510", '"1.08510"'),
            TICK.replace("1.08510", "NaN"),
            TICK.replace("1.08510", "null"),
            TICK.replace('"EURUSD"', "5"),
            TICK.replace(str(TIME_MS), "1.5"),
            TICK.replace(str(TIME_MS), "-1"),
            TICK.replace(str(TIME_MS), "9" * 18),
            TICK.replace(str(TIME_MS), "9" * 5000),
            "[]",
            "tick",
            "",
            "[" * 100_000,
        ]:
            with self.assertRaises(ValueError):
                read_quote(read(text))

    def test_nothing_that_a_terminal_would_obey(self) -> None:
        """Control characters of a name or of a message become blanks."""
        hostile = read(TICK.replace("EURUSD", r"EUR\u001b[2J\nUSD"))
        self.assertEqual(read_quote(hostile).symbol, "EUR [2J USD")

    def test_a_status(self) -> None:
        """Words, the environment, and when the venue is tried again."""
        message = read(
            '{"type":"status","status":"reconnecting","env":"demo","attempt":3,"delayMs":4200,'
            '"message":"attempt 3 in 4.2 s: refused","reason":"refused"}'
        )
        expected = Situation("reconnecting", "demo", "refused", "3", retry_at=104.2)
        self.assertEqual(read_situation(message, 100.0), expected)

    def test_a_status_with_nonsense(self) -> None:
        """It is shown as far as it makes sense, and a wait has a bound."""
        message = read('{"type":"status","status":{},"env":5,"delayMs":1e999,"attempt":[]}')
        self.assertEqual(read_situation(message, 0.0), Situation("unknown", "5", retry_at=86_400.0))


class SentenceTests(SynchronousTestCase):
    """Where things stand, in words."""

    def test_sentences(self) -> None:
        """A simulator is recognisable, a live account as well, and a wait is counted down."""
        table = [
            (Situation("connected", "simulator"), "[SIMULATOR, invented prices] connected"),
            (Situation("connected", "demo"), "[demo] connected"),
            (Situation("stale", "live"), "[LIVE] stale"),
            (Situation("connecting"), "connecting"),
            (Situation("error", "demo", "wrong secret"), "[demo] error (wrong secret)"),
            (
                Situation("reconnecting", "demo", "gone", "2", retry_at=104.2),
                "[demo] reconnecting: attempt 2 in 5 s (gone)",
            ),
            (
                Situation("lost", reason="refused", attempt="4", retry_at=99.0),
                "no connection to the daemon: attempt 4 now (refused)",
            ),
        ]
        for situation, text in table:
            self.assertEqual(sentence(situation, 100.0), text)


class LinesTests(SynchronousTestCase):
    """In a pipe."""

    def setUp(self) -> None:
        """Both streams in memory."""
        self.out, self.err = io.StringIO(), io.StringIO()

    def test_a_tick_is_a_line(self) -> None:
        """UTC to the millisecond, symbol, bid, ask."""
        Lines(self.out, self.err).tick(quote(symbol="Spot Gold"), TICK)
        line = "2026-11-21T12:00:00.123Z\tSpot Gold\t1.08510\t1.08520\n"
        self.assertEqual(self.out.getvalue(), line)
        self.assertEqual(self.err.getvalue(), "")

    def test_a_whole_second_has_milliseconds_too(self) -> None:
        """Columns stay columns."""
        Lines(self.out, self.err).tick(quote(timestamp_ms=TIME_MS - 123), TICK)
        self.assertTrue(self.out.getvalue().startswith("2026-11-21T12:00:00.000Z\t"))

    def test_json_is_what_came(self) -> None:
        """The message itself, on one line."""
        JsonLines(self.out, self.err).tick(quote(), TICK.replace(",", ",\r\n"))
        self.assertEqual(self.out.getvalue(), TICK.replace(",", ",  ") + "\n")

    def test_all_else_goes_to_standard_error(self) -> None:
        """One line each; the same status twice is said once."""
        lines = Lines(self.out, self.err)
        lines.note("careful")
        lines.refused("NOPE", "there is no such symbol")
        lines.situation(Situation("connected", "demo"), 0.0)
        lines.situation(Situation("connected", "demo"), 1.0)
        self.assertEqual(self.out.getvalue(), "")
        self.assertEqual(
            self.err.getvalue().splitlines(),
            [
                "ctrader-stream: careful",
                "ctrader-stream: NOPE is refused: there is no such symbol",
                "ctrader-stream: [demo] connected",
            ],
        )

    def test_a_closed_standard_error(self) -> None:
        """Nobody listens, so nothing is said, and ticks go on."""

        class Closed(io.StringIO):
            def write(self, text: str) -> int:
                raise BrokenPipeError

        lines = Lines(self.out, Closed())
        lines.note("careful")
        lines.tick(quote(), TICK)
        self.assertIn("EURUSD", self.out.getvalue())


class Terminal(io.StringIO):
    """Remembers what was written, and shows it as a terminal would."""

    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        """It is one."""
        return True

    def shown(self) -> list[str]:
        """The lines on the screen, for the few controls that we use, without colours."""
        lines, row = [""], 0
        for part in re.split(
            r"(\x1b\[\d*[AJK]|\r|\n)", re.sub(r"\x1b\[[\d;]*m", "", self.getvalue())
        ):
            if up := re.fullmatch(r"\x1b\[(\d+)A", part):
                row -= int(up[1])
            elif part == "\x1b[J":
                lines[row:] = [""]
            elif part == "\n":
                row += 1
                lines += [""] * (row + 1 - len(lines))
            elif part not in ("\r", "\x1b[K"):
                lines[row] = part or lines[row]
        return lines[:-1]


class ScreenTests(SynchronousTestCase):
    """On a terminal."""

    def setUp(self) -> None:
        """A terminal of 80 columns and 24 lines, that both streams go to."""
        self.terminal = Terminal()
        self.size = os.terminal_size((80, 24))

    def screen(self, *symbols: str, colour: bool = False) -> Screen:
        """A screen on that terminal."""
        return Screen(
            self.terminal,
            self.terminal,
            symbols=symbols or ("EURUSD",),
            size=lambda: self.size,
            colour=colour,
        )

    def test_before_anything_came(self) -> None:
        """Each symbol has its line, and the last one says where we are."""
        self.screen("EURUSD", "XAUUSD").paint(0.0)
        self.assertEqual(
            self.terminal.shown(),
            [
                "symbol    bid  ask  spread  time",
                "EURUSD    no price yet",
                "XAUUSD    no price yet",
                "connecting",
            ],
        )

    def test_prices_are_updated_in_place(self) -> None:
        """The newest quote of a symbol is on its line, with an arrow for where it went."""
        screen = self.screen("eurusd")
        screen.situation(Situation("connected", "demo"), 0.0)
        for bid, ask, arrow in [
            ("1.08510", "1.08520", " "),
            ("1.08511", "1.08520", "▲"),
            ("1.08509", "1.08520", "▼"),
            ("1.08509", "1.08521", "▲"),
            ("1.08509", "1.08521", "▲"),
        ]:
            screen.tick(quote(bid, ask), TICK)
            screen.paint(0.0)
            shown = self.terminal.shown()
            self.assertEqual(len(shown), 4)
            row = rf"EURUSD  {arrow} {bid}  {ask}  0\.00010  \d\d:\d\d:00\.123"
            self.assertRegex(shown[2], f"^{row}$")
        self.assertEqual(shown[0], "ctrader-stream: [demo] connected")
        self.assertEqual(shown[-1], "[demo] connected")

    def test_nothing_new_writes_nothing(self) -> None:
        """A quiet market costs nothing."""
        screen = self.screen()
        screen.paint(0.0)
        before = self.terminal.getvalue()
        screen.paint(1.0)
        self.assertEqual(self.terminal.getvalue(), before)

    def test_a_countdown(self) -> None:
        """The wait shrinks on the last line, but is said once above the block."""
        screen = self.screen()
        screen.situation(Situation("reconnecting", "demo", "gone", "1", retry_at=3.0), 0.0)
        screen.paint(1.5)
        self.assertEqual(self.terminal.shown()[-1], "[demo] reconnecting: attempt 1 in 2 s (gone)")
        screen.paint(3.0)
        self.assertEqual(self.terminal.shown()[-1], "[demo] reconnecting: attempt 1 now (gone)")
        self.assertEqual(sum("ctrader-stream:" in line for line in self.terminal.shown()), 1)

    def test_prices_of_an_outage_are_no_live_prices(self) -> None:
        """What an outage left behind is called the last known, and so is a snapshot."""
        screen = self.screen()
        screen.situation(Situation("connected"), 0.0)
        screen.tick(quote(snapshot=True), TICK)
        screen.paint(0.0)
        self.assertIn("last known", self.terminal.shown()[-2])
        screen.tick(quote(), TICK)
        screen.paint(0.0)
        self.assertNotIn("last known", self.terminal.shown()[-2])
        screen.situation(Situation("lost"), 0.0)
        self.assertIn("last known", self.terminal.shown()[-2])

    def test_a_refused_symbol(self) -> None:
        """Its line says why."""
        screen = self.screen("EURUSD", "NOPE")
        screen.refused("nope", "there is no such symbol")
        self.assertIn("NOPE      refused: there is no such symbol", self.terminal.shown())

    def test_a_narrow_terminal(self) -> None:
        """Lines are cut, never wrapped: a wrapped one would not be found again."""
        self.size = os.terminal_size((20, 24))
        screen = self.screen(colour=True)
        screen.situation(Situation("connected", "simulator"), 0.0)
        screen.tick(quote(), TICK)
        screen.paint(0.0)
        self.assertLessEqual(max(map(len, self.terminal.shown()[1:])), 19)

    def test_a_terminal_that_does_not_know_its_size(self) -> None:
        """It is taken for an ordinary one."""
        self.size = os.terminal_size((0, 0))
        self.screen().paint(0.0)
        self.assertEqual(self.terminal.shown()[1], "EURUSD    no price yet")

    def test_a_low_terminal(self) -> None:
        """What does not fit is counted."""
        self.size = os.terminal_size((80, 6))
        screen = self.screen(*"ABCDE")
        screen.paint(0.0)
        shown = self.terminal.shown()
        self.assertEqual(len(shown), 5)
        self.assertEqual(shown[3], "… and 3 more")

    def test_colours(self) -> None:
        """Green is up, red is down, and a simulator is loud; or there are none at all."""
        for colour, found in [(True, True), (False, False)]:
            self.terminal = Terminal()
            screen = self.screen(colour=colour)
            screen.situation(Situation("connected", "simulator"), 0.0)
            for bid in ("1.08510", "1.08511"):
                screen.tick(quote(bid), TICK)
            screen.paint(0.0)
            written = self.terminal.getvalue()
            self.assertEqual("\x1b[32m▲" in written, found)
            self.assertEqual("\x1b[1;30;43m[SIMULATOR" in written, found)
            self.assertIn("SIMULATOR", written)

    def test_a_terminal_without_arrows(self) -> None:
        """Where the encoding has none, plus and minus do."""
        self.terminal.encoding = "ascii"
        screen = self.screen()
        for bid in ("1.08510", "1.08511"):
            screen.tick(quote(bid), TICK)
        screen.paint(0.0)
        self.assertIn("+ 1.08511", self.terminal.shown()[1])


class ViewTests(SynchronousTestCase):
    """Which of the three it is."""

    def test_choices(self) -> None:
        """A pipe and a dumb terminal get lines, JSON is JSON everywhere."""
        pipe, terminal = io.StringIO(), Terminal()
        table = [
            (pipe, False, "xterm", Lines),
            (terminal, False, "xterm", Screen),
            (terminal, False, "dumb", Lines),
            (terminal, False, "", Lines),
            (terminal, True, "xterm", JsonLines),
            (pipe, True, "xterm", JsonLines),
        ]
        for out, as_json, term, kind in table:
            view = make_view(["EURUSD"], as_json, out, pipe, {"TERM": term})
            self.assertIs(type(view), kind)

    def test_no_color(self) -> None:
        """NO_COLOR counts when it is not empty."""
        for value, coloured in [("1", False), ("", True)]:
            terminal = Terminal()
            environ = {"TERM": "xterm", "NO_COLOR": value}
            view = make_view(["EURUSD"], False, terminal, io.StringIO(), environ)
            assert isinstance(view, Screen)
            view.paint(0.0)
            self.assertEqual("\x1b[2m" in terminal.getvalue(), coloured)
