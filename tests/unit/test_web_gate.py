"""The connection underneath: handshakes, pings and goodbyes, each with its bound, on our clock."""

from __future__ import annotations

from ctrader_twisted.errors import ConfigurationError
from ctrader_twisted.web.gate import GatedProtocol, check
from tests.rfc6455 import CLOSE, HANDSHAKE, PING, PONG, client_frame
from tests.unit.stream_case import Client, StreamCase
from tests.unit.stream_wires import Wire


class Handshakes(StreamCase):
    """The time and the form of a handshake."""

    def arrival(self) -> Wire:
        """A connection that has said nothing yet."""
        wire = Wire(self.clock)
        wire.protocol = self.factory.buildProtocol(wire.getPeer())
        wire.protocol.makeConnection(wire)
        return wire

    def test_never_finished(self) -> None:
        """Whoever does not finish the handshake in ten seconds is cut off."""
        silent, slow = self.arrival(), self.arrival()
        slow.protocol.dataReceived(HANDSHAKE)
        self.turn(9.9)
        self.assertEqual((silent.disconnected, slow.disconnected), (0, 0))
        self.turn(0.2)
        self.turn()
        self.assertEqual((silent.disconnected, slow.disconnected), (1, 1))

    def test_bad_key(self) -> None:
        """A handshake that is none is refused in HTTP, and the connection closed."""
        wire = self.arrival()
        wire.protocol.dataReceived(HANDSHAKE.replace(b"dGhl", b"d!hl") + b"\r\n")
        for _ in range(2):
            wire.turn()
        self.assertIn(b" 400 ", wire.kernel.octets.split(b"\r\n")[0])
        self.assertTrue(wire.disconnected)

    def test_bad_handshake_of_somebody_who_does_not_read(self) -> None:
        """The refusal is not waited for without end."""
        wire = self.arrival()
        wire.kernel.room = 0
        wire.protocol.dataReceived(HANDSHAKE.replace(b"13\r\n", b"99\r\n") + b"\r\n")
        self.turn(5)
        self.turn()
        self.assertTrue(wire.disconnected)

    def test_small_writes_leave_at_once(self) -> None:
        """TCP_NODELAY is set by hand, since Autobahn does not."""
        wire = self.client().wire
        self.assertIn((6, 1, 1), wire.kernel.options)

    def test_refusing_an_autobahn_that_is_built_otherwise(self) -> None:
        """A protocol whose options are not settled is refused at start."""
        with self.assertRaises(ConfigurationError):
            check(GatedProtocol)


class Pings(StreamCase):
    """Finding clients that vanished without a word."""

    def setUp(self) -> None:
        super().setUp()
        self.build(ping_s=20)

    def pings(self, client: Client) -> list[bytes]:
        """What the pings that came carry."""
        return [frame.payload for frame in client.frames() if frame.opcode == PING]

    def test_answered(self) -> None:
        """A ping every twenty seconds, as long as each is answered."""
        client = self.client()
        for _ in range(5):
            self.turn(19.9)
            self.assertEqual(self.pings(client), [])
            self.turn(0.2)
            (ping,) = self.pings(client)
            client.send_octets(client_frame(ping, PONG))
        self.assertEqual(self.metrics.clients, 1)

    def test_not_answered(self) -> None:
        """Twenty seconds after a ping without an answer the connection is cut."""
        client = self.client()
        self.turn(20)
        self.assertEqual(len(self.pings(client)), 1)
        self.turn(19.9)
        self.assertEqual(self.metrics.clients, 1)
        self.turn(0.2)
        self.turn()
        self.assertEqual(self.metrics.clients, 0)
        self.assertTrue(client.wire.disconnected)

    def test_any_message_is_an_answer(self) -> None:
        """A client that talks is alive, whether it answers pings or not."""
        client = self.client()
        for _ in range(20):
            self.turn(10)
            client.say({"type": "ping"})
        self.assertEqual(self.metrics.clients, 1)

    def test_wrong_pong(self) -> None:
        """A pong of something else is no answer."""
        client = self.client()
        self.turn(20)
        client.send_octets(client_frame(b"something else", PONG))
        self.turn(20.1)
        self.turn()
        self.assertTrue(client.wire.disconnected)


class Goodbyes(StreamCase):
    """However it ends, it ends once, and nothing is left."""

    def test_the_client_closes(self) -> None:
        """A close frame is answered by one, and then the server ends the connection."""
        client = self.client()
        client.send_octets(client_frame(b"\x03\xe8bye", CLOSE))
        self.turn()
        client.frames()
        self.assertEqual(client.goodbye and client.goodbye[0], 1000)
        self.assertTrue(client.wire.disconnected)
        self.assertEqual(self.metrics.clients, 0)

    def test_both_close(self) -> None:
        """Goodbyes that cross are one goodbye."""
        client = self.client()
        gone = client.protocol.closed()
        client.protocol.close(1001, "we go")
        client.send_octets(client_frame(b"\x03\xe8", CLOSE))
        self.turn()
        self.turn()
        self.successResultOf(gone)
        self.assertTrue(client.wire.disconnected)

    def test_closing_twice(self) -> None:
        """The first code counts, and there is one close frame."""
        client = self.client()
        client.protocol.close(4413, "slow")
        client.protocol.close(1001, "we go")
        self.turn()
        client.frames()
        self.assertEqual(client.goodbye, (4413, "slow"))

    def test_nothing_follows_a_close_frame(self) -> None:
        """Neither ticks nor statuses, pongs or replies."""
        self.ready()
        client = self.client()
        client.subscribe("EURUSD")
        client.protocol.close(1001, "we go")
        self.spot(1, 110_000, 110_010)
        self.lose_venue()
        client.send_octets(client_frame(b"x", PING))
        client.say({"type": "ping"})
        self.turn()
        self.assertEqual(client.frames(), [])
        self.assertEqual(client.goodbye, (1001, "we go"))
        self.turn()
        self.assertEqual(client.wire.kernel.octets, b"")

    def test_the_peer_hangs_up(self) -> None:
        """A socket that ends without a word leaves at once, in any state."""
        for prepare in (
            lambda client: None,
            lambda client: client.protocol.close(1001, ""),
            lambda client: setattr(client.wire.kernel, "room", 0),
        ):
            client = self.client()
            gone = client.protocol.closed()
            prepare(client)
            client.wire.lose()
            self.successResultOf(gone)
            self.assertEqual(self.metrics.clients, 0)
            self.turn()
            self.assertEqual(self.clock.getDelayedCalls(), [])
