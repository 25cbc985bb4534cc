"""The doors: what comes in, what is answered instead, and with which words."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.web import visitors
from ctrader_twisted.web.arrivals import LINGER_S
from ctrader_twisted.web.problems import TABLE, Refused
from ctrader_twisted.web.visitors import Proxies
from tests.unit.door_case import ARRIVAL_S, BODY_LIMIT, DoorCase


class ErrorTableTest(DoorCase):
    """Every error is a problem of the one table."""

    def test_unknown(self) -> None:
        """An unknown path is 404."""
        self.assert_refused(self.ask("/nowhere"), 404, "NOT_FOUND")

    def test_an_icon_for_those_who_look_into_an_address(self) -> None:
        """Browsers ask for it beside whatever they show; it is no 404 in their console."""
        answer = self.ask("/favicon.ico")
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "image/svg+xml"))
        self.assert_refused(self.ask("/favicon.ico/x"), 404, "NOT_FOUND")

    def test_not_allowed(self) -> None:
        """A wrong method is 405, and the right ones are named."""
        answer = self.ask("/healthz", method="DELETE")
        self.assert_refused(answer, 405, "METHOD_NOT_ALLOWED")
        self.assertIn("GET", answer.headers["allow"])

    def test_not_json(self) -> None:
        """A body that does not say that it is JSON is 415; one that does goes on."""
        for kind in ("text/plain", "", "application/x-www-form-urlencoded"):
            answer = self.ask(method="POST", body=b"{}", Content_Type=kind)
            self.assert_refused(answer, 415, "NOT_JSON")
        for kind in ("application/json", "application/json; charset=utf-8", "a/problem+json"):
            answer = self.ask(method="POST", body=b"{}", Content_Type=kind)
            self.assert_refused(answer, 405, "METHOD_NOT_ALLOWED")

    def test_not_http(self) -> None:
        """What is not HTTP is a problem too, as far as it can be."""
        for octets in (b"\x16\x03\x01\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"):
            socket = self.socket()
            socket.send(octets)
            answer = socket.answer()
            self.assertEqual((answer.status, answer.problem["code"]), (400, "BAD_REQUEST"))
            self.clock.advance(LINGER_S)
            self.assertTrue(socket.transport.aborted)

    def test_a_fault_of_ours(self) -> None:
        """What breaks is logged with the id that the client gets, and nothing else goes out."""

        def broken() -> Any:
            raise RuntimeError("s3cr3t place")

        self.build(details=broken)
        answer = self.ask("/readyz", X_Correlation_Id="abc-1")
        self.assert_refused(answer, 500, "INTERNAL_ERROR")
        self.assertEqual(answer.problem["correlation_id"], "abc-1")
        self.assertNotIn(b"s3cr3t", answer.body)
        self.assertNotIn(b"Traceback", answer.body)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_a_fault_before_the_routes(self) -> None:
        """A fault outside the routes is answered in the same shape."""
        self.patch(self.site, "getResourceFor", lambda _: 1 / 0)
        answer = self.ask("/healthz")
        self.assert_refused(answer, 500, "INTERNAL_ERROR")
        self.assertNotIn(b"Traceback", answer.body)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_not_a_websocket(self) -> None:
        """A plain GET of the stream's address is told what is missing."""
        answer = self.ask("/ws")
        self.assert_refused(answer, 426, "UPGRADE_REQUIRED")
        self.assertEqual(answer.headers["upgrade"], "websocket")

    def test_the_table(self) -> None:
        """Every status has a title and a code of its own; an unknown one is a fault of ours."""
        codes = [code for _, code in TABLE.values()]
        self.assertEqual(len(set(codes)), len(codes))
        self.assertEqual(Refused(418, "tea").code, "INTERNAL_ERROR")

    def test_nothing_about_the_server(self) -> None:
        """Neither versions nor content that a browser may guess at."""
        for answer in (self.ask(), self.ask("/nowhere"), self.ask(Host="evil.example")):
            self.assertEqual(answer.headers["server"], "ctrader-stream")
            self.assertEqual(answer.headers["x-content-type-options"], "nosniff")


class CorrelationTest(DoorCase):
    """`X-Correlation-Id` in and out."""

    def test_given(self) -> None:
        """A harmless id comes back."""
        answer = self.ask(X_Correlation_Id="Order-7.a_b")
        self.assertEqual(answer.headers["x-correlation-id"], "Order-7.a_b")

    def test_new(self) -> None:
        """Without one, or with one that could forge a log line, a new one is made."""
        seen = {
            self.ask(X_Correlation_Id=given).headers["x-correlation-id"]
            for given in ("", "a b", "x" * 65, "é", '"}', "{x}")
        }
        self.assertEqual(len(seen), 6)
        for one in seen:
            self.assertRegex(one, r"^[0-9a-f]{16}$")


