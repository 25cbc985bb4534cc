"""The WebSocket of a tail, byte by byte, over a transport in memory."""

from __future__ import annotations

import base64
import hashlib
import re

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.tail.connection import TailFactory, TailProtocol
from ctrader_twisted.tls.failures import CertificateRefused


class Heard:
    """Stands in for the follower, and remembers."""

    def __init__(self) -> None:
        self.links: list[TailProtocol] = []
        self.texts: list[str] = []
        self.ends: list[tuple[int, str]] = []

    def opened(self, link: TailProtocol) -> None:
        """Remember the connection."""
        self.links.append(link)

    def received(self, text: str) -> None:
        """Remember the message."""
        self.texts.append(text)

    def lost(self, code: int, reason: str) -> None:
        """Remember the end."""
        self.ends.append((code, reason))


class ConnectionTests(SynchronousTestCase):
    """One connection."""

    def connect(self, url: str = "ws://127.0.0.1:8080/ws") -> str:
        """A connection whose handshake waits for an answer; the request."""
        self.heard = Heard()
        factory = TailFactory(url, self.heard, Clock())  # type: ignore[arg-type]
        self.protocol = factory.buildProtocol(None)
        self.transport = StringTransportWithDisconnection()
        self.transport.protocol = self.protocol
        self.protocol.makeConnection(self.transport)
        # Autobahn's timers run in the real reactor, whichever it is given, until the end.
        self.addCleanup(self.lose, ConnectionDone())
        return self.transport.value().decode()

    def open(self) -> None:
        """A connection that is open."""
        found = re.search("Sec-WebSocket-Key: (.+)\r\n", self.connect())
        assert found is not None
        salted = found[1].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(salted).digest())
        self.protocol.dataReceived(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self.transport.clear()

    def lose(self, reason: BaseException) -> None:
        """The socket is gone."""
        if self.transport.connected:
            self.transport.connected = False
            self.protocol.connectionLost(Failure(reason))

    def test_the_request(self) -> None:
        """Path and host as in the address; no Origin, which only browsers have."""
        request = self.connect("ws://127.0.0.1:8081/a/ws?x=1")
        self.assertIn("GET /a/ws?x=1 HTTP/1.1\r\n", request)
        self.assertIn("Host: 127.0.0.1:8081\r\n", request)
        self.assertNotIn("Origin", request)

    def test_the_host_of_the_newer_protocol(self) -> None:
        """It stands in brackets."""
        self.assertIn("Host: [::1]:8080\r\n", self.connect("ws://[::1]:8080/ws"))

    def test_messages(self) -> None:
        """Text goes in both directions; a binary message is ignored."""
        self.open()
        self.assertEqual(self.heard.links, [self.protocol])
        self.protocol.dataReceived(b"\x82\x01{\x81\x02{}")
        self.assertEqual(self.heard.texts, ["{}"])
        self.protocol.send("{}")
        self.assertEqual(self.transport.value()[:2], b"\x81\x82")

    def test_a_close_frame_counts(self) -> None:
        """Its code and reason are passed on, even when the server hangs up in a hurry."""
        self.open()
        self.protocol.dataReceived(b"\x88\x07" + (4401).to_bytes(2, "big") + b"token")
        self.lose(ConnectionDone())
        self.assertEqual(self.heard.ends, [(4401, "token")])

    def test_a_goodbye(self) -> None:
        """We close with 1000."""
        self.open()
        self.protocol.close()
        first, length, *_ = frame = self.transport.value()
        mask, masked = frame[2:6], frame[6:8]
        code = bytes(a ^ b for a, b in zip(masked, mask, strict=False))
        self.assertEqual((first, length), (0x88, 0x82))
        self.assertEqual(int.from_bytes(code, "big"), 1000)

    def test_reasons(self) -> None:
        """What TLS found wrong, or that there was no goodbye."""
        table: list[tuple[BaseException, str]] = [
            (SSL.Error([("SSL routines", "", "certificate verify failed")]), "verify failed"),
            (CertificateRefused("h", "is for another host name"), "of h is for another host name"),
            (ConnectionDone(), "Connection was closed cleanly"),
        ]
        for error, words in table:
            self.connect()
            self.lose(error)
            ((_, reason),) = self.heard.ends
            self.assertIn(words, reason)

    def test_silence_has_bounds(self) -> None:
        """That of the handshake, and that of an open connection."""
        self.connect()
        self.assertEqual(self.protocol.openHandshakeTimeout, 10)
        self.assertEqual((self.protocol.autoPingInterval, self.protocol.autoPingTimeout), (20, 20))
