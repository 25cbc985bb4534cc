"""The simulated venue's refusals, where the real one leaves room for doubt: the defaults, and what
each setting changes."""

from __future__ import annotations

from ctrader_twisted.pb import api_pb2, common_pb2
from ctrader_twisted.simulator.service import Behaviour, Credentials
from tests.unit.joined_client import ACCOUNT, JoinedClient, VenueCase, framed

TRADER = api_pb2.ProtoOATraderReq(ctidTraderAccountId=ACCOUNT)


def refresh(client: JoinedClient) -> None:
    """Renew the tokens, and leave what comes."""
    client.send(api_pb2.ProtoOARefreshTokenReq(refreshToken="simulator-refresh"))


class Frames(VenueCase):
    """Bytes that are not what they should be."""

    def test_a_frame_over_the_cap(self) -> None:
        """It is refused by the proxy, and ends the connection."""
        client = self.connect()
        client.send_octets((1 << 21).to_bytes(4, "big"))
        (answer,) = client.heard()
        self.assertIsInstance(answer.message, common_pb2.ProtoErrorRes)
        self.refused(answer.message, "FRAME_TOO_LONG")
        self.assertTrue(client.closed)

    def test_another_cap(self) -> None:
        """The cap is a setting."""
        self.open_venue(Behaviour(frame_cap_bytes=64))
        client = self.connect()
        client.send_octets(framed(b"\xff" * 65))
        self.refused(client.heard()[0].message, "FRAME_TOO_LONG")

    def test_undecodable_frames_are_tolerated_twice(self) -> None:
        """Each is refused without an id; the third ends the connection."""
        client = self.connect()
        for number in (1, 2, 3):
            client.send_octets(framed(b"\xff" * 9))
            (answer,) = client.heard()
            self.refused(answer.message, "INVALID_REQUEST")
            self.assertIsNone(answer.client_message_id)
            self.assertEqual(client.closed, number == 3)

    def test_an_envelope_without_payload_type(self) -> None:
        """It is as bad as an undecodable one."""
        client = self.connect()
        client.send_octets(framed(b""))
        self.assertIn("payloadType", self.refused(client.heard()[0].message, "INVALID_REQUEST"))

    def test_an_unknown_payload_type(self) -> None:
        """The proxy refuses it and echoes the id."""
        client = self.connect()
        envelope = common_pb2.ProtoMessage(payloadType=4242, clientMsgId="mine")
        client.send_octets(framed(envelope.SerializeToString()))
        (answer,) = client.heard()
        self.assertEqual(answer.client_message_id, "mine")
        self.assertIn("4242", self.refused(answer.message, "UNSUPPORTED_MESSAGE"))

    def test_missing_required_fields_are_named(self) -> None:
        """The refusal lists them all."""
        client = self.connect()
        envelope = common_pb2.ProtoMessage(payloadType=2100, clientMsgId="mine")
        client.send_octets(framed(envelope.SerializeToString()))
        (answer,) = client.heard()
        self.assertEqual(answer.client_message_id, "mine")
        self.assertIsInstance(answer.message, api_pb2.ProtoOAErrorRes)
        text = self.refused(answer.message, "INVALID_REQUEST")
        self.assertEqual(text, "Message missing required fields: clientId, clientSecret")

    def test_a_payload_of_another_kind(self) -> None:
        """Bytes that are no such message are an invalid request, not the end."""
        client = self.connect()
        envelope = common_pb2.ProtoMessage(payloadType=2100, payload=b"\xff\xff")
        client.send_octets(framed(envelope.SerializeToString()))
        self.refused(client.heard()[0].message, "INVALID_REQUEST")
        self.assertFalse(client.closed)

    def test_the_inner_payload_type_on_demand(self) -> None:
        """Some servers set it; a setting does, too."""
        self.open_venue(Behaviour(inner_payload_type=True))
        answer = self.connect().ask(api_pb2.ProtoOAVersionReq())
        self.assertTrue(answer.HasField("payloadType"))


