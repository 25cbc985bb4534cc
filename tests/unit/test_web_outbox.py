"""One client's way out when its socket is full: parked, woken in order, bounded, shown out."""

from __future__ import annotations

import socket

from twisted.web.http import HTTPChannel

from ctrader_twisted.market.model import FeedNews
from ctrader_twisted.web.outbox import Outbox
from tests.rfc6455 import CLOSE, PING, PONG, client_frame
from tests.unit.stream_case import Client, StreamCase
from tests.unit.stream_wires import Wire

EURUSD, GBPUSD, XAUUSD = 1, 2, 3


class Parked(StreamCase):
    """Clients that stopped reading."""

    def setUp(self) -> None:
        super().setUp()
        self.ready()

    def stuck(self, *symbols: str, room: int = 10) -> Client:
        """A client that has subscribed, and whose socket takes ``room`` bytes more."""
        client = self.client()
        client.subscribe(*symbols)
        client.wire.kernel.room = room
        return client

    def unstick(self, client: Client) -> None:
        """It reads again, everything."""
        client.wire.kernel.room = None
        for _ in range(4):
            self.turn()

    def test_the_first_word_leaves_at_once(self) -> None:
        """A socket that nobody spoke on before needs no turn of Twisted's to say the first word."""
        wire = Wire(self.clock)
        outbox = self.outbox(wire)
        outbox.send(b"first", 0.0)
        self.assertEqual((wire.kernel.octets, wire.held), (b"first", 0))

    def test_nothing_overtakes_what_http_had_to_say(self) -> None:
        """On a socket that began as HTTP the first word goes behind what Twisted still holds."""
        wire = Wire(self.clock)
        # As an HTTP channel: the producer of its transport, with the end of an answer on the way.
        wire.registerProducer(HTTPChannel(), True)
        wire.write(b"the end of an answer, ")
        outbox = self.outbox(wire)
        outbox.send(b"first", 0.0)
        outbox.send(b", second", 0.0)
        self.assertEqual(wire.kernel.octets, b"")
        for _ in range(4):
            wire.turn()
        self.assertEqual(wire.kernel.octets, b"the end of an answer, first, second")

    def outbox(self, wire: Wire) -> Outbox:
        """Another way out, on the same socket."""
        fanout = self.audience.fanout
        return Outbox(transport=wire, fanout=fanout, limit_bytes=10_000, too_slow=self.fail)

    def test_newest_of_each_symbol(self) -> None:
        """On waking: the rest of what was begun, then the newest tick of each symbol in order."""
        client = self.stuck("EURUSD", "GBPUSD", "XAUUSD")
        self.spot(GBPUSD, 130_000, 130_010)
        self.spot(XAUUSD, 390_000_000, 390_100_000)
        self.turn()
        for step in range(5):
            self.spot(EURUSD, 110_000 + step, 110_010 + step)
            self.turn()
        self.spot(GBPUSD, 130_001)
        self.turn()
        self.spot(EURUSD, 110_009)
        self.turn()
        self.unstick(client)
        ticks = [(t["symbol"], t["seq"], t.get("conflated", 0)) for t in client.heard("tick")]
        self.assertEqual(ticks[:3], [("GBPUSD", 1, 0), ("XAUUSD", 1, 0), ("GBPUSD", 2, 0)])
        self.assertEqual([one[:2] for one in ticks[3:]], [("EURUSD", 6)])
        self.spot(XAUUSD, 390_100_000)
        self.turn()
        self.assertEqual(client.seqs(), [("XAUUSD", 2)])

    def test_conflation_is_told(self) -> None:
        """A tick that replaced others says how many this client will never see."""
        client = self.client()
        client.subscribe("EURUSD")
        self.spot(EURUSD, 110_000, 110_010)
        self.turn()
        client.wire.kernel.room = 10
        for step in range(1, 6):
            self.spot(EURUSD, 110_000 + step)
            self.turn()
        self.unstick(client)
        ticks = [(one["seq"], one.get("conflated", 0)) for one in client.heard("tick")]
        self.assertEqual(ticks, [(1, 0), (2, 0), (6, 3)])

    def test_queue_before_prices(self) -> None:
        """Replies and statuses wait in their order, and come before the newest prices."""
        client = self.stuck("EURUSD")
        self.spot(EURUSD, 110_000, 110_010)
        self.turn()
        client.say({"type": "ping", "id": 1}, {"type": "ping", "id": 2})
        self.account.session.retrying(1, 2.5, "soon")
        self.account.session.reopen("X", "y")
        self.clock.advance(0)
        self.spot(EURUSD, 120_000, 120_010)
        self.turn()
        self.unstick(client)
        heard = client.heard()
        self.assertEqual([one.get("id") for one in heard[:3]], [None, 1, 2])
        statuses = [one["status"] for one in heard if one["type"] == "status"]
        self.assertEqual(statuses[0], "reconnecting")
        self.assertEqual(statuses[-1], "connected")
        self.assertEqual((heard[-1]["type"], heard[-1]["bid"]), ("tick", 1.2))

    def test_nothing_is_lost_when_a_pong_fills_the_socket(self) -> None:
        """A socket that fills up in the middle of a turn does not swallow that turn's ticks."""
        client = self.stuck("EURUSD", room=3)
        self.spot(EURUSD, 110_000, 110_010)
        client.send_octets(client_frame(b"hello", PING))
        self.unstick(client)
        frames = client.frames()
        self.assertEqual({one.opcode for one in frames}, {1, PONG})
        self.assertEqual([one.json["seq"] for one in frames if one.opcode == 1], [1])

    def test_seq_never_goes_back(self) -> None:
        """A parked client that subscribes to more hears no tick from before its snapshot."""
        client, other = self.stuck("EURUSD"), self.client()
        other.subscribe("GBPUSD")
        self.spot(EURUSD, 110_000, 110_010)
        self.turn()
        self.spot(GBPUSD, 130_000, 130_010)
        self.turn()
        other.say({"type": "unsubscribe", "symbols": ["GBPUSD"]})
        self.spot(GBPUSD, 130_001)
        self.turn()
        client.say({"type": "subscribe", "symbols": ["GBPUSD"]})
        self.unstick(client)
        ticks = [one for one in client.heard("tick") if one["symbol"] == "GBPUSD"]
        self.assertEqual([(one["seq"], one.get("snapshot")) for one in ticks], [(2, True)])

    def test_what_came_before_the_want_does_not_come(self) -> None:
        """Without a snapshot, a parked client hears only ticks from after its subscription."""
        client, other = self.stuck("EURUSD"), self.client()
        other.subscribe("GBPUSD")
        self.spot(EURUSD, 110_000, 110_010)
        self.turn()
        self.spot(GBPUSD, 130_000, 130_010)
        self.turn()
        client.say({"type": "subscribe", "symbols": ["GBPUSD"], "snapshot": False})
        self.unstick(client)
        self.assertEqual([one for one in client.seqs() if one[0] == "GBPUSD"], [])
        self.spot(GBPUSD, 130_001)
        self.turn()
        self.assertEqual(client.seqs(), [("GBPUSD", 2)])

    def test_subscribing_again(self) -> None:
        """A parked client that subscribes again gets no tick twice: the newest comes once, with a
        count of those before it.
        """
        client = self.stuck("EURUSD")
        for step in range(4):
            self.spot(EURUSD, 110_000 + step, 110_010)
            self.turn()
        client.say({"type": "subscribe", "symbols": ["EURUSD"]})
        self.unstick(client)
        ticks = [(t["seq"], t.get("conflated"), t.get("snapshot")) for t in client.heard("tick")]
        self.assertEqual(ticks, [(1, None, None), (4, 2, None)])

    def test_subscribing_again_to_what_stands_still(self) -> None:
        """Where nothing is new the last known tick comes again, as a snapshot."""
        client = self.stuck("EURUSD")
        self.spot(EURUSD, 110_000, 110_010)
        self.turn()
        client.say({"type": "subscribe", "symbols": ["EURUSD"]})
        self.unstick(client)
        ticks = [(t["seq"], t.get("snapshot")) for t in client.heard("tick")]
        self.assertEqual(ticks, [(1, None), (1, True)])

    def test_counting_in_a_new_life(self) -> None:
        """After an outage every symbol begins again at 1, and what is missed counts from there."""
        client = self.stuck("EURUSD")
        self.lose_venue()
        self.ready()
        for step in range(3):
            self.spot(EURUSD, 110_000 + step, 110_010)
            self.turn()
        self.unstick(client)
        ticks = [(t["seq"], t.get("conflated")) for t in client.heard("tick")]
        self.assertEqual(ticks, [(3, 2)])

    def test_counting_after_a_snapshot(self) -> None:
        """Ticks that came while nobody wanted the symbol are not counted as missed."""
        client = self.client()
        client.subscribe("EURUSD")
        self.spot(EURUSD, 110_000, 110_010)
        client.say({"type": "unsubscribe", "symbols": ["EURUSD"]})
        for step in range(4):
            self.spot(EURUSD, 110_000 + step, 110_010)
        self.assertEqual([one.get("seq") for one in client.subscribe("EURUSD")], [None, 5])
        client.wire.kernel.room = 3
        client.say({"type": "ping"})
        for step in range(2):
            self.spot(EURUSD, 120_000 + step, 120_010)
            self.turn()
        self.unstick(client)
        ticks = [(t["seq"], t.get("conflated")) for t in client.heard("tick")]
        self.assertEqual(ticks, [(7, 1)])

    def test_unwanted_meanwhile(self) -> None:
        """A parked client that unsubscribes is not told of that symbol on waking."""
        client = self.stuck("EURUSD", "GBPUSD")
        self.spot(EURUSD, 110_000, 110_010)
        self.turn()
        self.spot(GBPUSD, 130_000, 130_010)
        self.turn()
        client.say({"type": "unsubscribe", "symbols": ["GBPUSD"]})
        self.unstick(client)
        self.assertNotIn("GBPUSD", [symbol for symbol, _ in client.seqs()])

    def test_prices_from_before_an_outage(self) -> None:
        """What was the newest before an outage is not told after it."""
        client = self.stuck("EURUSD", "GBPUSD")
        self.spot(EURUSD, 110_000, 110_010)
        self.turn()
        self.spot(GBPUSD, 130_000, 130_010)
        self.turn()
        self.lose_venue()
        self.unstick(client)
        self.assertEqual(client.seqs(), [("EURUSD", 1)])

    def test_small_steps(self) -> None:
        """However few bytes the socket takes at a time, the frames stay whole and in order."""
        client = self.stuck("EURUSD", room=0)
        self.spot(EURUSD, 110_000, 110_010)
        self.turn()
        last = 0
        for step in range(400):
            client.wire.kernel.room = 1 + step % 7
            self.spot(EURUSD, 110_001 + step)
            if step % 10 == 0:
                client.say({"type": "ping"})
            self.turn()
            for symbol, seq in client.seqs():
                self.assertEqual(symbol, "EURUSD")
                self.assertGreater(seq, last)
                last = seq
        self.unstick(client)
        self.assertEqual(client.seqs()[-1], ("EURUSD", 401))
        self.spot(EURUSD, 1)
        self.turn()
        self.assertEqual(client.seqs(), [("EURUSD", 402)])


