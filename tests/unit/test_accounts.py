"""One account from the names that clients want to the ticks that they get."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.accounts import Account, Accounts, Wanted
from ctrader_twisted.market.model import Phase
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.pb import api_pb2
from ctrader_twisted.upstream.application import Application, Budget
from ctrader_twisted.upstream.protocol import OpenApiProtocol
from tests.unit.fakes import (
    ACCOUNT,
    Recorder,
    details_answer,
    last_tick,
    plain_wire,
    refusal_of,
    spot,
    symbols_answer,
)

GRACE_S = 5
DETAILS = api_pb2.ProtoOASymbolByIdReq
SUBSCRIBE = api_pb2.ProtoOASubscribeSpotsReq
UNSUBSCRIBE = api_pb2.ProtoOAUnsubscribeSpotsReq
NAMES = {1: "EurUsd", 2: "GBPUSD", 3: "XAUUSD", 9: "(OLD)"}
ANSWERS: dict[type[Message], Any] = {
    api_pb2.ProtoOAApplicationAuthReq: lambda _: api_pb2.ProtoOAApplicationAuthRes(),
    api_pb2.ProtoOAAccountAuthReq: lambda _: api_pb2.ProtoOAAccountAuthRes(
        ctidTraderAccountId=ACCOUNT
    ),
    api_pb2.ProtoOASymbolsListReq: lambda _: symbols_answer(NAMES),
    DETAILS: lambda request: details_answer(dict.fromkeys(request.symbolId, 4)),
    SUBSCRIBE: lambda _: api_pb2.ProtoOASubscribeSpotsRes(ctidTraderAccountId=ACCOUNT),
    UNSUBSCRIBE: lambda _: api_pb2.ProtoOAUnsubscribeSpotsRes(ctidTraderAccountId=ACCOUNT),
}


class AccountCase(SynchronousTestCase):
    """An account whose venue answers each kind of request when the test says so."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.metrics = Metrics()
        self.told = Recorder()
        self.one, self.other = Recorder(), Recorder()
        self.account = Account(
            account_id=ACCOUNT,
            access_token=lambda: "token",
            clock=self.clock,
            metrics=self.metrics,
            listener=self.told,
            run_id="run",
            batch=100,
            grace_s=GRACE_S,
        )
        self.application = Application(
            client_id="our-program",
            client_secret=lambda: "its-secret",
            sessions=[self.account.session],
            budget=Budget(requests_per_s=40, history_per_s=4, timeout_s=10),
            clock=self.clock,
            metrics=self.metrics,
        )

    def connect(self) -> None:
        """A fresh connection, and the account open on it."""
        self.application.connecting()
        protocol = OpenApiProtocol(
            clock=self.clock,
            listener=Recorder(
                opened=self.application.opened,
                received=self.application.received,
                lost=lambda link, cause: self.application.lost(cause, "cut"),
            ),
            spots=self.application.spots,
            metrics=self.metrics,
            now_ms=lambda: 5,
            heartbeat_s=1000,
            silence_s=100_000,
            keepalive_s=10,
            frame_limit=1_000_000,
            frame_timeout_s=120,
        )
        self.wire = plain_wire(self.clock, protocol)
        for kind in list(ANSWERS)[:3]:
            self.answer(kind)

    def answer(self, kind: type[Message]) -> list[int]:
        """Answer one request; the symbol ids in it."""
        request: Any = self.wire.take(kind)
        self.wire.say(ANSWERS[kind](request.message), request.client_message_id)
        return list(getattr(request.message, "symbolId", ()))

    def serve(self) -> list[tuple[str, list[int]]]:
        """Answer everything until nothing is asked; what was."""
        self.clock.advance(0)
        served = []
        while requests := self.wire.read():
            kind: Any = type(requests[0].message)
            served.append((kind.__name__[7:-3], self.answer(kind)))
            self.clock.advance(0)
        return served

    def want(self, *names: str, who: Any = None) -> list[Wanted]:
        """Subscribe, and let the turn of the reactor pass."""
        results = list(self.account.subscribe(who or self.one, names))
        self.clock.advance(0)
        return results

    def ticks(self) -> list[tuple[str, int, int, int]]:
        """What was delivered: name, bid, ask, seq."""
        return [(t.symbol.name, t.bid, t.ask, t.seq) for t, _ in self.told.all("deliver")]

    def phases(self) -> list[Phase]:
        """The states that were announced."""
        return [state.phase for (state,) in self.told.all("announce")]

    def over(self) -> None:
        """The daemon ends."""
        self.account.stop()
        self.wire.lose()
        # Clients leave last, and must start nothing.
        self.account.leave(self.one)
        self.account.leave(self.other)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])


