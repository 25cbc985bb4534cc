"""Where requests come from: peers, trusted proxies and X-Forwarded-For, through the real door."""

from __future__ import annotations

from ipaddress import ip_network
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.web import visitors
from ctrader_twisted.web.visitors import FORWARDING_HEADERS, Proxies, Source
from tests.unit.site_case import SiteCase, trusted

LOCAL = ("127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1", "unix")


# Of the families of `visitors.FORWARDING_PREFIXES`.
OTHERS = (
    b"x-forwarded",
    b"x-forwarded-by",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-forwarded-prefix",
    b"x-forwarded-proto",
    b"x-forwarded-scheme",
    b"x-forwarded-server",
    b"x-forwarded-ssl",
    b"x-original-forwarded-for",
    b"cf-connecting-ip",
    b"x-envoy-external-address",
)


class Row(NamedTuple):
    """A peer, the values of its X-Forwarded-For lines, and whose request it is."""

    peer: str
    proxies: str
    forwarded_for: list[str]
    address: str
    is_local: bool = False


def rows() -> list[Row]:
    """Peers and X-Forwarded-For lines, for HTTP and WebSocket alike."""
    nginx, farm = "127.0.0.1/32", "10.0.0.0/8 2001:db8:1::/48 ::1/128"
    return [
        # Nothing between, and no trusted proxies or other ones.
        *(Row(peer, "", [], peer, True) for peer in LOCAL),
        *(Row(peer, "10.0.0.0/8", [], peer, True) for peer in LOCAL),
        Row("192.0.2.1", "", [], "192.0.2.1"),
        Row("2001:db8::1", "", [], "2001:db8::1"),
        Row("::ffff:192.0.2.1", "", [], "::ffff:192.0.2.1"),
        # A forwarding header of a peer that is no trusted proxy: nobody believes it, and the
        # request is not local any more, whatever the header holds.
        *(
            Row(peer, "", [said], peer)
            for peer in LOCAL
            for said in ("", "127.0.0.1", "192.0.2.1", "unknown")
        ),
        Row("192.0.2.1", "", ["127.0.0.1"], "192.0.2.1"),
        Row("192.0.2.1", "10.0.0.0/8", ["::1"], "192.0.2.1"),
        Row("127.0.0.1", "unix", ["192.0.2.7"], "127.0.0.1"),
        Row("unix", "127.0.0.1/32", ["192.0.2.7"], "unix"),
        # A trusted proxy that names this machine, in any spelling.
        *(
            Row("127.0.0.1", nginx, [said], address)
            for said, address in (
                ("127.0.0.2", "127.0.0.2"),
                ("::1", "::1"),
                ("0:0:0:0:0:0:0:1", "::1"),
                ("::ffff:127.0.0.2", "127.0.0.2"),
                ("::ffff:7f00:2", "127.0.0.2"),
                ("[::1]", "::1"),
                ("[::1]:80", "::1"),
                ("[::ffff:127.0.0.2]:80", "127.0.0.2"),
                ('"[::1]:80"', "::1"),
                ("127.0.0.2:51008", "127.0.0.2"),
                ('"127.0.0.2"', "127.0.0.2"),
                ("127.255.255.254", "127.255.255.254"),
                ("0.0.0.1", "0.0.0.1"),
                ("::", "::"),
                ("127.0.0.1", "127.0.0.1"),
                ("localhost", "127.0.0.1"),
                ("unix", "127.0.0.1"),
                ("unix:", "127.0.0.1"),
            )
        ),
        Row("10.0.0.1", farm, ["::1"], "::1"),
        Row("10.0.0.1", farm, ["127.0.0.2"], "127.0.0.2"),
        # A trusted proxy that says nothing usable: the request counts for the proxy.
        *(
            Row("10.0.0.1", farm, said, "10.0.0.1")
            for said in (
                [],
                [""],
                [" "],
                [","],
                ["unknown"],
                ["_hidden"],
                ["_SEVKISEK, unknown"],
                ["192.0.2.1, "],
                ["192.0.2.1", ""],
                ["192.0.2.1, nonsense"],
                ["192.0.2.1, unknown, 10.9.9.9"],
                ["for=192.0.2.1"],
                ["192.0.2.1:"],
                ["192.0.2.1:123456"],
                ["192.0.2.1 192.0.2.2"],
                ["192.0.2.1;192.0.2.2"],
                ["192.0.2.256"],
                ["192.0.2.010"],
                ["3221225985"],
                ["[192.0.2.1]"],
                ["[2001:db8::7"],
                ["2001:db8::7]"],
                ["[2001:db8::7]x"],
                ["[2001:db8::7]:"],
                ['"'],
                ['""'],
                ["'192.0.2.1'"],
                ["client.example"],
                ["1" * 500],
                ["\xe9"],
            )
        ),
        # Usable spellings.
        *(
            Row("10.0.0.1", farm, [said], address)
            for said, address in (
                ("198.51.100.2", "198.51.100.2"),
                ("198.51.100.2:51008", "198.51.100.2"),
                ("198.51.100.2:0", "198.51.100.2"),
                ("198.51.100.2:_port", "198.51.100.2"),
                ("\t198.51.100.2  ", "198.51.100.2"),
                ('"198.51.100.2"', "198.51.100.2"),
                ('"198.51.100.2:51008"', "198.51.100.2"),
                ("2001:db8::7", "2001:db8::7"),
                ("2001:DB8:0:0::7", "2001:db8::7"),
                ("[2001:db8::7]", "2001:db8::7"),
                ("[2001:db8::7]:443", "2001:db8::7"),
                ('"[2001:db8::7]:443"', "2001:db8::7"),
                ('"[2001:db8::7]"', "2001:db8::7"),
                ("::ffff:198.51.100.2", "198.51.100.2"),
                ("[::ffff:198.51.100.2]:51008", "198.51.100.2"),
                ("fe80::1%eth0", "fe80::1"),
            )
        ),
        # Lists and chains, read from the right.
        Row("10.0.0.1", farm, ["127.0.0.1, 192.0.2.1"], "192.0.2.1"),
        Row("10.0.0.1", farm, ["127.0.0.1,192.0.2.1,10.9.9.9"], "192.0.2.1"),
        Row("10.0.0.1", farm, ["127.0.0.1", "192.0.2.1", "10.9.9.9:80"], "192.0.2.1"),
        Row("10.0.0.1", farm, ["192.0.2.1, 198.51.100.2"], "198.51.100.2"),
        Row("10.0.0.1", farm, ["", "192.0.2.1"], "192.0.2.1"),
        Row("10.0.0.1", farm, ["unknown, 192.0.2.1"], "192.0.2.1"),
        Row("10.0.0.1", farm, ["192.0.2.1, [2001:db8:1::2]:8080, 10.1.1.1"], "192.0.2.1"),
        Row("10.0.0.1", farm, [", ".join(["10.1.1.1"] * 500)], "10.1.1.1"),
        Row("::ffff:10.0.0.1", farm, ["192.0.2.1"], "192.0.2.1"),
        Row("2001:db8:1::9", farm, ["192.0.2.1"], "192.0.2.1"),
        Row("::1", farm, ["192.0.2.1"], "192.0.2.1"),
        Row("unix", "unix", ["192.0.2.1"], "192.0.2.1"),
        Row("unix", "unix 10.0.0.0/8", ["192.0.2.1, 10.1.1.1"], "192.0.2.1"),
        Row("unix", "unix", ["::1"], "::1"),
        Row("unix", "unix", [], "unix"),
        Row("unix", "unix", ["unix:"], "unix"),
        Row("127.0.0.1", nginx, [], "127.0.0.1"),
        # All of them are trusted: the client is the one that the last of them saw.
        Row("10.0.0.1", farm, ["10.1.1.1"], "10.1.1.1"),
        Row("10.0.0.1", farm, ["10.2.2.2, 10.1.1.1"], "10.2.2.2"),
        # Networks with everybody in them.
        Row("127.0.0.1", "0.0.0.0/0", [], "127.0.0.1"),
        Row("127.0.0.1", "0.0.0.0/0", ["127.0.0.1"], "127.0.0.1"),
        Row("192.0.2.1", "0.0.0.0/0", ["127.0.0.1"], "127.0.0.1"),
        Row("192.0.2.1", "0.0.0.0/0 ::/0", ["::1"], "::1"),
        Row("::1", "::/0", ["::1"], "::1"),
        Row("::ffff:127.0.0.1", "0.0.0.0/0", ["::1"], "::1"),
        Row("::1", "::/0", [], "::1"),
        Row("192.0.2.1", "0.0.0.0/1 128.0.0.0/1", ["127.0.0.1"], "127.0.0.1"),
    ]


