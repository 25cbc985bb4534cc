"""What can go wrong when ticks go past Twisted, on real sockets; each hazard has its own name."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from autobahn.twisted.websocket import WebSocketServerProtocol
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.endpoints import SSL4ClientEndpoint, TCP4ClientEndpoint
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates

from ctrader_twisted.simulator.certificates import make_identity
from tests.bounded import bounded
from tests.integration.harness import Running, until
from tests.integration.ticks_client import TicksClient, of_type, open_on

FAST = {"rate": "4000", "symbols": "0", "outbox-age-s": "60", "request-timeout-s": "5"}
SYMBOLS = ("EURUSD", "GBPUSD", "USDJPY", "XAUUSD", "US500", "BTCUSD")


def in_order(client: TicksClient) -> bool:
    """No tick twice, none before its time, and every one that is missing was counted."""
    seen: dict[str, int] = {}
    for tick in client.ticks():
        before = seen.get(tick["symbol"])
        if before is not None and tick["seq"] - before - 1 != tick.get("conflated", 0):
            return False
        seen[tick["symbol"]] = tick["seq"]
    return True


def small_window(client: TicksClient) -> None:
    """So that a client that does not read is noticed after kilobytes, not megabytes."""
    sock: Any = client.transport.socket
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)


async def a_second_of_ticks(running: Running, number: int = 3000) -> None:
    """So many ticks arrive from the venue."""
    until_then = running.metrics.ticks_in + number
    await until(lambda: running.metrics.ticks_in >= until_then, "more ticks")


@pytest.fixture
def identity_files(tmp_path: Path) -> tuple[Any, str]:
    """A certificate for our own door, and the endpoint string that uses it."""
    identity = make_identity(("localhost",), "good")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_bytes(identity.certificate_pem)
    key.write_bytes(identity.key_pem)
    return identity, f"ssl:port=0:interface=127.0.0.1:certKey={certificate}:privateKey={key}"


@bounded(20)
async def test_tls_listener_never_sends_plain_text(identity_files: tuple[Any, str]) -> None:
    """A TLS transport has a ``socket`` too; what is sent there would cut into the TLS stream. Also
    with a client that stops reading, and reads again.
    """
    identity, listen = identity_files
    roots = trustRootFromCertificates([Certificate.loadPEM(identity.ca_pem)])
    async with Running({**FAST, "listen": listen}) as running:
        await running.until_ready()
        options = optionsForClientTLS("localhost", trustRoot=roots)
        endpoint = SSL4ClientEndpoint(reactor, "127.0.0.1", running.port, options)
        client = await open_on(endpoint, f"wss://localhost:{running.port}/ws")
        await client.ask("subscribe", "subscribeResponse", symbols=list(SYMBOLS))
        await a_second_of_ticks(running, 500)
        client.transport.transport.pauseProducing()
        client.say("ping", id="while parked")
        await a_second_of_ticks(running, 12_000)
        client.transport.transport.resumeProducing()
        await client.heard(of_type("pong", id="while parked"), "the pong")
        await client.ask("ping", "pong")
        assert in_order(client)
        assert len(client.ticks()) > 400
        await client.bye()


@bounded(30)
@pytest.mark.parametrize("over_tls", [False, True])
async def test_who_floods_is_told_and_not_read_any_more(
    identity_files: tuple[Any, str], over_tls: bool
) -> None:
    """Pings without end: 1008, and then an end, though the rest of them stays unread; somebody else
    is served as ever.
    """
    identity, listen = identity_files
    roots = trustRootFromCertificates([Certificate.loadPEM(identity.ca_pem)])
    options = optionsForClientTLS("localhost", trustRoot=roots)
    async with Running({**FAST, **({"listen": listen} if over_tls else {})}) as running:
        await running.until_ready()
        tls = SSL4ClientEndpoint(reactor, "127.0.0.1", running.port, options)
        plain = TCP4ClientEndpoint(reactor, "127.0.0.1", running.port)
        url = f"{'wss' if over_tls else 'ws'}://localhost:{running.port}/ws"
        flooder, other = [await open_on(tls if over_tls else plain, url) for _ in range(2)]
        for _ in range(100_000):
            flooder.sendPing()
        await other.ask("ping", "pong")
        assert await flooder.gone.addTimeout(10, reactor) == 1008
        await until(lambda: running.metrics.clients == 1, "only one left")
        assert running.metrics.counted("client_request_errors", "TOO_MANY_FRAMES") == 1
        await other.ask("ping", "pong")
        await other.bye()


@bounded(20)
async def test_a_parked_client_is_never_overtaken_and_misses_only_what_is_counted() -> None:
    """Part of a frame waits in Twisted's buffer: pongs, replies and newer ticks stay behind it."""
    async with Running(FAST) as running:
        await running.until_ready()
        client = await running.client()
        small_window(client)
        await client.ask("subscribe", "subscribeResponse", symbols=list(SYMBOLS))
        for _ in range(3):
            client.transport.pauseProducing()
            client.sendPing(b"are you there")
            client.say("ping", id="while parked")
            missed = running.metrics.conflated
            await a_second_of_ticks(running)
            client.transport.resumeProducing()
            await client.heard(of_type("pong"), "the pong", since=len(client.messages))
            await until(lambda missed=missed: running.metrics.conflated > missed, "conflation")
            await client.ask("ping", "pong")
        assert in_order(client)


