"""Limits for open connections: by address or IPv6 network, without a key, and in all."""

from __future__ import annotations

from ipaddress import ip_network
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.metrics import Metrics
from ctrader_twisted.upkeep import Capacity
from ctrader_twisted.web import visitors
from ctrader_twisted.web.callers import Callers, ConnectionLimits, Place
from ctrader_twisted.web.doors import Visitor
from ctrader_twisted.web.visitors import Proxies
from tests.unit.door_case import DoorCase, Socket

PROXY = "10.0.0.1"
PROXIES = Proxies(networks=(ip_network("10.0.0.0/8"),))


class CountedAsTest(SynchronousTestCase):
    """Which addresses count together."""

    def test_ipv6(self) -> None:
        """All of a /64 do, however they are written."""
        for address in (
            "2001:db8:1:2::1",
            "2001:db8:1:2:ffff:ffff:ffff:ffff",
            "2001:0DB8:0001:0002:0:0:0:7",
            "2001:db8:1:2:0:0:192.0.2.1",
        ):
            self.assertEqual(visitors.counted_as(address), "2001:db8:1:2::/64")
        self.assertEqual(visitors.counted_as("2001:db8:1:3::1"), "2001:db8:1:3::/64")
        self.assertEqual(visitors.counted_as("fe80::1%eth0"), "fe80::/64")

    def test_ipv4(self) -> None:
        """Each counts as itself, also on a socket of both families."""
        for address in ("192.0.2.1", "::ffff:192.0.2.1", "::FFFF:c000:201"):
            self.assertEqual(visitors.counted_as(address), "192.0.2.1")
        self.assertEqual(visitors.counted_as("192.0.2.2"), "192.0.2.2")

    @given(st.ip_addresses(v=6), st.ip_addresses(v=6))
    def test_any_two(self, one: Any, other: Any) -> None:
        """Two addresses count together when their first 64 bits are the same, and only then."""
        if one.ipv4_mapped or other.ipv4_mapped:
            return
        together = visitors.counted_as(str(one)) == visitors.counted_as(str(other))
        self.assertEqual(together, int(one) >> 64 == int(other) >> 64)

    def test_no_address(self) -> None:
        """What is none counts as what it is."""
        for text in ("", visitors.UNIX, "nonsense", "1.2.3"):
            self.assertEqual(visitors.counted_as(text), text)

    def test_whose_allowance(self) -> None:
        """Requests of a /64 share one allowance."""
        one, other = Visitor("2001:db8::1", False, True), Visitor("2001:db8::2", False, True)
        self.assertEqual(one.name, other.name)


class NetworkTest(DoorCase):
    """Several addresses of one IPv6 /64 are one client."""

    def test_connections(self) -> None:
        """They have the connections of one address between them."""
        self.build(is_local=False, connections_per_address=3)
        for number in range(3):
            self.assertFalse(self.socket(f"2001:db8::{number}").transport.aborted)
        self.assertTrue(self.socket("2001:db8::ffff").transport.aborted)
        self.assertFalse(self.socket("2001:db8:0:1::1").transport.aborted)

    def test_mapped(self) -> None:
        """An IPv4 client is the same one on a socket of both families, and no network of others."""
        self.build(is_local=False, connections_per_address=1)
        self.assertFalse(self.socket("::ffff:192.0.2.1").transport.aborted)
        self.assertTrue(self.socket("192.0.2.1").transport.aborted)
        self.assertFalse(self.socket("::ffff:192.0.2.2").transport.aborted)

    def test_wrong_keys(self) -> None:
        """They are slowed down together."""
        self.key()
        self.build(is_local=False, with_keys=True)
        statuses = [
            self.ask("/nowhere", peer=f"2001:db8::{number}", Authorization="Bearer cts_no").status
            for number in range(7)
        ]
        self.assertEqual(statuses, [401] * 5 + [429] * 2)
        answer = self.ask("/nowhere", peer="2001:db8:0:1::1", Authorization="Bearer cts_no")
        self.assertEqual(answer.status, 401)

    def test_requests(self) -> None:
        """They share the allowance of one address, also behind a proxy."""
        for peer, headers in (("2001:db8::{}", {}), (PROXY, {"X_Forwarded_For": "2001:db8::{}"})):
            self.build(is_local=False, calls_per_s=1.0, proxies=PROXIES)
            statuses = [
                self.ask(
                    "/any",
                    peer=peer.format(number),
                    **{name: text.format(number) for name, text in headers.items()},
                ).status
                for number in range(3)
            ]
            self.assertEqual(statuses, [401, 401, 429])


