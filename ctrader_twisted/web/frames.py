"""Bytes that go out: JSON texts, and WebSocket frames made once for everybody.

A server's text frame is not masked, and may always be uncompressed, so the same bytes serve every
client.
"""

from __future__ import annotations

from collections.abc import Iterable
from json import dumps

import msgspec

from ctrader_twisted.contract import Outgoing
from ctrader_twisted.market.model import Symbol, Tick
from ctrader_twisted.market.units import price_text

_encoder = msgspec.json.Encoder()

# Ticks are shorter than this, and their headers are made in advance.
_SHORT = 1024
# Prices of a symbol move within a few thousand points; beyond this bound we begin again.
_MEMO_SIZE = 65_536

# What is written of a symbol while neither it nor its digits change: how every message begins,
# and the texts of the prices that were written with so many digits.
_Script = tuple[Symbol, int, str, dict[int, str]]


def header(size: int) -> bytes:
    """What precedes ``size`` bytes of text: an unmasked, final frame (RFC 6455, section 5.2)."""
    if size < 126:
        return b"\x81" + bytes((size,))
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big")
    return b"\x81\x7f" + size.to_bytes(8, "big")


_HEADERS = [header(size) for size in range(_SHORT)]


def frame(payload: bytes) -> bytes:
    """``payload`` as one WebSocket text frame."""
    size = len(payload)
    return (_HEADERS[size] if size < _SHORT else header(size)) + payload


def encode(outgoing: Outgoing) -> bytes:
    """One message of the contract as JSON."""
    return _encoder.encode(outgoing)


def message(outgoing: Outgoing) -> bytes:
    """One message of the contract, framed."""
    return frame(_encoder.encode(outgoing))


class TickWriter:
    """Ticks to JSON, as `contract.TickMessage` says.

    What never changes of a symbol is written once, and prices are remembered as text: the same
    few come again and again.
    """

    def __init__(self) -> None:
        self._scripts: dict[int, _Script] = {}
        self._texts: dict[int, dict[int, str]] = {}
        # One read of the venue's socket brings many ticks with the same time.
        self._received = (0, "0")

    def snapshot(self, tick: Tick) -> bytes:
        """The frame of the cached tick that is sent at subscribe."""
        return self.tick(tick, ',"snapshot":true}')

    def late(self, tick: Tick, conflated: int) -> bytes:
        """The frame of a tick that replaces ``conflated`` earlier ones for a slow client."""
        return self.tick(tick, f',"conflated":{conflated}}}')

    def tick(self, tick: Tick, tail: str = "}") -> bytes:
        """The frame of one tick, ending in ``tail``."""
        symbol, digits = tick.symbol, tick.digits
        script = self._scripts.get(symbol.symbol_id)
        if script is None or script[0] is not symbol or script[1] != digits:
            script = self._script(symbol, digits)
        _, _, head, texts = script
        received = self._received
        if received[0] != tick.received_ms:
            received = self._received = (tick.received_ms, str(tick.received_ms))
        bid, ask = tick.bid, tick.ask
        try:
            payload = (
                f'{head}{texts[bid]},"ask":{texts[ask]},"spread":{texts[ask - bid]}'
                f',"timestamp":{tick.timestamp_ms},"seq":{tick.seq},"receivedAt":{received[1]}'
                f"{tail}"
            ).encode()
        except KeyError:
            self._remember(texts, digits, (bid, ask, ask - bid))
            return self.tick(tick, tail)
        try:
            return _HEADERS[len(payload)] + payload
        except IndexError:
            return frame(payload)

    def _script(self, symbol: Symbol, digits: int) -> _Script:
        # A name comes from outside: as JSON, in ASCII, whatever is in it.
        name = dumps(symbol.name)
        head = f'{{"type":"tick","symbol":{name},"symbolId":{symbol.symbol_id},"bid":'
        texts = self._texts.setdefault(digits, {})
        script = self._scripts[symbol.symbol_id] = (symbol, digits, head, texts)
        return script

    def _remember(self, texts: dict[int, str], digits: int, prices: Iterable[int]) -> None:
        if len(texts) >= _MEMO_SIZE:
            texts.clear()
        for points in prices:
            if points not in texts:
                texts[points] = price_text(points, digits)
