"""What the venue's messages become: a spot, read in one pass as in two, and an account's money."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.errors import ProtocolError
from ctrader_twisted.market.model import SpotUpdate
from ctrader_twisted.pb import api_pb2, common_pb2, model_pb2
from ctrader_twisted.upstream.translate import spot_updates, trader
from ctrader_twisted.wire.codec import SPOT_FRAME, decode, encode

NUMBERS = st.integers(0, 2**63 - 1)


class SpotUpdateTest(SynchronousTestCase):
    """From the frame to the value."""

    @given(
        st.integers(0, 2**63 - 1),
        st.integers(0, 2**63 - 1),
        st.none() | NUMBERS,
        st.none() | NUMBERS,
        st.none() | NUMBERS,
        st.booleans(),
    )
    def test_same_as_the_long_way(
        self,
        account: int,
        symbol: int,
        bid: int | None,
        ask: int | None,
        time_ms: int | None,
        with_bar: bool,
    ) -> None:
        """Both ways read the same out of the same frame."""
        event = api_pb2.ProtoOASpotEvent(
            ctidTraderAccountId=account, symbolId=symbol, bid=bid, ask=ask, timestamp=time_ms
        )
        if with_bar:
            event.trendbar.add(volume=1, low=2)
        frame = encode(event, "x" if with_bar else None)
        self.assertTrue(frame.startswith(SPOT_FRAME))
        self.assertEqual(decode(frame).message, event)
        update = SpotUpdate(account, symbol, bid or 0, ask or 0, time_ms or 0, 5)
        self.assertEqual(list(spot_updates([frame], 5)), [update])

    def test_fields_in_another_order(self) -> None:
        """The payload may come before its type."""
        body = api_pb2.ProtoOASpotEvent(ctidTraderAccountId=1, symbolId=2).SerializeToString()
        frame = b"\x12" + bytes([len(body)]) + body + SPOT_FRAME
        self.assertEqual(list(spot_updates([frame], 5)), [SpotUpdate(1, 2, 0, 0, 0, 5)])

    def test_what_is_missing_is_named(self) -> None:
        """An id, or a required field of a bar that nobody reads."""
        whole = api_pb2.ProtoOASpotEvent(ctidTraderAccountId=1, symbolId=2)
        whole.trendbar.add(low=1)
        for event, name in (
            (api_pb2.ProtoOASpotEvent(symbolId=2), "ctidTraderAccountId"),
            (api_pb2.ProtoOASpotEvent(ctidTraderAccountId=2), "symbolId"),
            (whole, "trendbar[0].volume"),
        ):
            payload = event.SerializePartialToString()
            frame = common_pb2.ProtoMessage(payloadType=2131, payload=payload).SerializeToString()
            with self.assertRaises(ProtocolError) as caught:
                list(spot_updates([frame], 5))
            self.assertIn(name, str(caught.exception))
            with self.assertRaises(ProtocolError):
                decode(frame)

    def test_garbage(self) -> None:
        """A frame that only begins like a spot."""
        with self.assertRaises(ProtocolError):
            list(spot_updates([SPOT_FRAME + b"\x12\x7f\x01"], 5))


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
