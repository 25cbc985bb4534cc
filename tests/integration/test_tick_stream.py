"""The tick stream as a stranger meets it: a client of another author, the daemon, real TCP."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Event
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import blockingCallFromThread, deferToThread
from websockets.frames import Frame, Opcode

from tests.bounded import bounded
from tests.integration.harness import SYNTHETIC, Running, until
from tests.integration.stranger import Message, Stranger, crowd, raw, receive
from tests.rfc6455 import CLOSE, HANDSHAKE, PING, client_frame, take_frames

TICK = {"type", "symbol", "symbolId", "bid", "ask", "spread", "timestamp", "seq", "receivedAt"}
END = b"\r\n\r\n"
UPGRADE = HANDSHAKE + b"\r\n"


def every_message(port: int, path: str, fault: Any) -> None:
    """One of each type, in the order in which a page meets them."""
    with Stranger(port, path) as stranger:
        status = stranger.ask("status", type="connect", protocol=1, features=["health"])
        assert status["status"] == "connected"
        assert "SYM007" in status["availableSymbols"]
        assert status["env"] == "simulator"
        answer = stranger.ask("subscribeResponse", type="subscribe", symbols=["sym007", "nope"])
        assert answer["symbols"] == ["SYM007"]
        assert [row.get("code") for row in answer["results"]] == [None, "UNKNOWN_SYMBOL"]
        tick = stranger.until("tick", symbol="SYM007")
        assert set(tick) - {"snapshot"} == TICK
        assert tick["spread"] == round(tick["ask"] - tick["bid"], 5)
        assert stranger.ask("pong", type="ping")["timestamp"] >= tick["receivedAt"]
        assert stranger.ask("subscriptions", type="getSubscriptions")["symbols"] == ["SYM007"]
        seqs = [stranger.until("tick")["seq"] for _ in range(3)]
        assert seqs == [*range(seqs[0], seqs[0] + 3)]
        again = stranger.ask("subscribeResponse", type="subscribe", symbol="SYM007")
        assert again["results"] == [{"symbol": "SYM007", "status": "subscribed"}]
        assert stranger.until("tick")["snapshot"] is True
        error = stranger.ask("requestError", type="nonsense")
        assert (error["code"], error["temporary"]) == ("UNKNOWN_TYPE", False)
        fault()
        again = stranger.until("status", status="reconnecting")
        assert (again["attempt"], again["delayMs"] > 0) == (1, True)
        back = stranger.until("status", status="connected")
        assert back["availableSymbols"] == status["availableSymbols"]
        assert back["epoch"] != status["epoch"]
        assert stranger.until("tick")["seq"] == 1
        gone = stranger.ask("unsubscribeResponse", type="unsubscribe", symbols=["SYM007"])
        assert gone["symbols"] == []
        assert gone["results"] == [{"symbol": "SYM007", "status": "unsubscribed"}]
        assert set(stranger.until("heartbeat")) == {"type", "timestamp"}


@pytest.mark.parametrize("path", ["/ws", "/"])
@bounded(30)
async def test_every_message(path: str) -> None:
    """Every message type of the tick stream, on both paths."""
    async with Running({"web-heartbeat-s": "0.4", "rate": "2000"}) as running:
        await running.until_ready()

        def drop() -> None:
            blockingCallFromThread(reactor, running.venue.mischief.drop)

        await deferToThread(every_message, running.port, path, drop)
        await until(lambda: running.metrics.clients == 0, "gone")


def compression_offered(port: int) -> None:
    """`websockets` offers permessage-deflate by default."""
    with Stranger(port, compression="deflate") as stranger:
        request, response = stranger.socket.request, stranger.socket.response
        assert request is not None
        assert response is not None
        assert "permessage-deflate" in request.headers["Sec-WebSocket-Extensions"]
        assert "Sec-WebSocket-Extensions" not in response.headers
        assert stranger.ask("pong", type="ping")["id"] == 0


def fragments(port: int) -> None:
    """A message in many frames, with a ping between them."""
    with Stranger(port) as stranger:
        text = json.dumps({"type": "ping", "id": "whole", "filler": "é" * 3000})
        pieces = [text[start : start + 700] for start in range(0, len(text), 700)]

        def with_a_ping() -> Any:
            yield pieces[0]
            stranger.socket.ping()
            yield from pieces[1:]

        stranger.socket.send(with_a_ping())
        assert stranger.until("pong")["id"] == "whole"


def pings(port: int) -> None:
    """Pings are answered, in order."""
    with Stranger(port) as stranger:
        for _ in range(3):
            assert stranger.socket.ping().wait(5)


def bad_text(port: int) -> None:
    """Text that is not UTF-8 ends with 1007, and so does half a character at the end."""
    for octets in (b'{"type":"ping","id":"\xff"}', b'{"type":"ping"}\xc3'):
        with Stranger(port) as stranger:
            stranger.socket.send(octets, text=True)
            assert stranger.goodbye() == 1007


def too_large(port: int) -> None:
    """64 KiB is read, one byte more ends with 1009, whole or in fragments."""
    filler = len(json.dumps({"type": "ping", "x": ""}))
    largest = json.dumps({"type": "ping", "x": "a" * (65_536 - filler)})
    with Stranger(port) as stranger:
        stranger.socket.send(largest)
        stranger.until("pong")
        stranger.socket.send(largest + " ")
        assert stranger.goodbye() == 1009
    with Stranger(port) as stranger:
        stranger.socket.send([largest[:40_000], largest[40_000:], " "])
        assert stranger.goodbye() == 1009


def is_over(octets: bytes) -> bool:
    """A close frame is among them."""
    return any(frame.opcode == CLOSE for frame in take_frames(octets)[0])


def broken_frames(port: int) -> None:
    """Frames that break the protocol end with 1002."""
    unmasked = Frame(Opcode.TEXT, b'{"type":"ping"}').serialize(mask=False)
    reserved_bit = bytes([0xC1]) + client_frame(b"{}")[1:]
    for octets in (unmasked, reserved_bit, client_frame(b"", 3), client_frame(b"x", 0)):
        with raw(port) as connection:
            connection.sendall(UPGRADE)
            _, _, first = receive(connection, lambda octets: END in octets).partition(END)
            connection.sendall(octets)
            heard = first + receive(connection, is_over)
            assert take_frames(heard)[0][-1].goodbye[0] == 1002


def goodbyes(port: int) -> None:
    """A close frame is answered, and the server ends the connection."""
    with Stranger(port) as stranger:
        stranger.socket.close(1000, "bye")
        assert stranger.socket.close_code == 1000


@pytest.mark.parametrize(
    "conversation",
    [compression_offered, fragments, pings, bad_text, too_large, broken_frames, goodbyes],
)
@bounded(20)
async def test_rfc_6455(conversation: Any) -> None:
    """What the RFC asks of a server, and the close codes that we state."""
    async with Running() as running:
        await deferToThread(conversation, running.port)
        await until(lambda: running.metrics.clients == 0, "gone")


def pipelined(port: int) -> None:
    """An upgrade right behind another request, in one packet: the answers keep their order."""
    with raw(port) as connection:
        octets = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" + UPGRADE
        connection.sendall(octets + client_frame(b"in one packet", PING))
        octets = receive(connection, lambda octets: octets.endswith(b"in one packet"))
        assert octets.startswith(b"HTTP/1.1 200 ")
        head, _, rest = octets.partition(b'{"status":"ok"}')
        assert b" 101 " not in head
        assert rest.removeprefix(b"\r\n0\r\n\r\n").startswith(b"HTTP/1.1 101 ")
        # What comes now is read, though requests in a row are not read all at once.
        connection.sendall(client_frame(b"still there?", PING))
        receive(connection, lambda octets: octets.endswith(b"still there?"))


@bounded(15)
async def test_upgrade_behind_a_request() -> None:
    """The handshake does not overtake what HTTP had still to say."""
    async with Running() as running:
        await deferToThread(pipelined, running.port)
        await until(lambda: running.metrics.clients == 0, "gone")


def hears_goodbye(port: int, path: str) -> int | None:
    """The close code of somebody who only listens."""
    with Stranger(port, path) as stranger:
        return stranger.goodbye()


@bounded(20)
async def test_shutdown() -> None:
    """Everybody hears 1001, and nobody is waited for who does not answer."""
    async with Running() as running:
        await running.until_ready()
        with raw(running.port) as deaf:
            deaf.sendall(UPGRADE)
            codes = [deferToThread(hears_goodbye, running.port, path) for path in ("/ws", "/")]
            await until(lambda: running.metrics.clients == 3, "all in")
            port = running.port
            await running.daemon.stopService()
            assert await gatherResults(codes) == [1001, 1001]
            assert running.metrics.clients == 0
        with pytest.raises(ConnectionRefusedError):
            await deferToThread(raw, port)


def buffered() -> int:
    """Bytes that Twisted keeps for any socket of this process."""
    return max((len(one.dataBuffer) + one._tempDataLen for one in reactor.getWriters()), default=0)


def follows(port: int, stop: Event) -> list[Message]:
    """Wants everything and reads until it is told to stop."""
    with Stranger(port) as stranger:
        stranger.ask("subscribeResponse", type="subscribe", symbols=SYNTHETIC)
        while not stop.is_set():
            stranger.next()
        return [message for message in stranger.heard if message["type"] == "tick"]


def in_order(ticks: list[Message]) -> bool:
    """Of each symbol no tick is missing that was not counted, and none comes twice."""
    last: dict[str, int] = {}
    for tick in ticks:
        before = last.get(tick["symbol"])
        if before is not None and tick["seq"] != before + 1 + tick.get("conflated", 0):
            return False
        last[tick["symbol"]] = tick["seq"]
    return True


@asynccontextmanager
async def not_listening(port: int) -> AsyncIterator[socket.socket]:
    """Somebody who wants everything and reads nothing."""
    request = json.dumps({"type": "subscribe", "symbols": SYNTHETIC}).encode()
    with await deferToThread(raw, port, 4096) as connection:
        connection.sendall(UPGRADE)
        assert b" 101 " in await deferToThread(receive, connection, lambda octets: END in octets)
        connection.sendall(client_frame(request))
        yield connection


@bounded(40)
async def test_slow_reader() -> None:
    """Who stops reading delays nobody and grows no buffer; reading again he gets the newest, told
    how many he missed; reading nothing for the age bound he is shown out with 4413.
    """
    async with Running({"rate": "1000", "outbox-age-s": "2"}) as running:
        await running.until_ready()
        stop = Event()
        quick = deferToThread(follows, running.port, stop)
        async with not_listening(running.port) as slow:
            await until(lambda: running.metrics.ticks_in > 1000, "more than a socket takes")
            assert buffered() < 200_000
            octets = await deferToThread(receive, slow, lambda octets: b"conflated" in octets)
            frames, _ = take_frames(octets)
            assert in_order([one.json for one in frames if b'"tick"' in one.payload])
            shown_out = lambda: running.metrics.counted("clients_closed_slow") > 0  # noqa: E731
            await until(shown_out, "shown out")
            assert running.metrics.clients == 1
            assert buffered() < 200_000
            farewell = lambda octets: b"nothing was read" in octets  # noqa: E731
            octets = await deferToThread(receive, slow, farewell)
            assert (4413).to_bytes(2, "big") + b"nothing was read for 2 s" in octets
        stop.set()
        ticks = await quick
        assert in_order(ticks)
        assert len(ticks) > 1000


@bounded(60)
async def test_everybody_leaves_at_once() -> None:
    """300 clients that vanish together leave no want behind, and the venue is told so."""
    options = {"unsubscribe-grace-s": "0.3", "calls-per-s": "1000"}
    async with Running(options) as running:
        await running.until_ready()
        wants = [SYNTHETIC[number % 200] for number in range(300)]
        feed = running.venue.venue.feed

        def all_in() -> None:
            counts = lambda: (running.metrics.clients, feed.subscriptions) == (300, 200)  # noqa: E731
            in_reactor = lambda: Deferred.fromCoroutine(until(counts, "all in"))  # noqa: E731
            blockingCallFromThread(reactor, in_reactor)

        await deferToThread(crowd, running.port, wants, all_in)
        await until(lambda: running.metrics.clients == 0, "all gone")
        await until(lambda: feed.subscriptions == 0, "nothing subscribed")
        await until(lambda: running.daemon.account.confirmed() == 0, "confirmed")
