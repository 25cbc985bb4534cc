"""A client of the tick stream by another author (PyPI `websockets`), which blocks in a thread."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

Message = dict[str, Any]
PATIENCE_S = 8.0


class Stranger:
    """One connection; every wait has a bound, and what was heard on the way is in `heard`."""

    def __init__(self, port: int, path: str = "/ws", **options: Any) -> None:
        self._url = f"ws://127.0.0.1:{port}{path}"
        self._options = {"compression": None, "proxy": None, "close_timeout": 3, **options}
        self.heard: list[Message] = []

    def __enter__(self) -> Stranger:
        self.socket: ClientConnection = connect(self._url, **self._options).__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self.socket.__exit__(*raised)

    def say(self, **request: Any) -> None:
        """Send one request."""
        self.socket.send(json.dumps(request))

    def next(self) -> Message:
        """The next message; ConnectionClosed when there is none any more."""
        text = self.socket.recv(timeout=PATIENCE_S)
        assert isinstance(text, str)
        self.heard.append(json.loads(text))
        return self.heard[-1]

    def until(self, kind: str, **fields: Any) -> Message:
        """The first message from now on with this type and these fields."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            message = self.next()
            if message["type"] == kind and fields.items() <= message.items():
                return message
        raise TimeoutError(f"no {kind} with {fields} among {self.heard[-5:]}")

    def ask(self, answer: str, **request: Any) -> Message:
        """Send one request and wait for the answer to it, by its id."""
        request.setdefault("id", len(self.heard))
        self.say(**request)
        return self.until(answer, id=request["id"])

    def goodbye(self) -> int | None:
        """Read until the connection is closed; the code of the server's close frame."""
        try:
            while True:
                self.next()
        except ConnectionClosed as closed:
            return None if closed.rcvd is None else closed.rcvd.code


def raw(port: int, receive_buffer: int | None = None) -> socket.socket:
    """A TCP connection; with a receive buffer of that many bytes it soon takes no more."""
    made = socket.socket()
    try:
        if receive_buffer is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        made.settimeout(PATIENCE_S)
        made.connect(("127.0.0.1", port))
    except BaseException:
        made.close()
        raise
    return made


def receive(connection: socket.socket, enough: Callable[[bytes], bool]) -> bytes:
    """Read until there is enough, or the end."""
    octets = b""
    while not enough(octets):
        more = connection.recv(65_536)
        if not more:
            break
        octets += more
    return octets


def crowd(port: int, wants: list[str], each: Callable[[], None]) -> None:
    """As many clients as there are wants, each subscribed to its own; then ``each`` is called, and
    all of them vanish at once, without a word.
    """
    asyncio.run(_crowd(port, wants, each))


async def _crowd(port: int, wants: list[str], all_in: Callable[[], None]) -> None:
    url = f"ws://127.0.0.1:{port}/ws"
    async with AsyncExitStack() as stack:
        members = []
        for want in wants:
            member = connect_async(url, compression=None, proxy=None, ping_interval=None)
            members.append(await stack.enter_async_context(member))
            await members[-1].send(json.dumps({"type": "subscribe", "symbols": [want]}))
        for member in members:
            async with asyncio.timeout(PATIENCE_S):
                while json.loads(await member.recv())["type"] != "subscribeResponse":
                    pass
        await asyncio.to_thread(all_in)
        for member in members:
            # A reset rather than an orderly end.
            sock = member.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            member.transport.abort()
