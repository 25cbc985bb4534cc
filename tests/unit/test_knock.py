"""The doctor's talk with a venue, without a socket."""

from __future__ import annotations

import time
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.market.links import Holds
from ctrader_twisted.pb import api_pb2, common_pb2
from ctrader_twisted.tls.blocking import BlockingTls
from ctrader_twisted.upstream.knock import _Shut, _Talk
from ctrader_twisted.wire.codec import encode

TIMEOUT_S = 0.1


class Endless:
    """A venue that says the same for as long as somebody reads."""

    def __init__(self, octets: bytes, patience_s: float = 5.0) -> None:
        self._octets = octets
        self._at = 0
        self._ends = time.monotonic() + patience_s

    def settimeout(self, seconds: float) -> None:
        """There is always something to read."""

    def sendall(self, octets: bytes) -> None:
        """What is asked does not matter."""

    def recv(self, size: int) -> bytes:
        """The next octets."""
        if time.monotonic() > self._ends:
            raise AssertionError("it reads for ever")
        part = self._octets[self._at : self._at + size]
        self._at = (self._at + len(part)) % len(self._octets)
        return part


class EndlessTest(SynchronousTestCase):
    """A venue that says everything but the answer."""

    def ask(self, *frames: bytes) -> str:
        """Why there was no answer."""
        octets = b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)
        talk = _Talk(cast(BlockingTls, cast(Any, Endless(octets))), TIMEOUT_S)
        request = api_pb2.ProtoOAApplicationAuthReq(clientId="a", clientSecret="b")
        began = time.monotonic()
        shut = self.assertRaises(_Shut, talk.ask, "application", request)
        self.assertLess(time.monotonic() - began, 3)
        self.assertEqual((shut.link.name, shut.link.holds), ("application", Holds.NO))
        return shut.link.cause

    def test_other_messages(self) -> None:
        """Heartbeats, answers to others, unknown types, and what cannot be read, without end."""
        answer = encode(api_pb2.ProtoOAApplicationAuthRes(), "doctor-7")
        unknown = common_pb2.ProtoMessage(payloadType=9999, clientMsgId="doctor-1")
        unreadable = common_pb2.ProtoMessage(payloadType=2131, payload=b"\xff")
        cause = self.ask(
            encode(common_pb2.ProtoHeartbeatEvent()),
            answer,
            unknown.SerializeToString(),
            unreadable.SerializeToString(),
        )
        self.assertEqual(
            cause, "ProtoOAApplicationAuthReq was not answered: only other messages came in 0.1 s"
        )

    def test_empty_frames(self) -> None:
        """They are no messages."""
        self.assertIn("a frame of 0 bytes", self.ask(b""))
