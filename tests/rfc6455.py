"""WebSocket frames by the letter of RFC 6455: what a careful client accepts, and what it may send.

Written from the RFC and not from our code, so that the two cannot share a mistake.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
OPCODES = {CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG}

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\n"
    b"Host: localhost\r\n"
    b"Upgrade: websocket\r\n"
    b"Connection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
)


class BadFrame(Exception):
    """A server must not send this."""


class Frame(NamedTuple):
    """One frame that a server sent."""

    opcode: int
    payload: bytes

    @property
    def json(self) -> Any:
        """The payload as JSON; twice the same name in an object is an error."""
        return json.loads(self.payload.decode("utf-8"), object_pairs_hook=_no_twins)

    @property
    def goodbye(self) -> tuple[int, str]:
        """Code and reason of a close frame."""
        return int.from_bytes(self.payload[:2], "big"), self.payload[2:].decode("utf-8")


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadFrame(f"a name stands twice in {pairs}")
    return found


def take_frame(octets: bytes) -> tuple[Frame, bytes] | None:
    """The first frame and what follows it; None when it is not complete."""
    if len(octets) < 2:
        return None
    first, second = octets[0], octets[1]
    if first & 0x70:
        raise BadFrame("a reserved bit is set, and no extension was agreed")
    if not first & 0x80:
        raise BadFrame("our server does not fragment")
    if second & 0x80:
        raise BadFrame("a server must not mask")
    opcode, size, start = first & 0x0F, second & 0x7F, 2
    if opcode not in OPCODES:
        raise BadFrame(f"there is no opcode {opcode}")
    if size > 125:
        if opcode >= CLOSE:
            raise BadFrame("a control frame of more than 125 bytes")
        start = 4 if size == 126 else 10
        if len(octets) < start:
            return None
        size = int.from_bytes(octets[2:start], "big")
        if size < (126 if start == 4 else 65_536):
            raise BadFrame("a length that is not in its shortest form")
    if len(octets) < start + size:
        return None
    payload = octets[start : start + size]
    if opcode == TEXT:
        payload.decode("utf-8")
    return Frame(opcode, payload), octets[start + size :]


def take_frames(octets: bytes) -> tuple[list[Frame], bytes]:
    """All complete frames, and the rest. Nothing may follow a close frame."""
    frames: list[Frame] = []
    while (taken := take_frame(octets)) is not None:
        if frames and frames[-1].opcode == CLOSE:
            raise BadFrame("data after a close frame")
        frame, octets = taken
        frames.append(frame)
    return frames, octets


def client_frame(payload: bytes, opcode: int = TEXT, *, final: bool = True) -> bytes:
    """A frame as a client sends it: masked."""
    size = len(payload)
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 65_536:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    mask = b"\x01\x02\x03\x04"
    repeated = (mask * (size // 4 + 1))[:size]
    veiled = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
    first = opcode | (0x80 if final else 0)
    return bytes((first,)) + length + mask + veiled.to_bytes(size, "big")
