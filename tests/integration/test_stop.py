"""A signal ends the daemon in time, whatever state it is in, and clients are told."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ctrader_twisted.simulator.service import Simulator
from tests.bounded import bounded
from tests.integration.harness import until
from tests.integration.others import Deaf, a_full_queue, a_venue, serving, venue_at
from tests.integration.ticks_client import TicksClient, connect_to, of_type
from tests.integration.twistd import Process, listening, started

STOP_S = 1.0
OPTIONS = ["--ws-port", "0", "--stop-timeout-s", f"{STOP_S:g}"]


def as_options(options: dict[str, str]) -> list[str]:
    """As a command line has them."""
    return [f"--{name}={value}" for name, value in options.items()]


@asynccontextmanager
async def daemon(folder: Path, options: dict[str, str]) -> AsyncIterator[tuple[Process, Any]]:
    """A process of ours, and a client of it."""
    async with started(folder, *OPTIONS, *as_options(options)) as process:
        client = await connect_to(await listening(process))
        await client.ask("connect", "status")
        yield process, client


async def ends(process: Process, client: TicksClient, signal: str = "TERM") -> None:
    """Within the bound, and the client was told."""
    process.signal(signal)
    took_s = await process.end(STOP_S + 5)
    assert took_s <= STOP_S + 1
    assert await client.gone == 1001
    assert "Traceback" not in process.out
    assert process.err == ""


@pytest.mark.parametrize("signal", ["TERM", "INT"])
@bounded(40)
async def test_at_work(tmp_path: Path, signal: str) -> None:
    """With the venue in the same process, and prices on their way."""
    async with daemon(tmp_path, {}) as (process, client):
        client.say("subscribe", symbols=["EURUSD"])
        await client.next(of_type("tick"), "a tick")
        await ends(process, client, signal)
        assert "Server Shut Down" in process.out


@pytest.fixture
def ca_file(tmp_path: Path) -> Path:
    """Where the authority of a venue is written."""
    return tmp_path / "ca.pem"


Misbehave = Callable[[Simulator], object]

SILENCES: dict[str, Misbehave] = {
    "mute": lambda venue: venue.mischief.mute(True),
    "stall": lambda venue: venue.mischief.stall(True),
    "gone": lambda venue: (venue.mischief.refuse("port"), venue.mischief.drop()),
    "no logout": lambda venue: venue.mischief.swallow("ProtoOAAccountLogoutReq", times=0),
    "no": lambda venue: venue.mischief.error("ProtoOAAccountLogoutReq", "UNKNOWN_ERROR"),
}

NOTES = {
    "mute": "could not log out: not done within 0.5 s; going on",
    "stall": "could not log out: not done within 0.5 s; going on",
    "gone": "no connection to the venue: ",
    "no logout": "could not log out: not done within 0.5 s; going on",
    "no": "could not log out: UNKNOWN_ERROR; going on",
}


@pytest.mark.parametrize("silence", SILENCES)
@bounded(40)
async def test_ready_and_then_silence(tmp_path: Path, ca_file: Path, silence: str) -> None:
    """A venue that was there, and answers no more, or says no: not even the logout is had."""
    async with a_venue() as venue:
        ca_file.write_bytes(venue.ca_pem)
        async with daemon(tmp_path, venue_at(venue.port, ca_file)) as (process, client):
            client.say("subscribe", symbols=["EURUSD"])
            await client.next(of_type("tick"), "a tick")
            SILENCES[silence](venue)
            if silence == "gone":
                await client.next(of_type("status", status="reconnecting"), "the loss")
            await ends(process, client)
            assert NOTES[silence] in process.out


@bounded(40)
async def test_logging_in(tmp_path: Path, ca_file: Path) -> None:
    """A venue that lets us in and does not answer the first request."""
    async with a_venue() as venue:
        ca_file.write_bytes(venue.ca_pem)
        venue.mischief.mute(True)
        async with daemon(tmp_path, venue_at(venue.port, ca_file)) as (process, client):
            await until(lambda: venue.venue.connections, "connected")
            await ends(process, client)


@bounded(40)
async def test_in_the_handshake(tmp_path: Path) -> None:
    """A server that accepts and never speaks."""
    async with serving(Deaf) as port, daemon(tmp_path, venue_at(port)) as (process, client):
        await ends(process, client)


@bounded(40)
async def test_connecting(tmp_path: Path) -> None:
    """An address that swallows every packet."""
    async with AsyncExitStack() as stack:
        port = stack.enter_context(a_full_queue())
        process, client = await stack.enter_async_context(daemon(tmp_path, venue_at(port)))
        assert client.statuses()[-1]["status"] == "ctrader-connecting"
        await ends(process, client)


@bounded(40)
async def test_backing_off(tmp_path: Path) -> None:
    """Nobody is there, and the next attempt is far away."""
    async with serving(Deaf) as port:
        pass
    options = {**venue_at(port), "backoff-initial-s": "50"}
    async with daemon(tmp_path, options) as (process, client):
        await client.heard(of_type("status", status="reconnecting"), "a long wait")
        await ends(process, client)


@bounded(40)
async def test_a_client_that_does_not_read(tmp_path: Path) -> None:
    """It never answers the goodbye; it is not waited for."""
    async with daemon(tmp_path, {}) as (process, client):
        deaf = await connect_to(await listening(process))
        deaf.transport.pauseProducing()
        await ends(process, client)
        deaf.transport.abortConnection()


SLOW_NAMES = """
import socket, time

def gethostbyname(name):
    time.sleep(30)
    raise socket.gaierror(-3, "no answer")

socket.gethostbyname = gethostbyname
socket.getaddrinfo = lambda name, *more, **most: gethostbyname(name)
"""


@bounded(40)
async def test_while_a_name_is_looked_up(tmp_path: Path) -> None:
    """A name server that says nothing does not keep the process alive."""
    (tmp_path / "sitecustomize.py").write_text(SLOW_NAMES)
    environment = {
        "PYTHONPATH": os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", ""))),
        "CTRADER_ENV": "demo",
        "CTRADER_OPENAPI_HOST": "venue.example",
        "CTRADER_CLIENT_ID": "our-program",
        "CTRADER_CLIENT_SECRET": "its-secret",
        "CTRADER_ACCESS_TOKEN": "its-token",
        "CTRADER_ACCOUNT_ID": "7",
    }
    async with started(tmp_path, *OPTIONS, environment=environment) as process:
        client = await connect_to(await listening(process))
        await client.ask("connect", "status")
        await ends(process, client)
