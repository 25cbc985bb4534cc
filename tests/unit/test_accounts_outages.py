"""An account through outages: what is wanted survives, what was confirmed and priced does not."""

from __future__ import annotations

from typing import Any

from ctrader_twisted.market.model import Phase
from ctrader_twisted.pb import api_pb2
from ctrader_twisted.refusals import advice_for
from tests.unit.fakes import ACCOUNT, last_tick, spot
from tests.unit.log_lines import LogLines
from tests.unit.test_accounts import (
    ANSWERS,
    DETAILS,
    GRACE_S,
    NAMES,
    SUBSCRIBE,
    UNSUBSCRIBE,
    AccountCase,
)

ACCOUNT_AUTH = api_pb2.ProtoOAAccountAuthReq
DISCONNECT = api_pb2.ProtoOAAccountDisconnectEvent(ctidTraderAccountId=ACCOUNT)


class OutageTest(AccountCase):
    """Losing the connection, or only the account."""

    def test_nothing_across_an_outage(self) -> None:
        """No side from before an outage is laid beside one from after; a new epoch counts anew."""
        self.connect()
        self.want("EURUSD")
        self.serve()
        self.wire.say(spot(1, bid=1000, ask=2000))
        first = self.account.state.epoch
        self.wire.lose()
        self.assertIsNone(last_tick(self.account, "EURUSD"))
        self.connect()
        self.serve()
        self.wire.say(spot(1, ask=3000))
        self.assertEqual(len(self.ticks()), 1)
        self.wire.say(spot(1, bid=2500))
        self.assertEqual(self.ticks()[1:], [("EurUsd", 2500, 3000, 1)])
        self.assertEqual((first, self.account.state.epoch), ("run-1", "run-2"))
        self.over()

    def test_restored_in_batches(self) -> None:
        """After a reconnect all wants come back, two hundred of them in four requests."""
        NAMES.update({1000 + n: f"S{n}" for n in range(200)})
        self.addCleanup(lambda: [NAMES.pop(1000 + n) for n in range(200)])
        self.connect()
        self.want(*(f"S{n}" for n in range(200)))
        self.serve()
        self.wire.lose()
        self.assertEqual(self.account.confirmed(), 0)
        self.assertEqual(len(self.account.subscriptions(self.one)), 200)
        self.connect()
        served = self.serve()
        self.assertEqual([len(ids) for _, ids in served], [100] * 4)
        self.assertEqual(self.account.confirmed(), 200)
        self.over()

    def test_states(self) -> None:
        """Every change is announced, with the symbols once they are known, and the real delay."""
        self.connect()
        self.wire.lose()
        self.application.retrying(3, 2.5, "cut")
        self.application.connecting()
        self.assertEqual(
            self.phases(),
            [
                Phase.CONNECTING,
                Phase.CONNECTED,
                Phase.DISCONNECTED,
                Phase.RECONNECTING,
                Phase.CONNECTING,
            ],
        )
        states = [state for (state,) in self.told.all("announce")]
        self.assertEqual([s.symbols for s in states], [None] + [("EurUsd", "GBPUSD", "XAUUSD")] * 4)
        waiting = states[3]
        self.assertEqual((waiting.attempt, waiting.delay_ms), (3, 2500))
        self.assertEqual((waiting.code, waiting.reason), ("VENUE_UNREACHABLE", "cut"))
        self.over()

    def test_wants_during_an_outage(self) -> None:
        """During an outage names are judged by the last catalogue, and restored later."""
        self.connect()
        self.wire.lose()
        known, unknown = self.want("eurusd", "nosuch")
        self.assertEqual((known.name, known.pending), ("EurUsd", True))
        self.assertEqual(unknown.code, "UNKNOWN_SYMBOL")
        self.connect()
        self.assertEqual(self.serve(), [("SymbolById", [1]), ("SubscribeSpots", [1])])
        self.over()

    def test_account_refused(self) -> None:
        """An account that is refused is announced as such, with the code, until it is open."""
        self.connect()
        self.wire.say(DISCONNECT)
        self.clock.advance(0)
        log = LogLines(self)
        self.wire.refuse(ACCOUNT_AUTH, "RET_ACCOUNT_DISABLED", "closed")
        self.assertEqual(
            "the venue refuses: RET_ACCOUNT_DISABLED: closed; "
            + advice_for("RET_ACCOUNT_DISABLED"),
            log.about("the venue refuses")[0]["message"],
        )
        states: list[Any] = [state for (state,) in self.told.all("announce")]
        self.assertEqual(
            [(s.phase, s.code) for s in states[-2:]],
            [
                (Phase.ERROR, "RET_ACCOUNT_DISABLED"),
                (Phase.RECONNECTING, "RET_ACCOUNT_DISABLED"),
            ],
        )
        self.assertEqual(states[-1].delay_ms, 60_000)
        self.clock.advance(60)
        self.serve()
        self.assertEqual(self.account.state.phase, Phase.CONNECTED)
        self.assertIsNone(self.account.state.code)
        self.over()

    def test_account_that_never_left(self) -> None:
        """What may still be subscribed is ended first, requests without an answer included."""
        self.connect()
        self.want("EURUSD")
        self.serve()
        self.want("GBPUSD")
        self.wire.take(SUBSCRIBE)
        self.clock.advance(1)
        self.wire.say(DISCONNECT)
        self.clock.advance(0)
        self.wire.take(DETAILS)
        self.wire.refuse(ACCOUNT_AUTH, "ALREADY_LOGGED_IN")
        self.answer(api_pb2.ProtoOASymbolsListReq)
        self.assertEqual(self.answer(UNSUBSCRIBE), [1, 2])
        self.assertEqual(sorted(self.answer(SUBSCRIBE)), [1, 2])
        self.serve()
        self.assertEqual(self.account.confirmed(), 2)
        self.over()

    def test_done_between_two_attempts(self) -> None:
        """A subscription of the life before is done while the account tries to come back: it is
        known of in the life that begins in the end, at whichever attempt.
        """
        self.connect()
        self.want("EURUSD")
        late: Any = self.wire.take(SUBSCRIBE)
        self.wire.take(DETAILS)
        self.wire.say(DISCONNECT)
        self.account.leave(self.one)
        self.clock.advance(GRACE_S)
        self.wire.say(ANSWERS[SUBSCRIBE](late.message), late.client_message_id)
        self.wire.refuse(ACCOUNT_AUTH, "CANT_ROUTE_REQUEST")
        self.clock.advance(60)
        self.answer(ACCOUNT_AUTH)
        self.answer(api_pb2.ProtoOASymbolsListReq)
        self.assertEqual(self.serve(), [("UnsubscribeSpots", [1])])
        self.over()

    def test_nothing_left_over_on_a_new_connection(self) -> None:
        """What an earlier connection was subscribed to is never unsubscribed on the next."""
        self.connect()
        self.want("EURUSD")
        self.serve()
        self.wire.lose()
        self.connect()
        self.assertEqual(self.serve(), [("SymbolById", [1]), ("SubscribeSpots", [1])])
        self.over()

    def test_symbols_that_change(self) -> None:
        """When the venue changes a symbol its digits are fetched again."""
        self.connect()
        self.want("EURUSD")
        self.serve()
        event = api_pb2.ProtoOASymbolChangedEvent(ctidTraderAccountId=ACCOUNT, symbolId=[1])
        self.wire.say(event)
        self.assertEqual(self.serve(), [("SymbolById", [1])])
        self.wire.lose()
        self.account.session.received(event, 5)
        self.over()


class FaultyListenerTest(AccountCase):
    """What the doors do wrong is theirs."""

    def test_ticks_and_statuses_go_on(self) -> None:
        """A listener that raises is logged each time; the connection and the next tick live on."""

        def break_down(*_: object) -> None:
            raise RuntimeError("a fault of the door")

        self.told.reactions.update(deliver=break_down, announce=break_down)
        self.connect()
        self.want("EURUSD")
        self.serve()
        self.wire.say(spot(1, bid=110_000, ask=110_010))
        self.wire.say(spot(1, bid=110_020))
        self.assertEqual(len(self.told.all("deliver")), 2)
        self.assertFalse(self.wire.aborted)
        self.told.reactions.clear()
        failures = self.flushLoggedErrors(RuntimeError)
        self.assertEqual(len(failures), len(self.told.all("announce")) + 2)
        self.over()
