"""permessage-deflate, which is off unless somebody switches it on, with a client that speaks it."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from twisted.internet.threads import deferToThread
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from tests.bounded import bounded
from tests.integration.harness import SYNTHETIC, Running, until
from tests.integration.stranger import Stranger
from tests.rfc6455 import HANDSHAKE

OFFERS = {
    "as usual": ClientPerMessageDeflateFactory(client_max_window_bits=True),
    "forgetful": ClientPerMessageDeflateFactory(
        server_no_context_takeover=True, client_no_context_takeover=True
    ),
    "small windows": ClientPerMessageDeflateFactory(
        server_max_window_bits=9, client_max_window_bits=9
    ),
}


def everything(port: int, offer: Any) -> None:
    """Long and short messages, compressed or not, all read alike."""
    with Stranger(port, extensions=[offer]) as stranger:
        response = stranger.socket.response
        assert response is not None
        assert "permessage-deflate" in response.headers["Sec-WebSocket-Extensions"]
        for _ in range(3):
            status = stranger.ask("status", type="connect", filler="x" * 3000)
            assert set(SYNTHETIC) <= set(status["availableSymbols"])
            assert stranger.ask("pong", type="ping")["timestamp"] > 0
        answer = stranger.ask("subscribeResponse", type="subscribe", symbols=SYNTHETIC)
        assert len(answer["results"]) == 200
        ticks = [stranger.until("tick") for _ in range(200)]
        assert {tick["symbol"] for tick in ticks} <= set(SYNTHETIC)


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
@bounded(20)
async def test_what_a_client_offers_is_agreed(offer: Any) -> None:
    """Switched on, compression works with whatever parameters the client asks for."""
    async with Running({"compression": "true"}) as running:
        await running.until_ready()
        await deferToThread(everything, running.port, offer)
        await until(lambda: running.metrics.clients == 0, "gone")


def bomb(port: int) -> None:
    """A few hundred bytes that would become a megabyte; the limit is for what comes out."""
    with Stranger(port, compression="deflate") as stranger:
        largest = json.dumps({"type": "ping", "id": 1, "x": ""})
        filler = "a" * (65_536 - len(largest))
        stranger.ask("pong", type="ping", id=1, x=filler[: len(filler) - 50])
        stranger.socket.send(json.dumps({"type": "ping", "x": "a" * (1 << 20)}))
        assert stranger.goodbye() == 1009


@bounded(20)
async def test_a_bomb() -> None:
    """A message that inflates beyond the limit ends with 1009, and is not inflated first."""
    async with Running({"compression": "true"}) as running:
        await deferToThread(bomb, running.port)
        await until(lambda: running.metrics.clients == 0, "gone")


@bounded(20)
async def test_who_does_not_offer_it() -> None:
    """Clients without compression are served as before, at the same time."""
    async with Running({"compression": "true"}) as running:
        await running.until_ready()

        def plain(port: int) -> None:
            with Stranger(port) as stranger:
                assert stranger.socket.response is not None
                assert "Sec-WebSocket-Extensions" not in stranger.socket.response.headers
                stranger.ask("subscribeResponse", type="subscribe", symbols=SYNTHETIC)
                stranger.until("tick")

        await deferToThread(plain, running.port)
        await until(lambda: running.metrics.clients == 0, "gone")


def handshake(port: int, lines: str) -> str:
    """The head of the answer to a handshake with these headers more."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as one:
        one.sendall(HANDSHAKE + lines.encode() + b"\r\n")
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += one.recv(1000)
    return answer.partition(b"\r\n\r\n")[0].decode()


BAD = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=8\r\n"
GOOD = "Sec-WebSocket-Extensions: permessage-deflate\r\n"


@pytest.mark.parametrize("compression", ["true", "false"])
@bounded(20)
async def test_an_offer_that_is_declined_costs_no_connection(compression: str) -> None:
    """Nor does one that is spread over several headers; the next in the list is accepted."""
    async with Running({"compression": compression}) as running:
        for lines, accepted in (
            (BAD, False),
            (BAD + GOOD, True),
            (GOOD + BAD, True),
            ("Sec-WebSocket-Extensions: ;nonsense=\r\n", False),
        ):
            answer = await deferToThread(handshake, running.port, lines)
            assert answer.startswith("HTTP/1.1 101 "), answer
            agreed = "Sec-WebSocket-Extensions: permessage-deflate" in answer
            assert agreed == (accepted and compression == "true"), lines
        await until(lambda: running.metrics.clients == 0, "gone")
