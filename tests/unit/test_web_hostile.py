"""What a hostile or broken client sends over HTTP: it gets a problem, and our log no fault."""

from __future__ import annotations

from typing import Any

from twisted.logger import LogLevel, globalLogPublisher
from twisted.web import http

from ctrader_twisted.web.arrivals import HEAD_BYTES, HEAD_END_S, HEAD_LINES
from tests.rfc6455 import HANDSHAKE
from tests.unit.door_case import Answer, DoorCase

CHUNKED = b"POST /version HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


class HostileCase(DoorCase):
    """Nothing is logged that a stranger could cause."""

    def setUp(self) -> None:
        super().setUp()
        self.logged: list[Any] = []
        globalLogPublisher.addObserver(self.see)
        self.addCleanup(globalLogPublisher.removeObserver, self.see)

    def see(self, event: dict[str, Any]) -> None:
        """All that an operator would read; errands have their own line for every request."""
        errand = event.get("log_namespace", "").startswith("ctrader_twisted.asking")
        if event["log_level"] >= LogLevel.info and not errand:
            self.logged.append(event)

    def tearDown(self) -> None:
        super().tearDown()
        self.assertEqual(self.logged, [])

    def send(self, *chunks: bytes) -> Answer:
        """Octets as they are, on a connection of their own."""
        socket = self.socket()
        for chunk in chunks:
            socket.send(chunk)
        if not socket.transport.value():
            # A head that is too large, and without an end, is answered a little later.
            self.clock.advance(HEAD_END_S)
        return socket.answer()

    def head(self, *lines: bytes, line: bytes = b"GET /version HTTP/1.1") -> bytes:
        """A whole head with these lines in it."""
        return b"\r\n".join([line, b"Host: localhost", *lines, b"", b""])