@bounded(20)
async def test_a_parked_client_that_is_shown_out_is_gone() -> None:
    """A transport with a producer never finishes closing: the producer is taken off first."""
    async with Running({**FAST, "outbox-age-s": "0.2"}) as running:
        await running.until_ready()
        client = await running.client()
        small_window(client)
        await client.ask("subscribe", "subscribeResponse", symbols=list(SYMBOLS))
        client.transport.pauseProducing()
        await until(lambda: running.metrics.counted("clients_closed_slow"), "shown out", 8)
        await until(lambda: running.metrics.clients == 0, "nobody there")
        client.transport.resumeProducing()
        await client.gone.addTimeout(5, reactor)
        assert client.close_code in (4413, 1006)


@bounded(30)
async def test_nothing_follows_a_close_frame() -> None:
    """Fifty clients say goodbye, or are told to go, in the middle of the stream: all cleanly."""
    # All clients live in this process, and read every tick as JSON.
    async with Running({**FAST, "rate": "200"}) as running:
        await running.until_ready()
        clients = [await running.client(*SYMBOLS) for _ in range(50)]
        await a_second_of_ticks(running, 50)
        for client in clients[:25]:
            client.sendClose(1000)
        await gatherResults([client.gone for client in clients[:25]]).addTimeout(5, reactor)
        await a_second_of_ticks(running, 50)
        await running.daemon.stopService()
        await gatherResults([client.gone for client in clients[25:]]).addTimeout(5, reactor)
        assert [client.close_code for client in clients] == [1000] * 25 + [1001] * 25
        assert all(map(in_order, clients))


@bounded(20)
async def test_small_writes_leave_at_once() -> None:
    """TCP_NODELAY is really on: Autobahn's own option for it never is."""
    async with Running(FAST) as running:
        await running.until_ready()
        await running.client("EURUSD")
        (client,) = running.daemon.audience.clients()
        assert isinstance(client, WebSocketServerProtocol)
        sock: Any = client.transport.socket
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_autobahn_still_needs_the_workaround() -> None:
    """When this fails, Autobahn copies its options before it reads them: `web/gate` can shrink."""
    made = WebSocketServerProtocol()
    assert "tcpNoDelay" in made.CONFIG_ATTRS
    with pytest.raises(AttributeError):
        made.tcpNoDelay  # noqa: B018 - reading is the test
