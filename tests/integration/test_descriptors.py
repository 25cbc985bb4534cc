"""Connections that hold file descriptors: the venue and health checks get theirs all the same."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from twisted.internet.threads import deferToThread

from ctrader_twisted.simulator.certificates import make_identity
from ctrader_twisted.web.keys import add_key
from tests.bounded import bounded
from tests.integration.harness import until
from tests.integration.twistd import TWISTD, Process, started
from tests.integration.venue_process import VenueProcess
from tests.rfc6455 import HANDSHAKE

LIMIT = 96
LIMITED = (
    "import os, resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]),) * 2);"
    "os.execv(sys.argv[2], sys.argv[2:])"
)
COMMAND = (sys.executable, "-c", LIMITED, str(LIMIT), str(TWISTD), "-n", "--pidfile=")
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

#: What those who take the descriptors say, at once or never again.
SAID = {
    "nothing": b"",
    "half a request": b"GET /healthz HTTP/1.1\r\nHost: loc",
    "half an upgrade": HANDSHAKE,
    "a request, and then nothing": GET,
    "a WebSocket": HANDSHAKE + b"\r\n",
    "half a TLS greeting": b"\x16\x03\x01\x02\x00\x01\x00",
}


class Crowd:
    """Many sockets."""

    def __init__(self, port: int, source: str) -> None:
        self._port, self._source = port, source
        self._sockets: list[socket.socket] = []

    def come(self, count: int, octets: bytes) -> None:
        """Open so many connections and send something; some may be refused."""
        for _ in range(count):
            one = socket.socket()
            one.settimeout(2)
            self._sockets.append(one)
            with contextlib.suppress(OSError):
                one.bind((self._source, 0))
                one.connect(("127.0.0.1", self._port))
                one.sendall(octets)

    def left(self) -> int:
        """How many are still connected, as the kernel tells it on this side."""
        return sum(map(_is_connected, self._sockets))

    def go(self) -> None:
        """All hang up."""
        for one in self._sockets:
            one.close()


def _is_connected(one: socket.socket) -> bool:
    one.setblocking(False)
    try:
        return one.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


@contextlib.contextmanager
def crowd(port: int, source: str = "127.0.0.1") -> Iterator[Crowd]:
    """A crowd that leaves at the end."""
    made = Crowd(port, source)
    try:
        yield made
    finally:
        made.go()


def healthz(port: int) -> int:
    """The status of one health check from this machine."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as one:
        one.sendall(GET)
        octets = one.recv(1000)
    assert octets.startswith(b"HTTP/1.1 "), octets
    return int(octets[9:12])


def tell(port: int, **command: object) -> None:
    """One line for the control port of the venue."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as one:
        one.sendall(json.dumps(command).encode() + b"\n")
        assert json.loads(one.recv(10_000))["ok"]


@contextlib.asynccontextmanager
async def venue_running(folder: Path) -> AsyncIterator[VenueProcess]:
    """A venue that does not outlive the `async with`."""
    venue = VenueProcess("--port=0", "--control-port=0", f"--ca-out={folder / 'ca.pem'}")
    try:
        await venue.port()
        yield venue
    finally:
        await venue.stop()


async def daemon_options(venue: VenueProcess, folder: Path) -> tuple[str, ...]:
    """The options of a daemon that uses this venue."""
    return (
        "ctrader-stream",
        "--host=127.0.0.1",
        f"--port={await venue.port()}",
        f"--ca-file={folder / 'ca.pem'}",
        "--backoff-initial-s=0.2",
        "--backoff-max-s=0.5",
        "--arrival-timeout-s=600",
    )


async def venue_comes_back(venue: VenueProcess, daemon: Process) -> None:
    """The venue hangs up, and the daemon is ready again."""
    control = await venue.control_port()
    ready = daemon.out.count("is ready")
    await deferToThread(tell, control, do="drop")
    await until(lambda: daemon.out.count("is ready") > ready, "ready again", 15)


@bounded(60)
@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
async def test_venue_and_health_check_have_descriptors(tmp_path: Path, said: bytes) -> None:
    """This machine's own programs take all connections that there may be."""
    async with (
        venue_running(tmp_path) as venue,
        started(
            tmp_path, *await daemon_options(venue, tmp_path), "--ws-port=0", command=COMMAND
        ) as daemon,
    ):
        port = int((await daemon.says(r"http://127\.0\.0\.1:(\d+)/"))[1])
        await daemon.says("is ready")
        with crowd(port) as many:
            await deferToThread(many.come, 3 * LIMIT, said)
            assert await deferToThread(healthz, port) == 200
            await venue_comes_back(venue, daemon)
            assert await deferToThread(healthz, port) == 200
    assert "EMFILE" not in daemon.told()
    assert "Traceback" not in daemon.told()


