"""A venue made for load: answers the bring-up, then streams ticks at a rate, as a process.

    python -m bench.venue --certificate FILE --key FILE --symbols 50
    python -m bench.venue --raw --symbols 50          (28-byte records over plain TCP)

Prints its ports, then obeys lines: ``state``, ``go RATE BURST``, ``window SIZE`` (closed loop: as
many ticks in flight, the next when a byte on the credit port says how many were delivered to
everybody), ``stop``, ``quit``. Ticks of a burst leave in one write to the socket; with
``--records`` each of them is a TLS record of its own in it, otherwise they share one.
"""

from __future__ import annotations

import argparse
import gc
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from google.protobuf.message import Message

from bench.answers import ACCOUNT_ID, answer
from bench.lines import Command, Orders, say
from bench.schedule import Planned, Ticks, framed, micros, spot
from ctrader_twisted.pb import api_pb2
from ctrader_twisted.wire.codec import decode, encode

BACKLOG_BYTES = 8 << 20
READ_BYTES = 65_536


class Readable(Protocol):
    """Something to wait for."""

    def fileno(self) -> int:
        """The descriptor."""

    def read(self) -> None:
        """There is something to read."""


class Peer:
    """One connected server under test, fed with plain records."""

    def __init__(self, venue: Venue, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._venue = venue
        self._sock = sock
        self._backlog = b""

    def fileno(self) -> int:
        """To wait for."""
        return self._sock.fileno()

    def waits(self) -> bool:
        """True when the socket did not take everything."""
        return bool(self._backlog)

    def is_behind(self) -> bool:
        """True when it does not read what we send: it gets no more until it does."""
        return len(self._backlog) > BACKLOG_BYTES

    def push(self, ticks: list[bytes]) -> None:
        """One burst."""
        self._write(b"".join(ticks))

    def read(self) -> None:
        """A consumer of records says nothing."""
        self._receive()

    def drain(self) -> None:
        """Try again with what the socket did not take."""
        self._write(b"")

    def _receive(self) -> bytes:
        try:
            some = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError:
            some = b""
        if not some:
            self._venue.gone(self)
        return some

    def _write(self, some: bytes) -> None:
        some = self._backlog + some
        try:
            taken = self._sock.send(some)
        except BlockingIOError:
            taken = 0
        except OSError:
            self._venue.gone(self)
            return
        self._backlog = some[taken:]


class TlsPeer(Peer):
    """One connected server under test, which speaks the real protocol."""

    def __init__(self, venue: Venue, sock: socket.socket, context: ssl.SSLContext) -> None:
        super().__init__(venue, sock)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=True)
        self._shaken = False
        self._rest = b""
        self.subscribed: set[int] = set()

    def push(self, ticks: list[bytes]) -> None:
        """One burst: as one record, or as many in one write."""
        for part in ticks if self._venue.records else [b"".join(ticks)]:
            self._tls.write(part)
        self._write(self._out.read())

    def read(self) -> None:
        """Requests."""
        some = self._receive()
        if not some:
            return
        self._in.write(some)
        try:
            if not self._shaken:
                self._tls.do_handshake()
                self._shaken = True
            while plain := self._tls.read(READ_BYTES):
                self._rest += plain
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self._venue.gone(self)
            return
        self._serve()
        self._write(self._out.read())

    def _serve(self) -> None:
        while len(self._rest) >= 4:
            end = 4 + int.from_bytes(self._rest[:4], "big")
            if len(self._rest) < end:
                return
            frame, self._rest = self._rest[4:end], self._rest[end:]
            envelope = decode(frame)
            if envelope.message is not None:
                self._serve_one(envelope.message, envelope.client_message_id)

    def _serve_one(self, asked: Message, message_id: str | None) -> None:
        reply = answer(asked, self._venue.symbols)
        if reply is not None:
            self._tls.write(framed(encode(reply, message_id)))
        if isinstance(asked, api_pb2.ProtoOASubscribeSpotsReq):
            self.subscribed.update(asked.symbolId)
            self._first_spots(asked.symbolId)
        elif isinstance(asked, api_pb2.ProtoOAUnsubscribeSpotsReq):
            self.subscribed.difference_update(asked.symbolId)

    def _first_spots(self, numbers: Iterable[int]) -> None:
        now = micros()
        for number in numbers:
            bid = 108_000 + 100 * (number - 1)
            whole = Planned(number - 1, bid, bid + 10, has_bid=True, has_ask=True)
            self._tls.write(spot(ACCOUNT_ID, whole, now))


