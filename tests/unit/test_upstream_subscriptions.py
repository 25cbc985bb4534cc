"""From what is wanted to what the venue confirmed, during one life of the session."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.errors import ConnectionEnded, RequestTimeout, VenueRefusal
from ctrader_twisted.pb import api_pb2
from ctrader_twisted.upstream.pursuit import RETRY_MAX_S
from ctrader_twisted.upstream.requests import Lane
from ctrader_twisted.upstream.subscriptions import Subscriptions
from tests.unit.fakes import Asked, Asker, Recorder, details_answer

DETAILS = api_pb2.ProtoOASymbolByIdReq
SUBSCRIBE = api_pb2.ProtoOASubscribeSpotsReq
UNSUBSCRIBE = api_pb2.ProtoOAUnsubscribeSpotsReq


class SubscriptionsCase(SynchronousTestCase):
    """Subscriptions whose venue is the test."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.asker = Asker()
        self.wanted: set[int] = set()
        self.told = Recorder()
        self.known: list[int] = []
        self.subscriptions = self.make()

    def make(self, left_over: Iterable[int] = ()) -> Subscriptions:
        """A new life."""
        return Subscriptions(
            session=self.asker,
            clock=self.clock,
            wanted=lambda: self.wanted,
            described=lambda details: self.known.extend(d.symbol_id for d in details),
            stopped=lambda ids: self.told.stopped(sorted(ids)),
            refused=lambda number, error: self.told.refused(number, error.code),
            batch=100,
            left_over=left_over,
            belated=lambda ids: self.told.belated(sorted(ids)),
        )

    def want(self, ids: Collection[int]) -> None:
        """Pursue these."""
        self.wanted = set(ids)
        self.subscriptions.pursue()

    def reply(self, kind: Any, bad: Collection[int] = (), code: str = "SYMBOL_NOT_FOUND") -> int:
        """Answer all requests of one kind, those with a bad id by a refusal; how many."""
        taken = self.asker.take(kind)
        for asked in taken:
            self._answer(asked, bad, code)
        return len(taken)

    def _answer(self, asked: Asked, bad: Collection[int], code: str) -> None:
        if set(bad).intersection(asked.ids):
            asked.result.errback(Failure(VenueRefusal(code)))
        elif isinstance(asked.message, DETAILS):
            asked.result.callback(details_answer(dict.fromkeys(asked.ids, 5)))
        else:
            asked.result.callback(None)

    def settle(self, bad: Collection[int] = (), code: str = "SYMBOL_NOT_FOUND") -> None:
        """Answer everything until nothing more is asked."""
        while self.asker.open:
            for kind in (UNSUBSCRIBE, SUBSCRIBE, DETAILS):
                self.reply(kind, bad, code)

    def over(self) -> None:
        """After the end nothing runs."""
        self.subscriptions.end()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])


class SubscribeTest(SubscriptionsCase):
    """Wants become subscriptions."""

    def test_two_hundred_symbols_in_four_requests(self) -> None:
        """Digits and prices of two hundred symbols: two requests each, all at once."""
        self.want(range(200))
        self.assertEqual(self.asker.total, 4)
        lanes = [(type(asked.message), asked.lane) for asked in self.asker.open]
        self.assertEqual(lanes.count((SUBSCRIBE, Lane.SUBSCRIBE)), 2)
        self.assertEqual(lanes.count((DETAILS, Lane.READ)), 2)
        self.assertTrue(self.subscriptions.is_expected(7))
        self.assertEqual(self.subscriptions.may_be_subscribed(), set(range(200)))
        self.assertEqual(self.subscriptions.confirmed, set())
        self.settle()
        self.assertEqual(self.subscriptions.confirmed, set(range(200)))
        self.assertEqual(sorted(self.known), list(range(200)))
        self.assertEqual(self.asker.total, 4)
        self.over()

    def test_the_venues_time_is_asked_for(self) -> None:
        """Prices are asked for with the venue's time in them."""
        self.want([1])
        (asked,) = self.asker.take(SUBSCRIBE)
        self.assertTrue(asked.message.subscribeToSpotTimestamp)
        self.over()

    def test_one_bad_id_among_two_hundred(self) -> None:
        """One symbol that the venue does not know is refused alone, by name and code."""
        self.want(range(200))
        self.settle(bad={42})
        self.assertEqual(self.subscriptions.confirmed, set(range(200)) - {42})
        self.assertEqual(set(self.told.all("refused")), {(42, "SYMBOL_NOT_FOUND")})
        refusal = self.subscriptions.refusal(42)
        assert refusal is not None
        self.assertEqual(refusal.code, "SYMBOL_NOT_FOUND")
        self.assertIsNone(self.subscriptions.refusal(41))
        self.subscriptions.forgive(42)
        self.subscriptions.pursue()
        self.settle()
        self.assertIn(42, self.subscriptions.confirmed)
        self.over()

    def test_symbol_left_out_of_the_answer(self) -> None:
        """A symbol that the venue does not describe is refused, not waited for in silence."""
        self.want([1, 2])
        (asked,) = self.asker.take(DETAILS)
        asked.result.callback(details_answer({1: 5}))
        while taken := self.asker.take(DETAILS):
            for asked in taken:
                known = {number: 5 for number in asked.ids if number != 2}
                asked.result.callback(details_answer(known))
        self.assertEqual(self.told.all("refused"), [(2, "SYMBOL_NOT_FOUND")])
        self.assertIn(1, self.known)
        self.settle()
        self.over()

    def test_changed_symbols_are_described_again(self) -> None:
        """Settings that changed are fetched again, for the symbols that we know."""
        self.want([1, 2])
        self.settle()
        self.subscriptions.describe_again([2, 99])
        (asked,) = self.asker.take(DETAILS)
        self.assertEqual(asked.ids, [2])
        self.over()

    def test_not_authorised(self) -> None:
        """An account that lost its place is opened again."""
        self.want([1])
        self.reply(SUBSCRIBE, {1}, "ACCOUNT_NOT_AUTHORIZED")
        self.assertEqual(self.asker.reopened[0][0], "ACCOUNT_NOT_AUTHORIZED")
        self.over()


