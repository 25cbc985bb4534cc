"""Clients that send frames as fast as they can: they are shown out, and the others do not wait."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.rfc6455 import CONTINUATION, PING, PONG, TEXT, client_frame
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
