"""`ctrader-stream tail` as a process, against a server of our own that speaks the tick stream."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol

from ctrader_twisted.simulator.certificates import Identity, Kind, make_identity
from tests.bounded import bounded
from tests.integration.harness import until
from tests.integration.twistd import Process, started

COMMAND = (sys.executable, "-m", "ctrader_twisted.cli")
# Buffered, whatever this process is: what is not flushed must not be seen.
ENVIRONMENT = {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": ""}
TICK = (
    '{"type":"tick","symbol":"%s","symbolId":1,"bid":1.08510,"ask":1.08520,"spread":0.00010,'
    '"timestamp":1795262400123,"seq":1,"receivedAt":1795262400125}'
)
LINE = "2026-11-21T12:00:00.123Z\tEURUSD\t1.08510\t1.08520"


class Daemon(WebSocketServerFactory):
    """Speaks the contract; tests send what else they want."""

    def __init__(self, *, ticks: int = 3, unknown: tuple[str, ...] = ()) -> None:
        """``ticks`` are sent at each subscribe, for each symbol that is not ``unknown``."""
        super().__init__(reactor=reactor)
        # Autobahn counts it in whole seconds of the clock: its default of 1 s may be none at all.
        self.setProtocolOptions(closeHandshakeTimeout=0)
        self.ticks = ticks
        self.unknown = unknown
        self.refuse_with = 0
        self.requests: list[dict[str, Any]] = []
        self.clients: list[Guest] = []

    def count(self, kind: str) -> int:
        """How many requests of this type have come."""
        return sum(request["type"] == kind for request in self.requests)


class Guest(WebSocketServerProtocol):
    """One connected tail."""

    factory: Daemon

    def onOpen(self) -> None:
        """Let it in, or show it out."""
        if self.factory.refuse_with:
            self.hang_up(self.factory.refuse_with)
        self.factory.clients.append(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Answer as the daemon would."""
        request = json.loads(payload)
        self.factory.requests.append(request)
        if request["type"] == "connect":
            symbols = ["EURUSD", "GBPUSD"]
            self.say(type="status", status="connected", env="simulator", availableSymbols=symbols)
        elif request["type"] == "subscribe":
            self.serve(request["symbols"])

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """It is gone."""
        if self in self.factory.clients:
            self.factory.clients.remove(self)

    def serve(self, symbols: list[str]) -> None:
        """A row for each symbol, and ticks."""
        results: list[dict[str, str]] = []
        for symbol in symbols:
            if symbol in self.factory.unknown:
                why = f"there is no symbol {symbol!r}"
                results.append({"symbol": symbol, "status": "error", "message": why})
            else:
                results.append({"symbol": symbol, "status": "subscribed"})
        self.say(type="subscribeResponse", results=results, symbols=[])
        for row in results:
            if row["status"] == "subscribed":
                self.tick(row["symbol"], self.factory.ticks)

    def say(self, **message: Any) -> None:
        """Send one message."""
        self.sendMessage(json.dumps(message).encode())

    def tick(self, symbol: str, times: int = 1) -> None:
        """Send some ticks."""
        for _ in range(times):
            self.sendMessage((TICK % symbol).encode())

    def hang_up(self, code: int) -> None:
        """Close with a code that Autobahn reserves for servers."""
        self.sendCloseFrame(code=code, reasonUtf8=b"by design", isReply=False)


@asynccontextmanager
async def daemon(
    identity: Identity | None = None, **options: Any
) -> AsyncIterator[tuple[Daemon, str]]:
    """A server on a free port, with its address."""
    factory = Daemon(**options)
    factory.protocol = Guest  # type: ignore[assignment]
    if identity is None:
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    else:
        context = identity.context_factory()
        port = reactor.listenSSL(0, factory, context, interface="127.0.0.1")
    number = port.getHost().port
    try:
        yield factory, f"{'wss' if identity else 'ws'}://127.0.0.1:{number}/ws"
    finally:
        await port.stopListening()
        for client in list(factory.clients):
            client.dropConnection(abort=True)
        await until(lambda: not factory.clients, "every client gone")