class UnsubscribeTest(SubscriptionsCase):
    """Wants that end."""

    def test_nobody_wants_it_any_more(self) -> None:
        """What is no longer wanted is unsubscribed, in one request, and then not expected."""
        self.want([1, 2, 3])
        self.settle()
        self.want([3])
        (asked,) = self.asker.take(UNSUBSCRIBE)
        self.assertEqual(asked.ids, [1, 2])
        self.assertTrue(self.subscriptions.is_expected(1))
        asked.result.callback(None)
        self.assertFalse(self.subscriptions.is_expected(1))
        self.assertEqual(self.told.all("stopped"), [([1, 2],)])
        self.over()

    def test_unwanted_while_being_subscribed(self) -> None:
        """A want that ends before the venue confirmed is unsubscribed when it has."""
        self.want([1, 2])
        self.want([2])
        self.reply(SUBSCRIBE)
        (asked,) = self.asker.take(UNSUBSCRIBE)
        self.assertEqual(asked.ids, [1])
        asked.result.callback(None)
        self.settle()
        self.assertEqual(self.subscriptions.confirmed, {2})
        self.over()

    def test_wanted_again_while_being_unsubscribed(self) -> None:
        """A want that returns during the unsubscription is subscribed anew after it."""
        self.want([1])
        self.settle()
        self.want([])
        self.want([1])
        self.assertEqual(self.asker.take(SUBSCRIBE), [])
        self.reply(UNSUBSCRIBE)
        (asked,) = self.asker.take(SUBSCRIBE)
        self.assertEqual(asked.ids, [1])
        asked.result.callback(None)
        self.assertEqual(self.subscriptions.confirmed, {1})
        self.over()

    def test_was_not_subscribed(self) -> None:
        """What the venue says was never subscribed is as unsubscribed as we want it."""
        self.want([1, 2])
        self.settle()
        self.want([])
        self.settle(bad={2}, code="NOT_SUBSCRIBED_TO_SPOTS")
        self.assertEqual(self.subscriptions.confirmed, set())
        self.assertEqual(self.told.all("refused"), [])
        self.want([2])
        self.settle()
        self.assertEqual(self.subscriptions.confirmed, {2})
        self.over()

    def test_left_over_is_renewed(self) -> None:
        """What an earlier life was subscribed to is ended first; only then comes a whole price."""
        self.subscriptions = self.make(left_over=[1, 2])
        self.want([2, 3])
        (first,) = self.asker.take(SUBSCRIBE)
        self.assertEqual(first.ids, [3])
        (ending,) = self.asker.take(UNSUBSCRIBE)
        self.assertEqual(ending.ids, [1, 2])
        ending.result.callback(None)
        (again,) = self.asker.take(SUBSCRIBE)
        self.assertEqual(again.ids, [2])
        again.result.callback(None)
        first.result.callback(None)
        self.assertEqual(self.subscriptions.confirmed, {2, 3})
        self.settle()
        self.over()


