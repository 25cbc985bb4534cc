"""Being somebody: the life of accounts on one connection after another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.errors import ConnectionEnded, NotConnected, RequestTimeout, VenueRefusal
from ctrader_twisted.market.model import SpotUpdate
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.pb import api_pb2
from ctrader_twisted.upstream.application import Application, Budget
from ctrader_twisted.upstream.protocol import OpenApiProtocol
from ctrader_twisted.upstream.requests import Lane
from ctrader_twisted.upstream.session import Session
from tests.unit.fakes import ACCOUNT, Recorder, Wire, plain_wire, symbols_answer

APPLICATION_AUTH = api_pb2.ProtoOAApplicationAuthReq
ACCOUNT_AUTH = api_pb2.ProtoOAAccountAuthReq
SYMBOLS = api_pb2.ProtoOASymbolsListReq
DISCONNECT = api_pb2.ProtoOAAccountDisconnectEvent(ctidTraderAccountId=ACCOUNT)


class News(Recorder):
    """Who listens to a session; prices are remembered one by one."""

    def spots(self, updates: Iterable[SpotUpdate]) -> None:
        """Prices."""
        self.calls += [("spot", (update,)) for update in updates]


class SessionCase(SynchronousTestCase):
    """An application on a wire in memory; the test is the venue."""

    accounts = (ACCOUNT,)

    def setUp(self) -> None:
        self.clock = Clock()
        self.metrics = Metrics()
        self.token = "first-token"
        self.told = {number: News() for number in self.accounts}
        self.sessions = {number: self._session(number) for number in self.accounts}
        self.application = Application(
            client_id="our-program",
            client_secret=lambda: "its-secret",
            sessions=list(self.sessions.values()),
            budget=Budget(requests_per_s=40, history_per_s=4, timeout_s=10),
            clock=self.clock,
            metrics=self.metrics,
        )
        self.link = Recorder(
            opened=self.application.opened,
            received=self.application.received,
            lost=lambda link, cause: self.application.lost(cause, str(cause)),
        )
        self.session, self.news = self.sessions[ACCOUNT], self.told[ACCOUNT]

    def _session(self, number: int) -> Session:
        return Session(
            account_id=number,
            access_token=lambda: self.token,
            clock=self.clock,
            listener=self.told[number],
        )

    def leave(self) -> Deferred[None]:
        """The daemon ends."""
        return Deferred.fromCoroutine(self.application.log_out())

    def connect(self) -> Wire:
        """A fresh connection."""
        protocol = OpenApiProtocol(
            clock=self.clock,
            listener=self.link,
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
        return self.wire

    def authenticate(self) -> None:
        """The application is accepted."""
        self.wire.answer(APPLICATION_AUTH, api_pb2.ProtoOAApplicationAuthRes())

    def admit(self) -> int:
        """The next account that asks is accepted; gives its id."""
        request: Any = self.wire.take(ACCOUNT_AUTH)
        number: int = request.message.ctidTraderAccountId
        answer = api_pb2.ProtoOAAccountAuthRes(ctidTraderAccountId=number)
        self.wire.say(answer, request.client_message_id)
        return number

    def list_symbols(self) -> None:
        """The next account that asks gets its symbols."""
        request: Any = self.wire.take(SYMBOLS)
        number = request.message.ctidTraderAccountId
        answer = symbols_answer({1: "EURUSD", 2: "US30"}, number)
        self.wire.say(answer, request.client_message_id)

    def ready(self) -> None:
        """All accounts are open on a fresh connection, and what they said so far is forgotten."""
        self.connect()
        self.authenticate()
        for _ in self.accounts:
            self.admit()
            self.list_symbols()
        for told in self.told.values():
            told.clear()

    def delay(self) -> float:
        """The announced delay, which is also the real one; lets it pass."""
        delay_s: float = self.news.last("retrying")[1]
        self.wire.read()
        with self.assertRaises(KeyError):
            self.wire.take(ACCOUNT_AUTH)
        if delay_s:
            self.clock.advance(delay_s - 0.001)
            with self.assertRaises(KeyError):
                self.wire.take(ACCOUNT_AUTH)
            self.clock.advance(0.001)
        self.clock.advance(0)
        return delay_s

    def over(self) -> None:
        """The connection ends; nothing runs after it, and nothing unforeseen was logged."""
        self.clock.advance(0)
        self.wire.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])


class OpeningTest(SessionCase):
    """From a connection to ready."""

    def test_order(self) -> None:
        """Application, account, symbols, ready; each only after the answer to the one before."""
        self.application.connecting()
        self.connect()
        self.assertEqual(len(self.wire.read()), 1)
        request: Any = self.wire.read()[0].message
        self.assertEqual((request.clientId, request.clientSecret), ("our-program", "its-secret"))
        self.authenticate()
        self.assertEqual(len(self.wire.read()), 1)
        request = self.wire.read()[0].message
        self.assertEqual(
            (request.ctidTraderAccountId, request.accessToken), (ACCOUNT, "first-token")
        )
        self.admit()
        self.assertEqual(self.news.names(), ["connecting"])
        self.assertNotIn("settled", self.link.names())
        self.list_symbols()
        catalogue, kept = self.news.last("ready")
        self.assertEqual((catalogue.names, kept), (("EURUSD", "US30"), False))
        self.assertEqual(self.link.names()[-1], "settled")
        self.assertTrue(self.session.is_ready)
        self.over()

    def test_already_is_success(self) -> None:
        """A venue that says that we are authenticated already has accepted us."""
        self.connect()
        self.wire.refuse(APPLICATION_AUTH, "CH_CLIENT_ALREADY_AUTHENTICATED")
        self.wire.refuse(ACCOUNT_AUTH, "ALREADY_LOGGED_IN")
        self.list_symbols()
        # No life of ours on this connection came before, so no subscription of ours is alive.
        self.assertIs(self.news.last("ready")[1], False)
        self.over()

    def test_application_refused(self) -> None:
        """A refused application ends the connection, and every account is told the code."""
        self.connect().refuse(APPLICATION_AUTH, "CH_CLIENT_AUTH_FAILURE", "no such client")
        self.clock.advance(0)
        self.assertTrue(self.wire.aborted)
        self.assertEqual(
            self.news.calls,
            [("refused", ("CH_CLIENT_AUTH_FAILURE", "CH_CLIENT_AUTH_FAILURE: no such client"))],
        )
        self.over()

    def test_application_unanswered(self) -> None:
        """An application that gets no answer ends the connection."""
        self.connect()
        self.clock.advance(10)
        self.clock.advance(0)
        self.assertIsInstance(self.link.last("lost")[1], RequestTimeout)
        self.over()

    def test_application_answered_by_nonsense(self) -> None:
        """An answer of the wrong type ends the connection at once; nobody waits for a deadline."""
        self.connect()
        self.wire.answer(APPLICATION_AUTH, api_pb2.ProtoOAVersionRes(version="1"))
        self.clock.advance(0)
        self.assertTrue(self.wire.aborted)
        self.over()

    def test_connection_lost_meanwhile(self) -> None:
        """A connection that ends in any stage of opening ends it quietly, told as lost."""
        for stages in range(4):
            self.setUp()
            self.connect()
            for act in (self.authenticate, self.admit, self.list_symbols)[:stages]:
                act()
            self.wire.lose()
            self.assertEqual(self.news.last("lost")[0], "VENUE_UNREACHABLE")
            self.assertEqual(self.news.all("refused"), [])
            self.assertFalse(self.session.is_ready)
            self.over()

    def test_next_connection(self) -> None:
        """On the next connection all begins anew, and its message ids are others."""
        self.connect()
        first = self.wire.read()[0].client_message_id
        self.wire.lose()
        self.connect()
        self.assertNotEqual(self.wire.read()[0].client_message_id, first)
        self.over()
        self.setUp()
        self.connect()
        # Executions of other programs carry their ids: those of another like ours must not fit.
        self.assertNotEqual(self.wire.read()[0].client_message_id, first)
        self.over()

    def test_asking_without_connection(self) -> None:
        """Without a connection a question fails; nothing is raised into the caller's face."""
        asked = self.session.ask(api_pb2.ProtoOAVersionReq(), api_pb2.ProtoOAVersionRes, Lane.READ)
        self.failureResultOf(asked, NotConnected)