class Somebody(VenueCase):
    """Applications, accounts and tokens."""

    def test_strangers_are_not_served(self) -> None:
        """Everything but the introduction needs an application, account requests included."""
        client = self.connect()
        self.refused(client.ask(TRADER), "CH_CLIENT_NOT_AUTHENTICATED")
        self.refused(client.account_auth(), "CH_CLIENT_NOT_AUTHENTICATED")

    def test_a_wrong_secret(self) -> None:
        """The application is refused, and may try again."""
        client = self.connect()
        self.refused(client.application_auth("wrong"), "CH_CLIENT_AUTH_FAILURE")
        self.assertIsInstance(client.application_auth(), api_pb2.ProtoOAApplicationAuthRes)

    def test_a_second_application_auth(self) -> None:
        """It is refused, or granted, by the setting."""
        client = self.logged_in()
        self.refused(client.application_auth(), "CH_CLIENT_ALREADY_AUTHENTICATED")
        self.open_venue(Behaviour(second_application_auth_code=""))
        client = self.logged_in()
        self.assertIsInstance(client.application_auth(), api_pb2.ProtoOAApplicationAuthRes)

    def test_a_second_account_auth(self) -> None:
        """The account is authorised already, and stays so."""
        client = self.logged_in()
        self.assertIn("already", self.refused(client.account_auth(), "ALREADY_LOGGED_IN"))
        self.assertIsInstance(client.ask(TRADER), api_pb2.ProtoOATraderRes)

    def test_accounts_that_cannot_be_opened(self) -> None:
        """Unknown ids and logins are not found; a live account has no route here."""
        client = self.connect()
        client.application_auth()
        self.refused(client.account_auth(5000001), "CH_CTID_TRADER_ACCOUNT_NOT_FOUND")
        self.refused(client.account_auth(2000001), "CANT_ROUTE_REQUEST")
        self.refused(client.account_auth(token="nonsense"), "CH_ACCESS_TOKEN_INVALID")

    def test_an_account_that_is_not_authorised_here(self) -> None:
        """The refusal says so in words by default, or by its code."""
        client = self.connect()
        client.application_auth()
        self.assertIn("not authorized", self.refused(client.ask(TRADER), "INVALID_REQUEST"))
        self.open_venue(Behaviour(unauthorised_account_code="ACCOUNT_NOT_AUTHORIZED"))
        client = self.connect()
        client.application_auth()
        self.refused(client.ask(TRADER), "ACCOUNT_NOT_AUTHORIZED")

    def test_an_expired_token(self) -> None:
        """It opens nothing, but a session that runs goes on."""
        self.open_venue(Behaviour(token_life_s=60))
        running, late = self.logged_in(), self.connect()
        late.application_auth()
        self.now_ms += 60_000
        self.refused(late.account_auth(), "OA_AUTH_TOKEN_EXPIRED")
        self.assertIsInstance(running.ask(TRADER), api_pb2.ProtoOATraderRes)

    def test_a_refresh_ends_sessions(self) -> None:
        """After the new pair: the invalidation, the disconnect, and the account is closed."""
        client = self.logged_in()
        client.subscribe(1)
        client.octets()
        refresh(client)
        names = [type(one.message).__name__ for one in client.heard()]
        self.assertEqual(
            names,
            [
                "ProtoOARefreshTokenRes",
                "ProtoOAAccountsTokenInvalidatedEvent",
                "ProtoOAAccountDisconnectEvent",
            ],
        )
        self.assertEqual(self.venue.feed.subscriptions, 0)
        self.refused(client.ask(TRADER), "INVALID_REQUEST")

    def test_a_refresh_that_sessions_survive(self) -> None:
        """The other report: nothing is said, and the account is still open."""
        self.open_venue(Behaviour(refresh_ends_sessions=False))
        client = self.logged_in()
        refresh(client)
        (answer,) = client.heard()
        again = client.account_auth(token=answer.message.accessToken)
        self.refused(again, "ALREADY_LOGGED_IN")

    def test_one_account_on_two_connections(self) -> None:
        """Both are served; or the newer takes it from the older, by the setting."""
        first, _ = self.logged_in(), self.logged_in()
        self.assertEqual(first.heard(), [])
        self.open_venue(Behaviour(newer_connection_kicks_older=True))
        first, _ = self.logged_in(), self.logged_in()
        self.assertEqual(len(first.messages(api_pb2.ProtoOAAccountDisconnectEvent)), 1)
        self.refused(first.ask(TRADER), "INVALID_REQUEST")

    def test_too_many_connections(self) -> None:
        """The one beyond the cap is refused as an application; one that goes makes room."""
        self.open_venue(Behaviour(connections_per_application=2))
        self.logged_in()
        self.logged_in()
        third = self.connect()
        self.refused(third.application_auth(), "CONNECTIONS_LIMIT_EXCEEDED")

    def test_a_token_for_viewing(self) -> None:
        """The account list says that it may not trade."""
        self.open_venue(credentials=Credentials(may_trade=False))
        client = self.connect()
        client.application_auth()
        answer = client.ask(
            api_pb2.ProtoOAGetAccountListByAccessTokenReq(accessToken="simulator-token")
        )
        self.assertEqual(answer.permissionScope, 0)

    def test_repeated_ids_are_echoed(self) -> None:
        """Nobody checks that message ids differ."""
        client = self.connect()
        for _ in range(2):
            client.send(api_pb2.ProtoOAVersionReq(), "same")
        self.assertEqual([one.client_message_id for one in client.heard()], ["same", "same"])


