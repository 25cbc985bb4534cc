"""A goal pursued: batches, one bad id among many, pauses, and the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.errors import ConnectionEnded, ProtocolError, RequestTimeout, VenueRefusal
from ctrader_twisted.upstream.pursuit import RETRY_MAX_S, Pursuit

ENDED = ConnectionEnded("cut", sent=True)


class PursuitCase(SynchronousTestCase):
    """A pursuit whose requests the test answers."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.wanted: list[int] = []
        self.had: set[int] = set()
        self.asked: list[list[int]] = []
        self.open: list[tuple[list[int], Deferred[Any]]] = []
        self.refused: list[tuple[int, str]] = []
        self.thrown_out: list[str] = []
        self.pursuit = self.make(self._ask)

    def make(
        self, ask: Any, in_flight: int = 4, already: str | None = "ALREADY_SUBSCRIBED"
    ) -> Pursuit:
        """A pursuit of ``wanted``, a hundred ids at a time."""
        return Pursuit(
            "test",
            lambda: [number for number in self.wanted if number not in self.had],
            ask,
            self.had.update,
            lambda number, error: self.refused.append((number, error.code)),
            clock=self.clock,
            not_authorised=self._thrown_out,
            batch=100,
            in_flight=in_flight,
            already=already,
        )

    def _ask(self, ids: Sequence[int]) -> Deferred[Any]:
        answer: Deferred[Any] = Deferred()
        self.asked.append(list(ids))
        self.open.append((list(ids), answer))
        return answer

    def _thrown_out(self, error: VenueRefusal) -> None:
        # As the session does: it ends the pursuit from within this call.
        self.thrown_out.append(error.code)
        self.pursuit.end()

    def want(self, ids: Sequence[int]) -> None:
        """Pursue these."""
        self.wanted = list(ids)
        self.pursuit.pursue()

    def reply(self, result: Any = None) -> list[int]:
        """Answer the oldest request."""
        ids, answer = self.open.pop(0)
        answer.callback(Failure(result) if isinstance(result, Exception) else result)
        return ids

    def over(self) -> None:
        """After the end nothing runs."""
        self.pursuit.end()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])


class UnreadableTest(PursuitCase):
    """Answers that cannot be read."""

    def test_one_that_spoils_its_list(self) -> None:
        """An id whose part of the answer is bad holds up none of the others for long."""
        self.want(range(64))
        for _ in range(60):
            while self.open:
                bad = 13 in self.open[0][0]
                self.reply(ProtocolError("no digits") if bad else None)
            self.clock.advance(1)
        self.assertEqual(self.had, set(range(64)) - {13})
        self.assertEqual(self.refused, [])
        self.clock.advance(RETRY_MAX_S)
        self.assertEqual(self.reply(), [13])
        self.over()

    def test_done_all_the_same(self) -> None:
        """That all of them are subscribed already says that it had been done."""
        self.want([1, 2, 3])
        self.reply(ProtocolError("it lacks the account"))
        self.clock.advance(1)
        self.assertEqual(self.reply(VenueRefusal("ALREADY_SUBSCRIBED")), [1, 2, 3])
        self.assertEqual(self.had, {1, 2, 3})
        self.over()


class BatchTest(PursuitCase):
    """What is asked, and how much at once."""

    def test_two_hundred_in_two(self) -> None:
        """Two hundred ids go out in two requests."""
        self.want(range(200))
        self.assertEqual([len(ids) for ids in self.asked], [100, 100])
        self.reply()
        self.reply()
        self.assertEqual(self.had, set(range(200)))
        self.assertEqual(len(self.asked), 2)
        self.over()

    def test_at_most_four_in_flight(self) -> None:
        """The next batch leaves when one of four is answered; no id is asked for twice."""
        self.want(range(1000))
        self.assertEqual(len(self.asked), 4)
        for _ in range(10):
            self.pursuit.pursue()
            self.assertLessEqual(len(self.open), 4)
            self.reply()
        flat = [number for ids in self.asked for number in ids]
        self.assertEqual(sorted(flat), list(range(1000)))
        self.over()

    def test_wants_that_change_in_flight(self) -> None:
        """What is wanted while an answer is awaited follows; what is no longer wanted does not."""
        self.want([1, 2])
        self.want([2, 3])
        self.assertEqual(self.asked, [[1, 2], [3]])
        self.wanted = []
        self.reply()
        self.reply()
        self.pursuit.pursue()
        self.assertEqual(len(self.asked), 2)
        self.over()

    def test_answers_within_the_question(self) -> None:
        """Answers that come at once lead to no id asked for twice."""

        def at_once(ids: Sequence[int]) -> Deferred[Any]:
            self.asked.append(list(ids))
            return succeed(None) if len(self.asked) == 1 else Deferred()

        self.pursuit = self.make(at_once)
        self.want(range(300))
        self.assertEqual([len(ids) for ids in self.asked], [100, 100, 100])
        flat = [number for ids in self.asked for number in ids]
        self.assertEqual(sorted(flat), list(range(300)))
        self.over()


