"""Frames in and out of one socket: framing, heartbeat, silence, and what may not arrive."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.errors import ProtocolError
from ctrader_twisted.market.model import SpotUpdate
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.pb import api_pb2, common_pb2
from ctrader_twisted.upstream.protocol import OpenApiProtocol
from ctrader_twisted.wire.codec import Envelope
from tests.unit.fakes import ACCOUNT, Recorder, TlsWire, Wire, frame, spot

FRAMES = frame(spot(1, bid=104567)) + frame(common_pb2.ProtoHeartbeatEvent())
FRAMES += frame(api_pb2.ProtoOAApplicationAuthRes(), "c1-1")


class ProtocolCase(SynchronousTestCase):
    """One protocol on a wire in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.told = Recorder()
        self.metrics = Metrics()
        self.time_of_day = 1_700_000_000_000
        self.protocol = self.make()
        self.wire = Wire(self.clock, self.protocol, lambda _: None)

    def make(self, **more: Any) -> OpenApiProtocol:
        """A protocol that beats every 10 s and fears 60 s of silence."""
        settings: dict[str, Any] = {
            "heartbeat_s": 10,
            "silence_s": 60,
            "keepalive_s": 10,
            "frame_limit": 1000,
            "frame_timeout_s": 120,
        }
        return OpenApiProtocol(
            clock=self.clock,
            listener=self.told,
            spots=self.spots,
            metrics=self.metrics,
            now_ms=lambda: self.time_of_day,
            **(settings | more),
        )

    def spots(self, updates: Iterable[SpotUpdate]) -> None:
        """Prices, among all that arrives."""
        for update in updates:
            self.told.received(update, update.received_ms)

    def over(self) -> None:
        """The connection ends, if it has not, and leaves no timer."""
        self.clock.advance(0)
        self.wire.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.told.all("lost")), 1)

    def cause(self) -> BaseException:
        """Why the connection ended."""
        self.clock.advance(0)
        cause: BaseException = self.told.last("lost")[1]
        return cause


class FramingTest(ProtocolCase):
    """Bytes become messages, however they are cut."""

    def messages(self) -> list[Any]:
        """What arrived, without times."""
        return [message for message, _ in self.told.all("received")]

    def expected(self) -> list[Envelope | SpotUpdate]:
        """What FRAMES holds; the heartbeat ends at the protocol."""
        return [
            SpotUpdate(ACCOUNT, 1, 104567, 0, 0, self.time_of_day),
            Envelope(2101, api_pb2.ProtoOAApplicationAuthRes(), "c1-1"),
        ]

    def test_split_at_every_offset(self) -> None:
        """Two pieces, cut anywhere, give the same messages as one."""
        for offset in range(len(FRAMES) + 1):
            self.setUp()
            self.wire.protocol.dataReceived(FRAMES[:offset])
            self.wire.protocol.dataReceived(FRAMES[offset:])
            self.assertEqual(self.messages(), self.expected(), offset)
            self.assertEqual(self.metrics.frames_in, 3)
            self.over()

    @given(st.lists(st.integers(0, len(FRAMES)), max_size=12))
    def test_split_into_any_pieces(self, cuts: list[int]) -> None:
        """Any number of pieces gives the same messages."""
        self.setUp()
        edges = [0, *sorted(cuts), len(FRAMES)]
        for start, end in pairwise(edges):
            self.protocol.dataReceived(FRAMES[start:end])
        self.assertEqual(self.messages(), self.expected())
        self.over()

    def test_time_is_looked_at_for_each_frame(self) -> None:
        """Each message carries the time of day at which its frame was read."""
        self.wire.say(spot(1, bid=1))
        self.time_of_day += 5
        self.wire.say(spot(1, bid=2))
        times = [at for _, at in self.told.all("received")]
        self.assertEqual(times, [1_700_000_000_000, 1_700_000_000_005])
        self.over()

    def test_nothing_overtakes_anything(self) -> None:
        """Prices that came together wait for each other, but not past what came between them."""
        answer = api_pb2.ProtoOAVersionRes(version="93")
        between = frame(answer, "c1-1")
        self.protocol.dataReceived(
            frame(spot(1, bid=1)) + frame(spot(1, bid=2)) + between + frame(spot(1, bid=3))
        )
        bids = [getattr(message, "bid", None) for message in self.messages()]
        self.assertEqual(bids, [1, 2, None, 3])
        self.assertEqual(self.metrics.frames_in, 4)
        self.over()

    def test_sending(self) -> None:
        """A message leaves as one frame with its id; after the end nothing leaves."""
        request = api_pb2.ProtoOAVersionReq()
        self.protocol.send(request, "c1-9")
        self.assertEqual(self.wire.value(), frame(request, "c1-9"))
        self.over()
        self.protocol.send(request, "c1-10")
        self.assertEqual(self.wire.value(), frame(request, "c1-9"))

    def test_unknown_payload_type(self) -> None:
        """A type that we do not know is counted and passed on without a message."""
        self.protocol.dataReceived(_raw(common_pb2.ProtoMessage(payloadType=9999)))
        self.assertEqual(self.messages(), [Envelope(9999, None, None)])
        self.assertEqual(self.metrics.counted("unknown_messages"), 1)
        self.assertFalse(self.wire.aborted)
        self.over()