class BodyTest(DoorCase):
    """Bodies have a limit."""

    def refused(self, octets: bytes) -> None:
        socket = self.socket()
        socket.send(octets)
        answer = socket.answer()
        self.assertEqual((answer.status, answer.problem["code"]), (413, "BODY_TOO_LARGE"))
        self.assertEqual(answer.headers["connection"], "close")
        socket.send(b"x" * 100_000)
        self.assertEqual(socket.transport.value(), b"", "nothing more is answered")
        self.assertFalse(socket.transport.disconnecting, "the answer must be readable first")
        self.clock.advance(LINGER_S)
        self.assertTrue(socket.transport.disconnecting)

    head = b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"

    def test_announced(self) -> None:
        """A length beyond the limit is refused before the body is read."""
        self.refused(self.head + b"Content-Length: %d\r\n\r\n" % (BODY_LIMIT + 1))

    def test_with_expectation(self) -> None:
        """Who asks first is not told to go on."""
        self.refused(
            self.head + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % (BODY_LIMIT + 1)
        )

    def test_chunked(self) -> None:
        """A body without a length is refused when it has grown too large, within one read too."""
        size = BODY_LIMIT + 1
        chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (size, b"x" * size)
        self.refused(self.head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)

    def test_chunks(self) -> None:
        """Many small chunks add up."""
        socket = self.socket()
        socket.send(self.head + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(BODY_LIMIT // 16):
            socket.send(b"10\r\n" + b"x" * 16 + b"\r\n")
        self.assertEqual(socket.transport.value(), b"")
        socket.send(b"1\r\nx\r\n")
        self.assertEqual(socket.answer().status, 413)

    def test_at_the_limit(self) -> None:
        """Exactly the limit goes through."""
        answer = self.ask(method="POST", body=b"x" * BODY_LIMIT, Content_Type="application/json")
        self.assertEqual(answer.status, 405)


class SlowTest(DoorCase):
    """A request has a time to arrive in."""

    def test_trickle(self) -> None:
        """Headers that come line by line do not move the deadline."""
        socket = self.socket()
        socket.send(b"GET /healthz HTTP/1.1\r\n")
        for number in range(int(ARRIVAL_S) - 1):
            self.clock.advance(1)
            socket.send(b"X-%d: y\r\n" % number)
        self.assertEqual(socket.transport.value(), b"")
        self.clock.advance(1)
        answer = socket.answer()
        self.assertEqual((answer.status, answer.problem["code"]), (408, "REQUEST_TIMEOUT"))
        self.clock.advance(LINGER_S)
        self.assertTrue(socket.transport.aborted)

    def test_silence(self) -> None:
        """Who says nothing is cut off without a word."""
        socket = self.socket()
        self.clock.advance(ARRIVAL_S)
        self.assertTrue(socket.transport.aborted)
        self.assertEqual(socket.transport.value(), b"")

    def test_slow_body(self) -> None:
        """A body that does not come is the same."""
        socket = self.socket()
        socket.send(BodyTest.head + b"Content-Length: 5\r\n\r\n{")
        self.clock.advance(ARRIVAL_S)
        self.assertEqual(socket.answer().status, 408)

    def test_each_request_anew(self) -> None:
        """A connection that is kept has the time again for its next request, and may rest."""
        socket = self.socket()
        for _ in range(3):
            socket.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertEqual(socket.answer().status, 200)
            self.clock.advance(ARRIVAL_S * 2)
        socket.send(b"GET /healthz HTTP/1.1\r\n")
        self.clock.advance(ARRIVAL_S)
        self.assertEqual(socket.answer().status, 408)


class HostTest(DoorCase):
    """`Host` must be ours (DNS rebinding)."""

    def test_ours(self) -> None:
        """localhost, plain addresses and configured names."""
        self.build(hosts=("ticks.example.com",))
        for host in (
            "localhost",
            "LOCALHOST:8080",
            "app.localhost",
            "127.0.0.1:8080",
            "[::1]:8080",
            "192.0.2.7",
            "ticks.example.com",
            "Ticks.Example.com.:443",
        ):
            self.assertEqual(self.ask(Host=host).status, 200, host)

    def test_foreign(self) -> None:
        """Everything else is 403, also none at all, and two of them."""
        for host in (
            "evil.example",
            "localhost.evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "",
            "localhost, evil.example",
            "a b",
            "[::1",
            "localhost@evil.example",
        ):
            self.assert_refused(self.ask(Host=host), 403, "HOST_REFUSED")
        socket = self.socket()
        socket.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        self.assertEqual(socket.answer().status, 403)

    def test_old_health_checks(self) -> None:
        """HTTP/1.0 knows no Host, and no browser speaks it; HTTP/1.1 demands one."""
        socket = self.socket()
        socket.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        self.assertEqual(socket.answer().status, 200)
        socket = self.socket()
        socket.send(b"GET /healthz HTTP/1.0\r\nHost: evil.example\r\n\r\n")
        self.assertEqual(socket.answer().status, 403)
        socket = self.socket()
        socket.send(b"GET /healthz HTTP/1.1\r\n\r\n")
        self.assertEqual(socket.answer().status, 403)

    def test_upgrade(self) -> None:
        """An upgrade with a foreign Host is refused by HTTP: no page can be the one that reads."""
        answer = self.ask("/ws", Host="evil.example", Upgrade="websocket")
        self.assert_refused(answer, 403, "HOST_REFUSED")


class OriginTest(DoorCase):
    """Pages of other origins."""

    def test_same(self) -> None:
        """Our own page, with and without a default port."""
        for host, origin in (
            ("localhost:8080", "http://localhost:8080"),
            ("localhost", "http://localhost"),
            ("localhost:443", "https://localhost"),
            ("LOCALHOST", "https://localhost:443"),
        ):
            self.build(is_local=False)
            self.assertEqual(self.ask(Host=host, Origin=origin).status, 200, (host, origin))

    def test_foreign(self) -> None:
        """Others are 403, files and sandboxes (null) too."""
        for origin in (
            "https://evil.example",
            "null",
            "http://localhost.evil.example",
            "localhost",
            "file://",
            "http://",
            "http://[::1",
            "http://localhost:8080, http://evil.example",
        ):
            self.assert_refused(self.ask(Origin=origin), 403, "ORIGIN_REFUSED")

    def test_development(self) -> None:
        """A page from another port of this machine may call while only this machine can."""
        page = "http://localhost:3000"
        self.assertEqual(self.ask(Origin=page).headers["access-control-allow-origin"], page)
        self.build(is_local=False)
        self.assert_refused(self.ask(Origin=page), 403, "ORIGIN_REFUSED")

    def test_configured(self) -> None:
        """A configured origin may, and browsers are told so."""
        self.build(is_local=False, origins=("https://app.example.com",))
        answer = self.ask(Origin="https://app.example.com")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["access-control-allow-origin"], "https://app.example.com")
        self.assertEqual(answer.headers["vary"], "Origin")
        self.assert_refused(self.ask(Origin="https://app.example.com.evil"), 403, "ORIGIN_REFUSED")

    def test_preflight(self) -> None:
        """The browser's question needs no key; a foreign page's gets no permission."""
        self.key()
        self.build(is_local=False, with_keys=True, origins=("https://app.example.com",))
        asks = {"method": "OPTIONS", "Access_Control_Request_Method": "POST"}
        answer = self.ask("/metrics", Origin="https://app.example.com", **asks)
        self.assertEqual(answer.status, 204)
        self.assertIn("Authorization", answer.headers["access-control-allow-headers"])
        answer = self.ask("/metrics", Origin="https://evil.example", **asks)
        self.assert_refused(answer, 403, "ORIGIN_REFUSED")
        self.assertNotIn("access-control-allow-headers", answer.headers)


class UpgradeTest(DoorCase):
    """A request to become a WebSocket is let through to be closed with a code, and nothing else."""

    def test_no_way_round_the_door(self) -> None:
        """Whoever says Upgrade where nothing is upgraded needs a key all the same."""
        self.key()
        self.build(is_local=False, with_keys=True)
        for target in (
            "/metrics",
            "/version",
            "/asyncapi.json",
            "/ctrader/diagnose?symbol=EURUSD",
            "/ws/metrics",
            "/ws/",
            "//ws",
            "/nowhere",
            "ws",
            "*",
        ):
            answer = self.ask(target, Upgrade="websocket", Connection="Upgrade")
            self.assert_refused(answer, 401, "KEY_REQUIRED")
        for method in ("POST", "HEAD", "PUT", "OPTIONS"):
            self.assertEqual(self.ask("/ws", method=method, Upgrade="websocket").status, 401)

    def test_origin_and_rate_count_too(self) -> None:
        """Nor is a foreign page let in by it, nor anybody more often than allowed."""
        self.build(is_local=False, calls_per_s=1.0)
        answer = self.ask("/version", Upgrade="websocket", Origin="https://evil.example")
        self.assert_refused(answer, 403, "ORIGIN_REFUSED")
        for _ in range(2):
            self.ask("/version", Upgrade="websocket")
        self.assert_refused(self.ask("/version", Upgrade="websocket"), 429, "RATE_LIMIT")

    def test_other_paths(self) -> None:
        """There is no stream below the stream."""
        for target in ("/ws/", "/ws/1/abc", "/wss", "//ws"):
            answer = self.ask(target, Upgrade="websocket", Connection="Upgrade")
            self.assert_refused(answer, 404, "NOT_FOUND")

    def test_other_methods(self) -> None:
        """A WebSocket begins with GET, and that is said."""
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "HEAD", "BREW"):
            answer = self.ask("/ws", method=method, Upgrade="websocket", Connection="Upgrade")
            self.assertEqual(answer.status, 405, method)
            self.assertEqual(answer.headers["allow"], "GET")

    def test_a_body(self) -> None:
        """A body would be taken for frames, so there may be none."""
        answer = self.ask("/ws", body=b"\x81\x80abcd", Upgrade="websocket", Connection="Upgrade")
        self.assert_refused(answer, 400, "BAD_HANDSHAKE")