class RefusalTest(PursuitCase):
    """What the venue will not give."""

    def answer_all(self, bad: set[int], code: str = "SYMBOL_NOT_FOUND") -> int:
        """Answer as a venue that refuses every request with a bad id; how many it took."""
        while self.open:
            guilty = bad.intersection(self.open[0][0])
            self.reply(VenueRefusal(code) if guilty else None)
        return len(self.asked)

    def test_one_bad_id_among_two_hundred(self) -> None:
        """One bad id is found by halving, and the other 199 are had."""
        self.want(range(200))
        requests = self.answer_all({137})
        self.assertEqual(self.refused, [(137, "SYMBOL_NOT_FOUND")])
        self.assertEqual(self.had, set(range(200)) - {137})
        self.assertLessEqual(requests, 16)
        self.pursuit.pursue()
        self.assertEqual(len(self.asked), requests)
        self.over()

    def live(self, bad: set[int], error: Exception, seconds: int) -> None:
        """So many seconds with a venue that answers every request with a bad id by that."""
        for _ in range(seconds):
            while self.open:
                self.reply(error if bad.intersection(self.open[0][0]) else None)
            self.clock.advance(1)

    def test_one_bad_id_that_nobody_names(self) -> None:
        """One id that makes a venue fail, or say nothing, keeps no other from being had for long,
        neither now nor when more is wanted.
        """
        for error, seconds in (
            (VenueRefusal("UNKNOWN_ERROR"), 60),
            (VenueRefusal("TIMEOUT_ERROR"), 60),
            (RequestTimeout("no answer", sent=True), 90),
        ):
            for wanted in (100, 300):
                self.setUp()
                self.want(range(wanted))
                self.live({37}, error, seconds)
                self.assertEqual(self.had, set(range(wanted)) - {37})
                self.want(range(wanted + 50))
                self.live({37}, error, 5)
                self.assertEqual(self.had, set(range(wanted + 50)) - {37})
                self.live(set(), error, 65)
                self.assertEqual(self.had, set(range(wanted + 50)))
                self.over()

    def test_failing_as_a_whole(self) -> None:
        """A venue that fails whatever it is asked is asked ever less, and all at once after it."""
        self.want(range(1000))
        self.live(set(range(1000)), VenueRefusal("CANT_ROUTE_REQUEST"), 3600)
        self.assertLess(len(self.asked), 4 * 70)
        asked = len(self.asked)
        self.live(set(), ENDED, 61)
        self.assertEqual(self.had, set(range(1000)))
        self.assertLess(len(self.asked) - asked, 30)
        self.over()

    def test_asked_again_after_forgiveness(self) -> None:
        """A refused id is asked for again when somebody wants it anew, not before."""
        self.want([1])
        self.reply(VenueRefusal("SYMBOL_NOT_FOUND"))
        self.assertEqual(set(self.pursuit.refusals), {1})
        self.pursuit.forgive(1)
        self.pursuit.pursue()
        self.assertEqual(self.asked, [[1], [1]])
        self.reply()
        self.assertEqual(self.had, {1})
        self.over()

    def test_already_so(self) -> None:
        """What is already subscribed is as wanted, once it stands alone."""
        self.want([1, 2])
        self.answer_all({2}, "ALREADY_SUBSCRIBED")
        self.assertEqual((self.had, self.refused), ({1, 2}, []))
        self.over()

    def test_no_code(self) -> None:
        """A refusal without a code is one, also where no "already" means success."""
        for already in (None, "ALREADY_SUBSCRIBED"):
            self.setUp()
            self.pursuit = self.make(self._ask, already=already)
            self.want([1])
            self.reply(VenueRefusal(""))
            self.assertEqual((self.had, self.refused), (set(), [(1, "")]))
            self.over()

    def test_already_something_else(self) -> None:
        """An "already" that is not about the request says nothing of it: it is asked for again."""
        self.want([1, 2])
        self.reply(VenueRefusal("ALREADY_LOGGED_IN"))
        self.answer_all({2}, "ALREADY_LOGGED_IN")
        self.assertEqual((self.had, self.refused), ({1}, []))
        self.clock.advance(RETRY_MAX_S)
        self.reply()
        self.assertEqual((self.had, self.refused), ({1, 2}, []))
        self.over()

    @given(st.sets(st.integers(0, 249)), st.integers(1, 6))
    def test_any_bad_ids(self, bad: set[int], in_flight: int) -> None:
        """Whatever is bad, exactly that is refused, once each, and the rest is had."""
        self.setUp()
        self.pursuit = self.make(self._ask, in_flight)
        self.want(range(250))
        self.answer_all(bad)
        self.assertEqual(sorted(self.refused), [(n, "SYMBOL_NOT_FOUND") for n in sorted(bad)])
        self.assertEqual(self.had, set(range(250)) - bad)
        self.over()

    def test_not_authorised(self) -> None:
        """An account that lost its place says so, by code or by description."""
        for error in (
            VenueRefusal("ACCOUNT_NOT_AUTHORIZED"),
            VenueRefusal("INVALID_REQUEST", "Trading account is not authorized"),
        ):
            self.setUp()
            self.want([1])
            self.reply(error)
            self.assertEqual(self.thrown_out, [error.code])
            self.assertEqual((self.asked, self.refused), ([[1]], []))
            self.over()


