"""Many accounts on one connection: what the venue says finds the one that it is about."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.errors import ConnectionEnded, VenueRefusal
from ctrader_twisted.logs import Secret, conceal
from ctrader_twisted.market.model import SpotUpdate
from ctrader_twisted.pb import api_pb2, common_pb2
from ctrader_twisted.upstream.requests import Lane
from ctrader_twisted.upstream.translate import refusal
from tests.unit.fakes import ACCOUNT, refusal_of, spot
from tests.unit.log_lines import LogLines
from tests.unit.test_upstream_session import ACCOUNT_AUTH, DISCONNECT, SessionCase

OTHER = 7002


class RoutingTest(SessionCase):
    """News of two accounts on one connection."""

    accounts = (ACCOUNT, OTHER)

    def setUp(self) -> None:
        super().setUp()
        self.others = self.told[OTHER]

    def quiet(self) -> None:
        """Nobody was told anything."""
        self.assertEqual((self.news.calls, self.others.calls), ([], []))

    def test_one_application_for_all(self) -> None:
        """The application authenticates once, and each account once after it."""
        self.connect()
        self.authenticate()
        self.assertEqual(sorted([self.admit(), self.admit()]), [ACCOUNT, OTHER])
        self.list_symbols()
        self.assertNotIn("settled", self.link.names())
        self.list_symbols()
        self.assertEqual(self.link.names()[-1], "settled")
        self.assertEqual(self.wire.read(), [])
        self.over()

    def test_one_account_refused(self) -> None:
        """A refused account keeps neither the other nor the connection from being content."""
        self.connect()
        self.authenticate()
        self.wire.refuse(ACCOUNT_AUTH, "RET_ACCOUNT_DISABLED")
        self.admit()
        self.list_symbols()
        self.assertEqual(self.news.names(), ["refused", "retrying"])
        self.assertEqual(self.others.names(), ["ready"])
        self.assertEqual(self.link.names()[-1], "settled")
        self.clock.advance(0.5)
        self.assertEqual(self.application.ready_s(), 0.5)
        self.over()
        self.assertEqual(self.application.ready_s(), 0)

    def test_all_accounts_refused(self) -> None:
        """The connection is content, since it is of use to the next attempt; but nobody is in."""
        self.connect()
        self.authenticate()
        for _ in self.accounts:
            self.wire.refuse(ACCOUNT_AUTH, "RET_ACCOUNT_DISABLED")
        self.assertEqual(self.link.names()[-1], "settled")
        self.clock.advance(0.5)
        self.assertEqual(self.application.ready_s(), 0)
        self.over()

    def test_spots(self) -> None:
        """A price goes to its account, as points, with the time at which it was read."""
        self.ready()
        self.wire.say(spot(1, OTHER, bid=104567, timestamp=4))
        self.wire.say(spot(1, ACCOUNT, ask=5))
        self.assertEqual(self.others.calls, [("spot", (SpotUpdate(OTHER, 1, 104567, 0, 4, 5),))])
        self.assertEqual(self.news.calls, [("spot", (SpotUpdate(ACCOUNT, 1, 0, 5, 0, 5),))])
        self.over()

    def test_spot_written_otherwise(self) -> None:
        """A price whose envelope has its fields in another order is a price too."""
        self.ready()
        body = spot(1, bid=7).SerializeToString()
        envelope = b"\x12" + bytes([len(body)]) + body + b"\x08\xd3\x10"
        self.wire.protocol.dataReceived(len(envelope).to_bytes(4, "big") + envelope)
        self.assertEqual(self.news.calls, [("spot", (SpotUpdate(ACCOUNT, 1, 7, 0, 0, 5),))])
        self.over()

    def test_spot_without_an_id(self) -> None:
        """A price without its account or its symbol is let go; the log names the field."""
        for event, missing in (
            (api_pb2.ProtoOASpotEvent(symbolId=1, bid=5), "ctidTraderAccountId"),
            (api_pb2.ProtoOASpotEvent(ctidTraderAccountId=ACCOUNT, bid=5), "symbolId"),
        ):
            log = LogLines(self)
            self.ready()
            payload = event.SerializePartialToString()
            envelope = common_pb2.ProtoMessage(payloadType=2131, payload=payload)
            octets = envelope.SerializeToString()
            self.wire.protocol.dataReceived(len(octets).to_bytes(4, "big") + octets)
            self.quiet()
            (line,) = log.about("ignoring")
            self.assertIn(missing, line["message"])
            self.over()

    def test_answers_that_cannot_be_read(self) -> None:
        """The request fails at once with the reason; it is tried again on the same connection."""
        self.connect()
        self.authenticate()
        message_id = self.wire.take(ACCOUNT_AUTH).client_message_id
        envelope = common_pb2.ProtoMessage(payloadType=2103, clientMsgId=message_id)
        octets = envelope.SerializeToString()
        self.wire.protocol.dataReceived(len(octets).to_bytes(4, "big") + octets)
        code, reason = self.news.last("refused")
        self.assertEqual(code, "UNEXPECTED_ANSWER")
        self.assertIn("ProtoOAAccountAuthRes arrived without required fields", reason)
        self.assertFalse(self.wire.aborted)
        self.admit()
        self.list_symbols()
        self.clock.advance(5)
        self.admit()
        self.list_symbols()
        self.assertEqual(self.news.names()[-1], "ready")
        self.over()

    def test_an_application_that_is_not_answered_readably(self) -> None:
        """Without it the connection is of no use: a new one follows."""
        self.connect()
        message_id = self.wire.take(api_pb2.ProtoOAApplicationAuthReq).client_message_id
        envelope = common_pb2.ProtoMessage(
            payloadType=2101, payload=b"\xff", clientMsgId=message_id
        )
        octets = envelope.SerializeToString()
        self.wire.protocol.dataReceived(len(octets).to_bytes(4, "big") + octets)
        self.assertTrue(self.wire.aborted)
        self.clock.advance(0)
        self.assertIn(
            "ProtoOAApplicationAuthRes (1 bytes) cannot be read", self.news.last("lost")[1]
        )

    def test_spots_before_ready(self) -> None:
        """Until its account is ready a price is let go."""
        self.connect()
        self.authenticate()
        self.admit()
        self.wire.say(spot(1, bid=1))
        self.quiet()
        self.over()

    def test_unknown_account(self) -> None:
        """News of an account that is not ours is let go."""
        self.ready()
        self.wire.say(spot(1, 999, bid=1))
        self.wire.say(api_pb2.ProtoOAAccountDisconnectEvent(ctidTraderAccountId=999))
        self.wire.say(api_pb2.ProtoOAAccountsTokenInvalidatedEvent(ctidTraderAccountIds=[999]))
        self.clock.advance(0)
        self.quiet()
        self.over()

    def test_changed_symbols(self) -> None:
        """Changed symbols are told to their account."""
        self.ready()
        event = api_pb2.ProtoOASymbolChangedEvent(ctidTraderAccountId=OTHER, symbolId=[1, 2])
        self.wire.say(event)
        self.assertEqual(self.others.calls, [("symbols_changed", ([1, 2],))])
        self.over()

    def test_answer_that_is_news(self) -> None:
        """An event that answers a request answers it and walks on."""
        self.ready()
        kind = api_pb2.ProtoOASymbolChangedEvent
        asked = self.session.ask(api_pb2.ProtoOAVersionReq(), kind, Lane.READ)
        self.wire.answer(api_pb2.ProtoOAVersionReq, kind(ctidTraderAccountId=ACCOUNT, symbolId=[1]))
        self.successResultOf(asked)
        self.assertEqual(self.news.names(), ["symbols_changed"])
        self.over()

    def test_unknown_fields_are_counted(self) -> None:
        """Fields that we do not know are tolerated and counted."""
        self.ready()
        event = api_pb2.ProtoOASymbolChangedEvent(ctidTraderAccountId=ACCOUNT, symbolId=[1])
        event.MergeFromString(b"\xf8\x7f\x01")
        self.wire.say(event)
        self.assertEqual(self.metrics.counted("unknown_fields", "ProtoOASymbolChangedEvent"), 1)
        self.assertEqual(self.news.names(), ["symbols_changed"])
        self.over()

    def test_everything_waiting_ends_with_the_connection(self) -> None:
        """Requests of all accounts end with the connection, and both accounts are told."""
        self.ready()
        kind = api_pb2.ProtoOAVersionRes
        asked = [
            session.ask(api_pb2.ProtoOAVersionReq(), kind, Lane.READ)
            for session in self.sessions.values()
        ]
        self.wire.lose()
        for each in asked:
            self.assertTrue(self.failureResultOf(each, ConnectionEnded).value.sent)
        self.assertEqual((self.news.names(), self.others.names()), (["lost"], ["lost"]))
        self.application.retrying(1, 2.5, "why")
        self.assertEqual(self.others.last("retrying"), (1, 2.5, "why"))
        self.over()


class ThrownOutTest(SessionCase):
    """Accounts that lose their place on a connection that lives."""

    accounts = (ACCOUNT, OTHER)

    def setUp(self) -> None:
        super().setUp()
        self.others = self.told[OTHER]

    def back(self, kept: bool = False) -> None:
        """The account is opened again."""
        self.clock.advance(0)
        if kept:
            self.wire.refuse(ACCOUNT_AUTH, "ALREADY_LOGGED_IN")
        else:
            self.admit()
        self.list_symbols()

    def test_account_disconnected(self) -> None:
        """One account is thrown out: it alone is lost, and authenticates again at once."""
        self.ready()
        self.wire.say(DISCONNECT)
        self.assertEqual(self.news.names(), ["lost", "retrying"])
        self.assertEqual(self.news.last("lost")[0], "ACCOUNT_DISCONNECTED")
        self.wire.say(spot(1, bid=1))
        self.assertEqual(self.delay(), 0)
        self.back()
        self.assertEqual(self.news.names()[2:], ["connecting", "ready"])
        self.assertEqual((self.news.last("ready")[1], self.others.calls), (False, []))
        self.over()

    def test_stale_disconnect(self) -> None:
        """A venue that says that the account never left: its subscriptions may be alive."""
        self.ready()
        self.wire.say(DISCONNECT)
        self.back(kept=True)
        self.assertIs(self.news.last("ready")[1], True)
        self.over()

    def test_nothing_of_an_earlier_life_is_sent(self) -> None:
        """What waited for the budget when the account was thrown out does not leave when it is
        back: the new life asks for what it wants by itself.
        """
        self.ready()
        request = api_pb2.ProtoOASubscribeSpotsReq(ctidTraderAccountId=ACCOUNT, symbolId=[1])
        asked = [
            self.session.ask(request, api_pb2.ProtoOASubscribeSpotsRes, Lane.SUBSCRIBE)
            for _ in range(30)
        ]
        sent = sum(isinstance(each.message, type(request)) for each in self.wire.read())
        self.wire.say(DISCONNECT)
        for each in asked[sent:]:
            self.assertFalse(self.failureResultOf(each, ConnectionEnded).value.sent)
        for _ in range(sent):
            self.wire.refuse(type(request), "INVALID_REQUEST", "not authorized")
        self.clock.advance(1)
        self.back()
        self.clock.advance(5)
        self.assertEqual(self.wire.read(), [])
        for each in asked[:sent]:
            self.failureResultOf(each, VenueRefusal)
        self.over()

    def test_again_and_again(self) -> None:
        """A venue that lets in and throws out meets no tight loop; a stable spell forgives."""
        self.ready()
        delays = []
        for _ in range(5):
            self.wire.say(DISCONNECT)
            delays.append(self.delay())
            self.back()
        self.assertEqual(delays, [0, 1, 2, 4, 8])
        self.clock.advance(60)
        self.wire.say(DISCONNECT)
        self.assertEqual(self.delay(), 0)
        self.over()

    def invalidated(self) -> None:
        """The venue invalidates the tokens of both accounts, and of one that is not ours."""
        self.wire.say(
            api_pb2.ProtoOAAccountsTokenInvalidatedEvent(
                ctidTraderAccountIds=[ACCOUNT, 999, OTHER], reason="refreshed"
            )
        )

    def test_token_invalidated(self) -> None:
        """All named accounts authenticate again with the stored token; echoes change nothing."""
        self.ready()
        self.token = "second-token"
        self.invalidated()
        self.invalidated()
        self.wire.say(DISCONNECT)
        for told in (self.news, self.others):
            self.assertEqual(told.names(), ["lost", "retrying"])
            self.assertEqual(told.last("lost"), ("TOKEN_INVALIDATED", "refreshed"))
        self.clock.advance(0)
        self.invalidated()
        requests: Any = [self.wire.take(ACCOUNT_AUTH) for _ in range(2)]
        self.assertEqual({r.message.accessToken for r in requests}, {"second-token"})
        self.assertEqual(self.wire.read(), [])
        self.over()

    def test_client_disconnected(self) -> None:
        """When the venue ends the application every account is gone: a new connection."""
        self.ready()
        self.wire.say(api_pb2.ProtoOAClientDisconnectEvent(reason="maintenance"))
        self.clock.advance(0)
        self.assertTrue(self.wire.aborted)
        code, reason = self.news.last("lost")
        self.assertEqual(code, "VENUE_UNREACHABLE")
        self.assertIn("maintenance", reason)
        self.assertEqual(self.others.names(), ["lost"])
        self.over()

    def test_unasked_refusals(self) -> None:
        """An error that nobody asked for is counted; one about our place is acted upon."""
        self.ready()
        unrelated: list[Message] = [
            common_pb2.ProtoErrorRes(errorCode="UNKNOWN_ERROR"),
            refusal_of("ACCOUNT_NOT_AUTHORIZED", ctidTraderAccountId=999),
            refusal_of("MARKET_CLOSED", ctidTraderAccountId=ACCOUNT),
        ]
        for message in unrelated:
            self.wire.say(message, "another-program-1")
        self.assertEqual(self.news.calls, [])
        self.assertEqual(self.metrics.counted("unasked_answers", "ProtoOAErrorRes"), 2)
        self.wire.say(refusal_of("ACCOUNT_NOT_AUTHORIZED", ctidTraderAccountId=ACCOUNT))
        self.assertEqual(self.news.last("lost")[0], "ACCOUNT_NOT_AUTHORIZED")
        self.assertEqual(self.others.calls, [])
        self.over()

    def test_application_forgotten(self) -> None:
        """A venue that no longer knows the application needs a new connection."""
        self.ready()
        asked = self.session.ask(api_pb2.ProtoOAVersionReq(), api_pb2.ProtoOAVersionRes, Lane.READ)
        self.wire.refuse(api_pb2.ProtoOAVersionReq, "CH_CLIENT_NOT_AUTHENTICATED")
        self.failureResultOf(asked)
        self.clock.advance(0)
        self.assertTrue(self.wire.aborted)
        self.over()


class RepeatedSecretTest(SynchronousTestCase):
    """A venue that repeats what only it should know."""

    def test_masked_before_it_goes_anywhere(self) -> None:
        """Neither the error's text nor its attributes hold the credential."""
        conceal(Secret("planted-token-4711"))
        message = api_pb2.ProtoOAErrorRes(
            errorCode="CH_ACCESS_TOKEN_INVALID", description="no token planted-token-4711 here"
        )
        refused = refusal(message)
        assert refused is not None
        self.assertNotIn("planted-token-4711", f"{refused!s} {refused!r} {vars(refused)}")
        self.assertIn("no token", refused.description)
