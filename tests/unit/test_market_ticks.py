"""Points, whole ticks and the catalogue."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.market.model import SpotUpdate, Symbol, SymbolDetails
from ctrader_twisted.market.symbols import Catalogue
from ctrader_twisted.market.ticks import LATEST_MS, Ticks
from ctrader_twisted.market.units import price, price_text, round_points

EURUSD = Symbol(1, "EURUSD")
POINTS = st.integers(-(10**12), 10**12)


def update(bid: int = 0, ask: int = 0, timestamp_ms: int = 50) -> SpotUpdate:
    """A push for EURUSD."""
    return SpotUpdate(7, 1, bid, ask, timestamp_ms, 60)


def decimal_text(points: int, digits: int) -> str:
    """The slow and obvious way."""
    exact = Decimal(points) / 100000
    rounded = exact.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP)
    return f"{rounded if rounded else abs(rounded):f}"


class PriceTest(SynchronousTestCase):
    """Integers in, text out."""

    @given(POINTS, st.integers(0, 5))
    def test_text_is_the_decimal(self, points: int, digits: int) -> None:
        """A price reads exactly as decimal arithmetic would write it."""
        self.assertEqual(price_text(points, digits), decimal_text(points, digits))

    @given(POINTS, st.integers(0, 9))
    def test_float_is_the_nearest(self, points: int, digits: int) -> None:
        """The float of a price is the one whose text is the price."""
        self.assertEqual(price(points, digits), float(decimal_text(points, min(digits, 5))))

    @given(POINTS, st.integers(-1, 9))
    def test_rounding_twice_changes_nothing(self, points: int, digits: int) -> None:
        """What is rounded stays as it is."""
        once = round_points(points, digits)
        self.assertEqual(round_points(once, digits), once)

    def test_halves_go_away_from_zero(self) -> None:
        """A half is rounded away from zero, on both sides of it."""
        self.assertEqual(price_text(104565, 4), "1.0457")
        self.assertEqual(price_text(-104565, 4), "-1.0457")
        self.assertEqual(price_text(-4, 4), "0.0000")


class TicksTest(SynchronousTestCase):
    """One-sided pushes become whole ticks."""

    def setUp(self) -> None:
        self.ticks = Ticks()
        self.ticks.know(EURUSD, SymbolDetails(1, 4, 3))

    def test_both_sides_before_the_first_tick(self) -> None:
        """One side alone is no tick; the other completes it, rounded to the digits."""
        self.assertIsNone(self.ticks.update(update(bid=104561)))
        tick = self.ticks.update(update(ask=104569))
        assert tick is not None
        self.assertEqual((tick.bid, tick.ask, tick.seq), (104560, 104570, 1))
        self.assertIs(self.ticks.last(1), tick)

    def test_zero_is_no_price(self) -> None:
        """A side of zero counts as absent: the side known before it stays."""
        self.ticks.update(update(104560, 104570))
        tick = self.ticks.update(update(0, 104580))
        assert tick is not None
        self.assertEqual((tick.bid, tick.ask), (104560, 104580))

    def test_neither_side(self) -> None:
        """A push without a price is no tick, and leaves the last one as it is."""
        self.assertIsNone(self.ticks.update(update()))
        tick = self.ticks.update(update(104560, 104570))
        self.assertIsNone(self.ticks.update(update(timestamp_ms=99)))
        self.assertIs(self.ticks.last(1), tick)
        following = self.ticks.update(update(ask=104580))
        assert following is not None
        self.assertEqual((following.seq, following.timestamp_ms), (2, 50))

    def test_time_of_the_venue_or_ours(self) -> None:
        """A tick carries the venue's time, and ours when the venue said none."""
        told = self.ticks.update(update(1, 2, timestamp_ms=50))
        silent = self.ticks.update(update(1, 2, timestamp_ms=0))
        assert told is not None
        assert silent is not None
        self.assertEqual((told.timestamp_ms, told.received_ms), (50, 60))
        self.assertEqual((silent.timestamp_ms, silent.received_ms), (60, 60))

    def test_times_that_are_none(self) -> None:
        """Before the epoch, in microseconds, or at the end of all numbers: our time stands in."""
        for timestamp_ms in (-1, -(2**63), 2**63 - 1, 1_767_225_600_120_000, LATEST_MS):
            tick = self.ticks.update(update(1, 2, timestamp_ms=timestamp_ms))
            assert tick is not None
            self.assertEqual((tick.timestamp_ms, tick.received_ms), (60, 60), timestamp_ms)
        tick = self.ticks.update(update(1, 2, timestamp_ms=LATEST_MS - 1))
        assert tick is not None
        self.assertEqual(tick.timestamp_ms, LATEST_MS - 1)

    def test_outage_forgets_everything(self) -> None:
        """After an outage a side from before is never laid beside one from after; seq restarts."""
        self.ticks.update(update(104560, 104570))
        self.ticks.forget()
        self.assertIsNone(self.ticks.last(1))
        self.ticks.know(EURUSD, SymbolDetails(1, 4, 3))
        self.assertIsNone(self.ticks.update(update(ask=200000)))
        tick = self.ticks.update(update(bid=199990))
        assert tick is not None
        self.assertEqual((tick.bid, tick.ask, tick.seq), (199990, 200000, 1))

    def test_stopped_symbol_keeps_counting(self) -> None:
        """When one symbol's prices end, sides are forgotten but its numbers go on."""
        self.ticks.update(update(104560, 104570))
        self.ticks.forget_prices(1)
        self.ticks.forget_prices(99)
        self.assertIsNone(self.ticks.last(1))
        self.assertIsNone(self.ticks.update(update(ask=5)))
        tick = self.ticks.update(update(bid=5))
        assert tick is not None
        self.assertEqual(tick.seq, 2)

    def test_subscribed_anew(self) -> None:
        """The last tick stands; the same price is none, unless the venue has given it a newer time;
        another one is, with the next number.
        """
        rows = [
            ([update(104560, 104570)], []),
            ([update(104560, 104570, timestamp_ms=0)], []),
            ([update(104560, 104570, timestamp_ms=40)], []),
            ([update(104560), update(0, 104570)], []),
            ([update(104560, 104570, timestamp_ms=51)], [(104560, 104570, 2)]),
            ([update(104561, 104570)], [(104560, 104570, 2)]),
            ([update(0, 104590), update(104580)], [(104580, 104590, 2)]),
            ([update(), update(104560, 104570), update(0, 104590)], [(104560, 104590, 2)]),
            ([update(104560, 104570), update(104560)], [(104560, 104570, 2)]),
        ]
        for updates, expected in rows:
            self.setUp()
            before = self.ticks.update(update(104560, 104570))
            self.ticks.renew(1)
            self.ticks.renew(1)
            self.ticks.renew(99)
            self.ticks.know(EURUSD, SymbolDetails(1, 4, 3))
            self.assertFalse(self.ticks.is_priced(1))
            self.assertEqual(self.ticks.newest([1, 99]), [before])
            self.assertIsNone(self.ticks.catch_up(1))
            came = [tick for tick in map(self.ticks.update, updates) if tick is not None]
            self.assertEqual([(tick.bid, tick.ask, tick.seq) for tick in came], expected)
            self.assertTrue(self.ticks.is_priced(1))
            self.assertIs(self.ticks.last(1), came[-1] if came else before)

    def test_missed(self) -> None:
        """Prices are missed when none comes, or nothing but another first one each time."""
        rows = [
            ([], True),
            ([update(1, 2)], False),
            ([update(1, 2, timestamp_ms=70)], False),
            ([update(3, 4)], True),
            ([update(3, 4), update(5)], False),
            ([update(1, 2), update(5)], False),
        ]
        for updates, expected in rows:
            self.setUp()
            self.assertTrue(self.ticks.is_missed(1))
            self.ticks.update(update(1, 2))
            self.assertFalse(self.ticks.is_missed(1))
            self.ticks.renew(1)
            for one in updates:
                self.ticks.update(one)
            self.assertIs(self.ticks.is_missed(1), expected, updates)
        self.assertTrue(self.ticks.is_missed(99))

    def test_ended_while_subscribed_anew(self) -> None:
        """What is forgotten meanwhile is forgotten whole."""
        for forget in (self.ticks.forget_prices, self.ticks.forget_symbol):
            self.ticks.know(EURUSD, SymbolDetails(1, 4, 3))
            self.ticks.update(update(104560, 104570))
            self.ticks.renew(1)
            forget(1)
            self.assertIsNone(self.ticks.last(1))
            self.assertEqual(self.ticks.newest([1]), [])
            self.assertIsNone(self.ticks.update(update(ask=5)))

    def test_price_before_digits(self) -> None:
        """A price that came before its digits is told when they come, and only once."""
        ticks = Ticks()
        self.assertIsNone(ticks.update(update(104561, 104569)))
        self.assertIsNone(ticks.catch_up(1))
        ticks.know(EURUSD, SymbolDetails(1, 5, 4))
        tick = ticks.catch_up(1)
        assert tick is not None
        self.assertEqual((tick.bid, tick.ask, tick.seq), (104561, 104569, 1))
        self.assertIsNone(ticks.catch_up(1))
        self.assertIsNone(ticks.catch_up(99))

    def test_new_digits_from_the_next_tick(self) -> None:
        """Digits that change are used from the next tick on."""
        self.ticks.know(EURUSD, SymbolDetails(1, 2, 1))
        tick = self.ticks.update(update(104561, 104569))
        assert tick is not None
        self.assertEqual((tick.bid, tick.digits), (105000, 2))

    @given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from("ba"), st.integers(0, 9))))
    def test_merge_is_the_last_of_each_side(self, pushes: list[tuple[int, str, int]]) -> None:
        """However pushes mix, a tick is the last non-zero bid and ask of its own symbol; a push
        without a price is none.
        """
        ticks = Ticks()
        symbols = {number: Symbol(number, f"S{number}") for number in (1, 2, 3)}
        sides: dict[tuple[int, str], int] = {}
        told = dict.fromkeys(symbols, 0)
        for symbol in symbols.values():
            ticks.know(symbol, SymbolDetails(symbol.symbol_id, 5, 4))
        for number, side, value in pushes:
            bid, ask = (value, 0) if side == "b" else (0, value)
            tick = ticks.update(SpotUpdate(7, number, bid, ask, 0, 0))
            if value:
                sides[number, side] = value
            whole = value > 0 and (number, "b") in sides and (number, "a") in sides
            self.assertEqual(tick is not None, whole)
            if tick is not None:
                told[number] += 1
                self.assertEqual((tick.bid, tick.ask), (sides[number, "b"], sides[number, "a"]))
                self.assertEqual((tick.symbol, tick.seq), (symbols[number], told[number]))


class CatalogueTest(SynchronousTestCase):
    """Names and ids of one account."""

    def test_any_case_finds(self) -> None:
        """Names are compared upper-case, and given as the venue spells them."""
        catalogue = Catalogue([Symbol(1, "EurUsd"), Symbol(2, "Off", enabled=False)])
        self.assertEqual(catalogue.by_name("eurUSD"), Symbol(1, "EurUsd"))
        self.assertEqual(catalogue.by_id(2), Symbol(2, "Off", enabled=False))
        self.assertIsNone(catalogue.by_name("GBPUSD"))
        self.assertIsNone(catalogue.by_id(3))
        self.assertEqual((catalogue.names, len(catalogue)), (("EurUsd",), 2))

    def test_same_name_twice(self) -> None:
        """Of two enabled symbols with one name the first counts; an enabled one goes first."""
        first, second = Symbol(1, "US30"), Symbol(2, "us30")
        catalogue = Catalogue([Symbol(3, "Us30", enabled=False), first, second])
        self.assertIs(catalogue.by_name("US30"), first)
        self.assertEqual(catalogue.shadowed, [second])
        self.assertEqual(catalogue.names, ("US30",))