class TogetherTest(DoorCase):
    """All who have shown no key, and all that there are."""

    def setUp(self) -> None:
        super().setUp()
        self.text = self.key()

    def open_ones(self, sockets: list[Socket]) -> list[int]:
        """Which of these are open, by their number."""
        return [n for n, one in enumerate(sockets) if not one.transport.aborted]

    def request(self, socket: Socket, key: str = "") -> int:
        """The status of one request; with a key, to what needs one."""
        path = "/version" if key else "/healthz"
        more = f"Authorization: Bearer {key}\r\n" if key else ""
        socket.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n".encode())
        return socket.answer().status

    def test_many_networks(self) -> None:
        """However many addresses strangers have, they hold no more than their share; a new one is
        served, and the one that has been there longest is closed for it.
        """
        self.build(is_local=False, with_keys=True, connections_without_key=10)
        sockets = [self.socket(f"2001:db8:0:{number:x}::1") for number in range(30)]
        self.assertEqual(self.open_ones(sockets), list(range(20, 30)))
        self.assertEqual(self.metrics.counted("connections_displaced", "without_key"), 20)
        self.assertEqual(self.request(self.socket("198.51.100.9")), 200)
        self.assertEqual(self.open_ones(sockets), list(range(21, 30)))

    def test_with_a_key(self) -> None:
        """Whoever has shown a key is not among them, and this machine is not either."""
        self.build(is_local=False, with_keys=True, connections_without_key=2)
        keyed, here = self.socket("192.0.2.1"), self.socket("127.0.0.1")
        self.assertEqual(self.request(keyed, self.text), 200)
        strangers = [self.socket(f"192.0.2.{number}") for number in range(2, 9)]
        self.assertEqual(self.open_ones([keyed, here, *strangers]), [0, 1, 7, 8])

    def test_a_proxy_counts(self) -> None:
        """Behind a proxy are strangers, wherever it is; it has no limit of its own."""
        for peer in (PROXY, "127.0.0.1"):
            proxies = Proxies(networks=(*PROXIES.networks, ip_network("127.0.0.0/8")))
            self.build(
                is_local=False,
                with_keys=True,
                proxies=proxies,
                connections_per_address=1,
                connections_without_key=5,
            )
            sockets = [self.socket(peer) for _ in range(9)]
            self.assertEqual(self.open_ones(sockets), list(range(4, 9)))

    def test_in_all(self) -> None:
        """Strangers make room first, then this machine's idle ones, then those with a key."""
        self.build(is_local=False, with_keys=True, connections=3)
        keyed, stranger, here = map(self.socket, ("192.0.2.1", "192.0.2.2", "127.0.0.1"))
        self.request(keyed, self.text)
        first = [keyed, stranger, here]
        new = [self.socket("127.0.0.1")]
        self.assertEqual(self.open_ones(first), [0, 2])
        new.append(self.socket("127.0.0.1"))
        self.assertEqual(self.open_ones(first), [0])
        for one in new:
            self.request(one, self.text)
        self.assertEqual(self.request(self.socket("192.0.2.3")), 200)
        self.assertEqual(self.open_ones(first), [])
        self.assertEqual(self.metrics.counted("connections_displaced", "total"), 3)

    def test_room_that_shrinks(self) -> None:
        """The limit of descriptors may be lowered, and raised again, while we run."""
        room = 2
        self.build(is_local=False, with_keys=True, connections=4, room=lambda: room)
        sockets = [self.socket("127.0.0.1") for _ in range(3)]
        self.assertEqual(self.open_ones(sockets), [1, 2])
        room = 100
        sockets += [self.socket("127.0.0.1") for _ in range(3)]
        self.assertEqual(self.open_ones(sockets), [2, 3, 4, 5])

    def test_one_warning_a_minute(self) -> None:
        """Strangers cannot fill the log."""
        said: list[Any] = []
        globalLogPublisher.addObserver(said.append)
        self.addCleanup(globalLogPublisher.removeObserver, said.append)
        self.build(is_local=False, with_keys=True, connections_without_key=1)
        for number in range(50):
            self.socket(f"192.0.2.{number}")
        self.assertEqual([one["count"] for one in said], [1])
        self.clock.advance(60)
        self.socket("192.0.2.99")
        self.assertEqual(len(said), 2)


