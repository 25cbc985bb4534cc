"""A crowd at the door, by a seed: whoever comes, however it goes, nothing is left behind."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.market.model import FeedNews
from ctrader_twisted.web.doors import DoorPolicy, Doors
from ctrader_twisted.web.keys import KeyRing, add_key, revoke_key
from ctrader_twisted.web.rest import Rest
from ctrader_twisted.web.site import make_site
from tests.rfc6455 import (
    BINARY,
    CLOSE,
    CONTINUATION,
    HANDSHAKE,
    PING,
    PONG,
    client_frame,
    take_frames,
)
from tests.unit.stream_case import StreamCase
from tests.unit.stream_wires import OpaqueWire, Wire

ADDRESSES = ["127.0.0.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"]
SYMBOLS = ["EURUSD", "gbpusd", "XAUUSD", "NOSUCH", "Straße"]
TOGETHER = 60

REQUESTS: list[bytes] = [
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3,
    b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /readyz HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{}",
    b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n" + b"x" * 5000,
    b"POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
    b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)),
    b"\r\n" * 50,
    b"GET " + b"a" * 20_000,
    HANDSHAKE.replace(b"13\r\n", b"99\r\n") + b"\r\n",
    HANDSHAKE.replace(b"dGhl", b"d!hl") + b"\r\n",
    HANDSHAKE + b"Origin: http://evil.example\r\n\r\n",
    HANDSHAKE + b"Content-Length: 3\r\n\r\nabc",
    HANDSHAKE + b"Authorization: Bearer cts_wrong\r\n\r\n",
    b"",
]


def messages(random: Random, tokens: list[str]) -> Iterator[bytes]:
    """What a client says over its WebSocket, mostly sensible."""
    if random.random() < 0.7:
        token = random.choice(tokens).encode()
        yield client_frame(b'{"type":"connect","features":["health"],"token":"%s"}' % token)
    while True:
        yield random.choice(_sensible(random) if random.random() < 0.9 else _nonsense(random))


def _sensible(random: Random) -> list[bytes]:
    names = ",".join(f'"{name}"' for name in random.sample(SYMBOLS, random.randint(1, 3))).encode()
    return [
        client_frame(b'{"type":"subscribe","symbols":[%s]}' % names),
        client_frame(b'{"type":"subscribe","symbols":[%s]}' % names),
        client_frame(b'{"type":"unsubscribe","symbols":[%s]}' % names),
        client_frame(b'{"type":"ping","id":1}'),
        client_frame(b'{"type":"getSubscriptions"}'),
        client_frame(b'{"type":"ping"', final=False) + client_frame(b"}", CONTINUATION),
        client_frame(b"x" * random.choice([0, 125]), PING),
        client_frame(b"who asked", PONG),
    ]


def _nonsense(random: Random) -> list[bytes]:
    goodbye = random.choice([b"", b"\x03\xe8", b"\x03", b"\x03\xedx", b"\xff\xff"])
    return [
        client_frame(b'{"type":"fly"}' * random.randint(1, 3)),
        client_frame(random.randbytes(random.randint(0, 40))),
        client_frame(b"x" * random.choice([125, 126, 65_535, 65_536, 65_537])),
        client_frame(b"\x00", BINARY),
        client_frame(b"x" * 126, PING),
        client_frame(goodbye, CLOSE),
        b"\x81\x05hello",
        b"\xf1\x80\x00\x00\x00\x00",
        random.randbytes(random.randint(1, 30)),
    ]


class Caller:
    """One connection, from its first byte to its last."""

    def __init__(self, crowd: Crowd, wire: Wire, says: Iterator[bytes]) -> None:
        self.crowd, self.wire, self._says = crowd, wire, says
        self._rest = b""
        wire.protocol = crowd.site.buildProtocol(wire.getPeer())
        wire.protocol.makeConnection(wire)

    def speak(self, random: Random) -> None:
        """Some bytes: a whole message, or a piece that ends anywhere."""
        if self.wire.disconnected:
            return
        self._rest = self._rest or next(self._says, b"")
        size = len(self._rest) if random.random() < 0.7 else random.randint(0, len(self._rest))
        piece, self._rest = self._rest[:size], self._rest[size:]
        if piece:
            # Whoever has taken the connection over is asked, as Twisted does it.
            self.wire.protocol.dataReceived(piece)

    def check(self) -> None:
        """What it was sent is WebSocket frames by the letter, once it is a WebSocket."""
        octets = self.wire.kernel.octets
        if octets.startswith(b"HTTP/1.1 101 "):
            take_frames(octets.partition(b"\r\n\r\n")[2])


class Crowd(StreamCase):
    """The site, the stream, and whoever comes; a test case without tests."""

    without_key = 1000
    connections = 1000

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.key_file = Path(folder.name, "keys.json")
        self.tokens = [add_key(self.key_file, f"key{n}", ("read",), "now").reveal() for n in "abc"]
        self.clock_starts()
        self.build(outbox_bytes=4000, outbox_age_s=3, room=40, ping_s=5)
        self.site = make_site(
            tick_stream=self.factory,
            rest=self.rest().resource(),
            doors=self.gate,
            body_limit=2048,
            arrival_timeout_s=5,
            reactor=self.clock,
        )
        self.ready()
        self.audience.start()

    def flushLoggedErrors(self, *errorTypes: Any) -> list[Any]:
        """The real test looks after what is logged."""
        return []

    def doors(self) -> Doors:
        """Strangers come, and have to show a key; this machine has not."""
        policy = DoorPolicy(
            is_local=True,
            connections_per_address=20,
            connections_without_key=self.without_key,
            connections=self.connections,
            connections_per_key=15,
            messages_per_s_per_key=20,
            auth_timeout_s=3,
        )
        keys = KeyRing(self.key_file)
        self.gate = Doors(clock=self.clock, policy=policy, keys=keys, metrics=self.metrics)
        return self.gate

    def rest(self) -> Rest:
        """Something that answers."""
        return Rest(
            state=lambda: self.account.state,
            environment="simulator",
            details=dict,
            scrape=lambda: b"up 1\n",
            version="1.2.3",
        )

    def nothing_is_left(self) -> None:
        """Everybody is gone: no list holds anybody, and every tick is accounted for."""
        lobby = self.factory.lobby
        callers = self.gate._callers
        for held in (lobby._waiting, lobby._inside, lobby._counts, lobby._keyed, callers._open):
            self.assertEqual(len(held), 0)
        for held in (lobby._strangers, callers.remote, callers.local, callers.with_key):
            self.assertEqual(len(held), 0)
        self.assertEqual(callers.total, 0)
        self.assertEqual((self.metrics.clients, self.audience.clients()), (0, []))
        self.assertEqual(list(self.account.consumers("EURUSD")), [])
        counts = self.metrics
        told = counts.ticks_out + counts.conflated + counts.ticks_dropped
        self.assertEqual(counts.ticks_offered, told)


class Chances:
    """One run: ``count`` callers by a seed."""

    def __init__(self, crowd: Crowd, seed: int, count: int) -> None:
        self.crowd, self.random, self.left = crowd, Random(seed), count
        self.here: list[Caller] = []
        self.price = 100_000
        self.keys = 0

    def run(self) -> None:
        """Until nobody comes any more, and all are gone."""
        kinds: list[tuple[int, Callable[[], object]]] = [
            (8, self.arrive),
            (40, self.speak),
            (12, self.prices),
            (6, self.room),
            (4, self.hang_up),
            (1, self.break_down),
            (4, self.time),
            (2, self.close),
            (4, self.news),
            (1, self.outage),
            (1, self.key),
        ]
        weights = [weight for weight, _ in kinds]
        while self.left:
            ((_, act),) = self.random.choices(kinds, weights)
            act()
        for caller in list(self.here):
            self.gone(caller)
        self.crowd.turn(100)

    def arrive(self) -> None:
        """Somebody, from somewhere, who reads well or not."""
        self.left -= 1
        random = self.random
        wire = OpaqueWire(self.crowd.clock) if random.random() < 0.3 else Wire(self.crowd.clock)
        wire.bufferSize = 500
        peer = IPv4Address("TCP", random.choice(ADDRESSES), 40_000)
        wire.getPeer = lambda: peer  # type: ignore[method-assign]
        wire.kernel.room = random.choice([None, None, None, 0, 300])
        self.here.append(Caller(self.crowd, wire, self.script()))
        if len(self.here) > TOGETHER:
            self.gone(self.here[0])

    def script(self) -> Iterator[bytes]:
        """What it is going to say."""
        random, tokens = self.random, [*self.crowd.tokens * 3, "cts_wrong"]
        if random.random() < 0.2:
            yield random.choice(REQUESTS)
            yield random.randbytes(10)
            return
        key = f"Authorization: Bearer {random.choice(tokens)}\r\n" if random.random() < 0.4 else ""
        yield HANDSHAKE + key.encode() + b"\r\n"
        yield from messages(random, tokens)

    def some(self) -> list[Caller]:
        """A few of those who are here."""
        return self.random.sample(self.here, min(len(self.here), 5))

    def speak(self) -> None:
        """Several talk within one turn, or each in its own."""
        for caller in self.some():
            caller.speak(self.random)
        self.turn()

    def prices(self) -> None:
        """Ticks, and perhaps somebody closes, or talks, before they leave."""
        for _ in range(self.random.randint(1, 4)):
            self.price += 1
            self.crowd.spot(self.random.randint(1, 3), self.price, self.price + 10)
        if self.random.random() < 0.3:
            self.random.choice([self.close, self.hang_up, self.speak])()
        self.turn()

    def room(self) -> None:
        """Some begin to read, some stop."""
        for caller in self.some():
            caller.wire.kernel.room = self.random.choice([None, 0, 1, 100, 1000])
        self.turn()

    def hang_up(self) -> None:
        """One goes without a word, wherever it is."""
        if self.here:
            self.gone(self.random.choice(self.here))

    def break_down(self) -> None:
        """The kernel says that a connection is dead; we hear of it when we write."""
        number = self.random.choice([errno.EPIPE, errno.ECONNRESET])
        for caller in self.some()[:1]:
            caller.wire.kernel.error = OSError(number, "gone")

    def time(self) -> None:
        """Handshakes, keys and pings are waited for in vain."""
        self.turn(self.random.choice([0.01, 0.3, 1, 6]))

    def close(self) -> None:
        """We close some, one twice, and one whose end makes us close another."""
        clients = self.crowd.audience.clients()
        for client in self.random.sample(clients, min(len(clients), 2)):
            others = self.crowd.audience.clients()
            other = self.random.choice(others)
            client.closed().addCallback(lambda _, other=other: other.close(1001, "you too"))
            client.close(1001, "go")
            if self.random.random() < 0.5:
                client.close(4413, "go, I said")
                self.crowd.audience.leave(client)
                self.crowd.factory.lobby.left(client)

    def news(self) -> None:
        """Everybody hears something at once, those beyond their bound for the last time."""
        for word in ("stale", "tick_resumed"):
            self.crowd.audience.feed_health(FeedNews("demo", word, "x" * 900))

    def outage(self) -> None:
        """The venue is lost."""
        self.crowd.lose_venue()
        self.turn()
        self.crowd.ready()

    def key(self) -> None:
        """One key is taken away, another given."""
        file, tokens = self.crowd.key_file, self.crowd.tokens
        self.keys += 1
        which = self.random.randrange(len(tokens))
        known = KeyRing(file)._keys
        revoke_key(file, known[which % len(known)].name)
        tokens[which] = add_key(file, f"new{self.keys}", ("read",), "now").reveal()

    def turn(self, seconds: float = 0.0) -> None:
        """Timers run, sockets that can be written to are, and what came is looked at."""
        self.crowd.clock.advance(seconds)
        for caller in self.here:
            caller.wire.turn()
        for caller in [one for one in self.here if one.wire.disconnected]:
            self.gone(caller)

    def gone(self, caller: Caller) -> None:
        """It is not here any more."""
        caller.check()
        caller.wire.lose(self.random.choice([ConnectionDone(), ConnectionLost()]))
        self.here.remove(caller)


class CrowdTest(SynchronousTestCase):
    """Some hundreds, by a few seeds."""

    def test_nothing_is_left_behind(self) -> None:
        """Whatever they say and whenever they go: no exception, no timer, no place in any list,
        even where the limits of connections close some for others all the time.
        """
        for seed in range(6):
            crowd: Any = Crowd()
            if seed >= 4:
                crowd.without_key, crowd.connections = 8, 30
            crowd.setUp()
            try:
                Chances(crowd, seed, 150).run()
                crowd.nothing_is_left()
                crowd.tearDown()
            except BaseException:
                print(f"seed {seed}")  # noqa: T201
                raise
            finally:
                crowd.doCleanups()
            self.assertEqual(self.flushLoggedErrors(), [])
