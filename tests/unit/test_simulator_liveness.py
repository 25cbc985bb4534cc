"""Cuts, heartbeats, budgets and backlogs of the simulated venue."""

from __future__ import annotations

from ctrader_twisted.pb import api_pb2, common_pb2, model_pb2
from ctrader_twisted.simulator.service import Behaviour
from tests.unit.joined_client import ACCOUNT, VenueCase

HEARTBEAT = common_pb2.ProtoHeartbeatEvent()
VERSION = api_pb2.ProtoOAVersionReq()
TRENDBARS = api_pb2.ProtoOAGetTrendbarsReq(
    ctidTraderAccountId=ACCOUNT, period=model_pb2.M1, symbolId=1
)


class Cuts(VenueCase):
    """Who is silent, or nobody, is cut."""

    def test_silence(self) -> None:
        """After 30 s without a word the connection is closed, without a message."""
        client = self.logged_in()
        self.clock.advance(29.9)
        self.assertFalse(client.closed)
        client.octets()
        self.clock.advance(0.2)
        self.assertTrue(client.closed)
        self.assertEqual(client.octets(), b"")

    def test_a_client_that_does_not_hang_up(self) -> None:
        """One that is told goodbye, and neither reads it nor hangs up, is cut soon after."""
        client = self.logged_in()
        self.clock.advance(30.1)
        self.assertFalse(client.transport.disconnected)
        self.clock.advance(5)
        self.assertTrue(client.transport.disconnected)

    def test_heartbeats_are_words(self) -> None:
        """A client that beats stays, and its beats are not answered."""
        client = self.logged_in()
        for _ in range(9):
            client.send(HEARTBEAT, None)
            self.clock.advance(10)
        self.assertFalse(client.closed)
        kinds = {type(one.message) for one in client.heard()}
        self.assertEqual(kinds, {common_pb2.ProtoHeartbeatEvent})

    def test_requests_are_words(self) -> None:
        """Any message counts as activity."""
        client = self.logged_in()
        for _ in range(5):
            client.ask(VERSION)
            self.clock.advance(20)
        self.assertFalse(client.closed)

    def test_a_stranger_is_cut_although_it_beats(self) -> None:
        """Without application authorisation 30 s are all there is."""
        client = self.connect()
        for _ in range(3):
            client.send(HEARTBEAT, None)
            self.clock.advance(10)
        self.assertTrue(client.closed)

    def test_the_spans_are_settings(self) -> None:
        """Both cuts come when the behaviour says so."""
        self.open_venue(Behaviour(silence_cut_s=5, unauthenticated_cut_s=2))
        stranger, friend = self.connect(), self.logged_in()
        self.clock.advance(2)
        self.assertEqual((stranger.closed, friend.closed), (True, False))
        self.clock.advance(3)
        self.assertTrue(friend.closed)

    def test_what_comes_after_the_cut_is_ignored(self) -> None:
        """A connection that is being closed serves nobody."""
        client = self.connect()
        self.clock.advance(30)
        client.send(VERSION)
        self.assertEqual(client.octets(), b"")


class Beats(VenueCase):
    """The venue's own heartbeat."""

    def test_only_when_idle(self) -> None:
        """It beats 30 s after its last word, not before."""
        client = self.logged_in()
        self.clock.advance(20)
        client.ask(VERSION)
        self.clock.advance(29)
        client.send(HEARTBEAT, None)
        self.assertEqual(client.heard(), [])
        self.clock.advance(1)
        (beat,) = client.heard()
        self.assertIsInstance(beat.message, common_pb2.ProtoHeartbeatEvent)
        self.assertIsNone(beat.client_message_id)


class Budgets(VenueCase):
    """So many requests a second, per connection."""

    def test_ordinary_requests(self) -> None:
        """One second's worth at once; the next is refused with its id and a time to wait."""
        client = self.connect()
        for number in range(52):
            client.send(VERSION, str(number))
        answers = client.heard()
        refused = [one for one in answers if isinstance(one.message, api_pb2.ProtoOAErrorRes)]
        self.assertEqual([one.client_message_id for one in refused], ["50", "51"])
        self.refused(refused[0].message, "BLOCKED_PAYLOAD_TYPE")
        self.assertEqual(refused[0].message.retryAfter, 1)
        self.assertFalse(refused[0].message.HasField("ctidTraderAccountId"))
        self.assertFalse(client.closed)

    def test_the_budget_refills(self) -> None:
        """A tenth of a second is worth five requests."""
        client = self.connect()
        for _ in range(60):
            client.send(VERSION)
        client.octets()
        self.clock.advance(0.1)
        for _ in range(10):
            client.send(VERSION)
        self.assertEqual(len(client.messages(api_pb2.ProtoOAVersionRes)), 5)

    def test_history_has_a_budget_of_its_own(self) -> None:
        """Five at once, and ordinary requests are not touched by it."""
        client = self.logged_in()
        codes = [client.ask(TRENDBARS).errorCode for _ in range(6)]
        self.assertEqual(codes, ["UNSUPPORTED_MESSAGE"] * 5 + ["BLOCKED_PAYLOAD_TYPE"])
        self.assertIsInstance(client.ask(VERSION), api_pb2.ProtoOAVersionRes)

    def test_the_older_style(self) -> None:
        """By the setting, the refusal is the older code and names no time."""
        self.open_venue(Behaviour(over_budget_code="REQUEST_FREQUENCY_EXCEEDED", ordinary_per_s=1))
        client = self.connect()
        client.ask(VERSION)
        answer = client.ask(VERSION)
        self.refused(answer, "REQUEST_FREQUENCY_EXCEEDED")
        self.assertFalse(answer.HasField("retryAfter"))

    def test_connections_do_not_share(self) -> None:
        """Each connection has its own budget."""
        self.open_venue(Behaviour(ordinary_per_s=1))
        for _ in range(3):
            self.assertIsInstance(self.connect().ask(VERSION), api_pb2.ProtoOAVersionRes)

    def test_no_budget_at_all(self) -> None:
        """By the setting, everything is granted."""
        self.open_venue(Behaviour(over_budget_code="", ordinary_per_s=1))
        client = self.connect()
        for _ in range(9):
            self.assertIsInstance(client.ask(VERSION), api_pb2.ProtoOAVersionRes)


class Backlogs(VenueCase):
    """A client that does not read."""

    def test_it_is_cut_at_the_cap(self) -> None:
        """What waits for it is counted while its transport is full, and no longer."""
        self.open_venue(Behaviour(backlog_cap_bytes=1000, over_budget_code=""))
        client = self.connect()
        producer = client.transport.producer
        producer.pauseProducing()
        client.ask(VERSION)
        self.assertFalse(client.closed)
        producer.resumeProducing()
        for _ in range(200):
            client.ask(VERSION)
        self.assertFalse(client.closed)
        producer.pauseProducing()
        for _ in range(200):
            client.send(VERSION)
        self.assertTrue(client.closed)
        self.assertLess(len(client.octets()), 2000)
