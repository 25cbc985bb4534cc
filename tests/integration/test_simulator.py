"""The simulated venue on real sockets: TLS that can be verified, ports, processes, and switches."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    connectProtocol,
    wrapClientTLS,
)
from twisted.internet.error import CannotListenError, ConnectionRefusedError
from twisted.internet.protocol import connectionDone
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.internet.threads import deferToThread
from twisted.protocols.basic import Int32StringReceiver, LineOnlyReceiver
from twisted.python.failure import Failure

from ctrader_twisted.pb import api_pb2
from ctrader_twisted.simulator.certificates import make_identity
from ctrader_twisted.simulator.control import ControlService
from ctrader_twisted.simulator.service import Simulator
from ctrader_twisted.wire.codec import Envelope, decode, encode
from tests.bounded import bounded
from tests.integration.venue_process import VenueProcess

ACCOUNT = 1000001


class Visitor(Int32StringReceiver):
    """A client with nothing between it and the wire."""

    MAX_LENGTH = 16 << 20

    def __init__(self) -> None:
        self.inbox: list[Envelope] = []
        self._waiting: Deferred[Envelope] | None = None
        self.lost: Deferred[Failure] = Deferred()

    def stringReceived(self, string: bytes) -> None:
        """One frame."""
        self.inbox.append(decode(string))
        self._serve()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Over."""
        self.lost.callback(reason.value)

    def next(self) -> Deferred[Envelope]:
        """The next message."""
        self._waiting = waiting = Deferred()
        self._serve()
        return waiting

    def _serve(self) -> None:
        if self._waiting is not None and self.inbox:
            waiting, self._waiting = self._waiting, None
            waiting.callback(self.inbox.pop(0))

    async def ask(self, message: Message) -> Any:
        """The message that comes next, which in these tests is the answer."""
        self.sendString(encode(message, "id"))
        return (await self.next()).message

    async def leave(self) -> None:
        """Close, and wait for it."""
        self.transport.abortConnection()
        await self.lost


async def visit(port: int, ca_pem: bytes, host: str = "localhost") -> Visitor:
    """Connect with TLS, trusting that authority alone and expecting that host."""
    trust = trustRootFromCertificates([Certificate.loadPEM(ca_pem)])
    plain = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
    endpoint = wrapClientTLS(optionsForClientTLS(host, trustRoot=trust), plain)
    return await connectProtocol(endpoint, Visitor())


async def log_in(port: int, ca_pem: bytes) -> Visitor:
    """Both authorisations."""
    visitor = await visit(port, ca_pem)
    await visitor.ask(
        api_pb2.ProtoOAApplicationAuthReq(
            clientId="simulator-client", clientSecret="simulator-secret"
        )
    )
    await visitor.ask(
        api_pb2.ProtoOAAccountAuthReq(ctidTraderAccountId=ACCOUNT, accessToken="simulator-token")
    )
    return visitor


@bounded()
async def test_prices_over_verified_tls() -> None:
    """With the authority's certificate alone: authorisation, symbols, and prices with the time of
    the wall."""
    simulator = Simulator(reactor, rate=500)
    service = simulator.service(reactor)
    service.startService()
    visitor = await log_in(simulator.port, simulator.ca_pem)
    listed = await visitor.ask(api_pb2.ProtoOASymbolsListReq(ctidTraderAccountId=ACCOUNT))
    ids = [one.symbolId for one in listed.symbol]
    answer = await visitor.ask(
        api_pb2.ProtoOASubscribeSpotsReq(
            ctidTraderAccountId=ACCOUNT, symbolId=ids, subscribeToSpotTimestamp=True
        )
    )
    assert isinstance(answer, api_pb2.ProtoOASubscribeSpotsRes)
    events = [(await visitor.next()).message for _ in range(len(ids) + 100)]
    assert [one.symbolId for one in events[: len(ids)]] == ids
    # The first price of each symbol has the time at which it was made; the others come as they are.
    first = [one.timestamp for one in events[: len(ids)]]
    later = [one.timestamp for one in events[len(ids) :]]
    assert later == sorted(later)
    assert 1_700_000_000_000 < min(first) <= max(first) <= later[0]
    await visitor.leave()
    await service.stopService()


