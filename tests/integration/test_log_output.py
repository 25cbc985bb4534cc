"""Nothing that the log is written to can stop prices: pipes, files, disks, readers that leave."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager, suppress
from io import FileIO
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from tests.bounded import bounded
from tests.integration.harness import until
from tests.integration.ticks_client import TicksClient, connect_to, of_type
from tests.integration.twistd import TWISTD, clean_environment

ROOT = Path(__file__).parents[2]
LOUD = "tests.integration.chatty"
LOGGERS = {
    "twistd": (),
    "console": ("--logger", "ctrader_twisted.logs.console_stderr"),
    "json": ("--logger", "ctrader_twisted.logs.json_stderr"),
}


class Daemon:
    """A daemon whose standard output and error go where the test wants them."""

    def __init__(self, folder: Path, *twistd: str, out: int, program: str = LOUD) -> None:
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        python = str(TWISTD.with_name("python"))
        command = [python, "-m", program, "-n", "--pidfile=", *twistd, "ctrader-stream"]
        self.process = subprocess.Popen(
            [*command, f"--ws-port={self.port}", "--rate=200"],
            cwd=folder,
            env=clean_environment({"PYTHONPATH": str(ROOT)}),
            stdout=out,
            stderr=out,
        )

    def runs(self) -> bool:
        """It has not ended."""
        return self.process.poll() is None

    async def client(self) -> TicksClient:
        """A client that gets ticks."""

        def is_open() -> bool:
            with socket.socket() as one:
                return one.connect_ex(("127.0.0.1", self.port)) == 0

        await until(lambda: is_open() or not self.runs(), "it listens", 20)
        assert self.runs()
        client = await connect_to(self.port)
        client.say("subscribe", symbols=["EURUSD", "GBPUSD", "XAUUSD"])
        await client.next(of_type("tick"), "a tick", 15)
        return client

    def scream(self) -> None:
        """Make it log 30,000 lines in one go (see `tests.integration.chatty`)."""
        self.process.send_signal(signal.SIGUSR2)

    async def lost(self) -> float:
        """What the metric says."""
        text = await fetch(self.port, "/metrics")
        return float(re.findall(r"^ctrader_stream_log_lines_lost_total (\S+)$", text, re.M)[0])

    async def loses(self) -> float:
        """Wait until lines are lost, and nothing is added any more."""
        seen = [-1.0, 0.0]
        while seen[-1] == 0 or seen[-1] != seen[-2]:
            await beat(0.2)
            seen.append(await self.lost())
        return seen[-1]

    async def end(self, seconds: float = 8.0) -> int:
        """SIGTERM; its status."""
        self.process.send_signal(signal.SIGTERM)
        await until(lambda: not self.runs(), "the end", seconds)
        return self.process.returncode


async def fetch(port: int, path: str) -> str:
    """An answer of the daemon."""
    import treq

    response = await treq.get(f"http://127.0.0.1:{port}{path}", timeout=5, persistent=False)
    assert response.code == 200
    return str(await response.text())


async def beat(seconds: float) -> None:
    """One turn of a bounded wait."""
    turn: Deferred[None] = Deferred()
    reactor.callLater(seconds, turn.callback, None)
    await turn


async def gets_ticks(client: TicksClient, number: int = 200) -> None:
    """So many more ticks arrive."""
    seen = len(client.messages)
    await until(lambda: len(client.messages) > seen + number, "more ticks", 15)


@asynccontextmanager
async def a_daemon(folder: Path, *twistd: str, out: int) -> AsyncIterator[Daemon]:
    """One that does not outlive the test."""
    daemon = Daemon(folder, *twistd, out=out)
    try:
        yield daemon
    finally:
        if daemon.runs():
            daemon.process.kill()
        daemon.process.wait()


@contextmanager
def a_pipe() -> Iterator[tuple[FileIO, int]]:
    """The reading end of a small pipe, which the test may close, and the writing one."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(reading, False)
    with FileIO(reading) as reader, FileIO(writing, "wb") as writer:
        yield reader, writer.fileno()


def taken(reading: FileIO) -> str:
    """Read what is in the pipe now."""
    return (reading.read(1 << 20) or b"").decode()