class SourceTest(SiteCase):
    """Who is local, and whose limits a request counts for."""

    def test_enough_rows(self) -> None:
        """The table is a long one."""
        self.assertGreater(len(rows()), 100)

    def test_http(self) -> None:
        """Only a local request needs no key."""
        for row in rows():
            with self.subTest(row=row):
                self.serve(proxies=trusted(*row.proxies.split()))
                headers = [f"X-Forwarded-For: {value}" for value in row.forwarded_for]
                answer = self.get(peer=row.peer, headers=headers)
                self.assertEqual(answer.status, 200 if row.is_local else 401)
                self.get("/healthz", peer=row.peer, headers=headers)
                self.assertEqual(self.came[-1].address, row.address)
                self.assertEqual(self.came[-1].is_here, row.is_local)

    def test_websocket(self) -> None:
        """The same for a WebSocket."""
        for row in rows():
            with self.subTest(row=row):
                self.serve(proxies=trusted(*row.proxies.split()))
                headers = [f"X-Forwarded-For: {value}" for value in row.forwarded_for]
                client = self.websocket(peer=row.peer, headers=headers)
                self.assertEqual(self.came[-1].address, row.address)
                self.assertEqual(self.is_let_in(client), row.is_local)
                self.turn()

    def test_any_header_of_a_proxy(self) -> None:
        """Each header that proxies add makes a request of this machine one of a stranger."""
        self.serve(calls_per_s=1000.0)
        for name in (*FORWARDING_HEADERS, *OTHERS):
            for value in ("127.0.0.1", "for=127.0.0.1", ""):
                headers = [f"{name.decode()}: {value}"]
                self.assertEqual(self.get(headers=headers).status, 401, headers)
                self.assertFalse(self.is_let_in(self.websocket(headers=headers)), headers)
                self.turn()

    def test_families_of_headers(self) -> None:
        """So does every header of a family, whatever follows, and in any case."""
        self.serve(calls_per_s=1000.0)
        for name in (
            "X-Forwarded-User",
            "X-Forwarded-Email",
            "x-forwarded-client-cert",
            "X-FORWARDED-PATH",
            "X-Forwarded",
            "X-Original-URL",
            "X-Envoy-Original-Path",
            "X-Azure-ClientIP",
            "X-ARR-LOG-ID",
            "CF-Ray",
            "CF-Connecting-IPv6",
            "CloudFront-Viewer-Address",
            "Tailscale-User-Login",
        ):
            headers = [f"{name}: x"]
            self.assertEqual(self.get(headers=headers).status, 401, headers)
            self.assertFalse(self.is_let_in(self.websocket(headers=headers)), headers)
            self.turn()
        for name in ("X-Correlation-Id", "User-Agent", "X-Forward", "Forwarded-By", "Config"):
            self.assertEqual(self.get(headers=[f"{name}: x"]).status, 200, name)

    def test_forgotten_proxy(self) -> None:
        """A refusal says that a proxy of this machine is not configured."""
        words = "through a proxy that is not in `trusted_proxies`"
        for peer, headers, is_told in (
            ("127.0.0.1", ["X-Forwarded-For: 192.0.2.1"], True),
            ("unix", ["Via: x"], True),
            ("192.0.2.1", ["X-Forwarded-For: 192.0.2.1"], False),
        ):
            detail = self.get(peer=peer, headers=headers).problem["detail"]
            self.assertEqual(words in detail, is_told, peer)
        self.serve(proxies=trusted("127.0.0.1/32"))
        detail = self.get(headers=["X-Forwarded-For: 192.0.2.1"]).problem["detail"]
        self.assertNotIn(words, detail)

    def test_other_headers_are_not_read(self) -> None:
        """A trusted proxy's client cannot name itself in Forwarded, X-Real-IP and others."""
        self.serve(proxies=trusted("10.0.0.0/8"))
        for name in (*FORWARDING_HEADERS[1:], *OTHERS):
            headers = [f"{name.decode()}: 192.0.2.9", "X-Forwarded-For: 192.0.2.1"]
            for sent, address in ((headers, "192.0.2.1"), (headers[:1], "10.0.0.1")):
                self.get("/healthz", peer="10.0.0.1", headers=sent)
                self.assertEqual(self.came[-1].address, address, sent)

    def test_listening_to_all(self) -> None:
        """Where other machines can connect, even this one needs a key."""
        self.serve(is_local=False)
        self.assertEqual(self.get().status, 401)

    def test_page_of_this_machine(self) -> None:
        """A page from another port of this machine may call only in a local request."""
        page = "Origin: http://localhost:3000"
        self.assertEqual(self.get(headers=[page]).status, 200)
        self.assertEqual(self.get(headers=[page, "X-Forwarded-For: ::1"]).status, 403)
        self.serve(proxies=trusted("127.0.0.1/32"))
        self.assertEqual(self.get(headers=[page, "X-Forwarded-For: ::1"]).status, 403)
        self.assertEqual(self.get(headers=[page]).status, 403)