class CrowdTest(AccountCase):
    """Many who want the same."""

    def test_nothing_is_looked_for_when_nothing_is_new(self) -> None:
        """Who comes and goes without changing what is wanted costs the account no look at it."""
        self.connect()
        self.want("EURUSD", "GBPUSD")
        self.serve()
        others = [Recorder() for _ in range(3)]
        timers = len(self.clock.getDelayedCalls())
        for one in others:
            self.account.subscribe(one, ["EURUSD", "GBPUSD"])
        self.account.unsubscribe(others[0], ["GBPUSD"])
        self.account.leave(others[1])
        self.account.leave(others[1])
        self.assertEqual(len(self.clock.getDelayedCalls()), timers)
        self.account.leave(self.one)
        self.account.unsubscribe(others[2], ["GBPUSD"])
        self.assertEqual(len(self.clock.getDelayedCalls()), timers + 1)
        self.clock.advance(GRACE_S)
        self.assertEqual(self.serve(), [("UnsubscribeSpots", [2])])
        self.over()


class NamesTest(AccountCase):
    """What becomes of the names that clients ask for."""

    def test_before_the_catalogue(self) -> None:
        """Until the catalogue is known every name is pending; what two lists do not have is then
        withdrawn, and what is disabled stays wanted.
        """
        self.assertEqual(
            self.want("eurusd", "NOSUCH", "old"),
            [Wanted("eurusd", True), Wanted("NOSUCH", True), Wanted("old", True)],
        )
        self.connect()
        self.assertEqual(self.told.names()[-2:], ["announce", "want_changed"])
        self.clock.advance(2)
        self.answer(api_pb2.ProtoOASymbolsListReq)
        told = [(w.name, w.code, w.pending, who) for who, w in self.told.all("want_changed")]
        self.assertEqual(
            told,
            [
                ("OLD", "SYMBOL_DISABLED", True, [self.one]),
                ("NOSUCH", "UNKNOWN_SYMBOL", False, [self.one]),
            ],
        )
        self.assertEqual(self.account.subscriptions(self.one), ["EurUsd", "OLD"])
        self.assertEqual(self.serve(), [("SymbolById", [1]), ("SubscribeSpots", [1])])
        self.over()

    def test_pending_until_confirmed(self) -> None:
        """A want is pending until the venue has confirmed it; others hear at once that it has."""
        self.connect()
        self.assertEqual(self.want("eurUSD"), [Wanted("EurUsd", pending=True)])
        self.assertEqual(self.account.confirmed(), 0)
        self.serve()
        self.assertEqual(self.account.confirmed(), 1)
        self.assertEqual(self.want("EURUSD", who=self.other), [Wanted("EurUsd", pending=False)])
        self.assertEqual(self.serve(), [])
        self.over()

    def test_impossible_names(self) -> None:
        """Unknown symbols are refused by name, and are not wanted; disabled ones are kept."""
        self.connect()
        unknown, disabled = self.want("nosuch", "old")
        self.assertEqual((unknown.name, unknown.code), ("nosuch", "UNKNOWN_SYMBOL"))
        self.assertEqual((disabled.name, disabled.code), ("OLD", "SYMBOL_DISABLED"))
        self.assertEqual((unknown.is_refused, disabled.is_refused), (True, False))
        self.assertEqual(self.account.subscriptions(self.one), ["OLD"])
        self.assertEqual(self.serve(), [])
        self.over()

    def test_refused_by_the_venue(self) -> None:
        """A symbol that the venue does not send is told to all who want it, and asked for again."""
        self.connect()
        self.want("EURUSD", "GBPUSD")
        self.want("EURUSD", who=self.other)
        self.wire.refuse(SUBSCRIBE, "SYMBOL_NOT_FOUND")
        for _ in range(2):
            request: Any = self.wire.take(SUBSCRIBE)
            bad = 1 in request.message.symbolId
            self.wire.say(
                refusal_of("SYMBOL_NOT_FOUND") if bad else ANSWERS[SUBSCRIBE](None),
                request.client_message_id,
            )
        ((who, wanted),) = self.told.all("want_changed")
        self.assertEqual((set(who), wanted.code), ({self.one, self.other}, "SYMBOL_NOT_FOUND"))
        self.assertTrue(wanted.pending)
        self.assertEqual(self.account.subscriptions(self.one), ["EurUsd", "GBPUSD"])
        self.serve()
        # Asking again is a new chance.
        self.want("EURUSD")
        self.assertEqual(self.serve(), [("SubscribeSpots", [1])])
        self.assertEqual(self.told.last("want_changed")[1], Wanted("EurUsd"))
        self.over()

    def test_not_described_by_the_venue(self) -> None:
        """A symbol without description stays wanted and subscribed; it is described later."""
        self.connect()
        self.want("EURUSD")
        self.answer(SUBSCRIBE)
        self.wire.answer(DETAILS, details_answer({}))
        self.assertEqual(self.told.last("want_changed")[1].code, "SYMBOL_NOT_FOUND")
        self.wire.say(spot(1, bid=10450, ask=10460))
        self.clock.advance(2)
        self.assertEqual(self.serve(), [("SymbolById", [1]), ("SymbolsList", [])])
        self.assertEqual(self.ticks(), [("EurUsd", 10450, 10460, 1)])
        self.assertEqual(self.told.last("want_changed")[1], Wanted("EurUsd"))
        self.over()

    def test_not_described_and_wanted_again(self) -> None:
        """Whoever asks again while its prices still come is told again, not left without a tick."""
        self.connect()
        self.want("EURUSD")
        self.answer(SUBSCRIBE)
        self.wire.answer(DETAILS, details_answer({}))
        self.want("EURUSD")
        self.assertEqual(self.serve(), [("SymbolById", [1])])
        self.wire.say(spot(1, bid=10450, ask=10460))
        self.assertEqual(self.ticks(), [("EurUsd", 10450, 10460, 1)])
        self.over()

    def test_accounts(self) -> None:
        """Accounts are found by id."""
        accounts = Accounts([self.account])
        self.assertIs(accounts.get(ACCOUNT), self.account)
        self.assertIs(accounts.first, self.account)
        self.assertIsNone(accounts.get(1))