@pytest.mark.parametrize(
    ("certificate", "trusted", "host", "reason"),
    [
        ("good", "its own", "elsewhere.example", VerificationError),
        ("wrong-host", "its own", "localhost", VerificationError),
        ("expired", "its own", "localhost", SSL.Error),
        ("self-signed", "its own", "localhost", SSL.Error),
        ("good", "another", "localhost", SSL.Error),
    ],
)
@bounded()
async def test_a_careful_client_refuses(
    certificate: Any, trusted: str, host: str, reason: type[Exception]
) -> None:
    """Each bad certificate ends the handshake at the client, with a reason."""
    simulator = Simulator(reactor, certificate=certificate)
    service = simulator.service(reactor)
    service.startService()
    authority = simulator.ca_pem if trusted == "its own" else make_identity().ca_pem
    visitor = await visit(simulator.port, authority, host)
    assert isinstance(await visitor.lost, reason)
    await service.stopService()


@bounded()
async def test_plain_text_gets_nothing() -> None:
    """There is no way in without TLS."""
    simulator = Simulator(reactor)
    service = simulator.service(reactor)
    service.startService()
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", simulator.port)
    visitor = await connectProtocol(endpoint, Visitor())
    visitor.sendString(encode(api_pb2.ProtoOAVersionReq(), "id"))
    await visitor.lost
    assert visitor.inbox == []
    await service.stopService()


@bounded()
async def test_ones_own_certificate() -> None:
    """An identity that was brought along is the one that is shown."""
    identity = make_identity(["venue.example"])
    simulator = Simulator(reactor, certificate=identity)
    service = simulator.service(reactor)
    service.startService()
    visitor = await visit(simulator.port, identity.ca_pem, "venue.example")
    assert (await visitor.ask(api_pb2.ProtoOAVersionReq())).version == "93"
    await visitor.leave()
    await service.stopService()


@bounded()
async def test_small_messages_leave_at_once() -> None:
    """Nagle's algorithm is off."""
    simulator = Simulator(reactor)
    service = simulator.service(reactor)
    service.startService()
    visitor = await visit(simulator.port, simulator.ca_pem)
    await visitor.ask(api_pb2.ProtoOAVersionReq())
    (connection,) = simulator.venue.connections
    assert connection.transport.getTcpNoDelay()
    await visitor.leave()
    await service.stopService()