class BadFramesTest(ProtocolCase):
    """What is no envelope ends the connection, with the reason: the next length may be none."""

    def test_what_came_before(self) -> None:
        """Prices in front of what cannot be read, in the same read, still arrive."""
        for end in (b"\0\0\0\3\xff\xff\xff", (1001).to_bytes(4, "big")):
            self.setUp()
            self.protocol.dataReceived(frame(spot(1, bid=1)) + end + frame(spot(1, bid=2)))
            self.assertEqual(self.told.all("received")[0][0].bid, 1)
            self.assertEqual(len(self.told.all("received")), 1)
            self.assertTrue(self.wire.aborted)
            self.over()

    def refused(self, data: bytes, words: str) -> None:
        """``data`` ends the connection because of ``words``; what follows is not read."""
        self.protocol.dataReceived(data + frame(spot(1, bid=1)))
        self.assertTrue(self.wire.aborted)
        cause = self.cause()
        self.assertIsInstance(cause, ProtocolError)
        self.assertIn(words, str(cause))
        self.assertEqual(self.told.all("received"), [])
        self.assertEqual(self.metrics.counted("undecodable_frames"), 1)
        self.over()

    def test_garbage(self) -> None:
        """Bytes that are no envelope."""
        self.refused(b"\0\0\0\3\xff\xff\xff", "not an envelope")

    def test_empty_frame(self) -> None:
        """A frame of no bytes has no payload type."""
        self.refused(b"\0\0\0\0", "no payload type")

    def test_oversize_announcement(self) -> None:
        """A frame above the limit is refused at its announcement, before it arrives."""
        self.refused((1001).to_bytes(4, "big"), "frame of 1001 bytes (1000)")

    def test_limit_is_inclusive(self) -> None:
        """A frame of exactly the limit is read."""
        envelope = common_pb2.ProtoMessage(payloadType=9999, payload=b"x" * 900)
        self.over()
        self.told.clear()
        self.protocol = self.make(frame_limit=len(envelope.SerializeToString()))
        self.wire = Wire(self.clock, self.protocol, lambda _: None)
        self.protocol.dataReceived(_raw(envelope))
        self.assertEqual(len(self.told.all("received")), 1)
        self.assertFalse(self.wire.aborted)
        self.over()

    def test_listener_that_drops(self) -> None:
        """Once dropped, the frames that came with the cause are not passed on."""
        self.told.reactions["received"] = lambda *_: self.protocol.drop(ValueError("enough"))
        self.protocol.dataReceived(FRAMES * 3)
        self.assertEqual(len(self.told.all("received")), 1)
        self.protocol.drop(ValueError("too late"))
        self.assertEqual(str(self.cause()), "enough")
        self.over()