class OutsidersTest(AccountCase):
    """Who listens may be at fault; the connection does not pay for it."""

    def test_news_that_nobody_takes(self) -> None:
        """Whatever a listener raises is logged, and the account opens nevertheless."""

        def fail(*_: Any) -> None:
            raise ValueError("a fault of the doors")

        self.told.reactions |= {"announce": fail, "want_changed": fail}
        self.want("old", "eurusd")
        self.connect()
        self.serve()
        self.assertEqual(self.account.confirmed(), 1)
        self.assertFalse(self.wire.aborted)
        self.assertGreater(len(self.flushLoggedErrors(ValueError)), 2)


class DemandTest(AccountCase):
    """Wants become requests, and end as such."""

    def test_one_turn_one_request(self) -> None:
        """However many clients subscribe in one turn, the venue gets one request."""
        self.connect()
        for who, name in ((self.one, "EURUSD"), (self.other, "GBPUSD"), (self.one, "XAUUSD")):
            self.account.subscribe(who, [name])
        self.assertEqual(self.wire.read(), [])
        served = [(name, sorted(ids)) for name, ids in self.serve()]
        self.assertEqual(served, [("SymbolById", [1, 2, 3]), ("SubscribeSpots", [1, 2, 3])])
        self.over()

    def test_grace(self) -> None:
        """The venue is told to stop when nobody came back within the grace."""
        self.connect()
        self.want("EURUSD", "GBPUSD")
        self.serve()
        results = self.account.unsubscribe(self.one, ["eurusd", "never"])
        self.assertEqual(results, [Wanted("EurUsd"), Wanted("never")])
        self.clock.advance(0)
        self.clock.advance(GRACE_S - 0.1)
        self.assertEqual(self.serve(), [])
        self.clock.advance(0.1)
        self.assertEqual(self.serve(), [("UnsubscribeSpots", [1])])
        self.assertEqual(self.account.confirmed(), 1)
        self.over()

    def test_back_within_the_grace(self) -> None:
        """Somebody who comes back in time costs the venue nothing."""
        self.connect()
        self.want("EURUSD")
        self.serve()
        self.account.leave(self.one)
        self.clock.advance(GRACE_S - 1)
        self.wire.say(spot(1, bid=10450, ask=10460))
        self.want("EURUSD", who=self.other)
        self.clock.advance(100)
        self.assertEqual(self.serve(), [])
        self.over()

    def test_left_during_an_outage(self) -> None:
        """Whoever leaves during an outage has a grace too; restored in it, it still ends."""
        self.connect()
        self.want("EURUSD")
        self.serve()
        self.wire.lose()
        self.account.leave(self.one)
        self.clock.advance(1)
        self.connect()
        self.assertEqual(self.serve(), [("SymbolById", [1]), ("SubscribeSpots", [1])])
        self.clock.advance(GRACE_S)
        self.assertEqual(self.serve(), [("UnsubscribeSpots", [1])])
        self.over()

    def test_grace_that_ends_while_the_venue_pauses(self) -> None:
        """A grace that ends while nothing may be asked is waited for once, not in a tight loop."""
        blocked: dict[str, Any] = {"code": "BLOCKED_PAYLOAD_TYPE", "retryAfter": 100}
        self.connect()
        self.want("EURUSD")
        self.serve()
        self.want("GBPUSD", who=self.other)
        self.wire.refuse(SUBSCRIBE, **blocked)
        self.wire.refuse(DETAILS, **blocked)
        self.account.leave(self.one)
        self.clock.advance(0)
        self.clock.advance(GRACE_S)
        self.wire.refuse(UNSUBSCRIBE, **blocked)
        self.account.leave(self.other)
        self.clock.advance(0)
        self.clock.advance(GRACE_S)
        # Three pauses, heartbeat, silence; whoever polls never comes to this line.
        self.assertEqual(len(self.clock.getDelayedCalls()), 5)
        self.clock.advance(100)
        self.assertEqual(self.serve(), [("UnsubscribeSpots", [1])])
        self.over()


