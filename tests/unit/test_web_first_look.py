"""Whose connection it is: a WebSocket from its first bytes on, or HTTP."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.web.callers import NO_PLACE
from ctrader_twisted.web.first_look import FirstLook, read_upgrade
from ctrader_twisted.web.problems import Refused

HEAD = (
    b"GET /ws HTTP/1.1\r\nHost: localhost:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class ReadingTest(SynchronousTestCase):
    """What is taken for a plain upgrade, and what is left to HTTP."""

    def test_plain(self) -> None:
        """The headers are there, in any case; what follows the head is not looked at."""
        request = read_upgrade(HEAD + b"\x81\x80", None)
        assert request is not None
        self.assertEqual(request.getRawHeaders(b"HOST"), [b"localhost:8080"])
        self.assertEqual(request.getHeader(b"Upgrade"), b"websocket")
        self.assertIsNone(request.getRawHeaders(b"origin"))
        self.assertEqual(len(request.correlation_id), 16)

    def test_paths(self) -> None:
        """The tick stream's two addresses, with or without a query, and no others."""
        for path, ours in (
            (b"/ws", True),
            (b"/", True),
            (b"/ws?token=x", True),
            (b"/?a=b", True),
            (b"/wss", False),
            (b"/ws/", False),
            (b"/ws/1/abc", False),
            (b"/metrics", False),
            (b"http://localhost/ws", False),
        ):
            request = read_upgrade(HEAD.replace(b"/ws", path, 1), None)
            self.assertEqual(request is not None, ours, path)

    def test_odd_ones_go_to_http(self) -> None:
        """Whatever is not as every browser and library writes it."""
        for was, becomes in (
            (b"GET", b"POST"),
            (b"HTTP/1.1", b"HTTP/1.0"),
            (b"Upgrade: websocket", b"Upgrade: h2c"),
            (b"Upgrade: websocket", b"Upgrade: websocket\r\nUpgrade: websocket"),
            (b"Upgrade: websocket", b"X: y"),
            (b"Host: localhost", b"Host : localhost"),
            (b"Host: localhost", b" Host: localhost"),
            (b"Host: localhost", b"Host: local\x00host"),
            (b"Host: localhost", b"Host: local\xffhost"),
            (b"Host: localhost", b"Host: local\nhost"),
            (b"Host: localhost", b"no colon"),
            (b"Host: localhost", b"Sec-WebSocket-Extensions: a\r\n" * 2 + b"Host: localhost"),
            (b"Host: localhost", b"Content-Length: 3\r\nHost: localhost"),
            (b"Host: localhost", b"Transfer-Encoding: chunked\r\nHost: localhost"),
            (b"\r\n\r\n", b"\r\n"),
        ):
            self.assertIsNone(read_upgrade(HEAD.replace(was, becomes, 1), None), becomes)

    def test_two_of_a_kind_are_both_seen(self) -> None:
        """So that no check is passed with the one header while the other is believed."""
        request = read_upgrade(HEAD.replace(b"Host:", b"Host: evil.example\r\nhost:", 1), None)
        assert request is not None
        self.assertEqual(request.getRawHeaders(b"host"), [b"evil.example", b"localhost:8080"])

    @given(st.binary(max_size=300))
    def test_any_bytes(self, octets: bytes) -> None:
        """Nothing that a stranger sends raises."""
        for some in (octets, HEAD[:-4] + octets, HEAD[:60] + octets + HEAD[60:]):
            read_upgrade(some, None)


class Speaker:
    """A protocol that remembers."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.octets = b""
        self.transport: Any = None
        self.lost = False

    def makeConnection(self, transport: Any) -> None:
        """The connection is its own now."""
        self.transport = transport

    def dataReceived(self, data: bytes) -> None:
        """Some bytes."""
        self.octets += data

    def connectionLost(self, reason: Failure) -> None:
        """Gone."""
        self.lost = True


class Place:
    """A site that builds speakers."""

    arrival_timeout_s = 15.0

    def __init__(self) -> None:
        self.reactor = Clock()
        self.refuses = False
        self.built: list[Speaker] = []

    def build_channel(self, address: Any) -> Speaker:
        """HTTP."""
        self.built.append(Speaker("http"))
        return self.built[-1]

    def build_websocket(self, request: Any, address: Any) -> Speaker:
        """A WebSocket, unless the door says no."""
        if self.refuses:
            raise Refused(403, "not you")
        self.built.append(Speaker("websocket"))
        return self.built[-1]


class HandingOverTest(SynchronousTestCase):
    """From the first bytes on the connection belongs to one of the two."""

    def setUp(self) -> None:
        self.place = Place()
        self.first = FirstLook(self.place, None, NO_PLACE)
        self.transport = StringTransport()
        self.transport.abortConnection = self.transport.loseConnection  # type: ignore[method-assign]
        self.first.makeConnection(self.transport)

    def tearDown(self) -> None:
        self.assertEqual(self.place.reactor.getDelayedCalls(), [])

    def speaker(self, *chunks: bytes) -> Speaker:
        """Who speaks after these bytes."""
        for chunk in chunks:
            self.first.dataReceived(chunk)
        (speaker,) = self.place.built
        return speaker

    def test_websocket(self) -> None:
        """It gets every byte from the first on, and the transport."""
        speaker = self.speaker(HEAD, b"frame")
        self.assertEqual((speaker.name, speaker.octets), ("websocket", HEAD + b"frame"))
        self.assertIs(speaker.transport, self.transport)
        self.assertIs(self.transport.protocol, speaker)

    def test_half_a_head_is_for_http(self) -> None:
        """Waiting for the rest is what HTTP is good at."""
        speaker = self.speaker(HEAD[:40], HEAD[40:])
        self.assertEqual((speaker.name, speaker.octets), ("http", HEAD))

    def test_refused_at_the_door(self) -> None:
        """HTTP says why."""
        self.place.refuses = True
        self.assertEqual(self.speaker(HEAD).name, "http")

    def test_end(self) -> None:
        """Whoever speaks is told."""
        speaker = self.speaker(HEAD)
        self.first.connectionLost(Failure(ConnectionDone()))
        self.assertTrue(speaker.lost)

    def test_says_nothing(self) -> None:
        """A connection without a word is cut; one that ends before has no timer."""
        self.place.reactor.advance(15)
        self.assertTrue(self.transport.disconnecting)
        other = FirstLook(self.place, None, NO_PLACE)
        other.makeConnection(StringTransport())
        other.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.place.built, [])