@pytest.mark.parametrize("logger", LOGGERS)
@bounded(90)
async def test_a_pipe_that_nobody_reads(tmp_path: Path, logger: str) -> None:
    """Ticks, health checks and metrics go on; lost lines are counted, and told once it is read."""
    with a_pipe() as (reading, writing):
        async with a_daemon(tmp_path, *LOGGERS[logger], out=writing) as daemon:
            client = await daemon.client()
            daemon.scream()
            lost = await daemon.loses()
            await gets_ticks(client)
            assert json.loads(await fetch(daemon.port, "/healthz")) == {"status": "ok"}
            said = ""

            def read() -> bool:
                nonlocal said
                said += taken(reading)
                return "log lines were lost" in said

            await until(read, "the line about lost lines", 20)
            (line,) = re.findall(r".*log lines were lost.*", said)
            words = "standard output" if logger == "twistd" else "standard error"
            assert f"{lost:.0f} log lines were lost: the reader of {words} does not read" in line
            if logger == "json":
                told = json.loads(line)
                assert (told["level"], told["lost"]) == ("warn", lost)
            numbers = [int(one) for one in re.findall(r"line (\d+) of a flood", said)]
            assert numbers == list(range(len(numbers)))
            assert len(numbers) + lost >= 30_000
            await client.bye()
            assert await daemon.end() == -signal.SIGTERM


@pytest.mark.parametrize("logger", LOGGERS)
@bounded(60)
async def test_the_end_while_it_is_stuck(tmp_path: Path, logger: str) -> None:
    """SIGTERM says goodbye to clients and ends the process in time."""
    with a_pipe() as (_, writing):
        async with a_daemon(tmp_path, *LOGGERS[logger], out=writing) as daemon:
            client = await daemon.client()
            daemon.scream()
            await daemon.loses()
            assert await daemon.end(6) == -signal.SIGTERM
            assert await client.gone == 1001


@pytest.mark.parametrize("logger", LOGGERS)
@bounded(60)
async def test_a_reader_that_leaves(tmp_path: Path, logger: str) -> None:
    """The daemon serves without a log."""
    with a_pipe() as (reading, writing):
        async with a_daemon(tmp_path, *LOGGERS[logger], out=writing) as daemon:
            client = await daemon.client()
            reading.close()
            daemon.scream()
            assert await daemon.loses() > 1000
            await gets_ticks(client)
            await client.bye()
            assert await daemon.end(6) == -signal.SIGTERM


@bounded(60)
async def test_a_full_disk(tmp_path: Path) -> None:
    """A log file that takes no byte costs no tick and no second."""
    with a_pipe() as (reading, writing):
        async with a_daemon(tmp_path, "--logfile=/dev/full", out=writing) as daemon:
            client = await daemon.client()
            daemon.scream()
            assert await daemon.loses() > 1000
            await gets_ticks(client)
            await client.bye()
            assert await daemon.end(6) == -signal.SIGTERM
            assert taken(reading) == ""


@bounded(60)
async def test_a_fifo(tmp_path: Path) -> None:
    """A FIFO as log file: without a reader, with one that does not read, and with one that does."""
    fifo = tmp_path / "log.fifo"
    os.mkfifo(fifo)
    async with AsyncExitStack() as stack:
        running = a_daemon(tmp_path, f"--logfile={fifo}", out=subprocess.DEVNULL)
        daemon = await stack.enter_async_context(running)
        client = await daemon.client()
        number = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        reading = stack.enter_context(FileIO(number))
        said = ""

        def read() -> str:
            nonlocal said
            said += taken(reading)
            return said

        await until(lambda: "listening: " in read(), "the first lines")
        daemon.scream()
        await daemon.loses()
        await gets_ticks(client)
        await until(lambda: f"the reader of {fifo} does not read" in read(), "the lost lines", 20)
        reading.close()
        await client.bye()
        assert await daemon.end(6) == -signal.SIGTERM


@bounded(60)
async def test_closed_output(tmp_path: Path) -> None:
    """``>&- 2>&-``: there is nowhere to log to, and no socket gets a line of the log."""
    shell = tmp_path / "closed.py"
    shell.write_text(
        "import os, sys\nos.close(1); os.close(2)\nos.execv(sys.argv[1], sys.argv[1:])\n"
    )
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    python = str(TWISTD.with_name("python"))
    command = [python, str(shell), python, "-m", LOUD, "-n", "--pidfile=", "ctrader-stream"]
    daemon = Daemon.__new__(Daemon)
    daemon.port = port
    daemon.process = subprocess.Popen(
        [*command, f"--ws-port={port}", "--rate=200"],
        cwd=tmp_path,
        env=clean_environment({"PYTHONPATH": str(ROOT)}),
    )
    try:
        client = await daemon.client()
        daemon.scream()
        assert await daemon.loses() > 1000
        await gets_ticks(client)
        await client.bye()
        assert await daemon.end(6) == -signal.SIGTERM
    finally:
        if daemon.runs():
            daemon.process.kill()
        daemon.process.wait()