class TicksTest(AccountCase):
    """Prices, and what an outage does to them."""

    def test_whole_ticks_only(self) -> None:
        """Nothing is told before both sides and the digits are known."""
        self.connect()
        self.want("EURUSD")
        self.wire.say(spot(1, bid=104561))
        self.answer(SUBSCRIBE)
        self.wire.say(spot(1, ask=104569))
        self.assertEqual(self.ticks(), [])
        self.answer(DETAILS)
        self.assertEqual(self.ticks(), [("EurUsd", 104560, 104570, 1)])
        self.wire.say(spot(1, ask=104599))
        self.assertEqual(self.ticks()[1:], [("EurUsd", 104560, 104600, 2)])
        last = last_tick(self.account, "eurusd")
        assert last is not None
        self.assertEqual(last.seq, 2)
        self.assertEqual(self.metrics.ticks_in, 3)
        self.over()

    def test_only_to_those_who_want(self) -> None:
        """A tick goes to the groups of its symbol; without any it is kept, not delivered."""
        self.connect()
        self.want("EURUSD")
        self.want("EURUSD", "GBPUSD", who=self.other)
        self.serve()
        self.wire.say(spot(2, bid=1000, ask=2000))
        ((_, groups),) = self.told.all("deliver")
        self.assertEqual([m for g in groups for m in g.members], [self.other])
        self.account.leave(self.one)
        self.account.leave(self.other)
        self.wire.say(spot(1, bid=1000, ask=2000))
        self.assertEqual(len(self.told.all("deliver")), 1)
        self.assertIsNotNone(last_tick(self.account, "EURUSD"))
        self.over()

    def test_late_events(self) -> None:
        """Prices of symbols that were never asked for, or no longer, are let go."""
        self.connect()
        self.want("EURUSD")
        self.serve()
        self.wire.say(spot(2, bid=1000, ask=2000))
        self.wire.say(spot(999, bid=1000, ask=2000))
        self.assertIsNone(last_tick(self.account, "GBPUSD"))
        self.wire.say(spot(1, bid=1000, ask=2000))
        self.account.leave(self.one)
        self.clock.advance(0)
        self.clock.advance(GRACE_S)
        self.serve()
        self.assertIsNone(last_tick(self.account, "EURUSD"))
        self.wire.say(spot(1, bid=3000))
        self.want("EURUSD")
        self.serve()
        self.wire.say(spot(1, ask=4000))
        self.assertEqual(len(self.ticks()), 1)
        self.over()
