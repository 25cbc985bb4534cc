"""A tiny client of the tick stream that remembers what it was told and can wait for more."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint

Message = dict[str, Any]
Wanted = Callable[[Message], bool]


def of_type(kind: str, **fields: Any) -> Wanted:
    """Messages of a type, with these fields: ``of_type("status", status="connected")``."""
    return lambda message: (
        message["type"] == kind and all(message.get(k) == v for k, v in fields.items())
    )


def connected(message: Message) -> bool:
    """The status that says: all is well."""
    return message["type"] == "status" and message["status"] == "connected"


class TicksClient(WebSocketClientProtocol):
    """``messages`` in order; ``times`` is when each came (reactor seconds)."""

    def onConnecting(self, transport_details: Any) -> None:
        """Before the first byte: the places for what is to come."""
        self.messages: list[Message] = []
        self.times: list[float] = []
        self.close_code: int | None = None
        self._waiting: list[tuple[Wanted, Deferred[Message]]] = []
        self.opened: Deferred[TicksClient] = self.factory.opened
        self.gone: Deferred[int | None] = Deferred()

    def onOpen(self) -> None:
        """The handshake is through."""
        # Autobahn counts it in whole seconds of the clock: its default of 1 s may be none at all.
        self.closeHandshakeTimeout = 0
        self.opened.callback(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Remember, and wake who waits for it."""
        message = json.loads(payload)
        self.messages.append(message)
        self.times.append(reactor.seconds())
        for waiting in [one for one in self._waiting if one[0](message)]:
            self._waiting.remove(waiting)
            waiting[1].callback(message)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """Whoever still waits, waits in vain."""
        self.close_code = code
        waiting, self._waiting = self._waiting, []
        for _, deferred in waiting:
            deferred.errback(ConnectionError(f"closed with {code} ({reason}); {self.summary()}"))
        if not self.opened.called:
            self.opened.errback(ConnectionError(f"not opened: {code} ({reason})"))
        if not self.gone.called:
            self.gone.callback(code)

    def say(self, kind: str, **fields: Any) -> None:
        """Send one request."""
        self.sendMessage(json.dumps({"type": kind, **fields}).encode())

    async def next(self, wanted: Wanted, what: str = "that", seconds: float = 8.0) -> Message:
        """The first message from now on that is wanted; TimeoutError with a summary."""
        waiting: Deferred[Message] = Deferred(lambda _: self._forget(waiting))
        self._waiting.append((wanted, waiting))

        def too_late(*_: Any) -> Any:
            raise TimeoutError(f"heard nothing of {what} in {seconds:g} s; {self.summary()}")

        return await waiting.addTimeout(seconds, reactor, onTimeoutCancel=too_late)

    async def heard(
        self, wanted: Wanted, what: str = "that", seconds: float = 8.0, *, since: int = 0
    ) -> Message:
        """The first message from number `since` on, past or future, that is wanted."""
        for message in self.messages[since:]:
            if wanted(message):
                return message
        return await self.next(wanted, what, seconds)

    async def ask(self, kind: str, answer: str, **fields: Any) -> Message:
        """Send a request and wait for its answer."""
        self.say(kind, **fields)
        return await self.next(of_type(answer), f"an answer to {kind}")

    async def bye(self) -> None:
        """Close, and wait until it is closed."""
        if self.close_code is None:
            self.sendClose()
            await self.gone.addTimeout(5, reactor)

    def statuses(self, since: int = 0) -> list[Message]:
        """The statuses from message number `since` on."""
        return [message for message in self.messages[since:] if message["type"] == "status"]

    def ticks(self, since: int = 0) -> list[Message]:
        """The ticks from message number `since` on."""
        return [message for message in self.messages[since:] if message["type"] == "tick"]

    def summary(self) -> str:
        """What was heard, in few words: counts, and the last statuses."""
        kinds = dict(Counter(message["type"] for message in self.messages))
        last = [(one["status"], one.get("reason")) for one in self.statuses()[-6:]]
        return f"heard {kinds}, the last statuses {last}"

    def _forget(self, waiting: Deferred[Message]) -> None:
        self._waiting = [one for one in self._waiting if one[1] is not waiting]


class _Factory(WebSocketClientFactory):
    protocol = TicksClient
    noisy = False

    def __init__(self, url: str) -> None:
        super().__init__(url, reactor=reactor)
        self.opened: Deferred[TicksClient] = Deferred()


async def connect_to(port: int, path: str = "/ws") -> TicksClient:
    """A client that is connected to a daemon on this port of loopback."""
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port, timeout=5)
    return await open_on(endpoint, f"ws://127.0.0.1:{port}{path}")


async def open_on(endpoint: Any, url: str) -> TicksClient:
    """A client that is connected through an endpoint."""
    factory = _Factory(url)
    await endpoint.connect(factory)
    client: TicksClient = await factory.opened.addTimeout(5, reactor)
    return client
