"""Clients that send frames as fast as they can: they are shown out, and the others do not wait."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.rfc6455 import CONTINUATION, PING, PONG, TEXT, client_frame
from tests.unit.door_case import DoorCase, Socket
from tests.unit.stream_case import Client, StreamCase

# What one read of a socket brings at the most, several times over.
FLOOD = 50_000
# What fifty messages a second allow: ten frames for each, twice as many at once.
AT_ONCE, PER_S = 1000, 500


class FloodTest(StreamCase):
    """Frames without end."""

    def setUp(self) -> None:
        super().setUp()
        self.ready()
        self.flooder = self.client()

    def frames_looked_at(self, client: Client, send: Callable[[], None]) -> int:
        """How many frames of a client begin to be read while it sends."""
        looks = 0
        begin = client.protocol.onFrameBegin

        def count() -> None:
            nonlocal looks
            looks += 1
            begin()

        client.protocol.onFrameBegin = count
        send()
        return looks

    def assert_shown_out(self, code: int = 1008) -> None:
        """It has been told so, nothing of it is read, and soon its socket is gone."""
        self.turn()
        self.flooder.frames()
        assert self.flooder.goodbye is not None
        self.assertEqual(self.flooder.goodbye[0], code)
        self.assertFalse(self.flooder.wire.is_reading)
        self.assertFalse(self.flooder.wire.disconnected)
        self.turn(3)
        self.turn()
        self.assertTrue(self.flooder.wire.disconnected)
        self.assertEqual(self.metrics.clients, 0)

    def test_frames_that_are_no_message(self) -> None:
        """Pings, pongs that nobody asked for, and pieces of a message that never ends."""
        piece = client_frame(b"", CONTINUATION, final=False)
        for first, then in (
            (b"", client_frame(b"", PING)),
            (b"", client_frame(b"anybody?", PING)),
            (b"", client_frame(b"", PONG)),
            (client_frame(b"", TEXT, final=False), piece),
        ):
            self.flooder = self.client()
            octets = first + then * FLOOD
            looked = self.frames_looked_at(self.flooder, lambda: self.flooder.send_octets(octets))  # noqa: B023
            self.assertEqual(looked, AT_ONCE + 1)
            self.turn()
            self.assertLessEqual(len(self.flooder.frames()), AT_ONCE)
            self.assertEqual(self.flooder.goodbye, (1008, "too many frames"))
            self.assertFalse(self.flooder.wire.is_reading)
        self.assertEqual(self.metrics.counted("client_request_errors", "TOO_MANY_FRAMES"), 4)

    def test_it_ends(self) -> None:
        """Who is not read any more cannot keep its socket by that."""
        self.flooder.send_octets(client_frame(b"", PING) * FLOOD)
        self.assert_shown_out()

    def test_more_after_the_goodbye(self) -> None:
        """Bad messages end with 1008; what follows is not looked at for ever."""
        octets = client_frame(b"{}") * FLOOD
        looked = self.frames_looked_at(self.flooder, lambda: self.flooder.send_octets(octets))
        self.assertEqual(looked, AT_ONCE + 1)
        self.assert_shown_out()

    def test_others_are_served(self) -> None:
        """Somebody else's request is answered in the same turn."""
        other = self.client()
        self.flooder.send_octets(client_frame(b"", PING) * FLOOD)
        self.assertEqual(other.ask({"type": "ping", "id": 7})["id"], 7)

    def test_who_is_quick_but_not_too_quick(self) -> None:
        """All pings within the allowance are answered, for as long as one likes."""
        for second in range(60):
            payload = str(second).encode()
            self.flooder.send_octets(client_frame(payload, PING) * PER_S)
            answers = self.flooder.frames()
            self.assertEqual(
                [(one.opcode, one.payload) for one in answers], [(PONG, payload)] * PER_S
            )
            self.turn(1.0)
        self.assertIsNone(self.flooder.goodbye)

    def test_messages_in_pieces(self) -> None:
        """A message in ten pieces is one message, as often as messages are allowed."""
        text = json.dumps({"type": "ping", "id": 1000}).encode()
        cuts = [text[start : start + 3] for start in range(0, len(text), 3)]
        self.assertEqual(len(cuts), 10)
        pieces = client_frame(cuts[0], TEXT, final=False)
        for cut in cuts[1:-1]:
            pieces += client_frame(cut, CONTINUATION, final=False)
        pieces += client_frame(cuts[-1], CONTINUATION)
        for _ in range(20):
            self.flooder.send_octets(pieces * 50)
            self.assertEqual(len(self.flooder.heard("pong")), 50)
            self.turn(1.0)
        self.assertIsNone(self.flooder.goodbye)


