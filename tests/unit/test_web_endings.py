"""The end of an HTTP connection: half-closed, idle, or with an answer that is never read."""

from __future__ import annotations

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.logger import LogEvent, globalLogPublisher

from ctrader_twisted.web.endings import IDLE_ANSWER_S, LAST_ANSWER_S
from ctrader_twisted.web.site import IDLE_S
from tests.unit.door_case import Answer, DoorCase, Socket

ASK = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def end_of_input(socket: Socket) -> None:
    """The client closes its sending side."""
    protocol = socket.transport.protocol
    assert IHalfCloseableProtocol.providedBy(protocol)
    protocol.readConnectionLost()


class HalfClosedTest(DoorCase):
    """Clients that close their sending side after the last request, as ``nc -N`` does."""

    def test_answered(self) -> None:
        """The answer is written before the connection is closed."""
        socket = self.socket()
        socket.send(ASK)
        end_of_input(socket)
        self.assertTrue(socket.transport.disconnecting)
        self.assertEqual(socket.answer().status, 200)
        # Reading the end again, as after a pause, changes nothing.
        end_of_input(socket)

    def test_pipelined(self) -> None:
        """All requests that came are answered."""
        socket = self.socket()
        socket.send(ASK * 30)
        end_of_input(socket)
        self.assertFalse(socket.transport.disconnecting)
        self.clock.advance(0)
        self.assertTrue(socket.transport.disconnecting)
        self.assertEqual(socket.transport.value().count(b"HTTP/1.1 200 OK"), 30)

    def test_incomplete(self) -> None:
        """Of a request that will never be complete nothing is waited for."""
        for octets in (
            ASK[:20],
            ASK[:-2],
            ASK.replace(b"\r\n\r\n", b"\r\nContent-Length: 9\r\n\r\n{"),
        ):
            socket = self.socket()
            socket.send(octets)
            end_of_input(socket)
            self.assertTrue(socket.transport.disconnecting, octets)
            self.assertEqual(socket.transport.value(), b"")

    def test_refused(self) -> None:
        """A refusal is written, also one that waited for the end of a head that is too large."""
        for octets, status in ((b"BAD\r\n\r\n", 400), (b"GET /" + b"a" * 20_000, 414)):
            socket = self.socket()
            socket.send(octets)
            end_of_input(socket)
            self.assertTrue(socket.transport.disconnecting)
            self.assertEqual(socket.answer().status, status)

    def test_nothing_asked(self) -> None:
        """An idle connection is closed at once."""
        socket = self.socket()
        socket.send(ASK)
        socket.answer()
        end_of_input(socket)
        self.assertTrue(socket.transport.disconnecting)


class EndTest(DoorCase):
    """Ends that the client does not choose."""

    def setUp(self) -> None:
        super().setUp()
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def test_idle(self) -> None:
        """A connection without a request is closed, and no line is logged; one whose client has
        not read its answers is cut off a little later.
        """
        socket = self.socket()
        socket.send(ASK)
        self.clock.advance(IDLE_S - 0.1)
        self.assertFalse(socket.transport.disconnecting)
        self.clock.advance(0.1)
        self.assertTrue(socket.transport.disconnecting)
        self.assertFalse(socket.transport.aborted)
        self.clock.advance(IDLE_ANSWER_S)
        self.assertTrue(socket.transport.aborted)
        self.assertEqual(self.events, [])

    def test_last_answer_is_not_read(self) -> None:
        """After the last answer a client that does not read it is waited for within a bound."""
        for version, line in ((b"1.1", b"Connection: close\r\n"), (b"1.0", b"")):
            socket = self.socket()
            socket.send(ASK.replace(b"1.1", version).replace(b"\r\n\r\n", b"\r\n" + line + b"\r\n"))
            self.assertTrue(socket.transport.disconnecting)
            self.clock.advance(LAST_ANSWER_S - 0.1)
            self.assertFalse(socket.transport.aborted)
            self.clock.advance(0.1)
            self.assertTrue(socket.transport.aborted)
        self.assertEqual(self.events, [])

    def test_options_of_the_server(self) -> None:
        """``OPTIONS *`` tells the methods, and not which version of Twisted answers."""
        answer: Answer = self.ask("*", method="OPTIONS")
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertEqual(answer.headers["server"], "ctrader-stream")
        self.assertEqual(answer.headers["allow"], "GET, HEAD")


class CacheTest(DoorCase):
    """What caches between us and a browser have to know."""

    def test_not_modified_has_no_length(self) -> None:
        """A 304 has no body, and so no length: 0 would be that of the file (RFC 9110 8.6)."""
        tag = self.ask("/static/ctrader-stream.js").headers["etag"]
        for method in ("GET", "HEAD"):
            for known in (tag, "*"):
                answer = self.ask("/static/ctrader-stream.js", method=method, If_None_Match=known)
                self.assertEqual((answer.status, answer.body), (304, b""))
                self.assertNotIn("content-length", answer.headers)
                self.assertNotIn("transfer-encoding", answer.headers)
                self.assertEqual(answer.headers["etag"], tag)

    def test_text_or_page(self) -> None:
        """The text at ``/`` is for those who do not ask for the page."""
        for accept in ("text/plain", "text/html"):
            answer = self.ask("/", Accept=accept)
            self.assertTrue(answer.headers["content-type"].startswith(accept))
            self.assertIn("accept", answer.headers["vary"].split(", "))
