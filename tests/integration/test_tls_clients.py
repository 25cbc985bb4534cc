"""All of our TLS clients reach the same verdict about a certificate, by the same words.

The certificates are those of `tests.certificates`, shown by a server on loopback.
"""

from __future__ import annotations

import random
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from ctrader_twisted.asking import NobodyThere, ask
from ctrader_twisted.market.links import Holds
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.tls import addresses
from ctrader_twisted.tls.authorities import parse
from ctrader_twisted.tls.connector import connect_host
from ctrader_twisted.upstream.connection import Connection
from ctrader_twisted.upstream.knock import Door, knock
from tests.bounded import bounded
from tests.certificates import CASES, Case, server_context
from tests.unit.fakes import Recorder
from tests.unit.joined_daemon import POLICY

reactor: Any = _reactor


@implementer(IOpenSSLServerConnectionCreator)
class Server:
    """Shows the certificate of the moment, and remembers what it received after a handshake."""

    def __init__(self) -> None:
        self.context: Any = None
        self.received = b""

    def serverConnectionForTLS(self, _: Any) -> SSL.Connection:
        """TLS as the present case wants it."""
        return SSL.Connection(self.context, None)


class Ears(Protocol):
    """What a client said to the server; it is answered, and that is all."""

    server: Server

    def dataReceived(self, data: bytes) -> None:
        """Something of the application."""
        self.server.received += data
        assert self.transport is not None
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        self.transport.loseConnection()


@asynccontextmanager
async def listening(server: Server) -> AsyncIterator[int]:
    """The port of the server."""
    factory: Any = Factory.forProtocol(partial(_ears, server))  # type: ignore[arg-type]
    port = reactor.listenTCP(0, TLSMemoryBIOFactory(server, False, factory), interface="127.0.0.1")
    try:
        yield port.getHost().port
    finally:
        await port.stopListening()


def _ears(server: Server) -> Ears:
    ears = Ears()
    ears.server = server
    return ears


class Here:
    """Resolves every name to loopback."""

    def addresses(self, host: str) -> Deferred[list[str]]:
        """As `tls.addresses.Resolver`."""
        return succeed(["127.0.0.1"])


async def by_connection(case: Case, port: int, trusted: Sequence[Any]) -> str:
    """The refusal of the daemon's connection to its venue; empty when TLS comes about."""
    told = Recorder(ready_s=lambda: 0.0)
    ended: Deferred[str] = Deferred()
    told.reactions["lost"] = lambda cause, reason: ended.callback(str(cause))
    told.reactions["opened"] = lambda link: link.drop(ConnectionAbortedError("through"))
    connection = Connection(
        host=case.host,
        port=lambda: port,
        authorities=lambda: trusted,
        connect=connect_host(reactor, Here()),
        clock=reactor,
        policy=POLICY,
        listener=told,
        metrics=Metrics(),
        rng=random.Random(),
        now_ms=lambda: 5,
    )
    connection.startService()
    said = await ended
    await connection.stopService()
    return "" if said == "through" else said


async def by_doctor(case: Case, port: int, trusted: Sequence[Any]) -> str:
    """The refusal of the doctor's probe."""
    door = Door(
        host=case.host,
        port=port,
        authorities=lambda: trusted,
        client_id="id",
        client_secret="secret",
        access_token="token",
        account_id=7,
        timeout_s=5,
    )
    links = {link.name: link for link in await deferToThread(lambda: list(knock(door, "EURUSD")))}
    tls = links["tls"]
    return "" if tls.holds is Holds.OK else tls.cause


async def by_command(case: Case, port: int, trusted: Sequence[Any]) -> str:
    """The refusal of a command that asks over HTTPS."""
    host = f"[{case.host}]" if ":" in case.host else case.host
    try:
        answer = await deferToThread(ask, f"https://{host}:{port}", "/readyz", "key")
    except NobodyThere as error:
        return str(error)
    assert (answer.status, answer.body) == (200, b"{}")
    return ""


CLIENTS: dict[str, Callable[[Case, int, Sequence[Any]], Any]] = {
    "connection": by_connection,
    "doctor": by_doctor,
    "command": by_command,
}


@pytest.mark.parametrize("client", CLIENTS)
@bounded(120)
async def test_verdicts(client: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each case has its verdict and its words; a server that is refused receives nothing."""
    server = Server()
    trusted: list[Any] = []
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]
    monkeypatch.setattr(addresses.socket, "getaddrinfo", lambda *_, **__: found)
    # For clients that have no authorities but the system's.
    store = tmp_path / "store.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(store))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    async with listening(server) as port:
        for name, case in CASES.items():
            chain, key, ca_pem = case.identity()
            trusted[:] = parse(ca_pem).certificates
            store.write_bytes(ca_pem)
            server.context, server.received = server_context(chain, key), b""
            said = await CLIENTS[client](case, port, tuple(trusted))
            if case.refused:
                assert f"the certificate of {case.host} " in said, name
                assert case.refused in said, (name, said)
                assert server.received == b"", name
            else:
                assert said == "", name