class Lists(VenueCase):
    """Subscriptions and ids."""

    def setUp(self) -> None:
        super().setUp()
        self.client = self.logged_in()

    def answer_to(self, kind: type, *symbol_ids: int) -> object:
        """The answer to a request about symbols."""
        return self.client.ask(kind(ctidTraderAccountId=ACCOUNT, symbolId=symbol_ids))

    def test_a_mix_of_old_and_new_ids(self) -> None:
        """The whole request is refused, and nothing changes."""
        self.client.subscribe(1, 2)
        self.refused(self.answer_to(api_pb2.ProtoOASubscribeSpotsReq, 2, 3), "ALREADY_SUBSCRIBED")
        self.assertEqual(self.venue.feed.subscriptions, 2)

    def test_a_mix_that_is_granted(self) -> None:
        """By the setting, the new ones of a mix are subscribed; the same again is refused."""
        self.open_venue(Behaviour(mixed_subscription_refused=False))
        self.client = self.logged_in()
        self.client.subscribe(1, 2)
        answer = self.answer_to(api_pb2.ProtoOASubscribeSpotsReq, 2, 3)
        self.assertIsInstance(answer, api_pb2.ProtoOASubscribeSpotsRes)
        self.assertEqual(self.venue.feed.subscriptions, 3)
        self.refused(self.answer_to(api_pb2.ProtoOASubscribeSpotsReq, 2, 3), "ALREADY_SUBSCRIBED")

    def test_unsubscribing_what_is_not_subscribed(self) -> None:
        """It is refused, and nothing changes; or acknowledged, by the setting."""
        self.client.subscribe(1)
        answer = self.answer_to(api_pb2.ProtoOAUnsubscribeSpotsReq, 1, 2)
        self.assertIn("2", self.refused(answer, "NOT_SUBSCRIBED_TO_SPOTS"))
        self.assertEqual(self.venue.feed.subscriptions, 1)
        self.open_venue(Behaviour(not_subscribed_code=""))
        self.client = self.logged_in()
        answer = self.answer_to(api_pb2.ProtoOAUnsubscribeSpotsReq, 2)
        self.assertIsInstance(answer, api_pb2.ProtoOAUnsubscribeSpotsRes)

    def test_empty_lists(self) -> None:
        """A request about no symbol at all is invalid."""
        for kind in (
            api_pb2.ProtoOASubscribeSpotsReq,
            api_pb2.ProtoOAUnsubscribeSpotsReq,
            api_pb2.ProtoOASymbolByIdReq,
        ):
            self.refused(self.answer_to(kind), "INVALID_REQUEST")

    def test_an_unknown_symbol_spoils_the_request(self) -> None:
        """Nothing of it is subscribed."""
        answer = self.answer_to(api_pb2.ProtoOASubscribeSpotsReq, 1, 4242)
        self.assertIn("4242", self.refused(answer, "SYMBOL_NOT_FOUND"))
        self.assertEqual(self.venue.feed.subscriptions, 0)

    def test_unknown_symbols_passed_over(self) -> None:
        """By the setting the rest of the request is served."""
        self.open_venue(Behaviour(unknown_symbol_code=""))
        self.client = self.logged_in()
        answer = self.answer_to(api_pb2.ProtoOASubscribeSpotsReq, 1, 4242)
        self.assertIsInstance(answer, api_pb2.ProtoOASubscribeSpotsRes)
        self.assertEqual(self.venue.feed.subscriptions, 1)
        answer = self.answer_to(api_pb2.ProtoOAUnsubscribeSpotsReq, 1, 4242)
        self.assertIsInstance(answer, api_pb2.ProtoOAUnsubscribeSpotsRes)
        self.assertEqual(self.venue.feed.subscriptions, 0)

    def test_expired_tokens_that_nobody_minds(self) -> None:
        """By the setting an expired token opens accounts."""
        self.open_venue(Behaviour(expired_token_code=""))
        self.mischief.token_expired()
        client = self.connect()
        client.application_auth()
        self.assertIsInstance(client.account_auth(), api_pb2.ProtoOAAccountAuthRes)

    def test_a_chain_from_an_unknown_asset(self) -> None:
        """There is no such asset."""
        answer = self.client.ask(
            api_pb2.ProtoOASymbolsForConversionReq(
                ctidTraderAccountId=ACCOUNT, firstAssetId=4242, lastAssetId=1
            )
        )
        self.refused(answer, "ENTITY_NOT_FOUND")
