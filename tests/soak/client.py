"""A client of the soak: it checks every message while it comes, and keeps none."""

from __future__ import annotations

import json
from typing import Any

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint

#: Which word may follow which (the first status may be any).
LEGAL = {
    "disconnected": {"reconnecting"},
    "reconnecting": {"ctrader-connecting", "disconnected", "error"},
    "ctrader-connecting": {"connected", "disconnected", "error"},
    "error": {"reconnecting"},
    "connected": {"disconnected", "error", "stale", "tick_resumed", "connected"},
    "stale": {"connected", "disconnected", "error", "tick_resumed"},
    "tick_resumed": {"connected", "stale"},
}


class SoakClient(WebSocketClientProtocol):
    """``wants`` are the symbols that it has been told it has; ``broken`` what should not be."""

    def onConnecting(self, transport_details: Any) -> None:
        """Before the first byte."""
        self.wants: set[str] = set()
        self.broken: list[str] = []
        self.word = ""
        self.epoch = ""
        self.ticks = 0
        self.fresh: set[str] = set()
        self.leaving = False
        self._numbers: dict[str, int] = {}
        self.gone: Deferred[None] = Deferred()

    def onOpen(self) -> None:
        """The handshake is through."""
        self.say("connect")
        self.factory.opened.callback(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Check one message."""
        message = json.loads(payload)
        kind = message["type"]
        if kind == "tick":
            self._tick(message)
        elif kind == "status":
            self._status(message)
        elif kind in {"subscribeResponse", "unsubscribeResponse"}:
            self._have(set(message["symbols"]))
        elif kind not in {"heartbeat", "pong", "warning"}:
            self.broken.append(f"unexpected: {message}")

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """Only we may end it."""
        if not self.leaving:
            self.broken.append(f"closed with {code}: {reason}")
        if not self.gone.called:
            self.gone.callback(None)

    def say(self, kind: str, **fields: Any) -> None:
        """One request."""
        self.sendMessage(json.dumps({"type": kind, **fields}).encode())

    async def leave(self, *, politely: bool) -> None:
        """Go, with a goodbye or without."""
        self.leaving = True
        if politely:
            self.sendClose()
        else:
            self.transport.abortConnection()
        await self.gone.addTimeout(5, reactor)

    def is_well(self) -> bool:
        """Connected, and everything wanted has ticked since that was asked for."""
        return self.word == "connected" and self.fresh >= self.wants

    def _tick(self, tick: dict[str, Any]) -> None:
        self.ticks += 1
        symbol, number = tick["symbol"], tick["seq"]
        if tick.get("snapshot"):
            return
        if self.word not in {"connected", "stale", "tick_resumed"}:
            self.broken.append(f"a tick of {symbol} while {self.word}")
        last = self._numbers.get(symbol)
        skipped = tick.get("conflated", 0)
        if last is not None and number != last + 1 + skipped:
            self.broken.append(f"{symbol}: {last} was followed by {number} ({skipped} conflated)")
        self._numbers[symbol] = number
        self.fresh.add(symbol)

    def _status(self, status: dict[str, Any]) -> None:
        word = status["status"]
        # The answer to `connect` repeats the word that is already known.
        if self.word and word != self.word and word not in LEGAL[self.word]:
            self.broken.append(f"{self.word} was followed by {word}")
        self.word = word
        if status.get("epoch") != self.epoch:
            self.epoch = status.get("epoch")
            self._numbers.clear()
            self.fresh.clear()

    def _have(self, symbols: set[str]) -> None:
        # What was not wanted all the time may have skipped numbers.
        for symbol in self.wants ^ symbols:
            self._numbers.pop(symbol, None)
            self.fresh.discard(symbol)
        self.wants = symbols


class _Factory(WebSocketClientFactory):
    protocol = SoakClient
    noisy = False

    def __init__(self, url: str) -> None:
        super().__init__(url, reactor=reactor)
        self.opened: Deferred[SoakClient] = Deferred()


async def join(port: int) -> SoakClient:
    """A client that has connected."""
    factory = _Factory(f"ws://127.0.0.1:{port}/ws")
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port, timeout=5)
    await endpoint.connect(factory)
    return await factory.opened.addTimeout(5, reactor)