class LifeTest(SubscriptionsCase):
    """The end, and the general truth."""

    def test_late_answers(self) -> None:
        """After the end late answers change nothing and ask for nothing; what was done so late is
        told, for the life that follows.
        """
        self.want([1, 2])
        self.settle()
        self.want([2, 3])
        self.subscriptions.end()
        total = self.asker.total
        self.settle()
        self.assertEqual(self.asker.total, total)
        self.assertEqual(self.subscriptions.confirmed, {1, 2})
        self.assertEqual(sorted(self.told.all("belated")), [([1],), ([3],)])
        self.assertEqual(len(self.told.calls), 2)
        self.assertEqual(self.known, [1, 2])
        self.over()

    def test_refused_late(self) -> None:
        """What was refused after the end was not done."""
        self.want([1])
        self.subscriptions.end()
        self.reply(SUBSCRIBE, bad=[1], code="ACCOUNT_NOT_AUTHORIZED")
        self.assertEqual(self.told.calls, [])
        self.over()

    def test_doubt(self) -> None:
        """What an earlier life asked for is done now: ended; and begun again where it is wanted."""
        self.want([1])
        self.settle()
        self.subscriptions.doubt([1, 2])
        self.assertEqual([asked.ids for asked in self.asker.open], [[1, 2]])
        self.assertEqual(self.reply(UNSUBSCRIBE), 1)
        self.assertEqual([asked.ids for asked in self.asker.open], [[1]])
        self.assertEqual(self.reply(SUBSCRIBE), 1)
        self.assertEqual(self.told.calls, [("stopped", ([1, 2],))])
        self.assertEqual(self.subscriptions.confirmed, {1})
        self.over()

    def test_not_ended_while_it_is_asked_for_again(self) -> None:
        """Subscriptions without an answer are repeated, all of them: ALREADY_SUBSCRIBED has to be
        about each. So none of them is ended before the repeat is answered.
        """
        self.want([1, 2])
        (first,) = self.asker.take(SUBSCRIBE)
        first.result.errback(Failure(RequestTimeout("no answer", sent=True)))
        self.wanted = {1}
        first.late()
        self.assertEqual(self.asker.take(UNSUBSCRIBE), [])
        self.clock.advance(1)
        (again,) = self.asker.take(SUBSCRIBE)
        self.assertEqual(again.ids, [1, 2])
        again.result.errback(Failure(VenueRefusal("ALREADY_SUBSCRIBED")))
        self.assertEqual([asked.ids for asked in self.asker.take(UNSUBSCRIBE)], [[2]])
        self.over()

    def test_wanted_again_while_its_end_rests(self) -> None:
        """An end that is not answered rests, and was done after all: who wants the symbol then gets
        it when the rest is over.
        """
        self.want([5, 6])
        self.settle()
        self.want([6])
        (first,) = self.asker.take(UNSUBSCRIBE)
        first.result.errback(Failure(RequestTimeout("no answer", sent=True)))
        self.want([])
        self.clock.advance(1)
        repeat, other = self.asker.take(UNSUBSCRIBE)
        self.assertEqual((repeat.ids, other.ids), ([5], [6]))
        other.result.callback(None)
        repeat.result.errback(Failure(RequestTimeout("no answer", sent=True)))
        first.late()
        self.want([5])
        self.clock.advance(RETRY_MAX_S)
        self.settle()
        self.assertEqual(self.subscriptions.confirmed, {5})
        self.over()

    def test_a_repeat_that_was_never_sent(self) -> None:
        """The account loses its place with a repeat in the queue: perhaps the first was done."""
        self.want([1])
        (first,) = self.asker.take(SUBSCRIBE)
        first.result.errback(Failure(RequestTimeout("no answer", sent=True)))
        self.clock.advance(1)
        (repeat,) = self.asker.take(SUBSCRIBE)
        repeat.result.errback(Failure(ConnectionEnded("the account lost its place", sent=False)))
        self.assertEqual(self.subscriptions.may_be_subscribed(), {1})
        self.over()

    @given(
        st.lists(
            st.tuples(st.sets(st.integers(1, 6)), st.integers(0, 2), st.booleans()), max_size=12
        )
    )
    def test_ends_at_what_is_wanted(self, steps: list[tuple[set[int], int, bool]]) -> None:
        """However wants and answers interleave, in the end the venue sends what is wanted."""
        self.setUp()
        at_venue: set[int] = set()
        kinds = (SUBSCRIBE, UNSUBSCRIBE, DETAILS)

        def answer(kind: Any) -> None:
            for asked in self.asker.take(kind):
                ids = set(asked.ids)
                already = kind is SUBSCRIBE and ids & at_venue
                never = kind is UNSUBSCRIBE and ids - at_venue
                if already or never:
                    code = "ALREADY_SUBSCRIBED" if already else "NOT_SUBSCRIBED_TO_SPOTS"
                    asked.result.errback(Failure(VenueRefusal(code)))
                    continue
                if kind is SUBSCRIBE:
                    at_venue.update(ids)
                elif kind is UNSUBSCRIBE:
                    at_venue.difference_update(ids)
                self._answer(asked, (), "")

        for wanted, kind, new_life in steps:
            if new_life:
                self.subscriptions.end()
                self.asker.open.clear()
                self.subscriptions = self.make(left_over=at_venue)
            self.want(wanted)
            answer(kinds[kind])
        for _ in range(40):
            for each in kinds:
                answer(each)
        wanted = steps[-1][0] if steps else set()
        self.assertEqual(at_venue, wanted)
        self.assertEqual(self.subscriptions.confirmed, wanted)
        self.assertEqual(self.asker.open, [])
        self.over()
