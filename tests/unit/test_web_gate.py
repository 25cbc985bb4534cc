"""The connection underneath: handshakes, pings and goodbyes, each with its bound, on our clock."""

from __future__ import annotations

from typing import Any

from twisted.logger import LogLevel, globalLogPublisher

from ctrader_twisted.errors import ConfigurationError
from ctrader_twisted.web.doors import Visitor
from ctrader_twisted.web.gate import GatedProtocol, check
from tests.rfc6455 import CLOSE, HANDSHAKE, PING, PONG, client_frame
from tests.unit.door_case import Answer
from tests.unit.stream_case import Client, StreamCase
from tests.unit.stream_wires import Wire

BAD = (400, "BAD_HANDSHAKE")
UPGRADE = (426, "UPGRADE_REQUIRED")
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

#: What is replaced by what, status and code, and a word of the sentence.
BAD_HANDSHAKES = (
    (b"dGhl", b"d!hl", BAD, "Sec-WebSocket-Key"),
    (KEY, b"", BAD, "Sec-WebSocket-Key"),
    (KEY, KEY * 2, BAD, "more than once"),
    (KEY, KEY.replace(b"==", b""), BAD, "length"),
    (b"Upgrade: websocket\r\n", b"", UPGRADE, "Upgrade"),
    (b"Upgrade: websocket", b"Upgrade: h2c", BAD, "websocket"),
    (b"Connection: Upgrade\r\n", b"", BAD, "Connection"),
    (b"Connection: Upgrade", b"Connection: close", BAD, "Connection"),
    (b": 13", b": 99", UPGRADE, "99"),
    (b": 13", b": x", BAD, "Version"),
    (b"Sec-WebSocket-Version: 13\r\n", b"", BAD, "Hixie"),
    (b"Host: localhost\r\n", b"", BAD, "Host"),
    (b"Host: localhost", b"Host: localhost:x", BAD, "port"),
    (b"GET", b"POST", (405, "METHOD_NOT_ALLOWED"), "POST"),
    (b"HTTP/1.1", b"HTTP/1.0", (505, "HTTP_VERSION"), "HTTP/1.0"),
    (b"HTTP/1.1", b"HTTP/1.1 x", BAD, "status line"),
    (b"GET /ws", b"GET /ws#x", BAD, "fragment"),
    (b"GET /ws", b"GET http://[/ws", BAD, "resource"),
    (b"Host:", b"Origin: nonsense\r\nHost:", BAD, "Origin"),
    (b"Host:", b"Sec-WebSocket-Protocol: a, a\r\nHost:", BAD, "duplicate"),
)


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

    def refused(self, octets: bytes) -> Answer:
        """What a handshake that is none gets before its connection is closed."""
        wire = self.arrival()
        wire.protocol.visitor = Visitor("192.0.2.1", False, False, correlation_id="abc-1")
        wire.protocol.dataReceived(octets + b"\r\n")
        for _ in range(2):
            wire.turn()
        self.assertTrue(wire.disconnected)
        return Answer(wire.kernel.octets)

    def test_refusals(self) -> None:
        """A handshake that is none gets a problem like every other error, with its correlation
        id and a sentence, and the connection is closed.
        """
        for was, becomes, expected, words in BAD_HANDSHAKES:
            with self.subTest(becomes):
                answer = self.refused(HANDSHAKE.replace(was, becomes, 1))
                self.assertEqual((answer.status, answer.problem["code"]), expected)
                self.assertEqual(answer.problem["correlation_id"], "abc-1")
                self.assertIn(words, answer.problem["detail"])
                self.assertEqual(answer.headers["connection"], "close")
                self.assertEqual(int(answer.headers["content-length"]), len(answer.body))
        refusals = sum(self.metrics.all().values())
        self.assertEqual(refusals, len(BAD_HANDSHAKES), "each is counted")

    def test_what_a_refusal_names(self) -> None:
        """The version that we speak and the method that there is are told as HTTP has them."""
        answer = self.refused(HANDSHAKE.replace(b": 13", b": 99"))
        self.assertIn("13", answer.headers["sec-websocket-version"].split(","))
        self.assertEqual(answer.headers["upgrade"], "websocket")
        self.assertEqual(self.refused(HANDSHAKE.replace(b"GET", b"PUT")).headers["allow"], "GET")

    def test_a_refusal_keeps_secrets_and_its_shape(self) -> None:
        """What the client sent comes back neither as a header nor with a key in it, nor at any
        length.
        """
        secret = b"cts_" + b"a1B2" * 11
        for becomes in (
            b"?token=" + secret + b"#x HTTP/1.1",
            b"#" + secret + b" HTTP/1.1",
            b"#" + b"x" * 5000 + b" HTTP/1.1",
            "#\x7f\r\u2028é HTTP/1.1".encode(),
        ):
            answer = self.refused(HANDSHAKE.replace(b" HTTP/1.1", becomes, 1))
            self.assertEqual(answer.status, 400)
            self.assertNotIn(b"a1B2", answer.body)
            self.assertLess(len(answer.body), 600)
            self.assertTrue(answer.problem["detail"].isprintable())

    def test_a_refusal_is_not_logged(self) -> None:
        """Strangers must not be able to fill the log: what they get wrong is counted."""
        seen: list[Any] = []
        globalLogPublisher.addObserver(seen.append)
        self.addCleanup(globalLogPublisher.removeObserver, seen.append)
        self.refused(HANDSHAKE.replace(b": 13", b": 99"))
        client = self.client()
        client.send_octets(b"\xff" * 20)
        self.turn()
        client.frames()
        self.assertEqual(client.goodbye and client.goodbye[0], 1002)
        self.assertEqual([one for one in seen if one["log_level"] >= LogLevel.info], [])

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
        self.assertEqual(self.metrics.counted("clients_silent"), 1)

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
