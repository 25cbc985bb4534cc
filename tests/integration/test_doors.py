"""The doors of a whole daemon, over real sockets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import treq
from autobahn.twisted.websocket import WebSocketClientFactory
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.web.client import HTTPConnectionPool

from ctrader_twisted.web.keys import add_key, revoke_key
from tests.bounded import bounded
from tests.integration.harness import Running, until
from tests.integration.ticks_client import TicksClient, of_type
from tests.integration.twistd import started


async def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, Any]:
    """Status and JSON of one request."""
    pool = HTTPConnectionPool(reactor, persistent=False)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    url = f"http://127.0.0.1:{port}{path}"
    response = await treq.request(method, url, headers=named, pool=pool, timeout=5)
    assert response.headers.hasHeader("x-correlation-id")
    return response.code, await response.json()


async def connect(port: int, origin: str | None = None, **headers: str) -> TicksClient:
    """A WebSocket client with these headers."""
    factory = WebSocketClientFactory(
        f"ws://127.0.0.1:{port}/ws", origin=origin, headers=headers, reactor=reactor
    )
    factory.protocol, factory.noisy = TicksClient, False
    factory.opened = opened = Deferred()
    await TCP4ClientEndpoint(reactor, "127.0.0.1", port, timeout=5).connect(factory)
    client: TicksClient = await opened.addTimeout(5, reactor)
    return client


@bounded(30)
async def test_strangers_need_a_key(tmp_path: Path) -> None:
    """Beyond loopback: by header or in connect, too late, wrong, and revoked within seconds."""
    keys = tmp_path / "keys.json"
    text = add_key(keys, "ops", ["read"], "now").reveal()
    options = {"listen": "tcp:0", "keys-file": str(keys), "auth-timeout-s": "0.3"}
    async with Running(options) as running:
        port = running.port
        assert (await ask(port, "/healthz"))[0] == 200
        status, problem = await ask(port, "/nowhere")
        assert (status, problem["code"]) == (401, "KEY_REQUIRED")
        assert (await ask(port, "/nowhere", Authorization=f"Bearer {text}"))[0] == 404
        late = await connect(port)
        assert await late.gone == 4408
        assert late.messages == []
        wrong = await connect(port, Authorization="Bearer wrong")
        assert await wrong.gone == 4401
        by_header = await connect(port, Authorization=f"Bearer {text}")
        by_token = await connect(port)
        by_token.say("connect", token=text)
        await by_token.next(of_type("status"), "the answer to connect")
        for client in (by_header, by_token):
            await client.ask("subscribe", "subscribeResponse", symbols=["EURUSD"])
            await client.next(of_type("tick"), "a tick")
        revoke_key(keys, "ops")
        for client in (by_header, by_token):
            assert await client.gone == 4401
        await until(lambda: running.metrics.clients == 0, "nobody is left")


@bounded(30)
async def test_foreign_pages() -> None:
    """A page of another origin is 403, and as a WebSocket closed with 4403; a foreign Host 403."""
    async with Running() as running:
        port = running.port
        status, problem = await ask(port, "/healthz", Origin="https://evil.example")
        assert (status, problem["code"]) == (403, "ORIGIN_REFUSED")
        status, problem = await ask(port, "/healthz", Host="evil.example")
        assert (status, problem["code"]) == (403, "HOST_REFUSED")
        foreign = await connect(port, origin="https://evil.example")
        assert await foreign.gone == 4403
        # What browsers say of a page that was opened from a file, or stands in a sandbox.
        for nowhere in ("null", "file://"):
            opened = await connect(port, origin=nowhere)
            assert await opened.gone == 4403
        status, problem = await ask(port, "/healthz", Origin="null")
        assert "from a file" in problem["detail"]
        same = await connect(port, origin=f"http://127.0.0.1:{port}")
        same.say("connect")
        await same.next(of_type("status"), "a status")
        await same.bye()


@bounded(40)
async def test_refused_at_start(tmp_path: Path) -> None:
    """A door for everybody and no key: one sentence that says what to set, and status 1."""
    async with started(tmp_path, "--listen", "tcp:0", "--port", "0") as process:
        await process.end(20)
    assert process.status == 1
    assert process.err.count("\n") == 1
    assert "ctrader-stream keys add" in process.err
    assert "keys_file" in process.err
    assert "listening" not in process.out


@bounded(30)
async def test_tail_shows_its_key(tmp_path: Path) -> None:
    """The command line's own client gets in with a key from a file, and says why without one."""
    keys, key = tmp_path / "keys.json", tmp_path / "key"
    key.write_text(add_key(keys, "screen", ["read"], "now").reveal() + "\n")
    options = {"listen": "tcp:0", "keys-file": str(keys), "auth-timeout-s": "0.3"}
    async with Running(options) as running:
        await running.until_ready()
        url = f"ws://127.0.0.1:{running.port}/ws"
        asks = ("tail", "EURUSD", "--count", "1", "--url", url)
        command = [sys.executable, "-m", "ctrader_twisted.cli"]
        async with started(tmp_path, *asks, "--key-file", str(key), command=command) as process:
            await process.end(20)
            assert (process.status, process.out.count("EURUSD")) == (0, 1), process.told()
        missing = str(tmp_path / "missing")
        async with started(tmp_path, *asks, "--key-file", missing, command=command) as process:
            await process.end(20)
            assert process.status == 1
            assert f"the key file {missing} cannot be read: No such file" in process.err
