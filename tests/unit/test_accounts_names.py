"""Lists of names that come again: remembered while nothing about them can have changed."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.accounts import Wanted
from ctrader_twisted.accounts.causes import Causes
from ctrader_twisted.accounts.names import REMEMBERED, Names
from ctrader_twisted.market.model import Symbol
from ctrader_twisted.market.symbols import Catalogue

NAMES = {1: "EURUSD", 2: "GBPUSD", 3: "XAUUSD"}


class Counting(Catalogue):
    """Counts how often a name was looked up."""

    looks = 0

    def by_name(self, name: str) -> Symbol | None:
        """As ever."""
        self.looks += 1
        return super().by_name(name)


class Had:
    """What the venue has confirmed and described."""

    def __init__(self) -> None:
        self.confirmed, self.described = {1, 2, 3}, {1, 2, 3}
        self.forgiven: list[int] = []

    def forgive(self, symbol_id: int) -> None:
        """Remembered."""
        self.forgiven.append(symbol_id)


def catalogue(names: dict[int, str], *disabled: int) -> Counting:
    """Symbols by their ids."""
    return Counting(
        Symbol(number, name, enabled=number not in disabled) for number, name in names.items()
    )


class NamesTest(SynchronousTestCase):
    """What a list means, the first time and later."""

    def setUp(self) -> None:
        self.relists = 0
        causes = Causes(Clock(), wanted=tuple)
        self.names = Names(causes=causes, relist=self.relist)
        self.catalogue, self.had = catalogue(NAMES), Had()

    def relist(self) -> None:
        """Somebody knows a symbol that we do not."""
        self.relists += 1

    def resolve(self, *names: str) -> list[Wanted]:
        """What they mean now."""
        had: Any = self.had
        meaning = self.names.resolve(names, self.catalogue, had)
        self.assertEqual(meaning.keys, {w.name.upper() for w in meaning.wanted if not w.is_refused})
        return list(meaning.wanted)

    def test_the_same_list_is_looked_up_once(self) -> None:
        """Who asks next gets the same answer, without a look at any of its names."""
        first = self.resolve("eurusd", "GBPUSD")
        self.assertEqual(first, [Wanted("EURUSD"), Wanted("GBPUSD")])
        looks = self.catalogue.looks
        self.assertEqual(self.resolve("eurusd", "GBPUSD"), first)
        self.assertEqual(self.names.ids(["eurusd", "GBPUSD"], self.catalogue), [1, 2])
        self.assertEqual(self.catalogue.looks, looks)

    def test_a_venue_that_sends_no_more(self) -> None:
        """One symbol that is not confirmed any more is pending again, and is asked for again."""
        self.resolve("EURUSD", "GBPUSD")
        self.had.confirmed.discard(2)
        again = self.resolve("EURUSD", "GBPUSD")
        self.assertEqual(again, [Wanted("EURUSD"), Wanted("GBPUSD", pending=True)])
        self.assertEqual(self.had.forgiven, [2])

    def test_a_description_that_is_missing(self) -> None:
        """Prices come, but their digits are asked for again: by everybody who comes."""
        self.resolve("EURUSD")
        self.had.described.discard(1)
        for _ in range(2):
            self.assertEqual(self.resolve("EURUSD"), [Wanted("EURUSD")])
        self.assertEqual(self.had.forgiven, [1, 1])

    def test_another_catalogue(self) -> None:
        """A list of symbols that was renewed is what counts: disabled, gone, and another's name."""
        asked = ("EURUSD", "GBPUSD", "XAUUSD")
        self.resolve(*asked)
        self.catalogue = catalogue({1: "EURUSD", 9: "XAUUSD"}, 1)
        self.had.confirmed.add(9)
        self.had.described.add(9)
        codes = [wanted.code for wanted in self.resolve(*asked)]
        self.assertEqual(codes, ["SYMBOL_DISABLED", "UNKNOWN_SYMBOL", None])
        self.assertEqual(self.names.ids(asked, self.catalogue), [9])
        self.assertEqual(self.relists, 2)

    def test_what_is_not_had_is_not_remembered(self) -> None:
        """Each one who asks for an unknown symbol is a reason to fetch the list again."""
        for _ in range(3):
            self.resolve("EURUSD", "NOSUCH")
        self.assertEqual(self.relists, 3)

    def test_before_the_catalogue_and_during_an_outage(self) -> None:
        """Every name may mean something; then every symbol that there is."""
        before = self.names.resolve(["no"], None, None)
        self.assertEqual(before.wanted, (Wanted("no", pending=True),))
        self.resolve("eurusd")
        during = self.names.resolve(["eurusd"], self.catalogue, None)
        self.assertEqual(during.wanted, (Wanted("EURUSD", pending=True),))

    def test_lists_without_end(self) -> None:
        """Who makes up a new list each time fills no memory."""
        for number in range(3 * REMEMBERED):
            self.resolve("EURUSD", *["GBPUSD"] * number)
        self.assertLessEqual(len(self.names), REMEMBERED)