class CallersTest(DoorCase):
    """Connections of an address that have shown no key."""

    def setUp(self) -> None:
        super().setUp()
        self.text = self.key()
        proxies = Proxies(networks=(ip_network("10.0.0.0/8"),))
        self.build(is_local=False, with_keys=True, connections_per_address=2, proxies=proxies)

    def is_cut(self, peer: str = "192.0.2.1") -> bool:
        """Is a new connection from there cut before it says a word?"""
        return self.socket(peer).transport.aborted

    def test_silent(self) -> None:
        """One more than allowed is cut, and counted; others are not touched."""
        sockets = [self.socket("192.0.2.1") for _ in range(2)]
        self.assertTrue(self.is_cut())
        self.assertFalse(self.is_cut("192.0.2.2"))
        self.assertEqual(self.metrics.counted("connections_refused"), 1)
        sockets[0].close()
        self.assertFalse(self.is_cut())

    def test_asking(self) -> None:
        """Whoever has asked for something counts as long as the connection is there."""
        for _ in range(2):
            socket = self.socket("192.0.2.1")
            socket.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertEqual(socket.answer().status, 200)
        self.assertTrue(self.is_cut())
        socket.close()
        self.assertFalse(self.is_cut())

    def test_with_a_key(self) -> None:
        """A connection over which a right key has come does not count any more."""
        head = (
            f"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.text}\r\n\r\n"
        )
        for _ in range(5):
            socket = self.socket("192.0.2.1")
            socket.send(head.encode())
            self.assertEqual(socket.answer().status, 404)
            socket.close()
        kept = [self.socket("192.0.2.1") for _ in range(2)]
        for each in kept:
            each.send(head.encode())
        self.assertFalse(self.is_cut())

    def test_exempt(self) -> None:
        """This machine, and a proxy in front of us, may have any number."""
        for peer in ("127.0.0.1", "10.0.0.1"):
            for _ in range(9):
                self.assertFalse(self.is_cut(peer))


