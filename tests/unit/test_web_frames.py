"""Frames and hand-written ticks, read by somebody who knows only RFC 6455 and JSON."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.contract import Pong, RequestError, TickMessage
from ctrader_twisted.market.model import Symbol, Tick
from ctrader_twisted.market.units import round_points
from ctrader_twisted.web import frames
from ctrader_twisted.web.frames import TickWriter
from tests.rfc6455 import TEXT, Frame, take_frame

NOW_MS = 1_750_000_000_000

# Names as no broker should have them. (A lone surrogate is not a character of Unicode.)
odd_names = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=40)
points = st.integers(1, 2**40)


def only_frame(octets: bytes) -> Frame:
    """The one text frame that the octets are."""
    taken = take_frame(octets)
    assert taken is not None
    frame, rest = taken
    assert rest == b""
    assert frame.opcode == TEXT
    return frame


def made(name: str = "EURUSD", digits: int = 5, bid: int = 1, ask: int = 2, seq: int = 1) -> Tick:
    """A tick as the market makes them: rounded."""
    return Tick(
        Symbol(7, name),
        digits,
        round_points(bid, digits),
        round_points(ask, digits),
        NOW_MS,
        NOW_MS + 3,
        seq,
    )


def read(octets: bytes) -> TickMessage:
    """The tick in a frame, by the contract, with every type checked."""
    return msgspec.json.decode(only_frame(octets).payload, type=TickMessage, strict=True)


def price(in_points: int) -> float:
    """Points (1/100000) as the nearest float."""
    return float(Decimal(in_points).scaleb(-5))


class Framing(SynchronousTestCase):
    """RFC 6455, section 5.2."""

    @given(st.sampled_from([0, 1, 124, 125, 126, 127, 1022, 1023, 1024, 1025, 65535, 65536, 70000]))
    def test_lengths(self, size: int) -> None:
        """A payload of any length is one final, unmasked text frame of the shortest form."""
        payload = b"x" * size
        self.assertEqual(only_frame(frames.frame(payload)).payload, payload)

    @given(st.binary(max_size=300))
    def test_payload_is_untouched(self, payload: bytes) -> None:
        """What goes in comes out."""
        text = payload.hex().encode()
        self.assertEqual(only_frame(frames.frame(text)).payload, text)

    @given(st.text(st.characters(exclude_categories=("Cs",)), max_size=3000))
    def test_messages(self, text: str) -> None:
        """A message of the contract is one frame of UTF-8 with its type in it."""
        error = RequestError(id=text, code="BAD", message=text, temporary=False)
        said = only_frame(frames.message(error)).json
        self.assertEqual(
            said,
            {
                "type": "requestError",
                "id": text,
                "code": "BAD",
                "message": text,
                "temporary": False,
            },
        )

    def test_what_is_not_set_is_not_said(self) -> None:
        """An absent id is absent, an id of 0 or of no letters is there."""
        self.assertEqual(
            only_frame(frames.message(Pong(timestamp=5))).json, {"type": "pong", "timestamp": 5}
        )
        for identity in (0, "", 0.5):
            said = only_frame(frames.message(Pong(id=identity, timestamp=5))).json
            self.assertEqual(said["id"], identity)


class Ticks(SynchronousTestCase):
    """Ticks are written by hand, for speed; they must be what the contract says."""

    @given(odd_names, st.integers(0, 8), points, points)
    @example('quote"', 5, 110000, 110010)
    @example("back\\slash", 5, 110000, 110010)
    @example("</script>", 5, 110000, 110010)
    @example("\x00\x1f\x7f\u2028", 5, 110000, 110010)
    @example("Straße 🐎 日経", 2, 3_900_012_345, 3_900_112_345)
    @example("EURUSD", 5, 110010, 110000)
    @example("JPY", 3, 15_012_300, 15_012_300)
    @example("IDX", 0, 3_912_345_678, 3_912_445_678)
    @example("tiny", 5, 1, 2)
    def test_values(self, name: str, digits: int, bid: int, ask: int) -> None:
        """Every field is exactly what msgspec would have made of the same values."""
        tick = made(name, digits, bid, ask)
        wanted = TickMessage(
            symbol=name,
            symbol_id=7,
            bid=price(tick.bid),
            ask=price(tick.ask),
            spread=price(tick.ask - tick.bid),
            timestamp=NOW_MS,
            seq=1,
            received_at=NOW_MS + 3,
        )
        octets = TickWriter().tick(tick)
        self.assertEqual(read(octets), wanted)
        self.assertEqual(only_frame(octets).json, msgspec.json.decode(msgspec.json.encode(wanted)))

    @given(st.integers(0, 5), points)
    def test_no_more_decimals_than_digits(self, digits: int, bid: int) -> None:
        """A price is written in decimals, with the symbol's digits and never an exponent."""
        payload = only_frame(TickWriter().tick(made("X", digits, bid, bid + 7))).payload
        for field in (b'"bid":', b'"ask":', b'"spread":'):
            text = payload.split(field)[1].split(b",")[0].decode()
            self.assertRegex(text, r"^-?[0-9]+(\.[0-9]+)?$")
            self.assertEqual(len(text.partition(".")[2]), digits)

    @given(odd_names)
    def test_ascii(self, name: str) -> None:
        """Ticks are ASCII whatever the symbol is called, so that no reader can stumble."""
        self.assertTrue(only_frame(TickWriter().tick(made(name))).payload.isascii())

    def test_snapshot(self) -> None:
        """The cached tick says so; a live one does not mention it."""
        writer = TickWriter()
        self.assertTrue(read(writer.snapshot(made())).snapshot)
        self.assertNotIn(b"snapshot", writer.tick(made()))

    def test_conflated(self) -> None:
        """A tick that replaces others says how many."""
        self.assertEqual(read(TickWriter().late(made(seq=9), 4)).conflated, 4)

    def test_one_writer_many_symbols(self) -> None:
        """What is remembered of one symbol or number of digits never shows in another."""
        writer = TickWriter()
        for digits in (5, 2, 5, 0, 2):
            tick = made(f"D{digits}", digits, 123_456, 234_567)
            self.assertEqual(read(writer.tick(tick)).bid, price(tick.bid))
            self.assertEqual(read(writer.tick(tick)).symbol, f"D{digits}")

    def test_symbol_that_changed(self) -> None:
        """A new catalogue may give an id to another name."""
        writer = TickWriter()
        writer.tick(made("OLD"))
        self.assertEqual(read(writer.tick(made("NEW"))).symbol, "NEW")

    def test_more_prices_than_are_remembered(self) -> None:
        """The memory of prices is bounded, and prices stay right when it begins again."""
        writer = TickWriter()
        for bid in range(1, 200_000, 2):
            octets = writer.tick(made("X", 5, bid, bid + 100_000))
        self.assertEqual(read(octets).bid, price(199_999))
        self.assertEqual(read(octets).ask, price(299_999))
        self.assertEqual(read(writer.tick(made("X", 5, 1, 3))).bid, price(1))
