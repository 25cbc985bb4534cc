"""What the venue's messages become: spots, and an account's money."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.errors import ProtocolError
from ctrader_twisted.market.model import SpotUpdate
from ctrader_twisted.pb import api_pb2, model_pb2
from ctrader_twisted.upstream.translate import spot_updates, symbol_details, trader

NUMBERS = st.integers(1, 2**63 - 1)
SOMETIMES = st.none() | NUMBERS
SPOTS = st.tuples(NUMBERS, NUMBERS, SOMETIMES, SOMETIMES, SOMETIMES, st.booleans())


class SpotUpdatesTest(SynchronousTestCase):
    """From the bytes of events to values."""

    @given(st.lists(SPOTS, max_size=5))
    def test_one_after_another(
        self, spots: list[tuple[int, int, int | None, int | None, int | None, bool]]
    ) -> None:
        """Each says what its bytes say, and nothing of the one before it."""
        payloads, updates = [], []
        for account, symbol, bid, ask, time_ms, with_bar in spots:
            event = api_pb2.ProtoOASpotEvent(
                ctidTraderAccountId=account, symbolId=symbol, bid=bid, ask=ask, timestamp=time_ms
            )
            if with_bar:
                event.trendbar.add(volume=1, low=2)
            payloads.append(event.SerializeToString())
            updates.append(SpotUpdate(account, symbol, bid or 0, ask or 0, time_ms or 0, 5))
        self.assertEqual(list(spot_updates(payloads, 5, self.fail)), updates)

    def test_what_is_missing_is_named(self) -> None:
        """An id, or a required field of a bar that nobody reads; what is around it arrives."""
        good = api_pb2.ProtoOASpotEvent(ctidTraderAccountId=1, symbolId=2)
        whole = api_pb2.ProtoOASpotEvent(ctidTraderAccountId=1, symbolId=2)
        whole.trendbar.add(low=1)
        for event, name in (
            (api_pb2.ProtoOASpotEvent(symbolId=2), "ctidTraderAccountId"),
            (api_pb2.ProtoOASpotEvent(ctidTraderAccountId=2), "symbolId"),
            (whole, "trendbar[0].volume"),
        ):
            right = good.SerializeToString()
            errors: list[ProtocolError] = []
            payloads = [right, event.SerializePartialToString(), right]
            updates = list(spot_updates(payloads, 5, errors.append))
            self.assertEqual(updates, [SpotUpdate(1, 2, 0, 0, 0, 5)] * 2)
            (error,) = errors
            self.assertIn(name, str(error))

    def test_garbage(self) -> None:
        """Bytes that are no message."""
        errors: list[ProtocolError] = []
        self.assertEqual(list(spot_updates([b"\x12\x7f\x01"], 5, errors.append)), [])
        self.assertEqual(
            [str(one) for one in errors], ["a ProtoOASpotEvent of 3 bytes cannot be read"]
        )


class TraderTest(SynchronousTestCase):
    """An account's money."""

    def money(self, **more: int) -> Decimal:
        """What a balance of 1234567 is."""
        return trader(
            model_pb2.ProtoOATrader(
                ctidTraderAccountId=1, balance=1_234_567, depositAssetId=1, **more
            )
        ).balance

    def test_digits(self) -> None:
        """Two, unless the venue says otherwise; a number that nobody can mean raises nothing."""
        self.assertEqual(self.money(), Decimal("12345.67"))
        self.assertEqual(self.money(moneyDigits=0), Decimal(1_234_567))
        self.assertEqual(self.money(moneyDigits=8), Decimal("0.01234567"))
        self.assertLess(self.money(moneyDigits=2**32 - 1), 1)


class DetailsTest(SynchronousTestCase):
    """Details of symbols."""

    def test_digits(self) -> None:
        """Within those of a point, whatever the venue says."""
        numbers = {-(2**31): 0, -1: 0, 0: 0, 3: 3, 5: 5, 6: 5, 2**31 - 1: 5}
        answer = api_pb2.ProtoOASymbolByIdRes(ctidTraderAccountId=1)
        for number in numbers:
            answer.symbol.add(symbolId=1, digits=number, pipPosition=4)
        told = [details.digits for details in symbol_details(answer)]
        self.assertEqual(told, list(numbers.values()))
