"""Long frames over slow lines: no deadline rings while they come in, and each has a bound."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ctrader_twisted.errors import RequestTimeout
from ctrader_twisted.pb import api_pb2, common_pb2
from ctrader_twisted.upstream.partial_frame import LARGE_BYTES
from ctrader_twisted.upstream.requests import Lane
from tests.unit.fakes import ACCOUNT, frame, spot, symbols_answer
from tests.unit.joined_daemon import JoinedCase
from tests.unit.test_upstream_connection import ConnectionCase
from tests.unit.test_upstream_protocol import FRAMES, ProtocolCase
from tests.unit.test_upstream_session import ACCOUNT_AUTH, SYMBOLS, SessionCase

LONG = 2 * LARGE_BYTES


def announced(size: int, there: int) -> bytes:
    """The beginning of a frame of ``size`` bytes, ``there`` of which have come."""
    return size.to_bytes(4, "big") + bytes(there)


class FrameBoundTest(ProtocolCase):
    """One frame may take 120 s, from its first byte to its last."""

    def make(self, **more: Any) -> Any:
        """Long frames are allowed."""
        return super().make(**({"frame_limit": 1 << 22} | more))

    def drip(self, seconds: float, every_s: float = 5, octets: bytes = b"\0") -> None:
        """Some bytes again and again, for that time."""
        for _ in range(round(seconds / every_s)):
            self.clock.advance(every_s)
            if not self.wire.aborted:
                self.protocol.dataReceived(octets)

    def test_dripping_for_ever(self) -> None:
        """A byte each 5 s is no silence; the frame ends at its bound, not one moment earlier."""
        self.protocol.dataReceived(announced(3_000_000, 1))
        self.drip(115)
        self.clock.advance(4.999)
        self.assertFalse(self.wire.aborted)
        self.clock.advance(0.001)
        self.assertTrue(self.wire.aborted)
        reason = "a frame of 3000000 bytes was not complete after 120 s (frame_timeout_s)"
        self.assertEqual(str(self.cause()), reason)
        self.over()

    def test_a_length_that_never_comes(self) -> None:
        """Three bytes of the four that say how long a frame is."""
        self.protocol.dataReceived(b"\0")
        self.clock.advance(50)
        self.protocol.dataReceived(b"\0")
        self.clock.advance(50)
        self.protocol.dataReceived(b"\0")
        self.clock.advance(20)
        reason = "a frame was not complete after 120 s (frame_timeout_s)"
        self.assertEqual(str(self.cause()), reason)
        self.over()

    def test_complete_in_time(self) -> None:
        """A frame whose last byte comes just before the bound is read, and the next has its own."""
        octets = frame(api_pb2.ProtoOAVersionRes(version="93"))
        self.protocol.dataReceived(octets[:5])
        self.drip(115, octets=b"")
        self.clock.advance(4.9)
        self.protocol.dataReceived(octets[5:] + octets[:6])
        self.assertEqual(len(self.told.all("received")), 1)
        self.drip(115, octets=b"")
        self.clock.advance(4.9)
        self.assertFalse(self.wire.aborted)
        self.protocol.dataReceived(octets[6:])
        self.assertEqual(len(self.told.all("received")), 2)
        self.drip(60, octets=frame(common_pb2.ProtoHeartbeatEvent()))
        self.assertFalse(self.wire.aborted)
        self.over()

    def test_a_new_frame_begins_anew(self) -> None:
        """The end of one frame and the beginning of the next in one read: the bound is the new
        one's.
        """
        octets = frame(api_pb2.ProtoOAVersionRes(version="93"))
        self.protocol.dataReceived(octets[:5])
        for second in range(1, 120):
            self.clock.advance(1)
            if second % 30 == 0:
                self.protocol.dataReceived(octets[5:] + octets[:5])
        self.clock.advance(1)
        for place in (5, 6, 7):
            self.protocol.dataReceived(octets[place : place + 1])
            self.clock.advance(30 if place < 7 else 29.999)
        self.assertFalse(self.wire.aborted)
        self.clock.advance(0.001)
        self.assertTrue(self.wire.aborted)
        self.over()

    def test_bytes_are_no_silence(self) -> None:
        """While a long frame comes in the silence is none, and after it all is as before."""
        octets = frame(symbols_answer(dict.fromkeys(range(1, 4000), "x" * 50)))
        self.assertGreater(len(octets), LONG)
        piece = len(octets) // 20 + 1
        for start in range(0, len(octets), piece):
            self.protocol.dataReceived(octets[start : start + piece])
            self.clock.advance(5)
        self.assertFalse(self.wire.aborted)
        self.assertEqual(len(self.told.all("received")), 1)
        self.clock.pump([15] * 5)
        self.assertEqual(str(self.cause()), "the venue said nothing for 60 s (silence_s)")
        self.over()

    def test_what_is_arriving(self) -> None:
        """Long frames at once; short ones after a second, since on a busy line there always is one;
        none any more when its bytes stay away, or when it is complete.
        """
        self.assertFalse(self.protocol.is_arriving(10))
        self.protocol.dataReceived(announced(LONG, 1))
        self.assertTrue(self.protocol.is_arriving(10))
        self.clock.advance(10)
        self.assertFalse(self.protocol.is_arriving(10))
        self.protocol.dataReceived(b"\0")
        self.assertTrue(self.protocol.is_arriving(10))
        self.over()
        self.setUp()
        self.protocol.dataReceived(FRAMES[:9])
        self.assertFalse(self.protocol.is_arriving(10))
        self.clock.advance(1)
        self.assertTrue(self.protocol.is_arriving(10))
        self.protocol.dataReceived(FRAMES[9:])
        self.assertFalse(self.protocol.is_arriving(10))
        self.over()

    @given(st.lists(st.integers(1, 40), min_size=1, max_size=30))
    def test_any_cuts(self, sizes: list[int]) -> None:
        """However a stream is cut and however long it goes on, a frame that ends within the bound
        never ends the connection.
        """
        self.setUp()
        octets = FRAMES * 20
        for size in sizes:
            self.protocol.dataReceived(octets[:size])
            octets = octets[size:]
            self.clock.advance(1)
        self.assertFalse(self.wire.aborted)
        self.over()


class SlowListTest(SessionCase):
    """A list of symbols that takes longer than a request may."""

    def begin(self) -> tuple[bytes, Any]:
        """The list as bytes; it has been asked for and not answered."""
        self.connect()
        self.authenticate()
        self.admit()
        request: Any = self.wire.take(SYMBOLS)
        names = {number: f"SYMBOL{number}" * 4 for number in range(1, 4000)}
        octets = frame(symbols_answer(names), request.client_message_id)
        self.assertGreater(len(octets), LONG)
        return octets, request

    def pour(self, octets: bytes, seconds: int) -> None:
        """All of these bytes, evenly within that time."""
        piece = len(octets) // (seconds * 4) + 1
        for start in range(0, len(octets), piece):
            self.clock.advance(0.25)
            self.wire.protocol.dataReceived(octets[start : start + piece])

    def test_arriving(self) -> None:
        """It takes 60 s: waited for, asked for once, and then the account is open."""
        octets, _ = self.begin()
        self.pour(octets, 60)
        self.assertEqual(self.news.names(), ["ready"])
        self.assertEqual(self.wire.read(), [])
        self.over()

    def test_behind_another(self) -> None:
        """Another long answer is in front of it; prices in between change nothing."""
        octets, _ = self.begin()
        self.pour(octets.replace(b"SYMBOL", b"OTHERS").replace(b"-3", b"-9"), 20)
        self.wire.say(spot(1, bid=1))
        self.pour(octets, 20)
        self.assertEqual(self.news.names()[-1], "ready")
        self.over()

    def test_that_stays_away(self) -> None:
        """A frame whose bytes stay away stops no deadline: what was asked ends as unanswered."""
        octets, _ = self.begin()
        self.clock.advance(9)
        self.wire.protocol.dataReceived(octets[:100_000])
        self.clock.pump([0.25] * 39)
        self.assertEqual(self.news.names(), [])
        self.clock.pump([0.25] * 5)
        self.assertEqual(self.news.last("refused")[0], "NO_ANSWER")
        reason = "ProtoOASymbolsListReq was not answered in 10 s (request_timeout_s)"
        self.assertEqual(self.news.last("refused")[1], reason)
        self.over()

    def test_busy_but_unanswered(self) -> None:
        """Short frames that are always cut somewhere stop no deadline either."""
        self.begin()
        octets = frame(spot(1, bid=1)) * 300
        for start in range(5, 5 + 101 * 30, 30):
            self.wire.protocol.dataReceived(octets[0 if start == 5 else start : start + 30])
            self.clock.advance(0.1)
        self.assertEqual(self.news.last("refused")[0], "NO_ANSWER")
        self.over()

    def test_late(self) -> None:
        """It begins to come after its time: it is the answer all the same, and is not asked for
        again.
        """
        octets, _ = self.begin()
        self.clock.advance(10)
        self.assertEqual(self.news.names(), ["refused", "retrying"])
        self.wire.protocol.dataReceived(octets)
        self.assertEqual(self.news.names()[-1], "ready")
        self.clock.advance(100)
        self.assertEqual(self.wire.read(), [])
        self.over()

    def test_late_during_the_next_attempt(self) -> None:
        """The next attempt has begun: what it is told does not matter any more."""
        for stages in (0, 1):
            self.setUp()
            octets, _ = self.begin()
            self.clock.advance(10)
            self.clock.advance(1)
            again: Any = self.wire.take(ACCOUNT_AUTH)
            answer = api_pb2.ProtoOAAccountAuthRes(ctidTraderAccountId=ACCOUNT)
            if stages:
                self.wire.say(answer, again.client_message_id)
                again = self.wire.take(SYMBOLS)
                answer = symbols_answer({7: "OTHER"})
            self.wire.protocol.dataReceived(octets)
            self.assertEqual(self.news.names()[-1], "ready")
            self.wire.say(answer, again.client_message_id)
            self.assertEqual(self.wire.read(), [])
            self.assertEqual(self.news.names().count("ready"), 1)
            self.assertTrue(self.session.is_ready)
            self.over()

    def test_late_list_of_another_connection(self) -> None:
        """What was late on the last connection is not awaited on this one."""
        self.begin()
        self.clock.advance(10)
        self.wire.lose()
        self.connect()
        self.authenticate()
        self.wire.say(symbols_answer({1: "EURUSD"}), "x-1")
        self.assertNotIn("ready", self.news.names())
        self.over()

    def test_list_again_late(self) -> None:
        """The same of a list that was asked for again: it is told once, when it is there."""
        self.ready()
        self.session.list_again()
        request: Any = self.wire.take(SYMBOLS)
        self.clock.advance(10)
        self.wire.say(symbols_answer({1: "EURUSD", 3: "GER40"}), request.client_message_id)
        ((catalogue,),) = self.news.all("relisted")
        self.assertEqual(catalogue.names, ("EURUSD", "GER40"))
        self.wire.say(symbols_answer({1: "EURUSD"}), request.client_message_id)
        self.assertEqual(len(self.news.all("relisted")), 1)
        self.over()

    def test_queued_requests_keep_their_deadline(self) -> None:
        """What was not sent is not on its way back."""
        octets, _ = self.begin()
        self.wire.protocol.dataReceived(octets[:100_000])
        asked = self.session.ask(api_pb2.ProtoOAVersionReq(), api_pb2.ProtoOAVersionRes, Lane.READ)
        self.clock.advance(9)
        self.wire.protocol.dataReceived(octets[100_000:100_001])
        self.clock.advance(1)
        self.assertNoResult(asked)
        self.clock.pump([1] * 10)
        self.failureResultOf(asked, RequestTimeout)
        self.over()


class ReadyDeadlineTest(ConnectionCase):
    """The deadline of the whole bring-up waits for a long frame, too."""

    def test_arriving(self) -> None:
        """Thirty seconds are over in the middle of it: the connection is kept until it stops."""
        wire = self.start().open()
        wire.protocol.MAX_LENGTH = 1 << 20
        wire.protocol.dataReceived(announced(LONG, 10))
        for _ in range(16):
            self.clock.advance(5)
            wire.protocol.dataReceived(b"\0")
        self.assertEqual(self.told.all("lost"), [])
        self.clock.pump([1] * 31)
        self.clock.advance(0)
        _, reason = self.told.last("lost")
        self.assertIn("(stuck in authentication), see connect_timeout_s", reason)
        self.over()

    def test_dripping(self) -> None:
        """A venue that drips for ever is ended by the bound of the frame."""
        wire = self.start().open()
        wire.protocol.MAX_LENGTH = 1 << 20
        wire.protocol.dataReceived(announced(LONG, 10))
        for _ in range(24):
            self.clock.advance(5)
            wire.protocol.dataReceived(b"\0")
        self.clock.advance(0)
        _, reason = self.told.last("lost")
        self.assertIn("was not complete after 120 s (frame_timeout_s)", reason)
        self.over()


class DaemonTest(JoinedCase):
    """The whole daemon behind a slow line."""

    synthetic = 2000
    bytes_per_s = 2000

    def test_opens(self) -> None:
        """A list that takes 50 s: one attempt, asked for once, and prices follow."""
        self.connection.startService()
        self.run_for(40)
        self.assertEqual(self.phase(), "connecting")
        self.run_for(40)
        self.want("EURUSD")
        self.run_for(20)
        self.assertEqual({tick.symbol.name for tick in self.floor.ticks}, {"EURUSD"})
        self.assertEqual(self.phase(), "connected")
        self.assertEqual(len(self.joint.attempts), 1)
        self.assertEqual(self.joint.requests().count("ProtoOASymbolsListReq"), 1)
        words = self.floor.words()
        self.assertEqual(words, ["connecting", "connected"])