@bounded(60)
async def test_a_log_file(tmp_path: Path) -> None:
    """Mode 600 from the start and after a rotation; it never rotates itself; nothing is masked
    less, and the last line is there.
    """
    log = tmp_path / "daemon.log"
    log.write_text("yesterday\n")
    log.chmod(0o644)
    async with a_daemon(tmp_path, f"--logfile={log}", out=subprocess.DEVNULL) as daemon:
        client = await daemon.client()
        daemon.scream()
        await until(lambda: "line 29999 of a flood" in log.read_text(), "the flood", 20)
        assert sorted(os.listdir(tmp_path)) == ["daemon.log"]
        assert log.stat().st_size > 1_000_000
        assert stat.S_IMODE(log.stat().st_mode) == 0o600
        assert "was open to other users (mode 644)" in log.read_text()
        for number, name in ((1, "HUP"), (2, "USR1")):
            log.rename(tmp_path / f"daemon.log.{number}")
            daemon.process.send_signal(signal.Signals[f"SIG{name}"])
            await until(lambda: log.exists() and "was reopened" in log.read_text(), "a new file")
            assert stat.S_IMODE(log.stat().st_mode) == 0o600
        await client.bye()
        assert await daemon.end() == -signal.SIGTERM
    assert log.read_text().rstrip().endswith("Server Shut Down.")
    assert "\x1b" not in (tmp_path / "daemon.log.1").read_text()


@bounded(60)
async def test_a_log_file_that_cannot_be_made(tmp_path: Path) -> None:
    """One sentence that names it, and status 1."""
    path = tmp_path / "nowhere" / "daemon.log"
    with a_pipe() as (reading, writing):
        async with a_daemon(tmp_path, f"--logfile={path}", out=writing) as daemon:
            await until(lambda: not daemon.runs(), "the end", 20)
            assert daemon.process.returncode == 1
        (line,) = taken(reading).splitlines()
        assert line.startswith(f"ctrader-stream: the log file {path} cannot be written (No such")


@bounded(60)
async def test_first_lines(tmp_path: Path) -> None:
    """The address to open is among the first three lines; health checks and pages leave none."""
    log = tmp_path / "daemon.log"
    async with a_daemon(tmp_path, f"--logfile={log}", out=subprocess.DEVNULL) as daemon:
        await until(lambda: log.exists() and "is ready" in log.read_text(), "ready", 20)
        for path in ("/", "/healthz", "/readyz", "/metrics", "/version"):
            await fetch(daemon.port, path)
        lines = log.read_text().splitlines()
    assert any(" daemon: listening: http://" in line for line in lines[:3]), lines
    assert len([line for line in lines if "ctrader_twisted" in line]) == 0, lines
    assert re.search(r"ctrader-stream \S+, Python 3\S+, Twisted \d", lines[0])
    assert len(lines) == 4, lines


@bounded(60)
async def test_the_simulated_venue(tmp_path: Path) -> None:
    """As a process of its own it serves and ends, too, when nobody reads its log."""
    with a_pipe() as (reading, writing), closing(socket.socket()) as probe:
        os.set_blocking(writing, False)
        with suppress(BlockingIOError):
            while os.write(writing, b"x" * 4096):
                pass
        os.set_blocking(writing, True)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        ca_file = tmp_path / "ca.pem"
        command = [str(TWISTD), "-n", "--pidfile=", "ctrader-simulator", f"--port={port}"]
        process = subprocess.Popen(
            [*command, f"--ca-out={ca_file}"],
            cwd=tmp_path,
            env=clean_environment(),
            stdout=writing,
            stderr=writing,
        )
        try:
            await until(ca_file.exists, "its certificate", 20)

            def shakes_hands() -> bool:
                trust = ssl.create_default_context(cadata=ca_file.read_text())
                with (
                    suppress(OSError),
                    socket.create_connection(("127.0.0.1", port), 5) as one,
                    trust.wrap_socket(one, server_hostname="localhost") as safe,
                ):
                    return bool(safe.version())
                return False

            await until(shakes_hands, "TLS", 20)
            process.send_signal(signal.SIGTERM)
            await until(lambda: process.poll() is not None, "the end", 6)
        finally:
            process.kill()
            process.wait()
        assert "INFO" not in taken(reading)
