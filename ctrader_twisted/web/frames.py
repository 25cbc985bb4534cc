"""Bytes that go out: JSON texts, and WebSocket frames made once for everybody.

A server's text frame is not masked and not compressed, so the same bytes serve every client.
"""

from __future__ import annotations

from json import dumps

import msgspec

from ctrader_twisted.contract import Outgoing
from ctrader_twisted.market.model import Symbol, Tick
from ctrader_twisted.market.units import price_text

_encoder = msgspec.json.Encoder()

# Prices of a symbol move within a few thousand points; beyond this bound we begin again.
_MEMO_SIZE = 65_536


def frame(payload: bytes) -> bytes:
    """``payload`` as one unmasked, final WebSocket text frame (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        return b"\x81" + bytes((size,)) + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def message(outgoing: Outgoing) -> bytes:
    """One message of the contract, framed."""
    return frame(_encoder.encode(outgoing))


class TickWriter:
    """Ticks to JSON, as `contract.TickMessage` says.

    What never changes of a symbol is written once, and prices are remembered as text: the same
    few come again and again.
    """

    def __init__(self) -> None:
        self._heads: dict[int, tuple[Symbol, str]] = {}
        self._texts: dict[tuple[int, int], str] = {}

    def tick(self, tick: Tick) -> bytes:
        """The frame of one tick."""
        return frame(f"{self._body(tick)}}}".encode("ascii"))

    def snapshot(self, tick: Tick) -> bytes:
        """The frame of the cached tick that is sent at subscribe."""
        return frame(f'{self._body(tick)},"snapshot":true}}'.encode("ascii"))

    def _body(self, tick: Tick) -> str:
        symbol, digits, bid, ask, timestamp_ms, received_ms, seq = tick
        return (
            f'{self._head(symbol)}"bid":{self._price(bid, digits)},'
            f'"ask":{self._price(ask, digits)},"spread":{self._price(ask - bid, digits)},'
            f'"timestamp":{timestamp_ms},"seq":{seq},"receivedAt":{received_ms}'
        )

    def _head(self, symbol: Symbol) -> str:
        known = self._heads.get(symbol.symbol_id)
        if known is None or known[0] is not symbol:
            # A name comes from outside: as JSON, in ASCII, whatever is in it.
            name = dumps(symbol.name)
            head = f'{{"type":"tick","symbol":{name},"symbolId":{symbol.symbol_id},'
            known = self._heads[symbol.symbol_id] = (symbol, head)
        return known[1]

    def _price(self, points: int, digits: int) -> str:
        text = self._texts.get((points, digits))
        if text is None:
            if len(self._texts) >= _MEMO_SIZE:
                self._texts.clear()
            text = self._texts[points, digits] = price_text(points, digits)
        return text
