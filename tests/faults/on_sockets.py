"""Faults that need an operating system: certificates, clients without manners, limits, signals."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any

from ctrader_twisted.simulator.certificates import make_identity
from tests.faults.daemon import Child, Raw, a_daemon, frame, wait_for
from tests.faults.table import Measured

WANTED = ["EURUSD", "GBPUSD", "USDJPY", "XAUUSD", "BTCUSD"]


class GoodClient:
    """Reads everything, in a thread: how long the longest pause was, and whether ticks lack."""

    def __init__(self, port: int) -> None:
        self._raw = Raw(port)
        self._raw.say(type="subscribe", symbols=WANTED)
        self._raw.hear(0.5)
        self._stop = threading.Event()
        self.pause_s = 0.0
        self.lost = 0
        self.heard = 0
        self.closed_by_us: int | None = None
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        numbers: dict[str, int] = {}
        last = time.monotonic()
        while not self._stop.is_set() and self._raw.close_code is None:
            for message in self._raw.hear(0.02):
                if message["type"] != "tick":
                    continue
                now = time.monotonic()
                self.pause_s, last = max(self.pause_s, now - last), now
                self.heard += 1
                symbol, number = message["symbol"], message["seq"]
                self.lost += number - numbers.get(symbol, number - 1) - 1
                numbers[symbol] = number

    def end(self) -> None:
        """Stop listening."""
        self.closed_by_us = self._raw.close_code
        self._stop.set()
        self._thread.join()
        self._raw.close()


class Scene:
    """A daemon with a good client, and what a fault costs it."""

    def __init__(self, *options: str, **more: Any) -> None:
        self.child, self.port = a_daemon("--rate=500", *options, **more)
        self.child.says("is ready")
        self.good = GoodClient(self.port)
        self.before_kib = self.child.memory_kib()
        self.began = time.monotonic()

    def since(self) -> float:
        """Seconds from the beginning of the fault."""
        return time.monotonic() - self.began

    def end(
        self, fault: str, promise: str, notice_s: float | None, kept: bool, remark: str = ""
    ) -> Measured:
        """All is over: is the daemon well, and what did the good client feel?"""
        after_kib = self.child.memory_kib()
        self.good.end()
        well = self.child.runs() and self.good.heard > 0 and self.good.lost == 0
        self.child.stop()
        pause = f"longest pause of another client {self.good.pause_s * 1000:.0f} ms"
        if self.good.closed_by_us is not None:
            pause = f"another client was shown out with {self.good.closed_by_us}"
        return Measured(
            fault,
            promise,
            notice_s,
            None,
            self.good.lost,
            self.before_kib,
            after_kib,
            kept and well,
            f"{remark}; {pause}" if remark else pause,
        )


def thousand_leave() -> Measured:
    """A thousand subscribed clients vanish in one moment."""
    scene = Scene("--connections-per-address=2000")
    before = scene.child.descriptors()
    crowd = [Raw(scene.port) for _ in range(1000)]
    for raw in crowd:
        raw.say(type="subscribe", symbols=WANTED)
    full_kib = scene.child.memory_kib()
    scene.began = time.monotonic()
    for raw in crowd:
        raw.close()
    gone = wait_for(lambda: scene.child.descriptors() <= before, 30)
    return scene.end(
        "1,000 clients leaving at once",
        "all forgotten within 10 s",
        scene.since(),
        bool(gone) and scene.since() < 10,
        f"with them {full_kib / 1024:.1f} MiB",
    )


def never_reads() -> Measured:
    """A client that subscribes to everything and reads nothing."""
    scene = Scene("--symbols=200", "--rate=5000")
    raw = Raw(scene.port, receive_buffer=4096)
    raw.say(type="subscribe", symbols=[f"SYM{number:03}" for number in range(200)])
    scene.began = time.monotonic()
    descriptors = scene.child.descriptors()
    gone = wait_for(lambda: scene.child.descriptors() < descriptors, 30)
    seconds = scene.since()
    raw.close()
    return scene.end(
        "a client that never reads", "shown out (4413) within 15 s", seconds, bool(gone)
    )


def garbage_at_full_speed() -> Measured:
    """Rubbish as fast as it can be sent."""
    return _at_full_speed("garbage", frame(b'{"type": 7, "sym' * 50) * 20)


def pings_at_full_speed() -> Measured:
    """Frames that are no message, and that the RFC wants answered."""
    return _at_full_speed("pings", frame(b"", 9) * 2000)


def _at_full_speed(what: str, octets: bytes) -> Measured:
    """Ten clients send it, and come back when they are shown out."""
    scene = Scene()
    stop = threading.Event()
    visits = []

    def vandal() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError, ConnectionError):
                raw = Raw(scene.port)
                visits.append(1)
                while not stop.is_set():
                    raw.socket.sendall(octets)

    vandals = [threading.Thread(target=vandal) for _ in range(10)]
    for thread in vandals:
        thread.start()
    wait_for(lambda: scene.since() > 8, 10)
    stop.set()
    for thread in vandals:
        thread.join(15)
    return scene.end(
        f"10 clients sending {what} at full speed for 8 s",
        "shown out; others lose nothing",
        None,
        len(visits) >= 10,
        f"shown out {len(visits)} times",
    )


def requests_in_a_row() -> Measured:
    """One client sends HTTP requests without waiting for any answer."""
    scene = Scene()
    octets = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000
    answered = 0
    with socket.create_connection(("127.0.0.1", scene.port)) as one:
        one.settimeout(0.01)
        while scene.since() < 8:
            with contextlib.suppress(TimeoutError):
                one.send(octets)
            with contextlib.suppress(TimeoutError):
                answered += one.recv(1 << 20).count(b"HTTP/1.1 200")
    return scene.end(
        "HTTP requests in a row, at full speed for 8 s",
        "answered one by one; others lose nothing",
        None,
        answered > 0 and scene.good.pause_s < 0.5,
        f"{answered} answers",
    )


def slow_loris() -> Measured:
    """Fifty handshakes that never end, one byte a second."""
    scene = Scene("--arrival-timeout-s=5")
    before = scene.child.descriptors()
    loris = []
    for _ in range(50):
        one = socket.create_connection(("127.0.0.1", scene.port))
        one.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\n")
        loris.append(one)

    def drip() -> bool:
        for one in loris:
            with contextlib.suppress(OSError):
                one.sendall(b"X")
        return scene.child.descriptors() <= before

    gone = wait_for(drip, 20, pause_s=1.0)
    seconds = scene.since()
    for one in loris:
        one.close()
    return scene.end(
        "slow-loris: 50 handshakes, a byte a second",
        "cut after arrival_timeout_s (here 5 s)",
        seconds,
        bool(gone) and seconds < 9,
    )


def deflate_bomb() -> Measured:
    """40 MB of nothing in 40 kB."""
    scene = Scene("--compression=true")
    raw = Raw(scene.port, more="Sec-WebSocket-Extensions: permessage-deflate\r\n")
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = squeeze.compress(b" " * 40_000_000) + squeeze.flush(zlib.Z_SYNC_FLUSH)
    scene.began = time.monotonic()
    with contextlib.suppress(OSError):
        raw.socket.sendall(frame(bomb[:-4], compressed=True))
    raw.hear(10)
    seconds = scene.since()
    agreed = b"permessage-deflate" in raw.answer
    raw.close()
    return scene.end(
        "deflate bomb: 40 MB in 40 kB",
        "1009, memory within its bounds",
        seconds,
        agreed and raw.close_code in {1009, 1006} and seconds < 10,
        f"closed with {raw.close_code}",
    )


def descriptors_exhausted() -> Measured:
    """More clients than file descriptors."""
    scene = Scene(descriptors=64)
    crowd: list[Raw] = []
    with contextlib.suppress(OSError, ConnectionError):
        for _ in range(80):
            crowd.append(Raw(scene.port))
    for raw in crowd:
        raw.hear(0.01)
    number = sum(raw.close_code is None for raw in crowd)
    told = sum(raw.close_code == 1013 for raw in crowd)
    for raw in crowd:
        raw.close()

    def comes_in() -> bool:
        with contextlib.suppress(OSError, ConnectionError):
            raw = Raw(scene.port)
            raw.hear(0.2)
            raw.close()
            return raw.close_code is None
        return False

    scene.began = time.monotonic()
    again = wait_for(comes_in, 20, pause_s=0.1)
    return scene.end(
        "file descriptors exhausted (64)",
        "nobody who is in is hurt; open again when some leave",
        scene.since(),
        bool(again) and 0 < number < 80 and number + told == 80,
        f"{number} came in, {told} were told 1013",
    )


def strangers_take_descriptors() -> Measured:
    """Silent connections from this machine, as many as there may be, while the venue is lost."""
    with tempfolder() as folder:
        venue = Child(
            "ctrader-simulator", "--port=0", f"--ca-out={folder / 'ca.pem'}", "--control-port=0"
        )
        port = int(venue.says(r"venue listens on .*port (\d+)")[1])
        control = int(venue.says(r"[Cc]ontrol.*?(\d{4,5})")[1])
        child, ours = a_daemon(
            "--host=127.0.0.1",
            f"--port={port}",
            f"--ca-file={folder / 'ca.pem'}",
            "--arrival-timeout-s=600",
            descriptors=96,
        )
        child.says("is ready")
        before = child.memory_kib()
        began = time.monotonic()
        silent = [socket.create_connection(("127.0.0.1", ours)) for _ in range(300)]
        raw = Raw(ours)
        raw.say(type="subscribe", symbols=WANTED)
        with socket.create_connection(("127.0.0.1", control)) as line:
            line.sendall(b'{"do": "drop"}\n')
            line.recv(1000)
        wait_for(lambda: child.said().count("is ready") > 1, 20)
        recovered = time.monotonic() - began
        ticks = sum(message["type"] == "tick" for message in raw.hear(2))
        with socket.create_connection(("127.0.0.1", ours), timeout=5) as one:
            one.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answered = one.recv(1000).startswith(b"HTTP/1.1 200 ")
        after = child.memory_kib()
        kept = answered and ticks > 0 and child.said().count("is ready") > 1
        kept = kept and child.said().count("EMFILE") == 0
        raw.close()
        for one in silent:
            one.close()
        child.stop()
        venue.stop()
    return Measured(
        "300 silent connections with 96 descriptors, and the venue hangs up",
        "it is connected again, and /healthz answers",
        None,
        recovered,
        None,
        before,
        after,
        kept,
    )


def disk_full() -> Measured:
    """Every line of the log fails with ENOSPC."""
    return _no_log("disk full for logs", "/dev/full")


def log_not_read() -> Measured:
    """The log goes to a pipe that is full from the beginning, and that nobody reads."""
    with _full_pipe() as (_, writing):
        return _no_log("a pipe for logs that nobody reads", writing)


def log_reader_gone() -> Measured:
    """The log goes to a pipe whose reader has ended."""
    with _full_pipe() as (reading, writing):
        reading.close()
        return _no_log("a pipe for logs whose reader ended", writing)


@contextlib.contextmanager
def _full_pipe() -> Iterator[tuple[FileIO, int]]:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    with FileIO(reading) as reader:
        yield reader, writing


def _no_log(fault: str, log_to: str | int) -> Measured:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    child = Child("ctrader-stream", f"--ws-port={port}", "--rate=500", log_to=log_to)

    def comes_in() -> bool:
        with contextlib.suppress(OSError, ConnectionError):
            Raw(port).close()
            return True
        return False

    began = time.monotonic()
    is_up = wait_for(comes_in, 20, pause_s=0.1)
    before = child.memory_kib() if child.runs() else 0
    heard = []
    if is_up:
        raw = Raw(port)
        raw.say(type="subscribe", symbols=WANTED)
        for _ in range(10):
            raw.socket.sendall(frame(b"rubbish"))
        heard = [message for message in raw.hear(3) if message["type"] == "tick"]
        raw.close()
    after = child.memory_kib() if child.runs() else 0
    was_up = child.runs()
    seconds = time.monotonic() - began
    ended_s = child.stop()
    kept = was_up and len(heard) > 100 and ended_s is not None and ended_s < 6
    remark = f"{len(heard)} ticks in {seconds:.0f} s"
    promise = "prices go on; SIGTERM ends it within 6 s"
    return Measured(fault, promise, None, None, None, before, after, kept, remark)


def bad_certificates() -> Iterator[Measured]:
    """Four ways for a certificate to be bad."""
    good = make_identity()
    kinds: list[tuple[str, Any, bytes, str]] = [
        ("bad certificate: expired", make_identity(kind="expired"), b"", "expired"),
        ("wrong host", make_identity(kind="wrong-host"), b"", "host name"),
        (
            "bad certificate: signed by itself",
            make_identity(kind="self-signed"),
            b"",
            "self-signed",
        ),
        ("bad certificate: unknown authority", make_identity(), good.ca_pem, "issuer"),
    ]
    for fault, identity, ca_pem, words in kinds:
        yield _certificate(fault, identity, ca_pem or identity.ca_pem, words)


def _certificate(fault: str, identity: Any, ca_pem: bytes, words: str) -> Measured:
    with tempfolder() as folder:
        (folder / "ca.pem").write_bytes(ca_pem)
        (folder / "chain.pem").write_bytes(identity.certificate_pem)
        (folder / "key.pem").write_bytes(identity.key_pem)
        os.chmod(folder / "key.pem", 0o600)
        venue = Child(
            "ctrader-simulator",
            "--port=0",
            f"--certificate={folder / 'chain.pem'}",
            f"--key={folder / 'key.pem'}",
        )
        port = venue.says(r"venue listens on .*port (\d+)")[1]
        began = time.monotonic()
        child, ours = a_daemon(
            "--host=127.0.0.1", f"--port={port}", f"--ca-file={folder / 'ca.pem'}"
        )
        before = child.memory_kib()
        raw = Raw(ours)
        raw.say(type="connect")
        said: list[str] = []

        def told() -> bool:
            said.extend(str(message.get("reason")) for message in raw.hear(0.1))
            return any(words in reason for reason in said)

        found = wait_for(told, 10)
        seconds = time.monotonic() - began
        after = child.memory_kib()
        raw.close()
        child.stop()
        venue.stop()
    promise = "never trusted; named in plain words to clients"
    return Measured(fault, promise, seconds, None, None, before, after, bool(found), "from start")


@contextlib.contextmanager
def tempfolder() -> Iterator[Path]:
    """A folder for a moment."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def terminations() -> Iterator[Measured]:
    """SIGTERM in each state of the connection."""
    with contextlib.ExitStack() as stack:
        deaf = stack.enter_context(socket.socket())
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(5)
        closed = stack.enter_context(socket.socket())
        closed.bind(("127.0.0.1", 0))
        yield _terminated("waiting for the next attempt", closed.getsockname()[1], r"attempt 2 in")
        yield _terminated("in the TLS handshake", deaf.getsockname()[1], r"http://127")
        for state, switch in (
            ("authenticating the application", "ProtoOAApplicationAuthReq"),
            ("authenticating the account", "ProtoOAAccountAuthReq"),
            ("restoring subscriptions", "ProtoOASubscribeSpotsReq"),
        ):
            yield _terminated_at(state, switch)
    scene = Scene()
    before = scene.child.memory_kib()
    seconds = scene.child.stop()
    scene.good.end()
    kept = seconds is not None and seconds < 6 and scene.good._raw.close_code == 1001
    remark = f"the client was told {scene.good._raw.close_code}"
    yield Measured(
        "SIGTERM while connected, with clients",
        TERM,
        None,
        seconds,
        None,
        before,
        before,
        kept,
        remark,
    )