class Door:
    """A listening socket."""

    def __init__(self, enter: Callable[[socket.socket], None]) -> None:
        self._sock = socket.create_server(("127.0.0.1", 0))
        self._enter = enter
        self.port = self._sock.getsockname()[1]

    def fileno(self) -> int:
        """To wait for."""
        return self._sock.fileno()

    def read(self) -> None:
        """Somebody is at the door."""
        self._enter(self._sock.accept()[0])


class Credits:
    """The generator tells, a byte at a time, how many ticks were delivered to everybody."""

    def __init__(self, venue: Venue, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._venue = venue

    def fileno(self) -> int:
        """To wait for."""
        return self._sock.fileno()

    def read(self) -> None:
        """So many may follow."""
        some = self._sock.recv(READ_BYTES)
        if some:
            self._venue.send(sum(some))
        else:
            self._venue.forget(self)


class Venue:
    """The doors, the peers, and the clock that drives the ticks."""

    def __init__(self, symbols: int, context: ssl.SSLContext | None, *, records: bool) -> None:
        self.symbols = symbols
        self.records = records
        self._context = context
        self._ticks = Ticks(symbols, ACCOUNT_ID, raw=context is None)
        self._peers: list[Peer] = []
        orders: dict[str, Command] = {
            "state": self.state,
            "go": self.go,
            "window": self.window,
            "stop": self.stop,
        }
        door, credits = Door(self._enter), Door(self._credit)
        self._reading: list[Readable] = [Orders(orders), door, credits]
        self._gap_s = 0.0
        self._burst = 0
        self._due = 0.0
        self._late_s = 0.0
        self._sent = self._skipped = 0
        say({"port": door.port, "credit_port": credits.port})

    def run(self) -> None:
        """Until whoever started us is gone."""
        while True:
            wait_s = max(0.0, self._due - time.monotonic()) if self._burst else None
            behind = [peer for peer in self._peers if peer.waits()]
            # Not epoll: its timeouts are whole milliseconds.
            readable, writable, _ = select.select(self._reading, behind, [], wait_s)
            for one in readable:
                one.read()
            for peer in writable:
                peer.drain()
            while self._burst and (late_s := time.monotonic() - self._due) >= 0:
                self._late_s = max(self._late_s, late_s)
                self.send(self._burst)
                self._due += self._gap_s

    def send(self, count: int) -> None:
        """The next ticks, to everybody, in one write."""
        ticks = list(self._ticks.take(count))
        for peer in list(self._peers):
            if peer.is_behind():
                self._skipped += count
            else:
                peer.push(ticks)
        self._sent += count

    # -- orders

    def state(self) -> dict[str, Any]:
        """Who is there, and how it goes."""
        return {
            "peers": len(self._peers),
            "raw": self._context is None,
            "subscribed": max((len(getattr(p, "subscribed", ())) for p in self._peers), default=0),
            "sent": self._sent,
            "skipped": self._skipped,
            "late_ms": round(self._late_s * 1000, 2),
            "cpu_s": time.process_time(),
        }

    def go(self, rate: float, burst: float) -> dict[str, Any]:
        """``rate`` ticks a second, ``burst`` of them in each write."""
        self._burst = int(burst)
        self._gap_s = burst / rate
        self._due = time.monotonic() + self._gap_s
        self._late_s = 0.0
        return self.state()

    def window(self, size: float) -> dict[str, Any]:
        """Closed loop: so many ticks are on their way at any time."""
        self.send(int(size))
        return self.state()

    def stop(self) -> dict[str, Any]:
        """No more ticks."""
        self._burst = 0
        return self.state()

    # -- connections

    def gone(self, peer: Peer) -> None:
        """A peer hung up."""
        if peer in self._peers:
            self._peers.remove(peer)
            self.forget(peer)

    def forget(self, one: Readable) -> None:
        """Wait for it no longer."""
        if one in self._reading:
            self._reading.remove(one)

    def _enter(self, sock: socket.socket) -> None:
        context = self._context
        peer = TlsPeer(self, sock, context) if context else Peer(self, sock)
        self._peers.append(peer)
        self._reading.append(peer)

    def _credit(self, sock: socket.socket) -> None:
        self._reading.append(Credits(self, sock))


def main() -> None:
    """The process."""
    parser = argparse.ArgumentParser(description="a venue made for load")
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--raw", action="store_true")
    parser.add_argument("--records", action="store_true")
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    options = parser.parse_args()
    context = None
    if not options.raw:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate, options.key)
    venue = Venue(options.symbols, context, records=options.records)
    gc.freeze()
    venue.run()


if __name__ == "__main__":
    main()
