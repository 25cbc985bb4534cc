"""Clients that come in: connect, upgrade, subscribe, acknowledged; so many of them at a time."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator

from bench.frames import ACCEPT, NOTHING_YET, Seqs

READ_BYTES = 32_768
CONNECTING, UPGRADING, SUBSCRIBING = range(3)
_ACKNOWLEDGED = b'"subscribeResponse"'
# Linux: let connect choose the port, so that a bound address costs no search.
_BIND_ADDRESS_NO_PORT = 24


def address_of(number: int) -> str:
    """An address for each client, as customers have: a daemon that limits what one address may do
    should see many. All of 127.0.0.0/8 is this machine.
    """
    return f"127.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


class Client:
    """One WebSocket connection."""

    __slots__ = ("fd", "recv", "rest", "seqs", "sock", "stage", "subscription", "ticks")

    def __init__(self, number: int, subscription: bytes) -> None:
        """``subscription`` is the frame to send after the upgrade; empty: none."""
        self.sock = socket.socket()
        self.sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
        self.sock.bind((address_of(number), 0))
        self.sock.setblocking(False)
        self.recv = self.sock.recv
        self.fd = self.sock.fileno()
        self.subscription = subscription
        self.stage = CONNECTING
        self.rest = b""
        self.seqs: Seqs = NOTHING_YET.after
        self.ticks = 0


class Joining:
    """Brings clients in."""

    def __init__(
        self,
        *,
        epoll: select.epoll,
        address: tuple[str, int],
        request: bytes,
        in_flight: int,
        joined: Callable[[Client, bytes], None],
        finished: Callable[[], None],
    ) -> None:
        """``joined`` is told each client, with what it has received beyond the acknowledgement."""
        self._epoll = epoll
        self._address = address
        self._request = request
        self._in_flight = in_flight
        self._joined = joined
        self._finished = finished
        self._coming: Iterator[bytes] = iter(())
        self.clients: dict[int, Client] = {}
        self._count = 0
        self.failed = 0
        self.reason = ""

    def begin(self, subscriptions: Iterator[bytes]) -> None:
        """One client for each of these frames."""
        self._coming = subscriptions
        for _ in range(self._in_flight):
            self._next()

    def ready(self, fd: int) -> None:
        """Something happened at the socket of one that is coming."""
        client = self.clients[fd]
        if client.stage == CONNECTING:
            self._epoll.modify(fd, select.EPOLLIN)
            self._connected(client)
            return
        try:
            some = client.recv(READ_BYTES)
        except OSError:
            some = b""
        if not some:
            self._fail(client, f"was hung up on after {client.rest[-120:]!r}")
            return
        client.rest += some
        if client.stage == UPGRADING:
            self._upgraded(client)
        elif _ACKNOWLEDGED in client.rest:
            self._in(client)

    def _connected(self, client: Client) -> None:
        client.stage = UPGRADING
        try:
            client.sock.send(self._request)
        except OSError as error:
            self._fail(client, str(error))

    def _upgraded(self, client: Client) -> None:
        head, end, rest = client.rest.partition(b"\r\n\r\n")
        if not end:
            return
        if not head.startswith(b"HTTP/1.1 101") or ACCEPT not in head:
            self._fail(client, head.partition(b"\r\n")[0].decode("latin-1"))
            return
        client.rest = rest
        client.stage = SUBSCRIBING
        if client.subscription:
            client.sock.send(client.subscription)
        else:
            self._in(client)

    def _in(self, client: Client) -> None:
        del self.clients[client.fd]
        rest, client.rest = client.rest, b""
        self._joined(client, rest)
        self._next()

    def _next(self) -> None:
        subscription = next(self._coming, None)
        if subscription is None:
            if not self.clients:
                self._finished()
            return
        self._count += 1
        client = Client(self._count, subscription)
        self.clients[client.fd] = client
        if client.sock.connect_ex(self._address) == 0:
            self._epoll.register(client.fd, select.EPOLLIN)
            self._connected(client)
        else:
            self._epoll.register(client.fd, select.EPOLLIN | select.EPOLLOUT)

    def _fail(self, client: Client, reason: str) -> None:
        self.failed += 1
        self.reason = self.reason or reason
        del self.clients[client.fd]
        client.sock.close()
        self._next()