class RateTest(DoorCase):
    """How often one may ask."""

    def test_limit(self) -> None:
        """The fields count down; then it is 429 with the time to wait, for this address only."""
        self.build(is_local=False, calls_per_s=2.0)
        first = self.ask("/any", peer="192.0.2.1")
        self.assertEqual(first.headers["ratelimit"], '"default";r=3;t=0')
        self.assertEqual(first.headers["ratelimit-policy"], '"default";q=2;w=1')
        for _ in range(3):
            self.assertEqual(self.ask("/any", peer="192.0.2.1").status, 401)
        over = self.ask("/any", peer="192.0.2.1")
        self.assert_refused(over, 429, "RATE_LIMIT")
        self.assertEqual(over.headers["retry-after"], "1")
        self.assertEqual(over.problem["retry_after"], 1)
        self.assertEqual(over.headers["ratelimit"], '"default";r=0;t=1')
        self.assertEqual(self.ask("/any", peer="192.0.2.2").status, 401)
        self.clock.advance(0.5)
        self.assertEqual(self.ask("/any", peer="192.0.2.1").status, 401)

    def test_health_does_not_count(self) -> None:
        """Machines that look every second use up nothing."""
        self.build(is_local=False, calls_per_s=1.0)
        for _ in range(9):
            self.assertEqual(self.ask("/healthz").status, 200)
            self.assertNotIn("ratelimit", self.ask("/readyz").headers)
        self.assertEqual(self.ask("/").status, 200)


class AddressTest(SynchronousTestCase):
    """Addresses, hosts and origins by themselves."""

    @given(st.text(max_size=40), st.text(max_size=40))
    def test_any_words(self, host: str, origin: str) -> None:
        """Whatever is in the headers, nothing breaks, and nonsense is never the same origin."""
        visitors.host_name(host)
        visitors.is_local_origin(origin)
        if "://" not in origin:
            self.assertFalse(visitors.is_same_origin(origin, host))

    def test_loopback(self) -> None:
        """This machine in every spelling, and nobody else."""
        for address in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", visitors.UNIX):
            self.assertTrue(visitors.is_loopback(address), address)
        for address in ("", "192.0.2.0", "192.0.2.1", "localhost", "::"):
            self.assertFalse(visitors.is_loopback(address), address)
