"""Every mischief switch of the simulated venue does what it says, and ``clear`` undoes it."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed

from ctrader_twisted.errors import ProtocolError, UnknownMessage
from ctrader_twisted.pb import api_pb2, common_pb2
from ctrader_twisted.simulator.mischief import UnknownSwitch
from ctrader_twisted.wire.codec import decode, has_unknown_fields
from tests.unit.joined_client import ACCOUNT, JoinedClient, VenueCase

TRADER = api_pb2.ProtoOATraderReq(ctidTraderAccountId=ACCOUNT)
VERSION = api_pb2.ProtoOAVersionReq()


class MischiefCase(VenueCase):
    """With one client that has everything."""

    def setUp(self) -> None:
        super().setUp()
        self.client = self.subscribed()

    def subscribed(self) -> JoinedClient:
        """Somebody who listens to EURUSD; what came so far is thrown away."""
        client = self.logged_in()
        client.subscribe(1)
        client.octets()
        return client

    def is_well(self, client: JoinedClient) -> bool:
        """Whether it is answered and hears prices."""
        client.octets()
        client.send(VERSION)
        self.venue.publish("EURUSD", bid_points=110_000)
        kinds = {type(one.message).__name__ for one in client.heard()}
        return kinds >= {"ProtoOAVersionRes", "ProtoOASpotEvent"}


class Links(MischiefCase):
    """The connections themselves."""

    def test_drop(self) -> None:
        """Every connection is cut; new ones are welcome."""
        self.assertEqual(self.mischief.drop(), 1)
        self.assertTrue(self.client.closed)
        self.assertTrue(self.is_well(self.subscribed()))

    def test_refuse(self) -> None:
        """Those who are there stay, those who come are cut at once, until cleared."""
        self.mischief.refuse()
        self.assertTrue(self.connect().closed)
        self.assertTrue(self.is_well(self.client))
        self.mischief.clear()
        self.assertTrue(self.is_well(self.subscribed()))

    def test_refuse_by_closing_the_port(self) -> None:
        """The port is closed once, and opened again by clearing."""
        calls: list[str] = []

        def close_port() -> Deferred[None]:
            calls.append("closed")
            return succeed(None)

        self.mischief.attach(close_port, lambda: calls.append("opened"))
        self.mischief.refuse(how="port")
        self.assertEqual(calls, ["closed"])
        self.mischief.clear()
        self.mischief.clear()
        self.assertEqual(calls, ["closed", "opened"])

    def test_mute(self) -> None:
        """Not a byte comes, not even a heartbeat, but the socket lives; newcomers are heard."""
        self.assertEqual(self.mischief.mute(), 1)
        for _ in range(12):
            self.client.send(common_pb2.ProtoHeartbeatEvent(), None)
            self.client.send(VERSION)
            self.clock.advance(10)
        self.assertEqual(self.client.octets(), b"")
        self.assertFalse(self.client.closed)
        self.assertTrue(self.is_well(self.subscribed()))
        self.mischief.clear()
        self.assertTrue(self.is_well(self.client))

    def test_lasting_mute(self) -> None:
        """Those who come later are not answered either."""
        self.mischief.mute(lasting=True)
        newcomer = self.connect()
        newcomer.send(VERSION)
        self.assertEqual(newcomer.octets(), b"")
        self.mischief.clear()
        self.assertIsInstance(newcomer.ask(VERSION), api_pb2.ProtoOAVersionRes)

    def test_stall(self) -> None:
        """It neither reads nor writes nor closes, however long the silence."""
        self.mischief.stall()
        self.assertEqual(self.client.transport.producerState, "paused")
        self.venue.publish("EURUSD", bid_points=110_000)
        self.clock.advance(300)
        self.assertEqual(self.client.octets(), b"")
        self.assertFalse(self.client.closed)
        self.mischief.clear()
        self.assertEqual(self.client.transport.producerState, "producing")
        self.assertTrue(self.is_well(self.client))

    def test_a_stalled_client_that_wakes_is_watched_again(self) -> None:
        """After the stall the silence counts from its end."""
        self.mischief.stall()
        self.clock.advance(300)
        self.mischief.clear()
        self.clock.advance(29)
        self.assertFalse(self.client.closed)
        self.clock.advance(1)
        self.assertTrue(self.client.closed)

    def test_lasting_stall(self) -> None:
        """Those who come later are not even read."""
        self.mischief.stall(lasting=True)
        newcomer = self.connect()
        self.assertEqual(newcomer.transport.producerState, "paused")
        newcomer.send(VERSION)
        self.clock.advance(60)
        self.assertEqual((newcomer.octets(), newcomer.closed), (b"", False))


class Octets(MischiefCase):
    """Frames that are none."""

    def announced(self, octets: bytes) -> tuple[int, int]:
        """The announced length of a frame, and how much of it came."""
        return int.from_bytes(octets[:4], "big"), len(octets) - 4

    def test_half_a_frame(self) -> None:
        """Less comes than was announced, and then nothing."""
        self.mischief.half_frame()
        self.venue.publish("EURUSD", bid_points=110_000)
        announced, came = self.announced(self.client.octets())
        self.assertTrue(0 < came < announced)
        self.assertFalse(self.client.closed)

    def test_half_a_frame_and_the_end(self) -> None:
        """The same, and the connection is closed."""
        self.mischief.half_frame(then="close")
        announced, came = self.announced(self.client.octets())
        self.assertTrue(0 < came < announced)
        self.assertTrue(self.client.closed)

    def test_garbage(self) -> None:
        """A whole frame that cannot be decoded; the connection goes on."""
        self.mischief.garbage(size=10)
        octets = self.client.octets()
        self.assertEqual(self.announced(octets), (10, 10))
        with self.assertRaises(ProtocolError):
            decode(octets[4:])
        self.assertTrue(self.is_well(self.client))

    def test_oversize(self) -> None:
        """Two GiB are announced and nothing follows."""
        self.mischief.oversize()
        self.venue.publish("EURUSD", bid_points=110_000)
        self.assertEqual(self.announced(self.client.octets()), (2**31, 0))

    def test_unknown_type(self) -> None:
        """A sound frame that the registry does not know."""
        self.mischief.unknown_type(4242)
        (envelope,) = self.client.heard()
        self.assertEqual((envelope.payload_type, envelope.message), (4242, None))

    def test_newer_values(self) -> None:
        """An execution and an order of types that we do not know, to every authorised account."""
        self.assertEqual(self.mischief.newer_values(77), 1)
        (event,) = self.client.messages(api_pb2.ProtoOAExecutionEvent)
        self.assertEqual((event.executionType, event.order.orderType), (77, 77))

    def test_unknown_fields(self) -> None:
        """Every message carries one, until cleared; all known fields are still right."""
        self.mischief.unknown_fields()
        answer = self.client.ask(TRADER)
        self.assertTrue(has_unknown_fields(answer))
        self.assertEqual(answer.trader.traderLogin, 5000001)
        self.venue.publish("EURUSD", bid_points=110_000)
        (event,) = self.client.messages(api_pb2.ProtoOASpotEvent)
        self.assertTrue(has_unknown_fields(event))
        self.mischief.clear()
        self.assertFalse(has_unknown_fields(self.client.ask(TRADER)))

    def test_missing_field_at_once(self) -> None:
        """An event without its required fields."""
        self.mischief.missing_field()
        with self.assertRaisesRegex(ProtocolError, "ProtoOASpotEvent .*symbolId"):
            self.client.heard()

    def test_missing_field_in_a_reply(self) -> None:
        """The next reply of that kind lacks them, the one after does not."""
        self.mischief.missing_field(request="PROTO_OA_TRADER_REQ")
        self.client.send(TRADER)
        with self.assertRaisesRegex(ProtocolError, "ProtoOATraderRes .*trader"):
            self.client.heard()
        self.assertIsInstance(self.client.ask(TRADER), api_pb2.ProtoOATraderRes)


class Replies(MischiefCase):
    """What happens to requests."""

    def test_swallow(self) -> None:
        """One request is ignored; the next is served."""
        self.mischief.swallow("ProtoOAUnsubscribeSpotsReq")
        unsubscribe = api_pb2.ProtoOAUnsubscribeSpotsReq(ctidTraderAccountId=ACCOUNT, symbolId=[1])
        self.client.send(unsubscribe)
        self.assertEqual(self.client.heard(), [])
        self.assertEqual(self.venue.feed.subscriptions, 1)
        self.client.ask(unsubscribe)
        self.assertEqual(self.venue.feed.subscriptions, 0)

    def test_swallow_the_reply_only(self) -> None:
        """The work is done and nobody says so."""
        self.mischief.swallow("ProtoOAUnsubscribeSpotsReq", do_the_work=True)
        self.client.send(
            api_pb2.ProtoOAUnsubscribeSpotsReq(ctidTraderAccountId=ACCOUNT, symbolId=[1])
        )
        self.assertEqual(self.client.heard(), [])
        self.assertEqual(self.venue.feed.subscriptions, 0)

    def test_until_cleared(self) -> None:
        """``times`` 0 has no end but ``clear``."""
        self.mischief.swallow("ProtoOAVersionReq", times=0)
        for _ in range(5):
            self.client.send(VERSION)
        self.assertEqual(self.client.heard(), [])
        self.mischief.clear()
        self.client.ask(VERSION)

    def test_late(self) -> None:
        """It comes later, and others overtake it."""
        self.mischief.late("ProtoOAVersionReq", seconds=10)
        self.client.send(VERSION, "late")
        self.client.send(TRADER, "early")
        self.assertEqual([one.client_message_id for one in self.client.heard()], ["early"])
        self.clock.advance(10)
        self.assertIn("late", [one.client_message_id for one in self.client.heard()])

    def test_late_for_one_who_is_gone(self) -> None:
        """A reply that waits ends with its connection."""
        self.mischief.late("ProtoOAVersionReq")
        self.client.send(VERSION)
        self.client.hang_up()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_duplicate(self) -> None:
        """The same reply twice, with the same id."""
        self.mischief.duplicate("ProtoOAVersionReq")
        self.client.send(VERSION, "one")
        self.assertEqual([one.client_message_id for one in self.client.heard()], ["one", "one"])

    def test_slow_keeps_the_order(self) -> None:
        """Everything waits for the same time, in the order of asking."""
        self.mischief.slow(2)
        for name in "abc":
            self.client.send(VERSION, name)
            self.clock.advance(0.5)
        self.client.octets()
        self.clock.advance(0.5)
        self.assertEqual([one.client_message_id for one in self.ids()], ["a"])
        self.clock.advance(2)
        self.assertEqual([one.client_message_id for one in self.ids()], ["b", "c"])

    def ids(self) -> list:
        """What came with an id."""
        return [one for one in self.client.heard() if one.client_message_id]

    def test_slow_then_clear_does_not_overtake(self) -> None:
        """What was asked before the clearing is still served first."""
        self.mischief.slow(1)
        self.client.send(VERSION, "first")
        self.mischief.clear()
        self.client.send(VERSION, "second")
        self.clock.pump([0.5, 0.5, 0.5])
        self.assertEqual([one.client_message_id for one in self.ids()], ["first", "second"])

    def test_error(self) -> None:
        """Code, words and advice are as given; by default the API says it."""
        self.mischief.error(
            "ProtoOATraderReq", "BLOCKED_PAYLOAD_TYPE", "slow down", retry_after_s=7
        )
        answer = self.client.ask(TRADER)
        self.assertIsInstance(answer, api_pb2.ProtoOAErrorRes)
        self.assertEqual(self.refused(answer, "BLOCKED_PAYLOAD_TYPE"), "slow down")
        self.assertEqual(answer.retryAfter, 7)
        self.assertIsInstance(self.client.ask(TRADER), api_pb2.ProtoOATraderRes)

    def test_error_of_the_proxy(self) -> None:
        """The proxy counts maintenance in milliseconds, the API in seconds; it may hang up."""
        for proxy, end in ((False, 1_800_000_000), (True, 1_800_000_000_000)):
            self.mischief.error(
                "ProtoOATraderReq",
                "SERVER_IS_UNDER_MAINTENANCE",
                maintenance_end_s=1_800_000_000,
                proxy=proxy,
                close=proxy,
            )
            answer = self.client.ask(TRADER)
            self.assertEqual(isinstance(answer, common_pb2.ProtoErrorRes), proxy)
            self.assertEqual(answer.maintenanceEndTimestamp, end)
        self.assertTrue(self.client.closed)

    def test_application_auth_refused(self) -> None:
        """So many times, then it is granted."""
        self.mischief.auth_refused(times=2)
        client = self.connect()
        for _ in range(2):
            self.refused(client.application_auth(), "CH_CLIENT_AUTH_FAILURE")
        self.assertIsInstance(client.application_auth(), api_pb2.ProtoOAApplicationAuthRes)

    def test_account_auth_refused(self) -> None:
        """With the usual code, or with one's own."""
        client = self.connect()
        client.application_auth()
        self.mischief.auth_refused("account")
        self.refused(client.account_auth(), "CH_ACCESS_TOKEN_INVALID")
        self.mischief.auth_refused("account", "RET_ACCOUNT_DISABLED")
        self.refused(client.account_auth(), "RET_ACCOUNT_DISABLED")

    def test_maintenance(self) -> None:
        """Requests are refused with its end, connections closed; nobody comes in until then."""
        self.mischief.maintenance(60)
        answer = self.client.ask(TRADER)
        self.refused(answer, "SERVER_IS_UNDER_MAINTENANCE")
        self.assertEqual(answer.maintenanceEndTimestamp, self.now_ms // 1000 + 60)
        self.assertTrue(self.client.closed)
        self.assertTrue(self.connect().closed)
        self.now_ms += 60_000
        self.assertTrue(self.is_well(self.subscribed()))

    def test_back_end_down(self) -> None:
        """Whatever concerns an account has no route; the application is still served."""
        self.mischief.back_end_down()
        self.refused(self.client.ask(TRADER), "CANT_ROUTE_REQUEST")
        self.client.ask(VERSION)
        stranger = self.connect()
        stranger.application_auth()
        self.refused(stranger.account_auth(), "CANT_ROUTE_REQUEST")
        self.mischief.clear()
        self.assertIsInstance(self.client.ask(TRADER), api_pb2.ProtoOATraderRes)


class Announcements(MischiefCase):
    """What the venue says of its own accord."""

    def test_client_disconnect(self) -> None:
        """The application is a stranger again, and is cut like one."""
        self.mischief.client_disconnect("gone mad")
        (event,) = self.client.messages(api_pb2.ProtoOAClientDisconnectEvent)
        self.assertEqual(event.reason, "gone mad")
        self.refused(self.client.ask(TRADER), "CH_CLIENT_NOT_AUTHENTICATED")
        self.assertEqual(self.venue.feed.subscriptions, 0)
        self.clock.advance(15)
        self.client.ask(VERSION)
        self.clock.advance(15)
        self.assertTrue(self.client.closed)

    def test_client_disconnect_and_the_end(self) -> None:
        """The same, with the connection closed after it."""
        self.mischief.client_disconnect(close=True)
        self.assertEqual(len(self.client.messages(api_pb2.ProtoOAClientDisconnectEvent)), 1)
        self.assertTrue(self.client.closed)

    def test_account_disconnect(self) -> None:
        """The account is closed until it is opened again; its subscriptions are gone."""
        self.assertEqual(self.mischief.account_disconnect(), 1)
        (event,) = self.client.messages(api_pb2.ProtoOAAccountDisconnectEvent)
        self.assertEqual(event.ctidTraderAccountId, ACCOUNT)
        self.refused(self.client.ask(TRADER), "INVALID_REQUEST")
        self.assertEqual(self.venue.feed.subscriptions, 0)
        self.assertIsInstance(self.client.account_auth(), api_pb2.ProtoOAAccountAuthRes)

    def test_account_disconnect_of_another(self) -> None:
        """Only the account that is named."""
        self.assertEqual(self.mischief.account_disconnect(1000002), 0)
        self.assertTrue(self.is_well(self.client))

    def test_stale_account_disconnect(self) -> None:
        """It is said, but it never happened."""
        self.mischief.account_disconnect(stale=True)
        self.assertEqual(len(self.client.messages(api_pb2.ProtoOAAccountDisconnectEvent)), 1)
        self.refused(self.client.account_auth(), "ALREADY_LOGGED_IN")
        self.assertTrue(self.is_well(self.client))

    def test_token_invalidated_and_the_session_ends(self) -> None:
        """Both events come, and the stored token opens the account again."""
        self.mischief.token_invalidated()
        invalidated, gone = [one.message for one in self.client.heard()]
        self.assertEqual(list(invalidated.ctidTraderAccountIds), [ACCOUNT])
        self.assertIsInstance(gone, api_pb2.ProtoOAAccountDisconnectEvent)
        self.refused(self.client.ask(TRADER), "INVALID_REQUEST")
        self.assertIsInstance(self.client.account_auth(), api_pb2.ProtoOAAccountAuthRes)

    def test_token_invalidated_but_the_session_survives(self) -> None:
        """Only the event comes; prices go on, and the account is still open."""
        self.mischief.token_invalidated("session-survives")
        (event,) = [one.message for one in self.client.heard()]
        self.assertIsInstance(event, api_pb2.ProtoOAAccountsTokenInvalidatedEvent)
        self.refused(self.client.account_auth(), "ALREADY_LOGGED_IN")
        self.assertTrue(self.is_well(self.client))

    def test_token_invalidated_and_revoked(self) -> None:
        """The stored token is void; only a refresh, or clearing, helps."""
        self.mischief.token_invalidated("revoked")
        self.assertEqual(len(self.client.messages(api_pb2.ProtoOAAccountDisconnectEvent)), 1)
        self.refused(self.client.account_auth(), "CH_ACCESS_TOKEN_INVALID")
        answer = self.client.ask(api_pb2.ProtoOARefreshTokenReq(refreshToken="simulator-refresh"))
        opened = self.client.account_auth(token=answer.accessToken)
        self.assertIsInstance(opened, api_pb2.ProtoOAAccountAuthRes)

    def test_clearing_unrevokes(self) -> None:
        """After ``clear`` the first token is good again."""
        self.mischief.token_invalidated("revoked")
        self.mischief.clear()
        self.client.octets()
        self.assertIsInstance(self.client.account_auth(), api_pb2.ProtoOAAccountAuthRes)

    def test_token_expired(self) -> None:
        """The running session goes on, a new one cannot be had until cleared."""
        self.mischief.token_expired()
        self.assertTrue(self.is_well(self.client))
        client = self.connect()
        client.application_auth()
        self.refused(client.account_auth(), "OA_AUTH_TOKEN_EXPIRED")
        self.mischief.clear()
        self.assertIsInstance(client.account_auth(), api_pb2.ProtoOAAccountAuthRes)

    def test_symbol_changed(self) -> None:
        """The event names the ids, and the details are other than before."""
        self.mischief.symbol_changed(("EURUSD",), enabled=False, minimum_cents=200_000)
        (event,) = self.client.messages(api_pb2.ProtoOASymbolChangedEvent)
        self.assertEqual(list(event.symbolId), [1])
        answer = self.client.ask(
            api_pb2.ProtoOASymbolByIdReq(ctidTraderAccountId=ACCOUNT, symbolId=[1])
        )
        self.assertEqual(answer.symbol[0].minVolume, 200_000)

    def test_trader_updated(self) -> None:
        """The event carries the account with its new balance."""
        self.mischief.trader_updated(balance_cents=123)
        (event,) = self.client.messages(api_pb2.ProtoOATraderUpdatedEvent)
        self.assertEqual((event.trader.balance, event.trader.balanceVersion), (123, 2))
        self.assertEqual(self.client.ask(TRADER).trader.balance, 123)

    def test_quiet(self) -> None:
        """One symbol is heard no more, the others are; of none named, none is."""
        self.client.subscribe(2)
        self.client.octets()
        self.mischief.quiet(("EURUSD",))
        self.venue.publish("EURUSD", bid_points=110_000)
        self.venue.publish("GBPUSD", bid_points=120_000)
        heard = [one.symbolId for one in self.client.messages(api_pb2.ProtoOASpotEvent)]
        self.assertEqual(heard, [2])
        self.mischief.quiet()
        self.venue.publish("GBPUSD", bid_points=120_001)
        self.assertEqual(self.client.octets(), b"")
        self.mischief.clear()
        self.assertTrue(self.is_well(self.client))

    def test_rate(self) -> None:
        """Faster, or not at all."""
        self.client.subscribe(*(one for one in self.venue.catalogue.by_id if one != 1))
        for rate in (500, 0, 20):
            self.mischief.rate(rate)
            self.client.octets()
            self.clock.pump([0.25] * 4)
            self.assertEqual(len(self.client.messages(api_pb2.ProtoOASpotEvent)), rate)

    def test_tick(self) -> None:
        """One by hand."""
        self.mischief.tick("EURUSD", bid_points=110_000)
        (event,) = self.client.messages(api_pb2.ProtoOASpotEvent)
        self.assertEqual((event.bid, event.HasField("ask")), (110_000, False))


class ByName(MischiefCase):
    """Switches for those who cannot call them."""

    def test_every_switch_has_a_name(self) -> None:
        """What is promised can be flipped by name, and says what it does."""
        switches = self.mischief.switches()
        promised = (
            "drop refuse mute stall half_frame garbage oversize unknown_type unknown_fields "
            "swallow late duplicate client_disconnect account_disconnect token_invalidated "
            "auth_refused missing_field error maintenance slow symbol_changed trader_updated clear "
            "newer_values"
        )
        self.assertEqual(set(promised.split()) - set(switches), set())
        self.assertEqual([name for name, one in switches.items() if not one.__doc__], [])

    def test_arguments_by_name(self) -> None:
        """Numbers, lists and choices arrive as they should."""
        self.mischief.flip("unknown_type", {"payload_type": 4711})
        self.assertEqual(self.client.heard()[0].payload_type, 4711)
        self.assertEqual(self.mischief.flip("symbol_changed", {"symbols": ["EURUSD"]}), 1)

    def test_what_does_not_fit_is_named(self) -> None:
        """The name of the switch, of the argument, and what was wrong with it."""
        for name, arguments, complaint in (
            ("dorp", {}, "dorp.*drop"),
            ("drop", {"hard": True}, "drop.*hard"),
            ("refuse", {"how": "politely"}, "refuse.*politely.*how"),
            ("slow", {"seconds": "two"}, "slow.*seconds"),
            ("slow", {"seconds": -1}, "slow.*>= 0.*seconds"),
            ("swallow", {}, "swallow.*request"),
        ):
            with self.assertRaisesRegex(UnknownSwitch, complaint):
                self.mischief.flip(name, arguments)
        with self.assertRaisesRegex(UnknownMessage, "ProtoOATraderReq"):
            self.mischief.flip("swallow", {"request": "ProtoOATradrReq"})
        with self.assertRaisesRegex(LookupError, "EURXXX"):
            self.mischief.flip("quiet", {"symbols": ["EURXXX"]})
        self.assertTrue(self.is_well(self.client))