class RefusedAccountTest(SessionCase):
    """An account that is not let in, on a connection that lives."""

    def refused(self, code: str, description: str = "", **more: Any) -> float:
        """The account is refused; the delay that follows."""
        self.wire.refuse(ACCOUNT_AUTH, code, description, **more)
        self.assertEqual(self.news.last("refused")[0], code)
        self.assertFalse(self.wire.aborted)
        return self.delay()

    def test_ever_more_slowly(self) -> None:
        """Each refusal is announced with its code, and waits twice as long, up to a minute."""
        self.connect()
        self.authenticate()
        delays = [self.refused("CANT_ROUTE_REQUEST") for _ in range(8)]
        self.assertEqual(delays, [1, 2, 4, 8, 16, 32, 60, 60])
        self.assertEqual([args[0] for args in self.news.all("retrying")], list(range(1, 9)))
        self.admit()
        self.list_symbols()
        self.assertIn("ready", self.news.names())
        self.over()

    def test_hopeless(self) -> None:
        """A token is tried once more soon; what only a person can heal waits for a minute at
        once, and takes the token anew.
        """
        self.connect()
        self.authenticate()
        self.assertEqual(self.refused("CH_ACCESS_TOKEN_INVALID"), 1)
        self.assertEqual(self.refused("CH_ACCESS_TOKEN_INVALID"), 60)
        self.token = "second-token"
        self.assertEqual(self.refused("RET_ACCOUNT_DISABLED"), 60)
        request: Any = self.wire.take(ACCOUNT_AUTH).message
        self.assertEqual(request.accessToken, "second-token")
        self.over()

    def test_advice_of_the_venue(self) -> None:
        """The venue's own delay is kept to when it is the longer one."""
        self.connect()
        self.authenticate()
        self.assertEqual(self.refused("BLOCKED_PAYLOAD_TYPE", retryAfter=17), 17)
        self.over()

    def test_symbols_refused(self) -> None:
        """An account whose symbols cannot be had is not open, and is tried again."""
        self.connect()
        self.authenticate()
        self.admit()
        self.wire.refuse(SYMBOLS, "TIMEOUT_ERROR")
        self.assertEqual(self.news.last("refused")[0], "TIMEOUT_ERROR")
        self.assertEqual(self.delay(), 1)
        self.over()

    def test_no_answer(self) -> None:
        """An account that gets no answer is tried again; the late answer opens nothing."""
        self.connect()
        self.authenticate()
        late = self.wire.take(ACCOUNT_AUTH)
        self.clock.advance(10)
        self.assertEqual(self.news.last("refused")[0], "NO_ANSWER")
        self.wire.say(
            api_pb2.ProtoOAAccountAuthRes(ctidTraderAccountId=ACCOUNT), late.client_message_id
        )
        self.assertEqual(self.metrics.counted("unasked_answers", "ProtoOAAccountAuthRes"), 1)
        self.assertEqual(self.delay(), 1)
        self.over()

    def test_nonsense(self) -> None:
        """An answer of the wrong type is a refusal like another: it is tried again."""
        self.connect()
        self.authenticate()
        for _ in range(2):
            self.wire.answer(ACCOUNT_AUTH, api_pb2.ProtoOAVersionRes(version="1"))
            self.assertEqual(self.news.last("refused")[0], "UNEXPECTED_ANSWER")
            self.delay()
        self.admit()
        self.list_symbols()
        self.assertTrue(self.session.is_ready)
        self.over()

    def test_connection_lost_while_waiting(self) -> None:
        """A connection that ends takes the next attempt with it."""
        self.connect()
        self.authenticate()
        self.wire.refuse(ACCOUNT_AUTH, "CANT_ROUTE_REQUEST")
        self.over()
        self.assertEqual(self.news.names()[-1], "lost")

    def test_application_not_authenticated(self) -> None:
        """A venue that forgot the application cannot open accounts: a new connection is needed."""
        self.connect()
        self.authenticate()
        self.wire.refuse(ACCOUNT_AUTH, "CH_CLIENT_NOT_AUTHENTICATED")
        self.clock.advance(0)
        self.assertTrue(self.wire.aborted)
        self.over()


