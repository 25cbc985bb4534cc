"""Many WebSocket clients in one process, as the bench's customers.

    python -m bench.generator --port 8080 --clients 500 --symbols 50 --watch PID

Then it obeys lines: ``join`` (answers when all are in), ``mark`` (what was counted until now, with
its own CPU and that of the watched server at the same moment; latencies begin anew), ``window``
(closed loop: tells the venue's credit port what was delivered to everybody), ``stall N`` (the first
N clients stop reading) and ``wake``.

Between two looks at its sockets it naps for half a millisecond, unless ``--awake``. A process that
waits in epoll is woken by the very first byte, and on one machine it is the sender who pays for
that: up to half as much again as for the send itself, or nothing, depending on who is faster at
that moment. Customers live elsewhere, and no server wakes them.

Latency is the time from the stamp in the tick (µs since the epoch, put in by the venue) to the
return of ``recv``, for one tick in sixteen.
"""

from __future__ import annotations

import argparse
import gc
import random
import select
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from bench import proc
from bench.frames import CLOSE, PING, PONG, Reader, masked, subscribe, upgrade
from bench.joining import READ_BYTES, Client, Joining
from bench.lines import Command, Orders, say
from bench.schedule import micros, name

SAMPLE_ONE_IN = 16
NAP_S = 0.0005


class Sets:
    """Which symbols each client wants: all of them, or as many of its own at random."""

    def __init__(self, symbols: int, each: int) -> None:
        self._names = [name(index) for index in range(symbols)]
        self._each = each
        self._rng = random.Random(7)

    def frames(self, count: int) -> Iterator[bytes]:
        """The subscriptions of so many clients."""
        everything = subscribe(self._names)
        for _ in range(count):
            if self._each:
                yield subscribe(self._rng.sample(self._names, self._each))
            else:
                yield everything


class Latencies:
    """Samples in µs since the last look."""

    def __init__(self) -> None:
        self.due_in = SAMPLE_ONE_IN
        self._samples: list[int] = []
        self._turn = 0

    def of(self, stamps: Sequence[int]) -> None:
        """A sample is due, and ticks with these times were received now."""
        while self.due_in <= 0 and stamps:
            self.due_in += SAMPLE_ONE_IN
            # Another one of the chunk each time: the last is always the youngest.
            self._turn += 1
            stamp = stamps[self._turn % len(stamps)]
            self._samples.append(micros() - stamp)

    def look(self) -> dict[str, float]:
        """Percentiles in ms; then begin anew."""
        samples, self._samples = sorted(self._samples), []
        if not samples:
            return {"samples": 0}
        at = {"p50": 0.5, "p99": 0.99, "p999": 0.999, "max": 1.0}
        last = len(samples) - 1
        shown = {f"{key}_ms": samples[round(share * last)] / 1000 for key, share in at.items()}
        return {"samples": len(samples), **shown}