class ProxiesTest(SynchronousTestCase):
    """The decision by itself."""

    @given(st.text(max_size=60), st.sampled_from(["10.0.0.1", "127.0.0.1", "::1", "unix"]))
    def test_no_words_make_local(self, words: str, peer: str) -> None:
        """Whatever a proxy passes on, nothing breaks, and its client is not local."""
        source = trusted("10.0.0.0/8", "127.0.0.0/8", "::1/128", "unix").source(
            peer, lambda name: words if name == b"x-forwarded-for" else None, {b"x-forwarded-for"}
        )
        self.assertFalse(source.is_local)
        self.assertTrue(source.address)

    def test_named(self) -> None:
        """Whether the proxy named its client is told, too."""
        proxies = trusted("10.0.0.0/8")
        for words, source in (
            ("192.0.2.1", Source("192.0.2.1", False, True)),
            ("unknown", Source("10.0.0.1", False, False)),
            (None, Source("10.0.0.1", False, False)),
        ):
            headers = {b"x-forwarded-for": words}
            self.assertEqual(proxies.source("10.0.0.1", headers.get, headers), source)
        self.assertEqual(Proxies().source("127.0.0.1", {}.get, ()), Source("127.0.0.1", True, True))

    def test_long_words_are_not_remembered(self) -> None:
        """What strangers write at length does not fill the cache of addresses."""
        before = visitors._cached_ip.cache_info().currsize
        for number in range(100):
            visitors.is_loopback("1" * 100 + str(number))
        self.assertEqual(visitors._cached_ip.cache_info().currsize, before)

    def test_wide(self) -> None:
        """Networks that hold clients; private ones, and those of delivery networks, do not."""
        for word, is_wide in (
            ("0.0.0.0/0", True),
            ("::/0", True),
            ("0.0.0.0/1", True),
            ("128.0.0.0/1", True),
            ("52.0.0.0/8", True),
            ("8.0.0.0/7", True),
            ("2000::/3", True),
            ("2001::/16", True),
            ("::/96", False),
            ("10.0.0.0/8", False),
            ("172.16.0.0/12", False),
            ("100.64.0.0/10", False),
            ("192.168.0.0/16", False),
            ("127.0.0.0/8", False),
            ("fc00::/7", False),
            ("fe80::/10", False),
            ("104.16.0.0/13", False),
            ("2400:cb00::/32", False),
            ("192.0.2.1/32", False),
            ("::1/128", False),
        ):
            self.assertEqual(visitors.is_wide(ip_network(word)), is_wide, word)