@bounded(60)
async def test_limit_that_is_lowered_at_run_time(tmp_path: Path) -> None:
    """It counts at once."""
    async with (
        venue_running(tmp_path) as venue,
        started(
            tmp_path,
            *await daemon_options(venue, tmp_path),
            "--ws-port=0",
            command=(TWISTD, "-n", "--pidfile="),
        ) as daemon,
    ):
        port = int((await daemon.says(r"http://127\.0\.0\.1:(\d+)/"))[1])
        await daemon.says("is ready")
        assert daemon.transport is not None
        resource.prlimit(daemon.transport.pid, resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
        with crowd(port) as many:
            await deferToThread(many.come, 3 * LIMIT, b"")
            assert await deferToThread(healthz, port) == 200
            await venue_comes_back(venue, daemon)
    assert "descriptors are in use" not in daemon.told()


@bounded(60)
async def test_strangers_have_a_limit_of_their_own(tmp_path: Path) -> None:
    """Those who show no key are at most ``connections_without_key``, also without saying a word on
    a TLS listener; with a key, and from this machine, one gets in.
    """
    identity = make_identity(("localhost",), "good")
    pem, keys = tmp_path / "server.pem", tmp_path / "keys.json"
    pem.write_bytes(identity.key_pem + identity.certificate_pem)
    add_key(keys, "ops", ["read"], "now")
    # A proxy's connections are those of strangers: 127.0.0.2 stands for another machine.
    options = (
        f"--listen=ssl:port=0:interface=127.0.0.1:privateKey={pem}",
        f"--keys-file={keys}",
        "--trusted-proxies=127.0.0.2",
        "--connections-without-key=10",
    )
    async with (
        venue_running(tmp_path) as venue,
        started(
            tmp_path, *await daemon_options(venue, tmp_path), *options, command=COMMAND
        ) as daemon,
    ):
        port = int((await daemon.says(r"https://127\.0\.0\.1:(\d+)/"))[1])
        await daemon.says("is ready")
        with crowd(port, "127.0.0.2") as many:
            await deferToThread(many.come, 2 * LIMIT, b"")
            await until(lambda: many.left() <= 10, "the others are closed")
            assert many.left() == 10
            await venue_comes_back(venue, daemon)
    assert daemon.told().count("connections without a key is reached") == 1


@bounded(60)
async def test_no_descriptor_at_all(tmp_path: Path) -> None:
    """The process lives, the log has one line, and all is well when there are some again."""
    options = ("ctrader-stream", "--ws-port=0")
    async with started(tmp_path, *options, command=COMMAND) as daemon:
        port = int((await daemon.says(r"http://127\.0\.0\.1:(\d+)/"))[1])
        await daemon.says("is ready")
        pid = daemon.transport.pid
        with crowd(port) as many:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (daemon.descriptors(), LIMIT))
            await deferToThread(many.come, 200, GET)
            await daemon.says("all [0-9]+ file descriptors are in use")
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
        assert await deferToThread(healthz, port) == 200
    assert daemon.told().count("file descriptors are in use") == 1
    assert "EMFILE" not in daemon.told()
