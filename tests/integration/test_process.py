"""The daemon as a process: how it starts, what it says, and how it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bounded import bounded
from tests.integration.harness import get, until
from tests.integration.ticks_client import connect_to, of_type
from tests.integration.twistd import TWISTD, listening, started

ROOT = Path(__file__).resolve().parents[2]
ANY_PORT = ("--ws-port", "0")
BACKGROUND = (TWISTD, "--pidfile=twistd.pid", "--logfile=twistd.log", "ctrader-stream")


@pytest.fixture
def busy_port() -> Iterator[int]:
    """A port of loopback on which somebody else listens."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def one_sentence(err: str) -> str:
    """What stands on standard error, which must be one line of ours."""
    (line,) = err.splitlines()
    assert line.startswith("ctrader-stream: ")
    return line


# -- the start


def test_timers_follow_a_steady_clock(tmp_path: Path) -> None:
    """What `twistd` runs has put the reactor on a clock that nobody can set."""
    program = (
        "import time\n"
        "from ctrader_twisted.tap import Options, makeService\n"
        "options = Options()\n"
        "options.parseOptions(['--listen', 'tcp:0:interface=127.0.0.1'])\n"
        "makeService(options)\n"
        "from twisted.internet import reactor\n"
        "assert abs(reactor.seconds() - time.monotonic()) < 60, reactor.seconds()\n"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CTRADER")}
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**kept, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr


@bounded(40)
async def test_first_lines_and_first_ticks(tmp_path: Path) -> None:
    """From any folder: the log says where to look and what the prices are; a tick comes."""
    async with started(tmp_path, *ANY_PORT) as process:
        port = await listening(process)
        assert f"http://127.0.0.1:{port}/" in process.out
        assert f"ws://127.0.0.1:{port}/ws" in process.out
        assert "environment simulator" in process.out
        assert "made up" in process.out
        client = await connect_to(port)
        client.say("subscribe", symbols=["EURUSD"])
        await client.next(of_type("tick", symbol="EURUSD"), "a tick", 10)
        await client.bye()
        assert (await get(port, "/readyz"))[0] == 200
        assert " starting on " not in process.out, "Twisted names ports by our class names"
        assert process.err == ""


@bounded(40)
async def test_it_runs_from_where_a_wheel_puts_it(tmp_path: Path) -> None:
    """The package and the plugin, side by side in a folder of installed packages."""
    site = tmp_path / "site"
    shutil.copytree(ROOT / "ctrader_twisted", site / "ctrader_twisted")
    shutil.copytree(ROOT / "twisted", site / "twisted")
    tap = site / "ctrader_twisted" / "tap.py"
    tap.write_text(tap.read_text("utf-8").replace("made up", "made of wheels"), "utf-8")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {"PYTHONPATH": str(site)}
    async with started(elsewhere, *ANY_PORT, environment=environment) as process:
        assert (await get(await listening(process), "/healthz"))[0] == 200
        assert "made of wheels" in process.out, "it was this copy that ran"


@bounded(40)
async def test_files_and_environment(tmp_path: Path) -> None:
    """tap.conf and .env of the working directory are read; the notes on what was meant are told."""
    (tmp_path / "tap.conf").write_text("[simulator]\nsymbols = 3\n")
    (tmp_path / ".env").write_text("CTRADER_ACCOUNT_ID=4242\n")
    async with started(tmp_path, environment={"PORT": "0", "HOST": "box"}) as process:
        await listening(process)
        await process.says(r"account 4242 is ready: 36 symbols")
        assert "PORT in the environment (0) is understood as our port." in process.out
        assert "HOST in the environment looks like this machine's name: ignored." in process.out
        assert "Credentials are given, but the venue is the simulator" in process.out


@bounded(40)
async def test_it_goes_to_the_background(tmp_path: Path) -> None:
    """Daemonised it takes its ports along, serves, and writes its log; a signal ends it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with started(tmp_path, "--ws-port", str(port), command=BACKGROUND) as launcher:
        await launcher.end(20)
        assert (launcher.status, launcher.err) == (0, "")
    pid = int((tmp_path / "twistd.pid").read_text())
    try:
        client = await connect_to(port)
        client.say("subscribe", symbols=["EURUSD"])
        await client.next(of_type("tick", symbol="EURUSD"), "a tick", 10)
    finally:
        os.kill(pid, signal.SIGTERM)
    assert await client.gone == 1001
    await until(lambda: not (tmp_path / "twistd.pid").exists(), "its pid file is gone")
    assert f"ws://127.0.0.1:{port}/ws" in (tmp_path / "twistd.log").read_text()


@bounded(40)
async def test_a_socket_file_in_the_background(tmp_path: Path) -> None:
    """A socket file belongs to the process that stays, which removes it at its end."""
    door = tmp_path / "door.sock"
    async with started(tmp_path, f"--listen=unix:{door}", command=BACKGROUND) as launcher:
        await launcher.end(20)
        assert (launcher.status, launcher.err) == (0, "")
    pid = int((tmp_path / "twistd.pid").read_text())
    assert (tmp_path / "door.sock.lock").readlink() == Path(str(pid))
    assert door.stat().st_mode & 0o777 == 0o660
    os.kill(pid, signal.SIGTERM)
    await until(lambda: not (tmp_path / "twistd.pid").exists(), "its pid file is gone")
    assert not door.exists()
    assert "Traceback" not in (tmp_path / "twistd.log").read_text()


@bounded(40)
async def test_a_socket_file_that_cannot_be_had(tmp_path: Path) -> None:
    """What is found out only in the background is told by twistd, which would wait for ever if
    the process just ended.
    """
    async with started(tmp_path, "--listen=unix:no/where", command=BACKGROUND) as launcher:
        await launcher.end(20)
    assert launcher.status == 1
    assert "cannot listen on 'unix:no/where" in launcher.err
    assert "cannot listen on 'unix:no/where" in (tmp_path / "twistd.log").read_text()
    assert not (tmp_path / "twistd.pid").exists()


@bounded(40)
async def test_where_a_refused_setting_stands(tmp_path: Path) -> None:
    """What turns out to be wrong only when it is used is told with its source, too."""
    environment = {"CTRADER_STREAM_WEB_LISTEN": "tcp:0"}
    async with started(tmp_path, environment=environment) as process:
        await process.end(20)
    assert process.status == 1
    assert process.err.endswith("(Given by CTRADER_STREAM_WEB_LISTEN in the environment.)\n")


@bounded(40)
async def test_help(tmp_path: Path) -> None:
    """--help names every option in words, and offers none for a secret."""
    async with started(tmp_path, "--help") as process:
        await process.end(15)
    assert process.status == 0
    assert "--ws-port=" in process.out
    assert "Usage: twistd [options] ctrader-stream [options]" in process.out
    assert max(map(len, process.out.splitlines())) <= 80
    assert "secret" not in process.out
    assert "token" not in process.out


# -- what cannot be used


ONE_KEY = json.dumps(
    {"keys": [{"name": "a", "scopes": ["read"], "sha256": "0" * 64, "made_at": ""}]}
)
CANNOT = {
    "bad number": (["--ws-port", "many"], {}, {}, "--ws-port on the command line is 'many'"),
    "missing file": (["--config", "no.conf"], {}, {}, "no.conf cannot be read"),
    "unknown key": ([], {"tap.conf": "[web]\nwsport = 1\n"}, {}, "unknown key [web] wsport"),
    "unknown name": ([], {".env": "CTRADER_CLIENT=x\n"}, {}, "CTRADER_CLIENT in .env"),
    "demo": ([], {}, {"CTRADER_ENV": "demo"}, "CTRADER_CLIENT_ID, CTRADER_CLIENT_SECRET, "),
    "live": ([], {".env": "CTRADER_ENV=live\n"}, {}, "The environment live needs CTRADER_CLIENT"),
    "no CA": (["--ca-file", "no.pem"], {}, {}, "--ca-file on the command line is 'no.pem'"),
    "empty CA": (["--ca-file", "ca.pem"], {"ca.pem": ""}, {}, "holds no PEM certificate"),
    "garbage CA": (["--ca-file", "ca.pem"], {"ca.pem": "-----BEGIN"}, {}, "no PEM certificate"),
    "no certificate in it": (
        ["--ca-file", "ca.pem"],
        {"ca.pem": "-----BEGIN CERTIFICATE-----\nbm90IG9uZQ==\n-----END CERTIFICATE-----\n"},
        {},
        "no PEM certificate",
    ),
    "bad endpoint": (["--listen", "tcp:99999"], {}, {}, "--listen on the command line"),
    "no such address": (
        ["--listen", "tcp:0:interface=203.0.113.9", "--keys-file", "keys.json"],
        {"keys.json": ONE_KEY},
        {},
        "cannot listen on 'tcp:0:interface=203.0.113.9'",
    ),
    "no such folder": (["--listen", "unix:no/where"], {}, {}, "cannot listen on 'unix:no/where'"),
}


@pytest.mark.parametrize("name", CANNOT)
@bounded(40)
async def test_one_sentence_and_status_1(tmp_path: Path, name: str) -> None:
    """What cannot be used ends the start with one sentence that names it; no traceback."""
    options, files, environment, words = CANNOT[name]
    for file, text in files.items():
        (tmp_path / file).write_text(text)
        (tmp_path / file).chmod(0o600)
    async with started(tmp_path, *ANY_PORT, *options, environment=environment) as process:
        await process.end(20)
    assert words in one_sentence(process.err)
    assert process.status == 1
    assert "Traceback" not in process.out


@pytest.mark.parametrize("mode", ["foreground", "background"])
@pytest.mark.parametrize("whose", ["ours", "the simulator's"])
@bounded(40)
async def test_a_busy_port(tmp_path: Path, busy_port: int, whose: str, mode: str) -> None:
    """A port that somebody else has: one sentence that names it, in the background too."""
    option = "--ws-port" if whose == "ours" else "--port"
    command = {"command": BACKGROUND} if mode == "background" else {}
    async with started(tmp_path, *ANY_PORT, option, str(busy_port), **command) as process:
        await process.end(20)
    sentence = one_sentence(process.err)
    assert str(busy_port) in sentence
    assert "Address already in use" in sentence
    assert process.status == 1
    assert "Traceback" not in process.out
    assert not (tmp_path / "twistd.pid").exists()
