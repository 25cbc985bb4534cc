"""A socket that takes a part: cut at every byte, with every answer that a kernel gives then."""

from __future__ import annotations

import errno
import os
from itertools import pairwise
from typing import Any

from tests.rfc6455 import PING, PONG, TEXT, client_frame
from tests.unit.fakes import last_tick
from tests.unit.stream_case import Client, StreamCase
from tests.unit.stream_wires import Kernel, OpaqueWire, Wire

EURUSD, GBPUSD = 1, 2


class BreakingKernel(Kernel):
    """Takes ``room`` bytes, and then says ``number`` for ever."""

    number = errno.EPIPE

    def send(self, some: bytes) -> int:
        """As socket.send on a connection that breaks."""
        if self.room == 0:
            self.breaks()
        return super().send(some)

    def breaks(self) -> None:
        """From now on. (A broken socket is one that can be written to.)"""
        self.room, self.error = None, OSError(self.number, os.strerror(self.number))


class ShortWritesTest(StreamCase):
    """One script: prices, a reply, a status, a pong, prices."""

    def setUp(self) -> None:
        super().setUp()
        self.build(messages_per_s=1e6)
        self.ready()
        self.price = 100_000

    def prices(self) -> None:
        """One turn's."""
        for symbol in (EURUSD, GBPUSD, EURUSD):
            self.price += 1
            self.spot(symbol, self.price, self.price + 10)

    def play(self, client: Client) -> None:
        """Everything that a client may be sent."""
        self.prices()
        self.turn()
        client.murmur({"type": "ping", "id": 1})
        self.prices()
        client.send_octets(client_frame(b"p", PING))
        self.audience.announce(self.account.state)
        self.prices()
        client.murmur({"type": "subscribe", "symbols": ["EURUSD"], "id": 2})
        self.turn()

    def come(self, wire: Wire | None = None) -> Client:
        """A client that has got everything until now."""
        client = self.client(wire)
        client.subscribe("EURUSD", "GBPUSD")
        client.frames()
        return client

    def go(self, client: Client) -> None:
        """It is gone, and so is everything of it."""
        client.wire.lose()
        self.clients.remove(client)
        self.assertEqual(self.metrics.clients, 0)
        self.assertEqual(self.account.consumers("EURUSD"), [])

    def size(self) -> int:
        """How long the script is, when all of it is taken."""
        client = self.come()
        self.play(client)
        size = len(client.wire.kernel.octets)
        self.go(client)
        self.assertGreater(size, 800)
        return size

    def whole(self, client: Client) -> None:
        """All frames are whole and in order, what must come came, and the newest prices."""
        frames = client.frames()
        self.assertEqual([one.payload for one in frames if one.opcode == PONG], [b"p"])
        messages = [one.json for one in frames if one.opcode == TEXT]
        others = [(m["type"], m.get("id")) for m in messages if m["type"] != "tick"]
        self.assertEqual(others, [("pong", 1), ("status", None), ("subscribeResponse", 2)])
        for name in ("EURUSD", "GBPUSD"):
            ticks = [m for m in messages if m["type"] == "tick" and m["symbol"] == name]
            self.assertTrue(all(self.follows(a, b) for a, b in pairwise(ticks)))
            newest = last_tick(self.account, name)
            assert newest is not None
            self.assertEqual(ticks[-1]["seq"], newest.seq)

    def follows(self, first: dict[str, Any], then: dict[str, Any]) -> bool:
        """The same again as a snapshot, or the next, with what it replaced counted."""
        step: int = then["seq"] - first["seq"]
        return step == 1 + then.get("conflated", 0) or (step == 0 and "snapshot" in then)

    def drain(self, client: Client, portion: int | None) -> None:
        """It reads again, so many bytes a turn."""
        for _ in range(5000):
            client.wire.kernel.room = portion
            client.wire.turn()
            if not client.wire.is_writing:
                break
        client.wire.kernel.room = None
        self.turn()

    def test_full_at_every_byte(self) -> None:
        """EAGAIN after any number of bytes: nothing is lost, torn, doubled or out of order."""
        for cut in range(self.size()):
            client = self.come()
            client.wire.kernel.room = cut
            self.play(client)
            self.drain(client, None if cut % 3 else 1 + cut % 97)
            self.whole(client)
            self.go(client)

    def test_full_at_every_byte_over_tls(self) -> None:
        """The same where Twisted writes, and pauses us after any number of bytes."""
        for limit in range(0, self.size(), 3):
            wire = OpaqueWire(self.clock)
            client = self.come(wire)
            wire.bufferSize = limit
            wire.kernel.room = 0
            self.play(client)
            self.drain(client, None if limit % 2 else 50)
            self.whole(client)
            self.go(client)

    def test_broken_at_every_byte(self) -> None:
        """EPIPE or ECONNRESET after any number of bytes: the client is gone, and nobody else is."""
        size = self.size()
        for cut in range(0, size, 2):
            wire = Wire(self.clock)
            wire.socket = wire.kernel = kernel = BreakingKernel()
            kernel.number = errno.ECONNRESET if cut % 4 else errno.EPIPE
            client = self.come(wire)
            kernel.room = cut
            self.play(client)
            kernel.breaks()
            for _ in range(3):
                self.turn()
            self.assertTrue(wire.disconnected, cut)
            self.assertEqual(self.metrics.clients, 0)
            self.go(client)


class SizesTest(StreamCase):
    """Messages at the edges of what a frame's header can say."""

    def test_from_a_client(self) -> None:
        """125 and 126 bytes, 65,535 and 65,536: read; one more than allowed is 1009."""
        for size in (125, 126, 65_535, 65_536):
            client = self.client()
            request = b'{"type":"ping","id":1,"x":"%s"}'
            filled = request % (b"x" * (size - len(request) + 2))
            self.assertEqual(len(filled), size)
            self.assertEqual(client.ask(filled)["type"], "pong")
        client.say(b"x" * 65_537)
        client.frames()
        self.assertEqual(client.goodbye and client.goodbye[0], 1009)

    def test_pings(self) -> None:
        """A control frame has 125 bytes at the most; a longer one is 1002."""
        client = self.client()
        client.send_octets(client_frame(b"x" * 125, PING))
        self.assertEqual([one.payload for one in client.frames()], [b"x" * 125])
        client.send_octets(client_frame(b"x" * 126, PING))
        self.turn()
        client.frames()
        self.assertEqual(client.goodbye and client.goodbye[0], 1002)

    def test_to_a_client(self) -> None:
        """A status of any length is one whole frame, however little the socket takes at once."""
        for count in (0, 1, 10, 6000, 7000):
            self.venue.names = {number: f"SYM{number:05}" for number in range(count)}
            self.ready()
            client = self.client()
            client.wire.kernel.room = 100
            client.say({"type": "connect"})
            while client.wire.is_writing:
                client.wire.kernel.room = 4099
                client.wire.turn()
            client.wire.kernel.room = None
            (status,) = client.heard("status")
            self.assertEqual(len(status["availableSymbols"]), count)
            client.wire.lose()
            self.clients.remove(client)
            self.lose_venue()