class Bounds(StreamCase):
    """When a client is shown out, and when it is not."""

    def setUp(self) -> None:
        super().setUp()
        self.build(outbox_bytes=2000)
        self.ready()
        self.audience.start()

    def stuck(self) -> Client:
        """A client that reads nothing from now on."""
        client = self.client()
        client.subscribe("EURUSD")
        client.wire.kernel.room = 0
        self.spot(EURUSD, 110_000, 110_010)
        self.turn()
        return client

    def release(self, client: Client) -> tuple[int, str]:
        """What its last words to us were."""
        client.wire.kernel.room = None
        client.wire.turn()
        client.frames()
        assert client.goodbye is not None
        return client.goodbye

    def test_too_many_bytes(self) -> None:
        """Replies beyond the bound close with 4413, and free what was waiting."""
        client = self.stuck()
        for _ in range(60):
            client.say({"type": "ping"})
        code, reason = self.release(client)
        self.assertEqual(code, 4413)
        self.assertIn("2000 bytes", reason)
        self.assertEqual(self.metrics.counted("clients_closed_slow"), 1)
        self.assertEqual(self.metrics.clients, 0)

    def test_nothing_follows_the_goodbye(self) -> None:
        """A status that ends a client is the last that it hears, though another belongs to it."""
        for before in range(2):
            client = self.stuck()
            for _ in range(before):
                self.audience.announce(self.account.state)
            while client.protocol.is_in:
                self.audience.feed_health(FeedNews("demo", "stale", "no price"))
            self.assertEqual(self.release(client)[0], 4413)

    def test_pongs_count_too(self) -> None:
        """Who sends pings and reads nothing grows no buffer without bound."""
        client = self.stuck()
        for _ in range(200):
            client.send_octets(client_frame(b"p" * 125, PING))
        self.assertLess(client.wire.held, 4000)
        self.assertEqual(self.release(client)[0], 4413)

    def test_ticks_do_not_count(self) -> None:
        """Any number of ticks may be missed without harm, and without memory."""
        client = self.stuck()
        held = client.wire.held
        for step in range(500):
            self.spot(EURUSD, 110_000 + step)
            self.turn()
        self.assertEqual(client.wire.held, held)
        client.wire.kernel.room = None
        self.turn()
        self.assertEqual([seq for _, seq in client.seqs()], [1, 501])

    def test_reads_nothing(self) -> None:
        """A client that reads nothing for the age bound is closed with 4413."""
        client = self.stuck()
        for _ in range(5):
            self.turn(1)
        self.assertEqual(self.metrics.clients, 1)
        for _ in range(2):
            self.turn(1)
        self.assertEqual(self.metrics.clients, 0)
        code, reason = self.release(client)
        self.assertEqual(code, 4413)
        self.assertIn("5 s", reason)

    def test_reads_slowly(self) -> None:
        """A client that reads a little each second stays, for as long as it takes."""
        client = self.stuck()
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        for _ in range(40):
            ours.send(b"x" * 100)
        client.wire.meter = ours.fileno()
        for _ in range(30):
            theirs.recv(100)
            self.turn(1)
        self.assertEqual(self.metrics.clients, 1)
        for _ in range(6):
            self.turn(1)
        self.assertEqual(self.metrics.clients, 0)
        self.assertEqual(self.release(client)[0], 4413)

    def test_the_connection_ends(self) -> None:
        """A client that was shown out and still reads nothing is cut off."""
        client = self.stuck()
        for _ in range(12):
            self.turn(1)
        self.assertTrue(client.wire.disconnected)

    def test_says_goodbye_and_reads_nothing(self) -> None:
        """A client that closes but never reads our answer gets no ticks, and is cut off."""
        client = self.stuck()
        client.send_octets(client_frame(b"\x03\xe8", CLOSE))
        self.assertEqual(self.metrics.clients, 0)
        held = client.wire.held
        for step in range(50):
            self.spot(EURUSD, 110_000 + step, 110_010)
            self.turn()
        self.assertEqual(client.wire.held, held)
        for _ in range(15):
            self.turn(1)
        self.assertTrue(client.wire.disconnected)
