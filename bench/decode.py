"""Decoding in process: frames per CPU-second, in a fresh interpreter on the server's core.

    python -m bench.decode NAME FILE      (FILE: frames with their lengths, as from a socket)

The product is the whole daemon as `tap.compose` wires it, on a reactor in memory: from
``dataReceived`` of the venue's connection to WebSocket frames for one client. The SDK's side is in
`baselines/sdk_decode.py`. The framers are measured alone, without what follows them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import succeed
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.protocols.basic import Int32StringReceiver

from bench import installs
from bench.answers import ACCOUNT_ID, answer
from bench.children import Broken
from bench.frames import Reader, subscribe, upgrade
from bench.schedule import Planned, Ticks, framed, micros, name, spot
from bench.servers import CREDENTIALS
from bench.stage import Row, Stage
from ctrader_twisted.pb import api_pb2
from ctrader_twisted.settings import load
from ctrader_twisted.tap import calm_garbage_collector, compose
from ctrader_twisted.wire.codec import decode as opened
from ctrader_twisted.wire.codec import encode

FRAMES = 100_000
SYMBOLS = 50
CHUNK = 16_384
BURST = 10
PATIENCE_S = 120

DECODERS = ("product", "sdk")
FRAMERS = (
    "Int32StringReceiver, 16 KiB",
    "tight framer, 16 KiB",
    "Int32StringReceiver, 10 frames",
    "tight framer, 10 frames",
)


def decode(stage: Stage, name: str) -> Row:
    """One measurement, in a process of its own."""
    path = stage.folder / "frames.bin"
    if not path.exists():
        path.write_bytes(b"".join(Ticks(SYMBOLS, ACCOUNT_ID, raw=False).take(FRAMES)))
    command = [sys.executable, "-m", "bench.decode", name, str(path)]
    if name == "sdk":
        script = str(installs.BASELINES / "sdk_decode.py")
        command = [str(installs.python("sdk")), "-E", "-W", "ignore", script, str(path)]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        cwd=installs.ROOT,
        preexec_fn=lambda: os.sched_setaffinity(0, {stage.server_core}),
    )
    if done.returncode != 0:
        raise Broken(f"{name}: {' | '.join(done.stderr.strip().splitlines()[-2:])}")
    said = json.loads(done.stdout.splitlines()[-1])
    per_s = said["frames"] / said["cpu_s"]
    return {"frames_per_cpu_s": per_s, "us_per_frame": 1e6 / per_s}


class Wire(StringTransport):
    """What a client gets. HTTP leaves, and WebSocket takes its place, by the attribute.

    ``written``: bytes since it stopped to keep them.
    """

    protocol: Any = None
    keeps = True
    written = 0

    def __init__(self) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", "127.0.0.1", 50_000))

    def write(self, data: bytes) -> None:
        """Kept, or counted."""
        if self.keeps:
            super().write(data)
        else:
            self.written += len(data)

    def unregisterProducer(self) -> None:
        """As a real transport: there may be none."""
        self.producer = None


class Daemon:
    """The whole daemon, in memory, with one client that wants everything."""

    def __init__(self) -> None:
        self.reactor = MemoryReactorClock()
        environ = {
            **dict.fromkeys(CREDENTIALS, "bench"),
            "CTRADER_ENV": "demo",
            # An address, so that no name is looked up; nothing is connected to.
            "CTRADER_OPENAPI_HOST": "127.0.0.1",
            "CTRADER_ACCOUNT_ID": str(ACCOUNT_ID),
        }
        settings = load(options={}, environ=environ, tap_conf=None, dotenv=None)
        in_thread: Callable[..., Any] = lambda f, *args: succeed(f(*args))  # noqa: E731
        self._daemon: Any = compose(settings, reactor=self.reactor, in_thread=in_thread)
        self._daemon.privilegedStartService()
        self._daemon.startService()
        self._up = StringTransport()
        # Without the TLS around it.
        factory: Any = self.reactor.tcpClients[0][2].wrappedFactory
        self.link: Any = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 5035))
        self.link.makeConnection(self._up)
        self._answer()
        self.client = Wire()
        site: Any = self.reactor.tcpServers[0][1]
        self.client.protocol = site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 50_000))
        self.client.protocol.makeConnection(self.client)
        self.client.protocol.dataReceived(upgrade(8080, "/ws"))
        # By now it is another protocol.
        self.client.protocol.dataReceived(subscribe([name(index) for index in range(SYMBOLS)]))
        self._answer()
        if b"subscribeResponse" not in self.client.value():
            raise Broken(f"the client is not in: {self.client.value()[:300]!r}")
        self.client.clear()

    def _answer(self) -> None:
        """Be the venue until nothing is asked any more."""
        for _ in range(20):
            asked, rest = self._up.value(), b""
            self._up.clear()
            for frame in cut(asked):
                envelope = opened(frame)
                reply = answer(envelope.message, SYMBOLS) if envelope.message else None
                if reply is not None:
                    rest += framed(encode(reply, envelope.client_message_id))
                if isinstance(envelope.message, api_pb2.ProtoOASubscribeSpotsReq):
                    rest += b"".join(_first(number) for number in envelope.message.symbolId)
            if rest:
                self.link.dataReceived(rest)
            self.reactor.advance(0.05)


def _first(number: int) -> bytes:
    bid = 108_000 + 100 * (number - 1)
    whole = Planned(number - 1, bid, bid + 10, has_bid=True, has_ask=True)
    return spot(ACCOUNT_ID, whole, micros())


def cut(stream: bytes) -> Iterator[bytes]:
    """The frames of a stream: the tight framer."""
    at, size = 0, len(stream)
    while at + 4 <= size:
        end = at + 4 + int.from_bytes(stream[at : at + 4], "big")
        if end > size:
            return
        yield stream[at + 4 : end]
        at = end


def product(stream: bytes) -> tuple[int, float]:
    """Frames that became JSON, and the seconds for it.

    Nothing of it is kept, as on the SDK's side: to store what came out is no part of decoding. The
    same stream once more, not measured, must write as much, and that is read and checked.
    """
    measured, spent_s = _through(stream, keeps=False)
    checked, _ = _through(stream, keeps=True)
    reader = Reader()
    memo, rest, _ = reader.read(checked.value(), {})
    if rest or any(reader.faults.all().values()):
        raise Broken(f"what came out is wrong: {reader.faults.all()}")
    if measured.written != len(checked.value()):
        raise Broken(f"{measured.written} bytes, and {len(checked.value())} from the same frames")
    return memo.ticks, spent_s


def _through(stream: bytes, *, keeps: bool) -> tuple[Wire, float]:
    """What a daemon makes of a stream, and the seconds for it."""
    daemon = Daemon()
    daemon.client.keeps = keeps
    receive, advance = daemon.link.dataReceived, daemon.reactor.advance
    chunks = [stream[at : at + CHUNK] for at in range(0, len(stream), CHUNK)]
    # As twistd's daemon does when its reactor starts, which this one never does.
    calm_garbage_collector()
    before = time.process_time()
    for chunk in chunks:
        receive(chunk)
        advance(0)
    return daemon.client, time.process_time() - before


class Counting(Int32StringReceiver):
    """Twisted's own framer, and nothing behind it."""

    frames = 0

    def stringReceived(self, string: bytes) -> None:
        """One frame."""
        self.frames += 1


