"""A site without sockets: raw HTTP in, answers out, time by hand."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.market.model import AccountState, Phase
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.web.doors import DoorPolicy, Doors
from ctrader_twisted.web.keys import KeyRing, add_key
from ctrader_twisted.web.rest import Rest
from ctrader_twisted.web.site import make_site

BODY_LIMIT = 2048
ARRIVAL_S = 15.0


class Transport(StringTransport):
    """Remembers how it was closed."""

    aborted = False

    def abortConnection(self) -> None:
        """At once."""
        self.aborted = True
        self.loseConnection()


class Answer:
    """One HTTP response, taken apart."""

    def __init__(self, octets: bytes) -> None:
        head, _, self.body = octets.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ")[1])
        pairs = (line.partition(": ") for line in lines)
        self.headers = {name.lower(): value for name, _, value in pairs}
        if self.headers.get("transfer-encoding") == "chunked":
            self.body = b"".join(re.findall(rb"[0-9a-f]+\r\n(.+)\r\n", self.body))

    @property
    def problem(self) -> dict[str, Any]:
        """The body of an error, which must be one."""
        assert self.headers["content-type"] == "application/problem+json", self.headers
        problem: dict[str, Any] = json.loads(self.body)
        assert problem["status"] == self.status
        assert problem["correlation_id"] == self.headers["x-correlation-id"]
        return problem


class Socket:
    """A connection of a client."""

    def __init__(self, case: DoorCase, peer: str) -> None:
        self.case = case
        self.transport = Transport(peerAddress=IPv4Address("TCP", peer, 40_000))
        self.channel = case.site.buildProtocol(self.transport.getPeer())
        self.channel.makeConnection(self.transport)

    def send(self, octets: bytes) -> None:
        """Some bytes."""
        self.channel.dataReceived(octets)

    def answer(self) -> Answer:
        """What came in return."""
        octets = self.transport.value()
        self.transport.clear()
        assert octets, "no answer"
        return Answer(octets)

    def close(self) -> None:
        """Gone."""
        self.channel.connectionLost(Failure(ConnectionDone()))


class DoorCase(SynchronousTestCase):
    """REST behind the door; each test says what the door is told."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.key_file = Path(folder.name, "keys.json")
        self.clock = Clock()
        self.metrics = Metrics()
        self.sockets: list[Socket] = []
        self.state = AccountState(Phase.CONNECTED)
        self.build()

    def build(
        self,
        *,
        with_keys: bool = False,
        keys: KeyRing | None = None,
        is_local: bool = True,
        details: Callable[[], dict[str, Any]] = dict,
        **policy: Any,
    ) -> None:
        """The site, anew."""
        keys = KeyRing(self.key_file) if with_keys else keys
        self.doors = Doors(
            clock=self.clock,
            policy=DoorPolicy(is_local=is_local, **policy),
            keys=keys,
            metrics=self.metrics,
        )
        self.rest = Rest(
            state=lambda: self.state,
            environment="simulator",
            details=details,
            scrape=lambda: b"up 1\n",
            version="1.2.3",
        )
        self.site = make_site(
            tick_stream=None,
            rest=self.rest.resource(),
            doors=self.doors,
            body_limit=BODY_LIMIT,
            arrival_timeout_s=ARRIVAL_S,
            reactor=self.clock,
        )

    def key(self, name: str = "ops", *scopes: str) -> str:
        """The text of a new key."""
        return add_key(self.key_file, name, scopes or ("read",), "2026-01-01T00:00:00Z").reveal()

    def socket(self, peer: str = "127.0.0.1") -> Socket:
        """A new connection."""
        socket = Socket(self, peer)
        self.sockets.append(socket)
        return socket

    def ask(
        self,
        target: str = "/healthz",
        *,
        method: str = "GET",
        peer: str = "127.0.0.1",
        body: bytes = b"",
        **headers: str,
    ) -> Answer:
        """One request on a connection of its own; headers by name with underscores."""
        lines = [f"{method} {target} HTTP/1.1"]
        for name, value in {"Host": "localhost:8080", **headers}.items():
            if value:
                lines.append(f"{name.replace('_', '-')}: {value}")
        if body:
            lines.append(f"Content-Length: {len(body)}")
        socket = self.socket(peer)
        socket.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        return socket.answer()

    def assert_refused(self, answer: Answer, status: int, code: str) -> None:
        """A problem with this status and code."""
        self.assertEqual((answer.status, answer.problem["code"]), (status, code))

    def tearDown(self) -> None:
        for socket in self.sockets:
            socket.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])
