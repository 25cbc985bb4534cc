"""Whom else the daemon may meet where it expects its venue."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Protocol, ServerFactory

from ctrader_twisted.simulator.service import Credentials, Simulator


class Deaf(Protocol):
    """Takes a connection and never says a word."""


class Plain(Protocol):
    """Speaks, but not TLS."""

    def connectionMade(self) -> None:
        """A greeting, as of some other service."""
        self.transport.write(b"220 welcome\r\n")

    def dataReceived(self, data: bytes) -> None:
        """Whatever it is, answer in plain text."""
        self.transport.write(b"500 what?\r\n")
        self.transport.loseConnection()


@asynccontextmanager
async def serving(protocol: type[Protocol]) -> AsyncIterator[int]:
    """The port on which somebody else than a venue serves."""
    connections: list[Protocol] = []

    class Factory(ServerFactory):
        noisy = False

        def buildProtocol(self, addr: Any) -> Protocol:
            connections.append(protocol())
            return connections[-1]

    endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
    port = await endpoint.listen(Factory())
    try:
        yield port.getHost().port
    finally:
        await port.stopListening()
        for connection in connections:
            if connection.transport is not None and connection.connected:
                connection.transport.abortConnection()


def venue_at(port: int, ca_file: Path | None = None) -> dict[str, str]:
    """Options for a venue that is not the embedded one."""
    options = {"host": "127.0.0.1", "port": str(port)}
    return {**options, "ca-file": str(ca_file)} if ca_file else options


@asynccontextmanager
async def a_venue(credentials: Credentials | None = None) -> AsyncIterator[Simulator]:
    """A venue that is not embedded."""
    venue = Simulator(reactor, rate=50, credentials=credentials)
    service = venue.service(reactor)
    service.startService()
    try:
        yield venue
    finally:
        await service.stopService()


@contextmanager
def a_full_queue() -> Iterator[int]:
    """A port of loopback that answers no attempt to connect, as behind a silent firewall."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            with suppress(BlockingIOError):
                one.connect(listener.getsockname())
        try:
            yield listener.getsockname()[1]
        finally:
            for one in waiting:
                one.close()