@bounded()
async def test_an_endpoint_of_ones_own() -> None:
    """Any server endpoint will do; TLS is put on it."""
    simulator = Simulator(reactor)
    service = simulator.service(TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"))
    service.startService()
    visitor = await visit(simulator.port, simulator.ca_pem)
    assert (await visitor.ask(api_pb2.ProtoOAVersionReq())).version == "93"
    await visitor.leave()
    await service.stopService()


@bounded()
async def test_stopping_cuts_everybody() -> None:
    """Once the stop has fired nobody is connected, not even who was stalled half-open."""
    simulator = Simulator(reactor)
    service = simulator.service(reactor)
    service.startService()
    visitors = [await log_in(simulator.port, simulator.ca_pem) for _ in range(2)]
    simulator.mischief.stall()
    await service.stopService()
    assert simulator.venue.connections == []
    for visitor in visitors:
        await visitor.lost


@bounded()
async def test_a_taken_port_is_an_error_at_start() -> None:
    """The second one says so when it starts."""
    first, second = Simulator(reactor), Simulator(reactor)
    service = first.service(reactor)
    service.startService()
    with pytest.raises(CannotListenError):
        second.service(reactor, port=first.port).startService()
    await service.stopService()


@bounded()
async def test_a_refusing_port_opens_again() -> None:
    """Connections are refused by the system until cleared; then the port is the same."""
    simulator = Simulator(reactor)
    service = simulator.service(reactor)
    service.startService()
    port = simulator.port
    simulator.mischief.refuse(how="port")
    simulator.mischief.clear()  # At once: the port is not closed yet.
    visitor = await visit(port, simulator.ca_pem)
    simulator.mischief.refuse(how="port")
    with pytest.raises(ConnectionRefusedError):
        await visit(port, simulator.ca_pem)
    assert (await visitor.ask(api_pb2.ProtoOAVersionReq())).version == "93"
    simulator.mischief.clear()
    other = await visit(port, simulator.ca_pem)
    assert (await other.ask(api_pb2.ProtoOAVersionReq())).version == "93"
    await visitor.leave()
    await other.leave()
    await service.stopService()


@bounded()
async def test_a_refusing_venue_hangs_up() -> None:
    """The port accepts and closes at once."""
    simulator = Simulator(reactor)
    service = simulator.service(reactor)
    service.startService()
    simulator.mischief.refuse()
    visitor = await visit(simulator.port, simulator.ca_pem)
    await visitor.lost
    await service.stopService()


@bounded()
async def test_a_lasting_stall_has_no_handshake() -> None:
    """Half-open from the start: the socket is accepted, and not a byte of TLS comes."""
    simulator = Simulator(reactor)
    service = simulator.service(reactor)
    service.startService()
    simulator.mischief.stall(lasting=True)
    visitor = await visit(simulator.port, simulator.ca_pem)
    answer = visitor.ask(api_pb2.ProtoOAVersionReq())
    waiting = Deferred.fromCoroutine(answer)
    # Somebody who is let in later is served before the stalled one hears anything.
    while not simulator.venue.connections:
        await pause()
    simulator.venue.arrivals = "welcome"
    other = await visit(simulator.port, simulator.ca_pem)
    await other.ask(api_pb2.ProtoOAVersionReq())
    assert not waiting.called
    simulator.mischief.clear()
    assert (await waiting).version == "93"
    await visitor.leave()
    await other.leave()
    await service.stopService()


def pause() -> Deferred[None]:
    """One turn of the reactor."""
    turn: Deferred[None] = Deferred()
    reactor.callLater(0, turn.callback, None)
    return turn


class Switchboard(LineOnlyReceiver):
    """Somebody at the control port."""

    delimiter = b"\n"

    def __init__(self) -> None:
        self._waiting: list[Deferred[Any]] = []
        self.lost: Deferred[None] = Deferred()

    def tell(self, **command: Any) -> Deferred[Any]:
        """One line; its answer."""
        self.sendLine(json.dumps(command).encode())
        self._waiting.append(Deferred())
        return self._waiting[-1]

    def lineReceived(self, line: bytes) -> None:
        """An answer."""
        self._waiting.pop(0).callback(json.loads(line))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Over."""
        self.lost.callback(None)


@bounded()
async def test_the_control_port() -> None:
    """A switch that is flipped by a line is felt by a client; stopping hangs up."""
    simulator = Simulator(reactor)
    service, control = simulator.service(reactor), ControlService(simulator, reactor, 0)
    service.startService()
    control.startService()
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", control.port)
    person = await connectProtocol(endpoint, Switchboard())
    visitor = await log_in(simulator.port, simulator.ca_pem)
    assert (await person.tell(do="state"))["accounts"] == [ACCOUNT]
    assert (await person.tell(do="account_disconnect")) == {"ok": True, "felt": 1}
    assert isinstance((await visitor.next()).message, api_pb2.ProtoOAAccountDisconnectEvent)
    assert (await person.tell(do="drop"))["felt"] == 1
    await visitor.lost
    assert not (await person.tell(do="nothing"))["ok"]
    await control.stopService()
    await person.lost
    await service.stopService()


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@bounded(60)
async def test_a_busy_port_ends_the_process(taken: int) -> None:
    """One sentence with the port, exit status 1."""
    venue = VenueProcess("--port", str(taken))
    assert await venue.end() == 1
    (sentence,) = [one for one in venue.said.splitlines() if "ctrader-simulator: " in one]
    assert f"cannot listen on 127.0.0.1:{taken}" in sentence
    assert "Traceback" not in venue.said


@bounded(60)
async def test_a_process_for_clients_of_any_kind(tmp_path: Path) -> None:
    """`--ca-out` is enough for a strict client of another author (the standard library's `ssl`);
    what is accepted is printed; SIGTERM ends it."""
    authority = tmp_path / "ca.pem"
    venue = VenueProcess(
        "--port", "0", "--control-port", "0", "--ca-out", str(authority), "--symbols", "3"
    )
    try:
        port, control_port = await venue.port(), await venue.control_port()
        assert await deferToThread(_strict_conversation, port, authority) == b"93"
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", control_port)
        person = await connectProtocol(endpoint, Switchboard())
        assert (await person.tell(do="state"))["port"] == port
        for value in ("simulator-client", "simulator-secret", "simulator-token", "1000001"):
            assert value in venue.said
    finally:
        await venue.stop()
    await person.lost
    assert "Traceback" not in venue.said


def _strict_conversation(port: int, authority: Path) -> bytes:
    """What version the venue says it has, asked for in a thread."""
    context = ssl.create_default_context(cafile=str(authority))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        request = encode(api_pb2.ProtoOAVersionReq(), "id")
        secure.sendall(len(request).to_bytes(4, "big") + request)
        length = int.from_bytes(secure.recv(4), "big")
        return decode(secure.recv(length)).message.version.encode()