class EvictionsTest(SessionCase):
    """A venue that throws the account out again and again."""

    def thrown_out(self, after_s: float = 1) -> str:
        """The reason that is told; then the account is open again."""
        self.clock.advance(after_s)
        self.wire.say(DISCONNECT)
        reason: str = self.news.last("lost")[1]
        self.delay()
        self.admit()
        self.list_symbols()
        return reason

    def test_another_program(self) -> None:
        """From the third time in a row on the reason says what it may be; after a long time of
        quiet it does not.
        """
        self.ready()
        usual = "the venue ended the account's session"
        self.assertEqual([self.thrown_out(5000), self.thrown_out()], [usual, usual])
        for number in (3, 4):
            reason = self.thrown_out()
            self.assertIn(f"{usual}; this was end number {number} soon after it was ready", reason)
            self.assertIn("another program may be using this account", reason)
        self.assertEqual(self.news.last("retrying")[2], reason)
        self.assertEqual(self.thrown_out(301), usual)
        self.over()

    def test_tokens(self) -> None:
        """A token that was refreshed is no such case."""
        self.ready()
        for _ in range(4):
            self.session.reopen("TOKEN_INVALIDATED", "refreshed")
            self.delay()
            self.admit()
            self.list_symbols()
        self.assertEqual(self.news.last("lost"), ("TOKEN_INVALIDATED", "refreshed"))
        self.over()