class LifeTest(ProtocolCase):
    """Opening, beating, silence, ending."""

    def test_a_network_that_drops_everything(self) -> None:
        """The kernel gives up on what nobody acknowledges as soon as on a connection that idles."""
        sock = socket.socket()
        self.addCleanup(sock.close)
        transport = TlsWire(self.clock, self.make(keepalive_s=10), lambda _: None)
        transport.socket = sock
        transport.protocol.connectionMade()
        limit_ms = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        self.assertEqual(limit_ms, 25_000)

    def test_heartbeats(self) -> None:
        """A heartbeat leaves every 10 s, without a message id, whatever else leaves."""
        self.wire.clear()
        for _ in range(3):
            self.clock.advance(9.9)
            self.assertEqual(self.wire.value(), b"")
            self.clock.advance(0.1)
            self.assertEqual(self.wire.value(), frame(common_pb2.ProtoHeartbeatEvent()))
            self.wire.clear()
            self.wire.say(spot(1, bid=1))
            self.protocol.send(api_pb2.ProtoOAVersionReq(), "c1-1")
            self.wire.clear()
        self.over()

    def test_mute_venue(self) -> None:
        """Four silent looks of 15 s end the connection, not one moment earlier."""
        self.clock.pump([15] * 3)
        self.clock.advance(14.999)
        self.assertFalse(self.wire.aborted)
        self.clock.advance(0.001)
        self.assertTrue(self.wire.aborted)
        self.assertEqual(str(self.cause()), "the venue said nothing for 60 s (silence_s)")
        self.over()

    def test_silence_counts_from_the_last_frame(self) -> None:
        """Any frame, a heartbeat too, begins a new silence of at least the whole period."""
        self.clock.advance(40)
        self.wire.say(common_pb2.ProtoHeartbeatEvent())
        self.clock.pump([0.5] * 120)
        self.assertFalse(self.wire.aborted)
        self.clock.pump([0.5] * 30)
        self.assertTrue(self.wire.aborted)
        self.over()

    def test_half_a_frame_is_silence(self) -> None:
        """A venue that stops in the middle of a frame is as mute as any."""
        self.protocol.dataReceived(FRAMES[:7])
        self.clock.pump([15] * 4)
        self.assertFalse(self.wire.aborted)
        self.clock.advance(15)
        self.assertTrue(self.wire.aborted)
        self.over()

    def test_clock_that_jumps(self) -> None:
        """No single jump of the clock, either way, ends a connection that is alive."""
        self.clock.advance(100_000)
        self.assertFalse(self.wire.aborted)
        self.wire.say(common_pb2.ProtoHeartbeatEvent())
        self.clock.rightNow -= 50_000
        self.clock.advance(1)
        self.assertFalse(self.wire.aborted)
        self.over()

    def test_without_tls_open_at_once(self) -> None:
        """On a plain socket there is nothing to wait for."""
        self.assertEqual(self.told.names(), ["opened"])
        self.over()

    def test_with_tls_open_after_the_handshake(self) -> None:
        """Nothing is opened, and nothing beats, before the certificate is verified."""
        self.told.clear()
        self.protocol = self.make()
        wire = TlsWire(self.clock, self.protocol, lambda _: None)
        self.assertEqual(self.told.names(), [])
        self.protocol.handshakeCompleted()
        self.assertEqual(self.told.all("opened"), [(self.protocol,)])
        wire.lose()
        self.told.clear()
        self.over()

    def test_end_is_told_once_with_its_cause(self) -> None:
        """The venue closes: told once, with Twisted's reason."""
        self.wire.lose(ConnectionLost("cut"))
        self.protocol.connectionLost(ConnectionDone())
        self.assertTrue(self.protocol.lost)
        self.assertIsInstance(self.cause(), ConnectionLost)
        self.protocol.drop(ValueError("too late"))
        self.assertFalse(self.wire.aborted)
        self.over()

    def test_failing_heartbeat(self) -> None:
        """A heartbeat that cannot be written ends the connection instead of ending quietly."""
        self.wire.write = self.fail
        self.clock.advance(10)
        self.assertEqual(len(self.flushLoggedErrors(self.failureException)), 1)
        self.assertIsInstance(self.cause(), self.failureException)
        self.over()

    def test_settled(self) -> None:
        """That the layer above is content is passed on."""
        self.protocol.settled()
        self.assertEqual(self.told.names(), ["opened", "settled"])
        self.over()


def _raw(envelope: Any) -> bytes:
    body: bytes = envelope.SerializeToString()
    return len(body).to_bytes(4, "big") + body
