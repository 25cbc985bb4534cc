"""The whole site without sockets: the doors of a key file, REST and the real tick stream."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from ctrader_twisted.market.model import AccountState, Phase
from ctrader_twisted.web import visitors
from ctrader_twisted.web.doors import DoorPolicy, Doors, Visitor
from ctrader_twisted.web.keys import KeyRing, add_key
from ctrader_twisted.web.rest import Rest
from ctrader_twisted.web.site import make_site
from ctrader_twisted.web.visitors import Proxies
from tests.rfc6455 import HANDSHAKE
from tests.unit.door_case import ARRIVAL_S, BODY_LIMIT, Answer
from tests.unit.stream_case import Client, StreamCase
from tests.unit.stream_wires import Wire


def trusted(*words: str) -> Proxies:
    """The proxies of a configuration."""
    networks = tuple(ip_network(word) for word in words if word != visitors.UNIX)
    return Proxies(networks=networks, unix=visitors.UNIX in words)


class PeerWire(Wire):
    """A connection from a given address."""

    def __init__(self, case: SiteCase, peer: str) -> None:
        super().__init__(case.clock)
        self.peer = peer

    def getPeer(self) -> Any:
        """The address; ``unix`` is a client of a socket file."""
        if self.peer == visitors.UNIX:
            return UNIXAddress(None)
        kind = IPv6Address if ":" in self.peer else IPv4Address
        return kind("TCP", self.peer, 40_000)

    def loseConnection(self, _: Any = None) -> None:
        """All is in the kernel already."""
        self.clock.callLater(0, self.lose)


class SiteCase(StreamCase):
    """A site with one key; `serve` says how the door is configured."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.key_file = Path(folder.name, "keys.json")
        self.token = add_key(self.key_file, "reader", ["read"], "now").reveal()
        self.policy: dict[str, Any] = {"is_local": True}
        self.state = AccountState(Phase.CONNECTED)
        super().setUp()
        self.ready()
        self.serve()

    def doors(self) -> Doors:
        """The doors of the current policy."""
        self.came: list[Visitor] = []
        doors = Doors(
            clock=self.clock,
            policy=DoorPolicy(**self.policy),
            keys=KeyRing(self.key_file),
            metrics=self.metrics,
        )
        arrive = doors.arrive

        def remember(request: Any) -> Visitor:
            self.came.append(arrive(request))
            return self.came[-1]

        doors.arrive = remember  # type: ignore[method-assign]
        return doors

    def serve(self, **policy: Any) -> None:
        """The site, anew, with another policy."""
        self.policy = {"is_local": True, **policy}
        doors = self.doors()
        self.factory.lobby._doors = doors
        self.factory.lobby._policy = doors.policy
        rest = Rest(
            state=lambda: self.state,
            environment="simulator",
            details=dict,
            scrape=lambda: b"up 1\n",
            version="1.2.3",
        )
        self.site = make_site(
            tick_stream=self.factory,
            rest=rest.resource(),
            doors=doors,
            body_limit=BODY_LIMIT,
            arrival_timeout_s=ARRIVAL_S,
            reactor=self.clock,
        )

    def connection(self, peer: str) -> PeerWire:
        """A new connection."""
        wire = PeerWire(self, peer)
        wire.protocol = self.site.buildProtocol(wire.getPeer())
        wire.protocol.makeConnection(wire)
        return wire

    def get(
        self,
        target: str = "/version",
        *,
        peer: str = "127.0.0.1",
        headers: Sequence[str] = (),
        host: str | None = "localhost",
        method: str = "GET",
    ) -> Answer:
        """One HTTP request on a connection of its own."""
        lines = [f"{method} {target} HTTP/1.1", *([f"Host: {host}"] if host else ()), *headers]
        wire = self.connection(peer)
        wire.protocol.dataReceived("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")
        wire.turn()
        octets = wire.kernel.octets
        wire.lose()
        self.turn()
        assert octets, "no answer"
        return Answer(octets)

    def websocket(
        self,
        *,
        peer: str = "127.0.0.1",
        headers: Sequence[str] = (),
        handshake: bytes = HANDSHAKE,
    ) -> Client:
        """A WebSocket client whose upgrade was accepted."""
        wire = self.connection(peer)
        octets = handshake + "".join(f"{line}\r\n" for line in headers).encode("latin-1")
        wire.protocol.dataReceived(octets + b"\r\n")
        client = Client(self, wire, wire.protocol)
        self.clients.append(client)
        for _ in range(3):
            self.turn()
        head, _, rest = wire.kernel.octets.partition(b"\r\n\r\n")
        self.assertIn(b" 101 ", head.split(b"\r\n")[0])
        wire.kernel.octets = rest
        client.protocol = wire.protocol
        return client

    def is_let_in(self, client: Client, **connect: Any) -> bool:
        """Send connect; True for a status, False for a goodbye with 4401."""
        client.say({"type": "connect", **connect})
        answers = client.heard("status")
        if not answers:
            assert client.goodbye is not None
            self.assertEqual(client.goodbye[0], 4401)
        return bool(answers)