class Generator:
    """The clients, and one loop that serves them all."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._epoll = select.epoll()
        self._live: dict[int, Client] = {}
        self._stalled: list[Client] = []
        self._reader = Reader()
        self._latencies = Latencies()
        self._ticks = 0
        self._before: dict[str, Any] = {}
        self._at: dict[int, int] = {}
        self._least = 0
        self._credit: socket.socket | None = None
        self._joining = Joining(
            epoll=self._epoll,
            address=("127.0.0.1", options.port),
            request=upgrade(options.port, options.path),
            in_flight=options.in_flight,
            joined=self._joined,
            finished=self._all_in,
        )
        words: dict[str, Command] = {
            "join": self._join,
            "mark": self._mark,
            "window": self._window,
            "stall": self._stall,
            "wake": self._wake,
        }
        self._orders = Orders(words)
        self._epoll.register(self._orders.fileno(), select.EPOLLIN)

    def run(self) -> None:
        """Until whoever started us is gone."""
        live, poll, reader = self._live, self._epoll.poll, self._reader
        longest = None if self._options.awake else 0
        while True:
            ready = poll(longest)
            if not ready:
                time.sleep(NAP_S)
            for fd, _ in ready:
                client = live.get(fd)
                if client is None:
                    self._other(fd)
                    continue
                try:
                    chunk = client.recv(READ_BYTES)
                except BlockingIOError:
                    continue
                except OSError:
                    chunk = b""
                memo = reader.last
                if chunk == memo.chunk and client.seqs is memo.before and not client.rest:
                    client.seqs = memo.after
                    self._got(client, memo.ticks, memo.stamps)
                elif chunk:
                    self._read(client, chunk)
                else:
                    self._lose(client)

    # -- what arrives

    def _read(self, client: Client, chunk: bytes) -> None:
        if client.rest:
            chunk = client.rest + chunk
        memo, client.rest, others = self._reader.read(chunk, client.seqs)
        client.seqs = memo.after
        self._got(client, memo.ticks, memo.stamps)
        for first, payload in others:
            if first == PING:
                client.sock.send(masked(payload, PONG))
            elif first == CLOSE:
                self._joining.reason = payload[2:].decode(errors="replace")
                self._lose(client)

    def _got(self, client: Client, count: int, stamps: Sequence[int]) -> None:
        self._ticks += count
        latencies = self._latencies
        latencies.due_in -= count
        if latencies.due_in <= 0:
            latencies.of(stamps)
        if self._at:
            self._delivered(client, count)

    def _delivered(self, client: Client, count: int) -> None:
        """Closed loop: how many ticks have reached everybody?"""
        at, old = self._at, client.ticks
        client.ticks = new = old + count
        at[new] = at.get(new, 0) + 1
        at[old] -= 1
        if not at[old]:
            del at[old]
            if old == self._least and self._credit is not None:
                self._least = min(at)
                self._credit.send(b"\1" * (self._least - old))

    def _other(self, fd: int) -> None:
        if fd in self._joining.clients:
            self._joining.ready(fd)
        elif fd == self._orders.fileno():
            self._orders.read()

    def _lose(self, client: Client) -> None:
        self._reader.faults.died += 1
        self._live.pop(client.fd, None)
        client.sock.close()

    # -- orders

    def _join(self) -> None:
        self._before = self._now()
        sets = Sets(self._options.symbols, self._options.each)
        count = self._options.clients
        frames = iter([b""] * count) if self._options.idle else iter(list(sets.frames(count)))
        self._joining.begin(frames)

    def _joined(self, client: Client, rest: bytes) -> None:
        self._live[client.fd] = client
        if rest:
            self._read(client, rest)

    def _all_in(self) -> None:
        before, now = self._before, self._now()
        took_s = now["at_s"] - before["at_s"]
        say(
            {
                "joined": len(self._live),
                "failed": self._joining.failed,
                "reason": self._joining.reason,
                "took_s": took_s,
                "generator_core": (now["cpu_s"] - before["cpu_s"]) / took_s,
                "server_cpu_s": now["server_cpu_s"] - before["server_cpu_s"],
                "server_rss_kb": now["server_rss_kb"],
                "server_rss_before_kb": before["server_rss_kb"],
            }
        )

    def _mark(self) -> dict[str, Any]:
        return {
            **self._now(),
            **self._latencies.look(),
            **self._reader.faults.all(),
            "ticks": self._ticks,
            "live": len(self._live),
        }

    def _now(self) -> dict[str, Any]:
        pid = self._options.watch
        cpu_s, waited_s = proc.cpu_s(pid) if pid else (0.0, 0.0)
        return {
            "at_s": time.monotonic(),
            "cpu_s": time.process_time(),
            "server_cpu_s": cpu_s,
            "server_waited_s": waited_s,
            "server_rss_kb": proc.rss_kb(pid) if pid else 0.0,
        }

    def _window(self) -> dict[str, Any]:
        self._credit = socket.create_connection(("127.0.0.1", self._options.credit_port))
        self._credit.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for client in self._live.values():
            client.ticks = 0
        self._at, self._least = {0: len(self._live)}, 0
        return {}

    def _stall(self, count: float) -> dict[str, Any]:
        self._stalled = list(self._live.values())[: int(count)]
        for client in self._stalled:
            self._epoll.unregister(client.fd)
        return {"stalled": len(self._stalled)}

    def _wake(self) -> dict[str, Any]:
        woken, self._stalled = self._stalled, []
        for client in woken:
            with suppress(OSError):
                self._epoll.register(client.fd, select.EPOLLIN)
        return {"woken": len(woken)}


def main() -> None:
    """The process."""
    parser = argparse.ArgumentParser(description="many WebSocket clients")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/ws")
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--each", type=int, default=0, help="symbols of each client; 0: all")
    parser.add_argument("--idle", action="store_true", help="do not subscribe")
    parser.add_argument("--awake", action="store_true", help="do not nap")
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--watch", type=int, default=0, help="the server's process id")
    parser.add_argument("--credit-port", type=int, default=0)
    proc.allow_many_files()
    generator = Generator(parser.parse_args())
    # Nothing here is cyclic, and a collection would look like latency.
    gc.freeze()
    gc.disable()
    generator.run()


if __name__ == "__main__":
    main()
