"""All of our TLS clients reach the same verdict about a certificate, by the same words.

The certificates are those of `tests.certificates`, shown by a server on loopback.
"""

from __future__ import annotations

import io
import random
import re
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

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
from ctrader_twisted.market.links import Holds, Link
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.tail import make_tail
from ctrader_twisted.tls import addresses
from ctrader_twisted.tls.authorities import parse
from ctrader_twisted.tls.connector import connect_host
from ctrader_twisted.tls.failures import CertificateRefused, ConnectFailed, Unreachable
from ctrader_twisted.tls.https import HttpsClient, RequestFailed
from ctrader_twisted.upstream import knock as knock_module
from ctrader_twisted.upstream.connection import Connection
from ctrader_twisted.upstream.knock import Door, knock
from tests.bounded import bounded
from tests.certificates import CASES, Case, server_context
from tests.integration.others import Plain, serving
from tests.leaks import LoggedFailures
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
async def listening(
    server: Server,
    address: str = "127.0.0.1",
    number: int = 0,
    protocol: type[Protocol] | None = None,
) -> AsyncIterator[int]:
    """The port of the server."""
    factory: Any = Factory.forProtocol(partial(_ears, server))  # type: ignore[arg-type]
    if protocol is not None:
        factory = Factory.forProtocol(protocol)
    port = reactor.listenTCP(number, TLSMemoryBIOFactory(server, False, factory), 50, address)
    try:
        yield port.getHost().port
    finally:
        await port.stopListening()


def _ears(server: Server) -> Ears:
    ears = Ears()
    ears.server = server
    return ears


class Here:
    """Resolves every name to addresses of loopback, by default to those of `look_up`."""

    def __init__(self, *found: str) -> None:
        self._found = found

    def addresses(self, host: str) -> Deferred[list[str]]:
        """As `tls.addresses.Resolver`."""
        return succeed([*self._found] or look_up(host))


def look_up(host: str) -> list[str]:
    """What a name resolves to."""
    return ["127.0.0.1"]


async def by_connection(case: Case, port: int, trusted: Sequence[Any]) -> str:
    """The refusal of the daemon's connection to its venue; empty when TLS comes about."""
    told = Recorder(ready_s=lambda: 0.0)
    ended: Deferred[str] = Deferred()
    told.reactions["lost"] = lambda cause, reason: ended.callback(
        "" if str(cause) == "through" else reason
    )
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
    return said


def door_of(case: Case, port: int, trusted: Sequence[Any]) -> Door:
    """What the doctor probes."""
    return Door(
        host=case.host,
        port=port,
        authorities=lambda: trusted,
        client_id="id",
        client_secret="secret",
        access_token="token",
        account_id=7,
        timeout_s=5,
    )


async def doctor_links(case: Case, port: int, trusted: Sequence[Any]) -> dict[str, Link]:
    """What the doctor finds."""
    door = door_of(case, port, trusted)
    return await deferToThread(lambda: {one.name: one for one in knock(door, "EURUSD")})


async def by_doctor(case: Case, port: int, trusted: Sequence[Any]) -> str:
    """The refusal of the doctor's probe."""
    tls = (await doctor_links(case, port, trusted))["tls"]
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


async def by_tail(case: Case, port: int, trusted: Sequence[Any]) -> str:
    """The refusal of `ctrader-stream tail`."""
    host = f"[{case.host}]" if ":" in case.host else case.host
    out, err = io.StringIO(), io.StringIO()
    follower = make_tail(
        reactor,
        url=f"wss://{host}:{port}/ws",
        symbols=["EURUSD"],
        count=1,
        as_json=False,
        out=out,
        err=err,
        environ={},
        key="a key",
    )
    follower.start()
    assert await follower.finished == 1
    said = err.getvalue()
    # The server speaks no WebSocket; to find that out, TLS is needed.
    return "" if "does not let us in (WebSocket connection upgrade failed" in said else said


