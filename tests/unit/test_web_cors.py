"""Cross-origin pages: the headers without which a browser shows them no answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ctrader_twisted.web import files
from ctrader_twisted.web.arrivals import HEAD_BYTES, HEAD_END_S, HEAD_LINES, LINGER_S
from ctrader_twisted.web.cors import PUBLIC
from tests.unit.door_case import ARRIVAL_S, BODY_LIMIT, Answer, DoorCase

PAGE = "https://app.example.com"
ORIGIN = b"Origin: " + PAGE.encode() + b"\r\n"
HOST = b"Host: localhost\r\n"


class CorsCase(DoorCase):
    """A daemon that one other origin may call."""

    def setUp(self) -> None:
        super().setUp()
        self.key()
        self.build(is_local=False, with_keys=True, origins=(PAGE,), calls_per_s=1000.0)

    def send(self, *chunks: bytes) -> Answer:
        """Octets on a connection of their own."""
        socket = self.socket()
        for chunk in chunks:
            socket.send(chunk)
        return socket.answer()

    def assert_readable(self, answer: Answer, status: int) -> None:
        """The page can read this answer, and what matters of its headers."""
        self.assertEqual(answer.status, status)
        self.assertEqual(answer.headers["access-control-allow-origin"], PAGE)
        exposed = answer.headers["access-control-expose-headers"].lower().split(", ")
        for name in ("retry-after", "x-correlation-id", "ratelimit", "ratelimit-policy"):
            self.assertIn(name, exposed)
        self.assertIn("Origin", answer.headers["vary"].split(", "))


class EveryAnswerTest(CorsCase):
    """Whatever is refused, an allowed page can read why."""

    def test_after_the_head(self) -> None:
        """Answers to requests whose head was read."""
        asks = {"Origin": PAGE}
        long_body = {"Content_Type": "application/json"}
        for status, answer in (
            (200, self.ask("/healthz", **asks)),
            (200, self.ask("/", **asks)),
            (400, self.ask("/%ff", **asks)),
            (401, self.ask("/metrics", **asks)),
            (401, self.ask("/metrics", Authorization="Bearer x", **asks)),
            (403, self.ask("/healthz", **{**asks, "Host": "evil.example"})),
            (404, self.ask("/static/nope", **asks)),
            (405, self.ask("/healthz", method="DELETE", **asks)),
            (405, self.ask("/healthz", method="get", **asks)),
            (413, self.ask(method="POST", body=b"x" * (BODY_LIMIT + 1), **asks, **long_body)),
            (415, self.ask(method="POST", body=b"x", **asks)),
        ):
            self.assert_readable(answer, status)

    def test_rate_limit(self) -> None:
        """429, with the header that says when to come back."""
        self.build(is_local=False, origins=(PAGE,), calls_per_s=0.1)
        answers = [self.ask("/any", Origin=PAGE) for _ in range(2)]
        self.assert_readable(answers[1], 429)
        self.assertIn("retry-after", answers[1].headers)

    def test_a_fault_of_ours(self) -> None:
        """500."""
        self.patch(self.site, "getResourceFor", lambda _: 1 / 0)
        self.assert_readable(self.ask("/healthz", Origin=PAGE), 500)
        self.flushLoggedErrors(ZeroDivisionError)

    def heads(self) -> Iterator[tuple[int, bytes]]:
        """Heads that are refused before they are parsed to the end."""
        start = b"GET /healthz HTTP/1.1\r\n"
        long_line = b"GET /?" + b"a" * HEAD_BYTES + b" HTTP/1.1\r\n"
        long_header = b"Cookie: " + b"a" * HEAD_BYTES + b"\r\n"
        many = b"X: y\r\n" * HEAD_LINES
        for front, back in ((ORIGIN, b""), (b"", ORIGIN), (b"", ORIGIN + b"A: b\r\n")):
            yield 414, long_line + HOST + front + b"C: d\r\n" + back + b"\r\n"
            for too_much in (long_header, many):
                yield 431, start + HOST + front + too_much + back + b"\r\n"
            yield 400, start + HOST + front + b"no colon\r\n" + back + b"\r\n"
            yield 400, start + front + b"Content-Length: x\r\n" + back + b"\r\n"
            yield 400, start + front + b"Content-Length: " + b"9" * 5000 + b"\r\n" + back + b"\r\n"
            yield 400, b"GET  / /\r\n" + HOST + front + back + b"\r\n"

    def test_in_the_middle_of_the_head(self) -> None:
        """Refusals that come before the head is parsed, wherever Origin stands in it."""
        for status, head in self.heads():
            with self.subTest(status=status, head=head[:30], at=head.find(ORIGIN)):
                self.assert_readable(self.send(head), status)

    def test_in_pieces(self) -> None:
        """The same, however the network cuts a head that is too large."""
        for status, head in self.heads():
            if status == 400:
                continue
            for size in (97, 1460, 16_384, 16_385, len(head) - 3):
                with self.subTest(status=status, size=size, at=head.find(ORIGIN)):
                    pieces = [head[at : at + size] for at in range(0, len(head), size)]
                    self.assert_readable(self.send(*pieces), status)

    def test_a_head_without_end(self) -> None:
        """It is answered after a short while, or when too much more has come."""
        line = b"GET /?" + b"a" * HEAD_BYTES
        socket = self.socket()
        socket.send(line)
        self.assertEqual(socket.transport.value(), b"")
        self.clock.advance(HEAD_END_S)
        self.assert_refused(socket.answer(), 414, "ADDRESS_TOO_LONG")
        socket.send(b"x" * 100_000 + b"\r\n\r\n" + b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual(socket.transport.value(), b"")
        self.clock.advance(LINGER_S)
        self.assertTrue(socket.transport.aborted)
        socket = self.socket()
        socket.send(line + b" HTTP/1.1\r\n" + ORIGIN)
        socket.send(b"X: y\r\n" * HEAD_BYTES)
        self.assert_readable(socket.answer(), 414)

    def test_gone_in_between(self) -> None:
        """A client that goes away before the end of such a head leaves no timer."""
        socket = self.socket()
        socket.send(b"GET /?" + b"a" * HEAD_BYTES)
        socket.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.sockets.remove(socket)

    def test_too_slow(self) -> None:
        """408."""
        for rest in (b"", b"X: y\r\n", b"Content-Length: 5\r\n\r\n{"):
            socket = self.socket()
            socket.send(b"POST /healthz HTTP/1.1\r\n" + HOST + ORIGIN + rest)
            self.clock.advance(ARRIVAL_S)
            self.assert_readable(socket.answer(), 408)

    def test_two_origins(self) -> None:
        """Two Origin headers are none that is allowed, also beside an early refusal."""
        head = b"GET /?" + b"a" * HEAD_BYTES + b" HTTP/1.1\r\n" + ORIGIN + ORIGIN + b"\r\n"
        self.assertNotIn("access-control-allow-origin", self.send(head).headers)
        head = b"GET /healthz HTTP/1.1\r\n" + HOST + ORIGIN + b"Origin: https://e.example\r\n\r\n"
        self.assert_refused(self.send(head), 403, "ORIGIN_REFUSED")

    def test_other_origins(self) -> None:
        """Pages of other origins can read nothing, and caches know that Origin matters."""
        answers = [self.ask("/healthz", Origin="https://evil.example"), self.ask("/healthz")]
        for _, head in self.heads():
            answers.append(self.send(head.replace(b"app.example.com", b"evil.example")))
            answers.append(self.send(head.replace(ORIGIN, b"")))
        for answer in answers:
            self.assertNotIn("access-control-allow-origin", answer.headers)
            self.assertIn("Origin", answer.headers["vary"].split(", "))

    def test_page_of_this_machine(self) -> None:
        """Where only this machine can call, its pages can read early refusals, too."""
        self.build()
        page = "http://localhost:3000"
        head = (
            b"GET /?" + b"a" * HEAD_BYTES + b" HTTP/1.1\r\nOrigin: " + page.encode() + b"\r\n\r\n"
        )
        self.assertEqual(self.send(head).headers["access-control-allow-origin"], page)

    def test_preflight(self) -> None:
        """The question before is answered by what may be sent."""
        answer = self.ask(
            "/metrics", method="OPTIONS", Origin=PAGE, Access_Control_Request_Method="GET"
        )
        self.assert_readable(answer, 204)
        self.assertEqual(answer.headers["access-control-allow-methods"], "GET, POST, DELETE")


class FilesTest(CorsCase):
    """Static files, and those of them that every page may read."""

    def test_vary(self) -> None:
        """Origin, and what the file itself varies by."""
        for target, names in (
            ("/static/index.html", ["Origin", "accept-encoding"]),
            ("/favicon.ico", ["Origin", "accept-encoding", "accept"]),
            ("/asyncapi.json", ["Origin", "accept-encoding", "accept"]),
        ):
            self.build(origins=(PAGE,))
            answer = self.ask(target, Origin=PAGE)
            self.assert_readable(answer, 200)
            self.assertEqual(answer.headers["vary"].split(", "), names)
            again = self.ask(target, Origin=PAGE, If_None_Match=answer.headers["etag"])
            self.assert_readable(again, 304)
            self.assertEqual(again.headers["vary"].split(", "), names)

    def test_client_module(self) -> None:
        """The client module is there for the pages of everybody, with nothing else."""
        for target in sorted(path.decode() for path in PUBLIC):
            for origin in ("https://evil.example", "null", "http://localhost:1", PAGE, ""):
                for method in ("GET", "HEAD"):
                    answer = self.ask(target, method=method, Origin=origin)
                    self.assertEqual(answer.status, 200, (target, origin))
                    self.assertEqual(answer.headers["access-control-allow-origin"], "*")
                    self.assertEqual(
                        answer.headers["content-type"].partition(";")[0], "text/javascript"
                    )
            post = self.ask(target, method="POST", Origin="https://evil.example")
            self.assert_refused(post, 403, "ORIGIN_REFUSED")
            self.assert_refused(self.ask(target, Host="evil.example"), 403, "HOST_REFUSED")

    def test_nothing_but_the_client_module(self) -> None:
        """No other path is open to everybody, in whatever spelling."""
        for target in (
            "/static/index.html",
            "/static/page/app.js",
            "/static/ctrader-stream.js/",
            "/static//ctrader-stream.js",
            "//static/ctrader-stream.js",
            "/static/%63trader-stream.js",
            "/asyncapi.json",
        ):
            answer = self.ask(target, Origin="https://evil.example")
            self.assert_refused(answer, 403, "ORIGIN_REFUSED")
            self.assertNotIn("access-control-allow-origin", answer.headers)

    def test_the_module_is_whole(self) -> None:
        """All that the client module imports is open, too."""
        for target in PUBLIC:
            text = Path(files.STATIC, target.decode().removeprefix("/static/")).read_text()
            for line in text.splitlines():
                if line.startswith(("import ", "export ")) and " from " in line:
                    name = line.rpartition(" from ")[2].strip(" ;'\"").removeprefix("./")
                    self.assertIn(f"/static/{name}".encode(), PUBLIC)