class HeaderTest(HostileCase):
    """Headers that no browser sends."""

    def test_octets_that_are_no_text(self) -> None:
        """Whatever octets are in a header that we read, the answer is the usual one."""
        self.key()
        self.build(with_keys=True)
        for line, status, code in (
            (b"Authorization: Bearer \xe9\xff", 401, "KEY_WRONG"),
            (b"Origin: http://\xe9", 403, "ORIGIN_REFUSED"),
            (b"X-Forwarded-For: \xff", 401, "KEY_REQUIRED"),
        ):
            self.assert_refused(self.send(self.head(line)), status, code)
        answer = self.send(b"GET / HTTP/1.1\r\nHost: \xe9\r\n\r\n")
        self.assert_refused(answer, 403, "HOST_REFUSED")
        for line in (b"Authorization: \xff", b"X-Correlation-Id: \xff", b"Upgrade: \xff"):
            self.assertEqual(self.send(self.head(line)).status, 200, line)
        head = self.head(b"Content-Type: \xff", b"Content-Length: 2", line=b"POST / HTTP/1.1")
        self.assert_refused(self.send(head + b"{}"), 415, "NOT_JSON")

    def test_names_that_are_none(self) -> None:
        """A Host that no DNS could hold is refused before anybody tries to make sense of it."""
        for host in (
            "a..localhost",
            ".localhost",
            "." * 5 + "localhost",
            "a" * 64 + ".localhost",
            ("a" * 60 + ".") * 5 + "localhost",
        ):
            self.assert_refused(self.ask("/version", Host=host), 403, "HOST_REFUSED")

    def test_too_long(self) -> None:
        """A line, or a head, beyond the limit is answered, however it is cut into pieces."""
        line = b"GET /" + b"a" * HEAD_BYTES + b" HTTP/1.1"
        for chunks, status, code in (
            ((self.head(line=line),), 414, "ADDRESS_TOO_LONG"),
            ((line,), 414, "ADDRESS_TOO_LONG"),
            ((self.head(b"X: " + b"a" * HEAD_BYTES),), 431, "HEAD_TOO_LARGE"),
            ((self.head()[:-2], b"X: " + b"a" * HEAD_BYTES), 431, "HEAD_TOO_LARGE"),
            ((self.head(*[b"X: " + b"a" * 100] * (HEAD_BYTES // 100)),), 431, "HEAD_TOO_LARGE"),
            ((self.head(*[b"X: a"] * HEAD_LINES),), 431, "HEAD_TOO_LARGE"),
        ):
            with self.subTest(code, first=chunks[0][:20]):
                self.assert_refused(self.send(*chunks), status, code)

    def test_a_websocket_has_the_same_limit(self) -> None:
        """Also when its whole head comes at once."""
        head = HANDSHAKE + b"X: " + b"a" * HEAD_BYTES + b"\r\n\r\n"
        self.assert_refused(self.send(head), 431, "HEAD_TOO_LARGE")

    def test_each_request_anew(self) -> None:
        """The limit is one request's: a connection may carry any number of them."""
        socket = self.socket()
        for _ in range(5):
            socket.send(self.head(b"X: " + b"a" * (HEAD_BYTES // 2)))
            self.assertEqual(socket.answer().status, 200)

    def test_lengths(self) -> None:
        """A Content-Length that is no length, or two, is 400; one with too many digits too."""
        for lines in (
            [b"Content-Length: " + b"9" * 5000],
            [b"Content-Length: -1"],
            [b"Content-Length: +5"],
            [b"Content-Length: 5, 5"],
            [b"Content-Length: 5", b"Content-Length: 5"],
            [b"Content-Length: 5", b"Content-Length: 6"],
            [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
            [b"Transfer-Encoding: chunked", b"Content-Length: 5"],
            [b"Transfer-Encoding: xchunked"],
            [b"Transfer-Encoding: chunked, chunked"],
            [b"Transfer-Encoding: \x0bchunked"],
            [b"Transfer-Encoding : chunked"],
        ):
            for after in ([], [b"X: y"]):
                head = self.head(*lines, *after, line=b"POST /version HTTP/1.1")
                socket = self.socket()
                socket.send(head + b"0\r\n\r\n" + self.head())
                answer = socket.answer()
                self.assert_refused(answer, 400, "BAD_REQUEST")
                self.assertEqual(answer.body.count(b"HTTP/1.1"), 0, "one answer, and no more")


class BodyTest(HostileCase):
    """Bodies that are none."""

    def test_chunks(self) -> None:
        """Chunks by the letter only."""
        for body in (
            b"zz\r\n",
            b"-1\r\n",
            b"1\r\nxx\r\n",
            b"1;" + b"a" * 5000,
            b"0x1\r\n",
            b"\r\n",
        ):
            self.assert_refused(self.send(CHUNKED + body), 400, "BAD_REQUEST")

    def test_forms(self) -> None:
        """Forms are not read at all."""
        for kind in (
            b"multipart/form-data",
            b"multipart/form-data; boundary=x",
            b'multipart/form-data; boundary="\xff\xfe',
            b"application/x-www-form-urlencoded",
        ):
            head = self.head(
                b"Content-Type: " + kind, b"Content-Length: 2", line=b"POST /version HTTP/1.1"
            )
            self.assert_refused(self.send(head + b"{}"), 415, "NOT_JSON")

    def test_bodies_of_all_methods(self) -> None:
        """A body must be JSON, whatever the method is called."""
        for method in ("GET", "POST", "DELETE", "PATCH", "BREW"):
            answer = self.ask("/version", method=method, body=b"{}", Content_Type="text/plain")
            self.assert_refused(answer, 415, "NOT_JSON")


class PathTest(HostileCase):
    """Paths that lead nowhere."""

    def test_not_utf8(self) -> None:
        """A path that is no text is 400."""
        for target in (b"/%ff%fe", b"/version/%ff", b"/\x80", b"/static/%ff", b"/ws/%ff"):
            answer = self.send(self.head(line=b"GET " + target + b" HTTP/1.1"))
            self.assert_refused(answer, 400, "BAD_REQUEST")

    def test_unknown(self) -> None:
        """Nothing is found by another spelling, and nothing leads out of the static files."""
        for target in (
            "/version/",
            "/ctrader//diagnose?symbol=EURUSD",
            "/%00",
            "/healthz/../version",
            "/healthz%2f..%2fversion",
            "/asyncapi.json/x",
            "/asyncapi.json/",
            "/static",
            "/static/",
            "/static/nope",
            "/static/../keys.json",
            "/static/%2e%2e/%2e%2e/site.py",
            "/static//etc/passwd",
        ):
            answer = self.ask(target)
            self.assert_refused(answer, 404, "NOT_FOUND")
            self.assertIn("ctrader-stream", answer.headers["server"])


class MethodTest(HostileCase):
    """Methods that there are not."""

    targets = ("/version", "/", "/static/index.html", "/asyncapi.json", "/readyz")

    def test_not_allowed(self) -> None:
        """405 everywhere, with the methods that there are."""
        for target in self.targets:
            for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"):
                answer = self.ask(target, method=method)
                self.assert_refused(answer, 405, "METHOD_NOT_ALLOWED")
                self.assertIn("GET", answer.headers["allow"])

    def test_case(self) -> None:
        """Methods are upper-case; what is written otherwise is another method."""
        for method in ("get", "Get", "pOST"):
            self.assert_refused(self.ask(method=method), 405, "METHOD_NOT_ALLOWED")

    def test_head(self) -> None:
        """HEAD is GET without its body: the same status, and the length where it is known."""
        for target in (*self.targets, "/nowhere", "/static/nope"):
            answer, other = self.ask(target, method="HEAD"), self.ask(target)
            self.assertEqual(answer.body, b"")
            self.assertEqual(answer.status, other.status, target)
            if "content-length" in answer.headers:
                self.assertEqual(answer.headers["content-length"], str(len(other.body)), target)


class Http2Test(HostileCase):
    """HTTP/2, which we do not speak."""

    def test_preface(self) -> None:
        """Who begins with it is told in HTTP/1.1."""
        answer = self.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        self.assert_refused(answer, 400, "BAD_REQUEST")

    def test_upgrade(self) -> None:
        """Who asks to change to it is answered in HTTP/1.1."""
        lines = (
            b"Connection: Upgrade, HTTP2-Settings",
            b"Upgrade: h2c",
            b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
        )
        answer = self.send(self.head(*lines, line=b"GET /healthz HTTP/1.1"))
        self.assertEqual(answer.status, 200)
        self.assertNotIn("upgrade", answer.headers)

    def test_what_is_agreed_on(self) -> None:
        """A TLS client is offered HTTP/1.1, whatever packages are installed."""
        self.patch(http, "H2_ENABLED", True)
        self.assertEqual(self.site.acceptableProtocols(), [b"http/1.1"])
