"""Request targets: whole addresses as for a proxy, and other ones than paths."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.web.targets import RestOfHead, split_target
from tests.rfc6455 import HANDSHAKE
from tests.unit.door_case import Answer
from tests.unit.site_case import SiteCase


class TargetTest(SiteCase):
    """What is served, and what is refused."""

    def setUp(self) -> None:
        super().setUp()
        self.serve(hosts=("ticks.example.com",), calls_per_s=1000.0)

    def problem(self, answer: Answer) -> tuple[int, str]:
        """Status and code of a refusal."""
        return answer.status, answer.problem["code"]

    def test_ours(self) -> None:
        """An address of this server is its path, whatever Host says; the query stays."""
        for target in (
            "http://localhost/version",
            "HTTP://LOCALHOST/version",
            "https://localhost/version",
            "http://localhost:8080/version",
            "http://127.0.0.1:8080/version",
            "http://[::1]:8080/version",
            "http://ticks.example.com/version",
            "http://Ticks.Example.com.:80/version?a=http://evil.example/",
        ):
            for host in ("localhost", "other.example", "ticks.example.com:1"):
                answer = self.get(target, host=host)
                self.assertEqual(answer.status, 200, (target, host))
                self.assertIn(b"protocol", answer.body)
        answer = self.get("http://localhost/ctrader/diagnose?symbol=EURUSD")
        self.assertIn("cannot tell", answer.problem["detail"])

    def test_no_path(self) -> None:
        """Without a path it is the root, with or without a query."""
        for target in ("http://localhost", "http://localhost?a=/b", "http://localhost:80/"):
            answer = self.get(target)
            self.assertEqual(answer.status, 200, target)
            self.assertTrue(answer.headers["content-type"].startswith("text/plain"), target)

    def test_foreign(self) -> None:
        """The authority is checked as Host is, and Host does not help."""
        for target in (
            "http://evil.example/version",
            "http://localhost.evil.example/version",
            "http://localhost@evil.example/version",
            "http://evil.example@localhost/version",
            "http://user:word@localhost/version",
            "http://localhost,evil.example/version",
            "http://localhost:x/version",
            "http://localhost:123456/version",
            "http://[::1/version",
            "http:///version",
            "http://",
            "http://\\localhost/version",
            "http://localhost\\version",
        ):
            answer = self.get(target, host="localhost")
            self.assertEqual(self.problem(answer), (403, "HOST_REFUSED"), target)

    def test_host_must_be_there(self) -> None:
        """HTTP/1.1 demands one Host beside it."""
        target = "http://localhost/version"
        self.assertEqual(self.get(target, host=None).status, 403)
        self.assertEqual(self.get(target, headers=["Host: localhost"]).status, 403)
        wire = self.connection("127.0.0.1")
        wire.protocol.dataReceived(b"GET http://localhost/version HTTP/1.0\r\n\r\n")
        wire.turn()
        self.assertIn(b" 200 ", wire.kernel.octets.splitlines()[0])
        wire.lose()
        wire = self.connection("127.0.0.1")
        wire.protocol.dataReceived(b"GET http://evil.example/version HTTP/1.0\r\n\r\n")
        wire.turn()
        self.assertIn(b" 403 ", wire.kernel.octets.splitlines()[0])
        wire.lose()

    def test_keys(self) -> None:
        """What needs a key by its path needs it by its address; what does not, does not."""
        self.serve(is_local=False)
        for path, status in (
            ("/version", 401),
            ("/metrics", 401),
            ("/healthz", 200),
            ("/static/ctrader-stream.js", 200),
            ("", 200),
        ):
            self.assertEqual(self.get(f"http://localhost{path}").status, status, path)
        answer = self.get(
            "http://localhost/version", headers=[f"Authorization: Bearer {self.token}"]
        )
        self.assertEqual(answer.status, 200)

    def test_same_origin(self) -> None:
        """The authority is what Origin is compared with."""
        origin = ["Origin: http://ticks.example.com"]
        self.serve(hosts=("ticks.example.com",), is_local=False)
        target = "http://ticks.example.com/healthz"
        self.assertEqual(self.get(target, headers=origin).status, 200)
        self.assertEqual(self.get("http://localhost/healthz", headers=origin).status, 403)

    def test_websocket(self) -> None:
        """The same for the tick stream."""
        for target in (
            b"http://localhost/ws",
            b"HTTP://localhost:8080/ws?x=y",
            b"http://localhost",
        ):
            handshake = HANDSHAKE.replace(b"GET /ws", b"GET " + target)
            self.assertTrue(self.is_let_in(self.websocket(handshake=handshake)), target)
        self.serve(is_local=False)
        handshake = HANDSHAKE.replace(b"GET /ws", b"GET http://localhost/ws")
        self.assertFalse(self.is_let_in(self.websocket(handshake=handshake)))
        handshake = handshake.replace(b"Host: localhost", b"Host: other.example")
        self.assertTrue(self.is_let_in(self.websocket(handshake=handshake), token=self.token))
        upgrade = ["Upgrade: websocket", "Connection: Upgrade"]
        answer = self.get("http://evil.example/ws", headers=upgrade)
        self.assertEqual(self.problem(answer), (403, "HOST_REFUSED"))

    def test_neither(self) -> None:
        """What is neither a path nor an address is refused, and never taken for a path."""
        for target in (
            "version",
            "xversion",
            "healthz",
            "xhealthz",
            "ws",
            "xws",
            "localhost",
            "localhost:80",
            "ftp://localhost/version",
            "ws://localhost/ws",
            "http:/version",
            "http:version",
            "://localhost/version",
            "?a",
            "#",
            "**",
            "\\version",
        ):
            answer = self.get(target)
            self.assertEqual(self.problem(answer), (400, "BAD_REQUEST"), target)
        for target in (
            "//version",
            "//healthz",
            "//localhost/version",
            "//",
            "///",
            "/http://localhost/version",
        ):
            self.assertEqual(self.problem(self.get(target)), (404, "NOT_FOUND"), target)

    def test_other_forms(self) -> None:
        """The asterisk is for OPTIONS, and an authority for CONNECT, which we are not there for."""
        self.assertEqual(self.get("*", method="OPTIONS").status, 200)
        answer = self.get("*")
        self.assertEqual(self.problem(answer), (405, "METHOD_NOT_ALLOWED"))
        self.assertEqual(answer.headers["allow"], "OPTIONS")
        for target in ("localhost:80", "/version", "http://localhost/version"):
            answer = self.get(target, method="CONNECT")
            self.assertEqual(self.problem(answer), (405, "METHOD_NOT_ALLOWED"), target)

    def test_strangers(self) -> None:
        """Without a key odd targets say nothing but that."""
        self.serve(is_local=False)
        for target in ("*", "version", "localhost:80", "ftp://localhost/version"):
            self.assertEqual(self.get(target).status, 401, target)


class SplitTest(SynchronousTestCase):
    """The functions by themselves."""

    def test_split(self) -> None:
        """Authority and path."""
        for target, expected in (
            (b"/x", (None, b"/x")),
            (b"http://h/x?y=z", (b"h", b"/x?y=z")),
            (b"hTTpS://h:1", (b"h:1", b"/")),
            (b"http://h?x", (b"h", b"/?x")),
            (b"http://h#x", (b"h", b"/#x")),
            (b"http:///x", (b"", b"/x")),
            (b"ftp://h/x", (None, b"ftp://h/x")),
            (b"*", (None, b"*")),
        ):
            self.assertEqual(split_target(target), expected)

    @given(st.binary(max_size=60))
    def test_any_target(self, octets: bytes) -> None:
        """Nothing raises; what has an authority has a path."""
        for target in (octets, b"http://" + octets):
            authority, path = split_target(target)
            self.assertTrue(authority is None or path.startswith(b"/"))

    @given(st.lists(st.binary(max_size=700), max_size=8), st.integers(1, 900))
    def test_any_rest(self, parts: list[bytes], size: int) -> None:
        """However it is cut, the rest of a head has the same Origin, within its limit."""
        octets = b"".join(parts) + b"\r\nOrigin: a\r\n\r\nOrigin: b\r\n"
        whole, cut = RestOfHead(10_000), RestOfHead(10_000)
        whole.feed(octets)
        for at in range(0, len(octets), size):
            if not cut.is_complete:
                cut.feed(octets[at : at + size])
        self.assertTrue(whole.is_complete and cut.is_complete)
        self.assertEqual(cut.origins, whole.origins)
