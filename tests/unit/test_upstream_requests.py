"""The way out: budgets, lanes, correlation, deadlines, the end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from google.protobuf.message import Message
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.errors import ConnectionEnded, ProtocolError, RequestTimeout, VenueRefusal
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.pb import api_pb2, common_pb2
from ctrader_twisted.upstream.latecomers import MOST
from ctrader_twisted.upstream.requests import Lane, Requests
from ctrader_twisted.wire.codec import Envelope, decode, encode
from tests.unit.fakes import refusal_of

VERSION = api_pb2.ProtoOAVersionRes


def question(number: int = 1) -> Message:
    """A request that can be told from others."""
    return api_pb2.ProtoOAAccountLogoutReq(ctidTraderAccountId=number)


class RequestsCase(SynchronousTestCase):
    """Requests whose way out is a list."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.sent: list[tuple[int, str]] = []
        self.times: list[float] = []
        self.on_send: Callable[[Message, str], None] = lambda message, name: None
        self.requests = self.make()

    def make(self, ordinary: float = 40, history: float = 4) -> Requests:
        """One way out with these budgets."""
        return Requests(
            clock=self.clock,
            send=self._send,
            metrics=Metrics(),
            requests_per_s=ordinary,
            history_per_s=history,
            timeout_s=10,
            name="c1",
        )

    def _send(self, message: Any, name: str) -> None:
        encode(message)
        self.sent.append((getattr(message, "ctidTraderAccountId", 0), name))
        self.times.append(self.clock.seconds())
        self.on_send(message, name)

    def ask(self, number: int = 1, lane: Lane = Lane.READ, **more: Any) -> Deferred[Any]:
        """Ask, expecting a version."""
        return self.requests.ask(question(number), VERSION, lane=lane, **more)

    def settle(self, name: str, message: Message | None = None) -> bool:
        """The venue answers."""
        answer = VERSION(version="1") if message is None else message
        return self.requests.settle(decode(encode(answer, name)))

    def numbers(self) -> list[int]:
        """What left, in order."""
        return [number for number, _ in self.sent]

    def empty(self) -> None:
        """Nothing waits, no timer runs."""
        self.assertEqual(self.requests.pending(), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def drain(self) -> None:
        """End whatever still waits."""
        waits = self.requests.pending()
        self.requests.fail_all(ConnectionEnded("over", sent=False))
        self.assertLessEqual(waits, 1000)
        self.empty()


class AnswersTest(RequestsCase):
    """Who gets which answer."""

    def test_interleaved_replies(self) -> None:
        """Answers find their requests by id, in whichever order they come."""
        asked = [self.ask(number) for number in (1, 2, 3)]
        names = [name for _, name in self.sent]
        self.assertEqual(len(set(names)), 3)
        for index in (2, 0, 1):
            self.assertTrue(self.settle(names[index], VERSION(version=f"v{index}")))
        self.assertEqual([self.successResultOf(d).version for d in asked], ["v0", "v1", "v2"])
        self.empty()

    def test_every_error_carrier(self) -> None:
        """All three error messages fail the request, with their times in seconds."""
        carriers: list[Message] = [
            common_pb2.ProtoErrorRes(errorCode="A", maintenanceEndTimestamp=1_700_000_000_000),
            refusal_of("A", "why", retryAfter=7, maintenanceEndTimestamp=1_700_000_000),
            api_pb2.ProtoOAOrderErrorEvent(errorCode="A", ctidTraderAccountId=5),
        ]
        errors = []
        for carrier in carriers:
            asked = self.ask()
            self.assertTrue(self.settle(self.sent[-1][1], carrier))
            errors.append(self.failureResultOf(asked, VenueRefusal).value)
        self.assertEqual([e.code for e in errors], ["A", "A", "A"])
        self.assertEqual(
            [e.maintenance_end_s for e in errors], [1_700_000_000, 1_700_000_000, None]
        )
        self.assertEqual([e.retry_after_s for e in errors], [None, 7, None])
        self.assertEqual([e.account_id for e in errors], [None, None, 5])
        self.empty()

    def test_answer_of_the_wrong_type(self) -> None:
        """An answer that is not what was asked for is an error that names both."""
        asked = self.ask()
        self.assertTrue(self.settle("c1-1", api_pb2.ProtoOAApplicationAuthRes()))
        text = str(self.failureResultOf(asked, ProtocolError).value)
        self.assertIn("ProtoOAAccountLogoutReq was answered by ProtoOAApplicationAuthRes", text)
        self.empty()

    def test_nobody_waits(self) -> None:
        """Ids that are unknown, absent, or already answered settle nothing."""
        asked = self.ask()
        self.assertFalse(self.settle("c9-1"))
        self.assertFalse(self.requests.settle(Envelope(2105, VERSION(version="1"), None)))
        self.assertFalse(self.requests.settle(Envelope(9999, None, "c1-1")))
        self.assertTrue(self.settle("c1-1"))
        self.assertFalse(self.settle("c1-1"))
        self.successResultOf(asked)
        self.empty()

    def test_answer_within_send(self) -> None:
        """A venue that answers inside our call to send is as good as any other."""
        self.on_send = lambda message, name: self.assertTrue(self.settle(name))
        self.assertEqual(self.successResultOf(self.ask()).version, "1")
        self.empty()

    def test_asking_within_an_answer(self) -> None:
        """Whoever asks again from within an answer loses nothing, and doubles nothing."""
        self.on_send = lambda message, name: self.assertTrue(self.settle(name))
        results: list[str] = []

        def again(left: int) -> None:
            results.append("asked")
            if left:
                self.ask(left).addCallback(lambda _: again(left - 1))

        again(60)
        self.clock.pump([0.1] * 60)
        self.assertEqual(self.numbers(), list(range(60, 0, -1)))
        self.assertEqual(len(results), 61)
        self.empty()

    def test_missing_required_field(self) -> None:
        """What cannot be encoded fails at once and leaves nothing behind."""
        asked = self.requests.ask(api_pb2.ProtoOAAccountAuthReq(), VERSION, lane=Lane.SESSION)
        self.assertIn("accessToken", str(self.failureResultOf(asked, ProtocolError).value))
        self.empty()


class EndingsTest(RequestsCase):
    """Deadlines, cancellation, and the end of the connection."""

    def test_timeout_of_what_was_sent(self) -> None:
        """At its deadline a sent request ends as unknown; the late answer is nobody's."""
        asked = self.ask()
        self.clock.advance(9.999)
        self.assertNoResult(asked)
        self.clock.advance(0.001)
        self.assertTrue(self.failureResultOf(asked, RequestTimeout).value.sent)
        self.assertFalse(self.settle("c1-1"))
        self.empty()

    def test_done_after_its_time(self) -> None:
        """Whoever asked may hear, once, that it was done after all; a refusal changes nothing."""
        done: list[str] = []
        for number in (1, 2, 3):
            self.ask(number, late=partial(done.append, f"c1-{number}")).addErrback(lambda _: None)
        self.assertTrue(self.settle("c1-3"))
        self.clock.advance(10)
        for _ in range(2):
            self.assertFalse(self.settle("c1-1"))
            self.assertFalse(self.settle("c1-2", refusal_of("A", "why")))
            self.assertFalse(self.settle("c1-3"))
        self.assertEqual(done, ["c1-1"])
        self.empty()

    def test_what_is_remembered_is_bounded(self) -> None:
        """Of a venue that answers nothing only the newest requests are remembered."""
        done: list[int] = []
        self.requests = self.make(ordinary=1e6)
        for number in range(MOST + 1):
            self.ask(late=partial(done.append, number)).addErrback(lambda _: None)
        self.clock.advance(10)
        for _, name in self.sent:
            self.settle(name)
        self.assertEqual(done, list(range(1, MOST + 1)))

    def test_timeout_of_what_was_not_sent(self) -> None:
        """A request that never got a place in the budget says so, and never leaves later."""
        self.requests = self.make(ordinary=0.01)
        first, second = self.ask(1, timeout_s=1), self.ask(2, timeout_s=2)
        self.clock.advance(2)
        self.assertTrue(self.failureResultOf(first, RequestTimeout).value.sent)
        self.assertFalse(self.failureResultOf(second, RequestTimeout).value.sent)
        self.clock.advance(1000)
        self.assertEqual(self.numbers(), [1])
        self.empty()

    def test_cancelled_before_it_was_sent(self) -> None:
        """What is cancelled in the queue never leaves."""
        self.requests = self.make(ordinary=1)
        first, second, third = (self.ask(number) for number in (1, 2, 3))
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.clock.pump([1, 1])
        self.assertEqual(self.numbers(), [1, 3])
        self.assertEqual(self.requests.pending(), 2)
        self.settle("c1-1")
        self.settle("c1-3")
        self.successResultOf(first)
        self.successResultOf(third)
        self.empty()

    def test_cancelled_after_it_was_sent(self) -> None:
        """What is cancelled after it left is not waited for, and its answer is let go."""
        asked = self.ask()
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertFalse(self.settle("c1-1"))
        self.empty()

    def test_all_fail_with_the_connection(self) -> None:
        """On loss everything ends at once, and knows whether it had left."""
        self.requests = self.make(ordinary=1)
        sent, queued = self.ask(1), self.ask(2)
        self.requests.fail_all(ConnectionEnded("cut", sent=False))
        self.assertTrue(self.failureResultOf(sent, ConnectionEnded).value.sent)
        failure = self.failureResultOf(queued, ConnectionEnded).value
        self.assertFalse(failure.sent)
        self.assertIn("cut", str(failure))
        self.clock.advance(100)
        self.assertEqual(self.numbers(), [1])
        self.empty()

    def test_account_that_lost_its_place(self) -> None:
        """What an account has queued ends unsent; what it sent is still answered, and nobody else
        notices.
        """
        self.requests = self.make(ordinary=1)
        sent = self.ask(1, account_id=7)
        queued = [self.ask(2, lane, account_id=7) for lane in (Lane.SUBSCRIBE, Lane.READ)]
        other = self.ask(3, account_id=8)
        self.requests.withdraw(7, ConnectionEnded("thrown out", sent=False))
        for each in queued:
            self.assertFalse(self.failureResultOf(each, ConnectionEnded).value.sent)
        self.clock.advance(2)
        self.assertEqual(self.numbers(), [1, 3])
        self.assertTrue(self.settle("c1-1"))
        self.assertTrue(self.settle("c1-4"))
        self.successResultOf(sent)
        self.successResultOf(other)
        self.empty()

    def test_asking_after_the_end(self) -> None:
        """After the end every question fails at once, unsent."""
        self.requests.fail_all(ConnectionEnded("cut", sent=False))
        self.assertFalse(self.failureResultOf(self.ask(), ConnectionEnded).value.sent)
        self.assertEqual(self.sent, [])
        self.empty()

    def test_one_end_that_cancels_the_next(self) -> None:
        """Whoever gives up another request because its own ended disturbs nobody else."""
        first, second, third = (self.ask(number) for number in (1, 2, 3))
        first.addErrback(lambda failure: (second.cancel(), failure)[1])
        self.requests.fail_all(ConnectionEnded("cut", sent=False))
        self.failureResultOf(first, ConnectionEnded)
        self.failureResultOf(second, CancelledError)
        self.failureResultOf(third, ConnectionEnded)
        self.empty()

    def test_connection_that_ends_within_send(self) -> None:
        """A connection that ends while requests leave keeps no timer and sends nothing more."""
        self.requests = self.make(ordinary=1)
        ended = ConnectionEnded("cut", sent=False)
        first, second = self.ask(1), self.ask(2)
        self.on_send = lambda message, name: self.requests.fail_all(ended)
        third = self.ask(3, Lane.HISTORY)
        for asked in (first, second, third):
            self.failureResultOf(asked, ConnectionEnded)
        self.assertEqual(self.numbers(), [1, 3])
        self.empty()