class PauseTest(PursuitCase):
    """Not now."""

    def blocked(self, retry_after_s: float | None = None) -> VenueRefusal:
        """The venue is tired of this kind of request."""
        return VenueRefusal("BLOCKED_PAYLOAD_TYPE", retry_after_s=retry_after_s)

    def pause(self) -> float:
        """How long until the next request, which is then made."""
        (call,) = self.clock.getDelayedCalls()
        delay_s: float = call.getTime() - self.clock.seconds()
        self.assertEqual(self.open, [])
        self.clock.advance(delay_s)
        self.assertEqual(len(self.open), 1)
        return delay_s

    def test_pause_doubles_up_to_a_minute(self) -> None:
        """Each refusal in a row waits twice as long, up to a minute; success begins anew."""
        self.want([1])
        delays = []
        for _ in range(8):
            self.reply(self.blocked())
            delays.append(self.pause())
        self.assertEqual(delays, [1, 2, 4, 8, 16, 32, 60, 60])
        self.reply()
        self.want([1, 2])
        self.reply(self.blocked())
        self.assertEqual(self.pause(), 1)
        self.over()

    def test_advice_of_the_venue(self) -> None:
        """The venue's own delay is kept to when it is the longer one."""
        self.want([1])
        self.reply(self.blocked(7))
        self.assertEqual(self.pause(), 7)
        self.reply(self.blocked(0.5))
        self.assertEqual(self.pause(), 2)
        self.over()

    def test_volley_is_one_refusal(self) -> None:
        """Four requests refused together make one pause, with the longest advice, grown once."""
        self.want(range(400))
        for advice in (None, 5, 3, None):
            self.reply(self.blocked(advice))
        (call,) = self.clock.getDelayedCalls()
        self.assertEqual(call.getTime(), 5)
        self.clock.advance(5)
        self.assertEqual(len(self.open), 4)
        for _ in range(4):
            self.reply(self.blocked())
        (call,) = self.clock.getDelayedCalls()
        self.assertEqual(call.getTime(), 5 + 2)
        self.over()

    def test_pause_holds_everything(self) -> None:
        """During a pause nothing is asked for, whoever says that wants changed."""
        self.want([1])
        self.reply(self.blocked())
        self.want([1, 2])
        self.assertEqual(len(self.asked), 1)
        self.clock.advance(1)
        self.assertEqual(self.asked[1:], [[1, 2]])
        self.over()

    def test_no_answer(self) -> None:
        """A request without an answer is repeated after a pause."""
        self.want([1])
        self.reply(RequestTimeout("no answer", sent=True))
        self.assertEqual(self.pause(), 1)
        self.over()

    def test_end_in_a_pause(self) -> None:
        """The end takes the pause with it."""
        self.want([1])
        self.reply(self.blocked())
        self.over()
        self.clock.advance(100)
        self.assertEqual(len(self.asked), 1)


class EndTest(PursuitCase):
    """The life of the session is over."""

    def test_late_answers(self) -> None:
        """After the end it is told what was done after all; refusals change nothing, and nothing is
        asked for.
        """
        self.want(range(300))
        self.pursuit.end()
        self.reply()
        self.assertEqual(self.had, set(range(100)))
        self.had.clear()
        self.reply(VenueRefusal("SYMBOL_NOT_FOUND"))
        self.reply(VenueRefusal("BLOCKED_PAYLOAD_TYPE"))
        self.pursuit.pursue()
        self.assertEqual((self.had, self.refused, len(self.asked)), (set(), [], 3))
        self.over()

    def test_lost_connection(self) -> None:
        """When the connection is lost nothing is asked on it again, though it is all missing."""

        def cut(ids: Sequence[int]) -> Deferred[Any]:
            return fail(ENDED) if self.asked else self._ask(ids)

        self.pursuit = self.make(cut)
        self.want(range(100))
        self.reply(ENDED)
        self.assertEqual((len(self.asked), self.had), (1, set()))
        self.over()