class LeavingTest(SessionCase):
    """Saying goodbye."""

    def test_log_out(self) -> None:
        """An open account logs out; the venue's confirmation does not bring it back."""
        self.ready()
        leaving = self.leave()
        self.wire.answer(
            api_pb2.ProtoOAAccountLogoutReq,
            api_pb2.ProtoOAAccountLogoutRes(ctidTraderAccountId=ACCOUNT),
        )
        self.wire.say(DISCONNECT)
        self.clock.advance(0)
        self.successResultOf(leaving)
        self.assertEqual((self.wire.read(), self.news.calls), ([], []))
        self.over()

    def test_nothing_to_leave(self) -> None:
        """Without a connection, or without an open account, there is nothing to say."""
        self.successResultOf(self.leave())
        self.connect()
        self.authenticate()
        self.wire.refuse(ACCOUNT_AUTH, "RET_ACCOUNT_DISABLED")
        self.successResultOf(self.leave())
        self.assertEqual(self.wire.read(), [])
        self.over()

    def test_connection_ends_instead(self) -> None:
        """A venue that hangs up instead of answering ends the wait."""
        self.ready()
        leaving = self.leave()
        self.wire.lose(ConnectionEnded("cut", sent=True))
        self.failureResultOf(leaving, ConnectionEnded)
        self.over()


class LeavingTogetherTest(SessionCase):
    """Two accounts on one connection say goodbye."""

    accounts = (ACCOUNT, ACCOUNT + 1)

    def test_one_is_refused(self) -> None:
        """What the venue says to one account does not cut off the goodbye of the other."""
        self.ready()
        leaving = self.leave()
        self.wire.refuse(api_pb2.ProtoOAAccountLogoutReq, "RET_ACCOUNT_DISABLED")
        self.assertNoResult(leaving)
        self.wire.answer(
            api_pb2.ProtoOAAccountLogoutReq,
            api_pb2.ProtoOAAccountLogoutRes(ctidTraderAccountId=ACCOUNT + 1),
        )
        self.failureResultOf(leaving, VenueRefusal)
        self.over()