TERM = "ends within 5 s, clients told 1001"


def _terminated(state: str, port: int, line: str, *options: str) -> Measured:
    child, ours = a_daemon("--host=127.0.0.1", f"--port={port}", *options)
    child.says(line)
    raw = Raw(ours)
    raw.say(type="subscribe", symbols=WANTED)
    raw.hear(0.5)
    before = child.memory_kib()
    child.process.send_signal(signal.SIGTERM)
    raw.hear(6)
    seconds = child.stop()
    kept = (
        seconds is not None
        and raw.close_code == 1001
        and child.process.returncode in {0, -signal.SIGTERM}
    )
    raw.close()
    remark = f"the client was told {raw.close_code}"
    return Measured(
        f"SIGTERM while {state}", TERM, None, seconds, None, before, before, kept, remark
    )


def _terminated_at(state: str, request: str) -> Measured:
    with tempfolder() as folder:
        venue = Child(
            "ctrader-simulator", "--port=0", f"--ca-out={folder / 'ca.pem'}", "--control-port=0"
        )
        port = int(venue.says(r"venue listens on .*port (\d+)")[1])
        control = int(venue.says(r"[Cc]ontrol.*?(\d{4,5})")[1])
        with socket.create_connection(("127.0.0.1", control)) as line:
            line.sendall(b'{"do": "swallow", "request": "%s", "times": 0}\n' % request.encode())
            line.recv(1000)
        measured = _terminated(state, port, r"http://127", f"--ca-file={folder / 'ca.pem'}")
        venue.stop()
    return measured


ROWS: list[Callable[[], Measured]] = [
    thousand_leave,
    never_reads,
    garbage_at_full_speed,
    pings_at_full_speed,
    requests_in_a_row,
    slow_loris,
    deflate_bomb,
    descriptors_exhausted,
    strangers_take_descriptors,
    disk_full,
    log_not_read,
    log_reader_gone,
]


def run() -> Iterator[Measured]:
    """Every row."""
    yield from bad_certificates()
    for row in ROWS:
        yield row()
    yield from terminations()
