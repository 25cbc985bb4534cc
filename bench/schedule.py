"""The ticks of a load, encoded in advance as far as possible.

A cycle of random walks is laid down once. All that a tick still lacks is its time, which comes last
on the wire in both formats, so a burst is one ``join``.

* protobuf: the length, a ProtoMessage, in it a ProtoOASpotEvent; four in ten have one side only
* records: 28 bytes, big endian: symbol number (from 0), bid and ask in points, the time

The time is in MICROseconds since `BEGAN_US`. The real venue sends milliseconds since the epoch; the
daemon passes the number through untouched, and so the receiver can measure finely. (Microseconds
since the epoch would be a time of no calendar, which the daemon replaces.)
"""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

from ctrader_twisted.pb import api_pb2
from ctrader_twisted.wire.codec import encode

CYCLE = 5000
ONE_SIDED = 0.4
# A varint of a stamp, from two months after BEGAN_US on.
STAMP_BYTES = 7
# November 2023, in µs since the epoch.
BEGAN_US = 1_700_000_000_000_000
_HEAD = struct.Struct(">IQQ")


@dataclass(frozen=True, slots=True)
class Planned:
    """One tick: the whole price, and which sides of it are news."""

    index: int
    bid: int
    ask: int
    has_bid: bool
    has_ask: bool


def name(index: int) -> str:
    """The symbol's name."""
    return f"SYM{index:03d}"


def plan(symbols: int, seed: int = 1) -> list[Planned]:
    """A cycle of ticks, the same for the same seed."""
    rng = random.Random(seed)
    bids = [108_000 + 100 * index for index in range(symbols)]
    spreads = [10] * symbols
    planned = []
    for _ in range(CYCLE):
        index = rng.randrange(symbols)
        lot = rng.random()
        has_bid, has_ask = lot >= ONE_SIDED / 2, lot < 1 - ONE_SIDED / 2
        ask = bids[index] + spreads[index]
        if has_bid:
            bids[index] += rng.randint(-3, 3)
        if has_ask:
            ask = bids[index] + rng.randint(8, 12)
        spreads[index] = ask - bids[index]
        planned.append(Planned(index, bids[index], ask, has_bid, has_ask))
    return planned


def micros() -> int:
    """Now, in µs since BEGAN_US."""
    return time.time_ns() // 1000 - BEGAN_US


def varint(number: int) -> bytes:
    """A protobuf number; stamps take seven bytes."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def framed(frame: bytes) -> bytes:
    """With the four bytes of its length before it."""
    return len(frame).to_bytes(4, "big") + frame


def spot(account_id: int, tick: Planned, stamp_us: int) -> bytes:
    """One whole frame of the protobuf format."""
    event = api_pb2.ProtoOASpotEvent(
        ctidTraderAccountId=account_id, symbolId=tick.index + 1, timestamp=stamp_us
    )
    if tick.has_bid:
        event.bid = tick.bid
    if tick.has_ask:
        event.ask = tick.ask
    return framed(encode(event))


class Ticks:
    """An endless series of ticks in one of the two formats."""

    def __init__(self, symbols: int, account_id: int, *, raw: bool) -> None:
        self._raw = raw
        planned = plan(symbols)
        if raw:
            self._heads = [_HEAD.pack(tick.index, tick.bid, tick.ask) for tick in planned]
        else:
            now = micros()
            self._heads = [spot(account_id, tick, now)[:-STAMP_BYTES] for tick in planned]
        self._at = 0

    def take(self, count: int) -> Iterator[bytes]:
        """The next ticks, each with the time of now."""
        now = micros()
        stamp = now.to_bytes(8, "big") if self._raw else varint(now)
        for _ in range(count):
            head = self._heads[self._at]
            self._at = (self._at + 1) % CYCLE
            yield head + stamp
