"""The doctor's advice about a symbol that the account does not have."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.upstream.knock import _similar

NAMES = ["EURUSD.r", "EURGBP.r", "XAUUSD.r", "US 500"]


class SimilarTest(SynchronousTestCase):
    """Names that are nearly the same."""

    def test_near(self) -> None:
        """A suffix, a separator, a slip, any case."""
        for name, found in (
            ("EURUSD", "EURUSD.r"),
            ("eur/usd", "EURUSD.r"),
            ("XAUSUD", "XAUUSD.r"),
            ("us500", "US 500"),
        ):
            self.assertIn(f"similar ones here: {found}", _similar(name, NAMES))

    def test_none(self) -> None:
        """Where all of them can be seen."""
        self.assertIn("availableSymbols", _similar("DAX", NAMES))
        self.assertIn("availableSymbols", _similar("EURUSD", []))