class PipelineTest(DoorCase):
    """Requests one behind the other, all in one read."""

    ask = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    post = (
        b"POST /version HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 2\r\n\r\n{}"
    )

    def answers(self, socket: Socket) -> list[bytes]:
        """The first line of each answer that came."""
        octets = socket.transport.value()
        socket.transport.clear()
        return [one.split(b"\r\n")[0] for one in octets.split(b"HTTP/1.1 ")[1:]]

    def test_one_a_turn(self) -> None:
        """Ninety requests take ninety turns of the reactor, and are answered in order."""
        socket = self.socket()
        unknown = self.ask.replace(b"healthz", b"nope")
        socket.send((self.ask + self.post + unknown) * 30)
        answers = self.answers(socket)
        self.assertEqual(len(answers), 1)
        self.assertEqual(socket.transport.producerState, "paused")
        turns = 0
        later = self.clock.callLater

        def count(delay_s: float, *what: Any, **kw: Any) -> Any:
            nonlocal turns
            turns += delay_s == 0
            return later(delay_s, *what, **kw)

        self.clock.callLater = count  # type: ignore[method-assign]
        self.clock.advance(0)
        answers += self.answers(socket)
        self.assertEqual(answers, [b"200 OK", b"405 Method Not Allowed", b"404 Not Found"] * 30)
        # The first turn was there before we counted; nothing waits behind the last one.
        self.assertEqual(turns, 90 - 2)
        self.assertEqual(socket.transport.producerState, "producing")
        socket.send(self.ask)
        self.assertEqual(self.answers(socket), [b"200 OK"])

    def test_more_while_others_wait(self) -> None:
        """What still comes is kept behind them, a piece of a request as well."""
        socket = self.socket()
        socket.send(self.ask * 2 + self.ask[:10])
        socket.send(self.ask[10:] + self.ask[:30])
        for _ in range(5):
            self.clock.advance(0)
        socket.send(self.ask[30:])
        self.clock.advance(0)
        self.assertEqual(self.answers(socket), [b"200 OK"] * 4)

    def test_a_client_that_does_not_read(self) -> None:
        """When it reads again, we read on only when what is here already has been answered."""
        socket = self.socket()
        socket.send(self.ask * 3)
        socket.transport.producer.pauseProducing()
        socket.transport.producer.resumeProducing()
        self.assertEqual(socket.transport.producerState, "paused")
        socket.transport.producer.pauseProducing()
        self.clock.advance(0)
        self.assertEqual(socket.transport.producerState, "paused")
        self.clock.advance(0)
        socket.transport.producer.resumeProducing()
        self.assertEqual(socket.transport.producerState, "producing")
        self.assertEqual(len(self.answers(socket)), 3)

    def test_gone(self) -> None:
        """Nothing is answered, and no timer is left, when the client has gone."""
        socket = self.socket()
        socket.send(self.ask * 3)
        socket.close()
        socket.transport.clear()
        self.clock.advance(0)
        self.assertEqual(socket.transport.value(), b"")

    def test_the_last_one(self) -> None:
        """Nothing that comes behind `Connection: close` is looked at."""
        socket = self.socket()
        socket.send(self.ask.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + self.ask * 3)
        self.clock.advance(0)
        self.clock.advance(0)
        self.assertEqual(self.answers(socket), [b"200 OK"])
