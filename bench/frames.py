"""The client's side of a WebSocket: what it sends, and a check of everything that it receives.

Frames are found by the arithmetic of their headers, ticks by one regular expression that demands
the whole shape; a frame which is neither a tick nor another message counts as malformed. Each
client remembers the sequence number of each symbol, so that a lost or a reordered tick is seen.

A thousand clients of one group get the same bytes. So what was read from a chunk is kept, and a
client that stands where the last one stood and gets what the last one got is done by one comparison
of bytes: no less certain, and fifty times cheaper.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8A

_KEY = base64.b64encode(b"sixteen bytes it").decode()
_SALT = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
ACCEPT = base64.b64encode(hashlib.sha1((_KEY + _SALT).encode(), usedforsecurity=False).digest())

_TICK = re.compile(
    rb'\{"type":"tick","symbol":"([^"]+)","symbolId":\d+,"bid":[\d.]+,"ask":[\d.]+,'
    rb'"spread":[\d.e-]+,"timestamp":(\d+),"seq":(\d+),"receivedAt":\d+'
    rb'(?:,"(snapshot|conflated)":(\w+))?\}'
)
_OTHER = re.compile(rb'\{"type":"(?!tick")')
_KEPT = 4

Seqs = Mapping[bytes, int]


def upgrade(port: int, path: str) -> bytes:
    """The opening request."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {_KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def masked(payload: bytes, first: int = TEXT) -> bytes:
    """One frame of a client."""
    mask = os.urandom(4)
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    else:
        head = bytes((first, 0x80 | 126)) + size.to_bytes(2, "big")
    pattern = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    body = (int.from_bytes(payload, "big") ^ pattern).to_bytes(size, "big")
    return head + mask + body


def subscribe(names: Sequence[str]) -> bytes:
    """The one request that our clients make."""
    return masked(json.dumps({"type": "subscribe", "symbols": list(names)}).encode())


class Walk(NamedTuple):
    """The frames of a chunk: where the last whole one ends, and what they are."""

    end: int
    texts: int
    others: list[tuple[int, bytes]]


def walk(some: bytes) -> Walk:
    """Step from header to header (RFC 6455, section 5.2)."""
    at, texts, size = 0, 0, len(some)
    others: list[tuple[int, bytes]] = []
    while size - at >= 2:
        length, body = some[at + 1], at + 2
        if length > 127:
            # Masked: only clients do that. Where the next frame begins nobody knows.
            return Walk(size, texts, [*others, (0, b"")])
        if length >= 126:
            body += 2 if length == 126 else 8
            length = int.from_bytes(some[at + 2 : body], "big")
        end = body + length
        if end > size:
            break
        if some[at] == TEXT:
            texts += 1
        else:
            others.append((some[at], some[body:end]))
        at = end
    return Walk(at, texts, others)


class Memo(NamedTuple):
    """A chunk that was read: from which state, to which, and what was in it."""

    chunk: bytes
    before: Seqs
    after: Seqs
    ticks: int
    stamps: Sequence[int]


NOTHING_YET = Memo(b"", {}, {}, 0, ())


class Faults:
    """What may not happen."""

    def __init__(self) -> None:
        self.malformed = self.reordered = self.lost = self.conflated = self.died = 0

    def all(self) -> dict[str, int]:
        """By name."""
        return dict(vars(self))


class Reader:
    """Reads chunks: ticks are counted and checked, and read once for all who get the same."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.last = NOTHING_YET
        self._kept: deque[Memo] = deque(maxlen=_KEPT)

    def read(self, chunk: bytes, before: Seqs) -> tuple[Memo, bytes, list[tuple[int, bytes]]]:
        """What ``chunk`` brings a client that stands at ``before``; the rest of it that is no
        whole frame; and the frames that are no text.
        """
        for memo in self._kept:
            if memo.chunk == chunk and (memo.before is before or memo.before == before):
                self.last = memo
                return memo, b"", []
        end, texts, others = walk(chunk)
        whole = chunk if end == len(chunk) else chunk[:end]
        ticks = _TICK.findall(whole)
        if len(ticks) != texts:
            self.faults.malformed += abs(texts - len(ticks) - len(_OTHER.findall(whole)))
        for first, _ in others:
            if first not in (CLOSE, PING, PONG):
                self.faults.malformed += 1
        after = dict(before)
        stamps = list(self._follow(ticks, after))
        memo = Memo(chunk, before, after, len(ticks), stamps)
        if end == len(chunk) and not others:
            self._kept.append(memo)
            self.last = memo
        return memo, chunk[end:], others

    def _follow(self, ticks: Sequence[tuple[bytes, ...]], seqs: dict[bytes, int]) -> Iterator[int]:
        """Check the sequence; the times of those that are news."""
        faults = self.faults
        for symbol, stamp, number, special, value in ticks:
            seq, before = int(number), seqs.get(symbol)
            seqs[symbol] = seq
            if special == b"snapshot":
                continue
            yield int(stamp)
            if before is None or seq == before + 1:
                continue
            if seq <= before:
                faults.reordered += 1
                continue
            replaced = int(value) if special == b"conflated" else 0
            faults.conflated += replaced
            faults.lost += seq - before - 1 - replaced
