"""The daemon as systemd starts it: notify socket, watchdog, inherited socket, SIGHUP."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

from tests.bounded import bounded
from tests.integration.harness import get, until
from tests.integration.twistd import TWISTD, listening, started

COMMAND = TWISTD.with_name("ctrader-stream")
OPTIONS = ("--port", "0", "--ws-port", "0")


class Systemd:
    """systemd's end of the notify socket."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(str(self.path))
        self.said: list[str] = []

    def listen(self) -> list[str]:
        """Everything that was said until now."""
        while True:
            try:
                self.said.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return self.said

    def __enter__(self) -> Systemd:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


@bounded(60)
async def test_notify(tmp_path: Path) -> None:
    """READY once it listens, the session's state as status, WATCHDOG while it turns and not while
    it is stuck, STOPPING at the end.
    """
    with Systemd(tmp_path) as manager:
        environment = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "400000"}
        async with started(tmp_path, *OPTIONS, environment=environment) as process:
            await until(lambda: "READY=1" in manager.listen(), "ready", 20)
            await process.says("listening: http")
            connected = "STATUS=simulator: connected"
            await until(
                lambda: any(one.startswith(connected) for one in manager.listen()), "connected", 20
            )
            fed = manager.listen().count("WATCHDOG=1")
            await until(lambda: manager.listen().count("WATCHDOG=1") > fed + 1, "fed")
            process.signal("STOP")
            # Stopped for good is when the kernel says so: from then on nothing can be said.
            stat = Path(f"/proc/{process.transport.pid}/stat")
            await until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "stuck")
            fed = manager.listen().count("WATCHDOG=1")
            began = os.times().elapsed
            await until(lambda: os.times().elapsed - began > 1.0, "two and a half periods")
            assert manager.listen().count("WATCHDOG=1") == fed
            process.signal("CONT")
            await until(lambda: manager.listen().count("WATCHDOG=1") > fed, "fed again")
            process.signal("TERM")
            await process.end(15)
            assert manager.listen()[-1] == "STOPPING=1\nSTATUS=saying goodbye"


@bounded(60)
async def test_notify_without_a_venue(tmp_path: Path) -> None:
    """READY is that clients may come: they are told what is wrong, and systemd must not restart
    whom the venue will not have. Whether prices can flow is for /readyz, and stands in STATUS.
    """
    with Systemd(tmp_path) as manager:
        environment = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "400000"}
        options = ("--host", "localhost", "--port", "1", "--ws-port", "0")
        async with started(tmp_path, *options, environment=environment) as process:
            await until(lambda: "READY=1" in manager.listen(), "ready", 20)
            port = await listening(process)
            status, answer = await get(port, "/readyz")
            assert (status, answer["ready"]) == (503, False)
            lost = "STATUS=simulator: reconnecting ("
            await until(lambda: any(one.startswith(lost) for one in manager.listen()), "why", 20)
            fed = manager.listen().count("WATCHDOG=1")
            await until(lambda: manager.listen().count("WATCHDOG=1") > fed + 1, "fed")
            assert manager.listen().count("READY=1") == 1
            process.signal("TERM")
            await process.end(15)


STICK = """
import os, signal, time
signal.signal(signal.SIGUSR1, lambda *_: (os.write(2, b"stuck now"), time.sleep(3)))
from twisted.scripts.twistd import run
run()
"""


@bounded(60)
async def test_a_stuck_reactor(tmp_path: Path) -> None:
    """The process lives, and so do its threads; a call that does not return is enough."""
    script = tmp_path / "stick.py"
    script.write_text(STICK)
    command = (sys.executable, script, "-n", "--pidfile=", "ctrader-stream")
    with Systemd(tmp_path) as manager:
        environment = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "400000"}
        async with started(tmp_path, *OPTIONS, environment=environment, command=command) as process:
            await until(lambda: manager.listen().count("WATCHDOG=1") > 1, "fed", 20)
            process.signal("USR1")
            await process.says("stuck now")
            manager.listen().clear()
            began = os.times().elapsed
            await until(lambda: os.times().elapsed - began > 1.2, "three periods")
            assert manager.listen().count("WATCHDOG=1") == 0
            await until(lambda: manager.listen().count("WATCHDOG=1") > 2, "fed again")
            process.signal("TERM")
            await process.end(15)


@bounded(60)
async def test_moved_log(tmp_path: Path) -> None:
    """SIGHUP does not end it; it writes to a new file of the old name."""
    log = tmp_path / "daemon.log"
    command = (TWISTD, "-n", "--pidfile=", f"--logfile={log}", "ctrader-stream")
    async with started(tmp_path, *OPTIONS, command=command) as process:
        await until(lambda: log.exists() and "is ready" in log.read_text(), "ready", 20)
        log.rename(tmp_path / "daemon.log.1")
        process.signal("HUP")
        await until(lambda: log.exists() and "reopened" in log.read_text(), "a new file")
        process.signal("TERM")
        await process.end(15)
        assert process.status == -signal.SIGTERM
    assert "reopened" not in (tmp_path / "daemon.log.1").read_text()


INHERIT = """
import os, socket, sys
sock = socket.socket()
sock.bind(("127.0.0.1", 0))
sock.listen()
print("http://127.0.0.1:%d/" % sock.getsockname()[1], flush=True)
os.dup2(sock.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="http")
os.execv(sys.argv[1], sys.argv[1:])
"""


@bounded(60)
async def test_inherited_socket(tmp_path: Path) -> None:
    """Socket activation: it serves on the socket that it was handed, and opens none."""
    script = tmp_path / "inherit.py"
    script.write_text(INHERIT)
    command = (sys.executable, script, TWISTD, "-n", "--pidfile=", "ctrader-stream")
    listen = ("--listen", "systemd:domain=INET:name=http")
    async with started(tmp_path, *listen, "--port", "0", command=command) as process:
        match = await process.says(r"http://127\.0\.0\.1:(\d+)/")
        await process.says("is ready", 20)
        status, answer = await get(int(match[1]), "/healthz")
        assert (status, answer) == (200, {"status": "ok"})
        process.signal("TERM")
        await process.end(15)


@bounded(60)
async def test_status(tmp_path: Path) -> None:
    """`ctrader-stream status` says what /readyz and /metrics say; 0 when ready."""
    async with started(tmp_path, *OPTIONS) as process:
        match = await process.says(r"http://127\.0\.0\.1:(\d+)/")
        await process.says("is ready", 20)
        url = f"http://127.0.0.1:{match[1]}"
        async with started(tmp_path, "--url", url, command=(COMMAND, "status")) as asking:
            await asking.end(15)
        assert asking.status == 0, asking.told()
        assert asking.out.startswith(f"{url}: simulator, connected\n")
        assert "symbols subscribed             0\n" in asking.out
        assert "symbols silent though open     0\n" in asking.out
        assert "newest tick, seconds ago       -\n" in asking.out
        process.signal("TERM")
        await process.end(15)