class Tight:
    """The least that cutting frames needs: nothing but slices."""

    def __init__(self) -> None:
        self._rest = b""
        self.frames = 0

    def dataReceived(self, data: bytes) -> None:
        """Some bytes."""
        if self._rest:
            data = self._rest + data
        at, size = 0, len(data)
        while (start := at + 4) <= size:
            end = start + int.from_bytes(data[at:start], "big")
            if end > size:
                break
            self.stringReceived(data[start:end])
            at = end
        self._rest = data[at:]

    def stringReceived(self, string: bytes) -> None:
        """One frame."""
        self.frames += 1


def framer(stream: bytes, framer_of: type[Counting | Tight], burst: int) -> tuple[int, float]:
    """Frames that were cut, and the seconds for it; ``burst`` frames a chunk, 0: 16 KiB."""
    receiver = framer_of()
    if burst:
        frames = [framed(frame) for frame in cut(stream)]
        chunks = [b"".join(frames[at : at + burst]) for at in range(0, len(frames), burst)]
    else:
        chunks = [stream[at : at + CHUNK] for at in range(0, len(stream), CHUNK)]
    before = time.process_time()
    for chunk in chunks:
        receiver.dataReceived(chunk)
    return receiver.frames, time.process_time() - before


def main() -> None:
    """The process."""
    what, path = sys.argv[1:]
    with open(path, "rb") as file:
        stream = file.read()
    if what in FRAMERS:
        kind = Counting if what.startswith("Int32") else Tight
        frames, spent_s = framer(stream, kind, BURST if what.endswith("frames") else 0)
    else:
        frames, spent_s = product(stream)
    print(json.dumps({"frames": frames, "cpu_s": spent_s}))


if __name__ == "__main__":
    main()