@contextmanager
def free_port() -> Iterator[int]:
    """A port on which nobody listens, and which stays ours."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def tail(folder: Path, *arguments: str, **environment: str) -> started:
    """The command, as a process in this folder."""
    return started(
        folder, "tail", *arguments, command=COMMAND, environment=ENVIRONMENT | environment
    )


async def result(process: Process, seconds: float = 20.0) -> tuple[int | None, list[str], str]:
    """Exit status, lines of standard output, and standard error, when it has ended."""
    await process.end(seconds)
    return process.status, process.out.splitlines(), process.err


@bounded(30)
async def test_count(tmp_path: Path) -> None:
    """As many lines as asked for, then a goodbye and status 0; a simulator is named as one."""
    async with (
        daemon(ticks=5) as (server, url),
        tail(tmp_path, "EURUSD", "--url", url, "--count", "3") as process,
    ):
        status, lines, said = await result(process)
        assert (status, lines) == (0, [LINE] * 3), process.told()
        assert said == "ctrader-stream: [SIMULATOR, invented prices] connected\n"
        await until(lambda: not server.clients, "the goodbye")


@bounded(30)
async def test_each_line_is_flushed(tmp_path: Path) -> None:
    """A reader sees a tick when it comes, not when a buffer is full; Ctrl-C ends with 130."""
    async with daemon(ticks=1) as (server, url), tail(tmp_path, "EURUSD", "--url", url) as process:
        await process.says(re.escape(LINE))
        server.clients[0].tick("EURUSD")
        await process.says(f"({re.escape(LINE)}\n){{2}}")
        process.signal("INT")
        status, lines, said = await result(process)
        assert (status, len(lines)) == (130, 2)
        assert "Traceback" not in said


@bounded(30)
async def test_termination(tmp_path: Path) -> None:
    """SIGTERM ends it as well, with 143."""
    async with daemon(ticks=1) as (_, url), tail(tmp_path, "EURUSD", "--url", url) as process:
        await process.says(re.escape(LINE))
        process.signal("TERM")
        assert (await result(process))[0] == 143


@bounded(30)
async def test_json(tmp_path: Path) -> None:
    """The messages as they came, ticks only."""
    async with (
        daemon() as (_, url),
        tail(tmp_path, "EURUSD", "GBPUSD", "--url", url, "--count", "4", "--json") as process,
    ):
        status, lines, _ = await result(process)
        assert (status, lines) == (0, [TICK % "EURUSD"] * 3 + [TICK % "GBPUSD"]), process.told()


@bounded(30)
async def test_the_configuration_says_where(tmp_path: Path) -> None:
    """Without --url it looks where a daemon in this folder would listen, without credentials."""
    async with daemon() as (_, url):
        port = url.split(":")[2].split("/")[0]
        (tmp_path / "tap.conf").write_text(
            f"[venue]\nenvironment = demo\n[web]\nws_port = {port}\n"
        )
        async with tail(tmp_path, "eurusd", "--count", "1") as process:
            status, lines, _ = await result(process)
            assert (status, len(lines)) == (0, 1), process.told()


@bounded(30)
async def test_nothing_listens(tmp_path: Path) -> None:
    """One sentence with the address, and status 1, at once."""
    with free_port() as port:
        async with tail(tmp_path, "EURUSD", WS_PORT=str(port)) as process:
            status, lines, said = await result(process)
    assert (status, lines) == (1, [])
    address = f"ws://127.0.0.1:{port}/ws"
    assert said.startswith(f"ctrader-stream: nothing listens at {address}: start the daemon")
    assert said.count("\n") == 1


@bounded(30)
async def test_somebody_else_listens(tmp_path: Path) -> None:
    """A server of another kind is not taken for a daemon that is away."""

    class Web(Protocol):
        def dataReceived(self, data: bytes) -> None:
            assert self.transport is not None
            self.transport.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    port = reactor.listenTCP(0, Factory.forProtocol(Web), interface="127.0.0.1")
    try:
        url = f"ws://127.0.0.1:{port.getHost().port}/ws"
        async with tail(tmp_path, "EURUSD", "--url", url) as process:
            status, _, said = await result(process)
    finally:
        await port.stopListening()
    assert status == 1
    assert re.search(r"does not let us in \(.*404.*\); see --url\n$", said), said


@bounded(30)
async def test_refused_symbols(tmp_path: Path) -> None:
    """One of two is told and the other goes on; when all are refused it ends with status 1."""
    async with daemon(unknown=("NOPE", "NADA")) as (_, url):
        async with tail(tmp_path, "NOPE", "EURUSD", "--url", url, "--count", "1") as process:
            status, lines, said = await result(process)
            assert (status, lines) == (0, [LINE])
            assert "ctrader-stream: NOPE is refused: there is no symbol 'NOPE'\n" in said
        async with tail(tmp_path, "NOPE", "NADA", "--url", url) as process:
            status, lines, said = await result(process)
            assert (status, lines) == (1, [])
            assert "NOPE is refused" in said
            assert "NADA is refused" in said
            assert said.endswith("ctrader-stream: no symbol is left to follow\n")


@bounded(30)
async def test_a_lost_connection_is_made_again(tmp_path: Path) -> None:
    """It says so, subscribes again, and goes on counting, whether with a code or without."""
    async with (
        daemon(ticks=1) as (server, url),
        tail(tmp_path, "EURUSD", "--url", url, "--count", "3") as process,
    ):
        await process.says(re.escape(LINE))
        server.clients[0].hang_up(1001)
        await process.says(f"({re.escape(LINE)}\n){{2}}")
        server.clients[0].dropConnection(abort=True)
        status, lines, said = await result(process)
        assert (status, lines) == (0, [LINE] * 3), process.told()
        assert server.count("subscribe") == 3
        assert "no connection to the daemon: attempt 1 in 1 s (1001: by design)" in said, said
        assert said.count(f"ctrader-stream: connected again to {url}\n") == 2


@bounded(30)
async def test_codes_that_mean_stop(tmp_path: Path) -> None:
    """It does not come back after 4401."""
    async with daemon() as (server, url):
        server.refuse_with = 4401
        async with tail(tmp_path, "EURUSD", "--url", url) as process:
            status, _, said = await result(process)
        assert status == 1
        assert "has closed the connection for good (4401: by design)" in said


@bounded(30)
async def test_a_reader_that_has_enough(tmp_path: Path) -> None:
    """`| head -1` ends it quietly, with status 0."""
    async with daemon(ticks=2000) as (server, url):
        command = shlex.join([*COMMAND, "tail", "EURUSD", "--url", url])
        script = f"{command} | head -1; echo ${{PIPESTATUS[0]}}"
        async with started(
            tmp_path, command=("/bin/bash", "-c", script), environment=ENVIRONMENT
        ) as shell:
            _, lines, said = await result(shell)
        assert lines == [LINE, "0"], shell.told()
        assert said == "ctrader-stream: [SIMULATOR, invented prices] connected\n"
        await until(lambda: not server.clients, "the end of the connection")


@bounded(30)
async def test_closed_streams(tmp_path: Path) -> None:
    """Who closes standard output and standard error wants the exit status alone, and gets it."""
    async with daemon() as (_, url):
        command = shlex.join([*COMMAND, "tail", "EURUSD", "--url", url, "--count", "1"])
        script = ("/bin/bash", "-c", f"{command} >&- 2>&-; echo $?")
        async with started(tmp_path, command=script, environment=ENVIRONMENT) as shell:
            assert await result(shell) == (0, ["0"], "")


@bounded(30)
async def test_a_full_disk(tmp_path: Path) -> None:
    """Ticks that cannot be written are an error, said in one sentence."""
    async with daemon() as (_, url):
        command = shlex.join([*COMMAND, "tail", "EURUSD", "--url", url])
        script = ("/bin/bash", "-c", f"{command} >/dev/full; echo $?")
        async with started(tmp_path, command=script, environment=ENVIRONMENT) as shell:
            _, lines, said = await result(shell)
        assert lines == ["1"]
        sentence = "ctrader-stream: cannot write to standard output (No space left on device)\n"
        assert said.endswith(sentence)


@bounded(30)
async def test_a_terminal(tmp_path: Path) -> None:
    """Prices are painted over each other, and the last picture stays when it ends."""
    async with daemon(ticks=1) as (server, url):
        process = Process()
        reactor.spawnProcess(
            process,
            COMMAND[0],
            [*COMMAND, "tail", "EURUSD", "--url", url],
            env={**os.environ, **ENVIRONMENT, "TERM": "xterm"},
            path=str(tmp_path),
            usePTY=True,
        )
        try:
            await process.says("EURUSD .*1.08510  1.08520.*0.00010")
            server.clients[0].sendMessage((TICK % "EURUSD").replace("1.08510", "1.08513").encode())
            await process.says(r"\x1b\[\d+A\r.*\n.*EURUSD .*1.08513")
            process.signal("INT")
            await process.end(20)
        finally:
            if process.failure is None:
                process.signal("KILL")
                await process.end(20)
        assert process.status == 130
        assert "[SIMULATOR, invented prices]" in process.out.splitlines()[-2]


@bounded(30)
async def test_a_mistake_in_the_configuration(tmp_path: Path) -> None:
    """It ends with the sentence that the daemon would end with."""
    async with tail(tmp_path, "EURUSD", WS_PORT="eight") as process:
        status, _, said = await result(process)
    assert status == 1
    assert said.startswith("ctrader-stream: WS_PORT in the environment is 'eight', but must be")


async def over_tls(folder: Path, kind: Kind, *, trusted: bool) -> tuple[int | None, str]:
    """Exit status and standard error of a tail over wss to a server with such a certificate."""
    identity = make_identity(kind=kind)
    (folder / "ca.pem").write_bytes(identity.ca_pem)
    trust = {"SSL_CERT_FILE": str(folder / "ca.pem")} if trusted else {}
    async with (
        daemon(identity) as (_, url),
        tail(folder, "EURUSD", "--url", url, "--count", "1", **trust) as process,
    ):
        status, _, said = await result(process)
        return status, said


@bounded(30)
async def test_a_certificate_that_is_trusted(tmp_path: Path) -> None:
    """wss works, with the authorities that the system trusts."""
    status, said = await over_tls(tmp_path, "good", trusted=True)
    assert status == 0, said


@bounded(40)
async def test_certificates_that_are_not(tmp_path: Path) -> None:
    """An unknown authority, and a certificate for somebody else: status 1, and the cause."""
    status, said = await over_tls(tmp_path, "good", trusted=False)
    assert status == 1
    assert "authority that is not trusted" in said
    status, said = await over_tls(tmp_path, "wrong-host", trusted=True)
    assert status == 1
    assert "is for another host name" in said