async def by_https(case: Case, port: int, trusted: Sequence[Any]) -> str:
    """The refusal of the HTTPS client."""
    host = case.host.encode("idna").decode() if not case.host.isascii() else case.host
    client = HttpsClient(reactor, Here(), lambda: trusted, timeout_s=5)
    url = f"https://[{host}]:{port}/" if ":" in host else f"https://{host}:{port}/"
    try:
        answer = await client.request("POST", url, body=b"client_secret=secret")
    except CertificateRefused as error:
        return str(error)
    assert (answer.status, answer.body) == (200, b"{}")
    return ""


CLIENTS: dict[str, Callable[[Case, int, Sequence[Any]], Any]] = {
    "connection": by_connection,
    "doctor": by_doctor,
    "command": by_command,
    "tail": by_tail,
    "https": by_https,
}


@pytest.mark.parametrize("client", CLIENTS)
@bounded(120)
async def test_verdicts(client: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each case has its verdict and its words; a server that is refused receives nothing."""
    server = Server()
    trusted: list[Any] = []
    for module in (addresses, knock_module):
        monkeypatch.setattr(module, "look_up", lambda host: ["127.0.0.1"])
    monkeypatch.setattr(addresses, "is_address", lambda host: False)
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
                assert "the certificate of " in said, name
                assert case.refused in said, (name, said)
                assert server.received == b"", name
            else:
                assert said == "", name


# -- no TLS, and several addresses ----------------------------------------------------------------


class Hanging(Protocol):
    """Hangs up at once."""

    def connectionMade(self) -> None:
        """Goodbye."""
        self.transport.loseConnection()  # type: ignore[union-attr]


class Resetting(Protocol):
    """Hangs up as soon as TLS begins, without a goodbye."""

    def dataReceived(self, data: bytes) -> None:
        """Enough."""
        self.transport.abortConnection()  # type: ignore[union-attr]


HUNG_UP, NO_TLS = "closed the connection during the TLS handshake", "this is no TLS server"


@pytest.mark.parametrize("client", CLIENTS)
@bounded(60)
async def test_no_tls(
    client: str, expected_failures: LoggedFailures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What hangs up, and what speaks something else, are two things; all clients say which."""
    for module in (addresses, knock_module):
        monkeypatch.setattr(module, "look_up", lambda host: ["127.0.0.1"])
    for stranger, words in ((Hanging, HUNG_UP), (Resetting, HUNG_UP), (Plain, NO_TLS)):
        async with serving(stranger) as port:
            said = await by_any(client, port)
            assert words in said, (stranger, said)


async def by_any(client: str, port: int) -> str:
    """What a client says when there is no TLS."""
    try:
        said: str = await CLIENTS[client](CASES["good"], port, ())
    except ConnectFailed as error:
        said = str(error)
    return said


@pytest.mark.parametrize("client", CLIENTS)
@bounded(60)
async def test_another_address(
    client: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nobody listens at the first address of the host: the second one is taken."""
    for module in (addresses, knock_module, sys.modules[__name__]):
        monkeypatch.setattr(module, "look_up", lambda host: ["127.0.0.2", "::2", "127.0.0.1"])
    chain, key, ca_pem = CASES["good"].identity()
    store = tmp_path / "store.pem"
    store.write_bytes(ca_pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(store))
    server = Server()
    server.context = server_context(chain, key)
    async with listening(server) as port:
        said = await CLIENTS[client](CASES["good"], port, parse(ca_pem).certificates)
        assert said == ""


@pytest.mark.parametrize("client", CLIENTS)
@bounded(60)
async def test_no_address_at_all(client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each address is named, with the reason."""
    for module in (addresses, knock_module, sys.modules[__name__]):
        monkeypatch.setattr(module, "look_up", lambda host: ["127.0.0.2", "127.0.0.3"])
    async with serving(Plain) as port:
        pass
    if client == "doctor":
        links = await doctor_links(CASES["good"], port, ())
        said = links["socket"].cause
    elif client == "tail":
        said = await by_any(client, port)
        assert "nothing listens at wss://venue.example" in said
        return
    else:
        said = await by_any(client, port)
    where = f"venue.example:{port} (127.0.0.2, 127.0.0.3)"
    assert f"{where}: nothing listens there (connection refused)" in said


@bounded(30)
async def test_an_address_whose_tls_is_broken() -> None:
    """The daemon finds the good address at its next attempt, and the doctor says which is bad."""
    case = CASES["good"]
    chain, key, ca_pem = case.identity()
    trusted = parse(ca_pem).certificates
    good, bad = Server(), Server()
    good.context = server_context(chain, key)
    bad.context = server_context(*CASES["wrong name"].identity()[:2])
    told = Recorder(ready_s=lambda: 0.0)
    opened: Deferred[Any] = Deferred()
    told.reactions["opened"] = opened.callback
    async with listening(good, "127.0.0.3") as port, listening(bad, "127.0.0.2", port):
        connection = Connection(
            host=case.host,
            port=lambda: port,
            authorities=lambda: trusted,
            connect=connect_host(reactor, Here("127.0.0.2", "127.0.0.3")),
            clock=reactor,
            policy=replace(POLICY, backoff_initial_s=0.01),
            listener=told,
            metrics=Metrics(),
            rng=random.Random(),
            now_ms=lambda: 5,
        )
        connection.startService()
        await opened
        ((_, reason),) = told.all("lost")
        await connection.stopService()
        assert reason == (
            f"venue.example:{port} (127.0.0.2): the certificate of venue.example is for another "
            "host name (it names elsewhere.example)"
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(knock_module, "look_up", lambda host: ["127.0.0.2", "127.0.0.3"])
            links = await doctor_links(case, port, trusted)
        assert links["tls"].holds is Holds.OK
        assert reason in links["tls"].cause


# -- the HTTPS client -----------------------------------------------------------------------------


class Answering(Protocol):
    """Answers every request with the octets of the moment."""

    answer = b""
    requests: ClassVar[list[bytes]] = []

    def dataReceived(self, data: bytes) -> None:
        """A request, or a part of one."""
        self.requests.append(data)
        assert self.transport is not None
        self.transport.write(self.answer)
        if b"Connection: close" in self.answer:
            self.transport.loseConnection()


@bounded(60)
async def test_https_client() -> None:
    """Redirects are answers, sizes and times are bounded, and nothing but https is sent."""
    chain, key, ca_pem = CASES["good"].identity()
    trusted = parse(ca_pem).certificates
    server = Server()
    server.context = server_context(chain, key)
    client = HttpsClient(reactor, Here(), lambda: trusted, timeout_s=1, limit_bytes=1000)
    with pytest.raises(ValueError, match="https"):
        client.request("GET", "http://venue.example/")
    async with listening(server, protocol=Answering) as port:
        url = f"https://venue.example:{port}/token"
        Answering.answer = (
            b"HTTP/1.1 302 Found\r\nLocation: https://x/\r\nContent-Length: 2\r\n\r\nno"
        )
        response = await client.request("POST", url, headers={"X-A": "b"}, body=b"secret")
        assert (response.status, response.body) == (302, b"no")
        assert response.headers["location"] == "https://x/"
        sent = b"".join(Answering.requests)
        assert sent.startswith(b"POST /token HTTP/1.1\r\n")
        assert b"X-A: b\r\n" in sent.replace(b"x-a", b"X-A")
        assert sent.endswith(b"secret")
        for answer, words in (
            (b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b"a" * 2000, "larger than 1000"),
            (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"a" * 2000, "larger than 1000"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "no whole answer came in 1 s"),
            (b"", "no whole answer came in 1 s"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\na", "no whole"),
            (b"nonsense\r\n\r\n", "no whole answer came ("),
        ):
            Answering.answer = answer
            with pytest.raises(RequestFailed, match=re.escape(words)):
                await client.request("GET", url)
    with pytest.raises(Unreachable, match="nothing listens there"):
        await client.request("GET", url)