class IdleTest(DoorCase):
    """A connection between two requests."""

    def test_longer_than_a_balancer(self) -> None:
        """It stays for more than the minute after which load balancers close it themselves."""
        socket = self.socket()
        for _ in range(2):
            socket.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertEqual(socket.answer().status, 200)
            self.clock.advance(74.9)
            self.assertFalse(socket.transport.disconnecting)
        self.clock.advance(0.2)
        self.assertTrue(socket.transport.disconnecting)


class Machine:
    """A random life of many connections, beside a model of it that counts by hand."""

    LIMITS = ConnectionLimits(per_address=3, without_key=8, total=14)
    PEERS = ("127.0.0.1", PROXY, "192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "2001:db8::2")

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.callers = Callers(self.LIMITS, PROXIES, clock=Clock(), metrics=Metrics())
        self.here: list[Life] = []

    def run(self, steps: int) -> None:
        """Some come, show keys, are admitted, and go, often twice."""
        for _ in range(steps):
            act = self.random.choice([self.arrive, self.arrive, self.show, self.admit, self.end])
            act()
            self.check()
        for life in list(self.here):
            life.place.leave()

    def arrive(self) -> None:
        """One more."""
        place = self.callers.place(self.random.choice(self.PEERS))
        if place is not None:
            life = Life(self, place)
            place.opened(life)
            self.here.append(life)

    def any(self) -> list[Life]:
        """One of those who are here, if there is any."""
        return [self.random.choice(self.here)] if self.here else []

    def show(self) -> None:
        """A key; it may be shown again, or when the client has been admitted."""
        for life in self.any():
            life.place.key_shown()

    def admit(self) -> None:
        """Let in."""
        for life in self.any():
            life.place.admitted()

    def end(self) -> None:
        """Gone."""
        for life in self.any():
            self.here.remove(life)
            life.place.leave()
            life.place.leave()
            life.place.key_shown()
            life.place.admitted()
            life.place.close()

    def check(self) -> None:
        """The counters are what there is, and within the limits."""
        callers, limits = self.callers, self.LIMITS
        assert callers.total == len(self.here) <= limits.total
        assert len(callers.remote) <= limits.without_key
        assert all(0 < count <= limits.per_address for count in callers._open.values())
        groups = [*callers.remote, *callers.local, *callers.with_key]
        assert {id(one) for one in groups} <= {id(life.place) for life in self.here}


class Life:
    """One connection, as its place sees its transport."""

    def __init__(self, machine: Machine, place: Place) -> None:
        self._machine = machine
        self.place = place

    def abortConnection(self) -> None:
        """Closed for a new one."""
        self._machine.here.remove(self)


class MachineTest(SynchronousTestCase):
    """Counters never leak."""

    def test_random_lives(self) -> None:
        """Whatever happens in whatever order, nothing is left, and no limit is exceeded."""
        for seed in range(30):
            machine = Machine(seed)
            machine.run(300)
            callers = machine.callers
            left = (callers.total, callers._open, callers.remote, callers.local, callers.with_key)
            self.assertEqual(left, (0, {}, {}, {}, {}), f"seed {seed}")


class CapacityTest(SynchronousTestCase):
    """What a limit of file descriptors leaves room for."""

    def test_kept_back(self) -> None:
        """Whatever the limit, some are kept back, and some are for other than clients."""
        for limit in (64, 100, 256, 1024, 16_384, 1_000_000):
            capacity = Capacity.of(limit)
            self.assertGreaterEqual(limit - capacity.connections, 40)
            self.assertGreaterEqual(capacity.connections - capacity.clients, 6)
            self.assertGreater(capacity.clients, 0)
            for clients in (1, 1000, 100_000):
                without_key = capacity.without_key(clients)
                self.assertTrue(0 < without_key < capacity.connections)

    def test_as_configured(self) -> None:
        """With the limit that we ask for there is room for all clients that are configured."""
        self.assertEqual(Capacity.of(10_100), Capacity(10_050, 10_000))
        self.assertEqual(Capacity.of(10_100).without_key(10_000), 5000)

    def test_hardly_any(self) -> None:
        """With next to none there is room for a few, and nothing breaks."""
        for limit in range(60):
            capacity = Capacity.of(limit)
            self.assertGreater(capacity.connections, capacity.clients)
            self.assertGreater(capacity.clients, 0)
