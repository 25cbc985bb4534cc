"""Files under contrib/, checked by the programs that read them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "contrib/systemd"


def run(*command: str | Path) -> str:
    """What a program says; AssertionError when it is not content."""
    ended = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said
    return said


def test_systemd_understands_the_units(tmp_path: Path) -> None:
    """systemd-analyze verify has nothing to say about service and socket."""
    for unit in UNITS.iterdir():
        text = unit.read_text().replace(
            "/opt/ctrader-stream/bin/", f"{Path(sys.executable).parent}/"
        )
        (tmp_path / unit.name).write_text(text)
    for unit in UNITS.iterdir():
        said = run("systemd-analyze", "verify", "--man=no", tmp_path / unit.name)
        about_ours = [line for line in said.splitlines() if "ctrader-stream" in line]
        assert not about_ours, said


def test_systemd_finds_the_service_well_fenced(tmp_path: Path) -> None:
    """systemd-analyze security rates the service as little exposed."""
    said = run(
        "systemd-analyze",
        "security",
        "--offline=yes",
        "--threshold=30",
        "--no-pager",
        UNITS / "ctrader-stream.service",
    )
    assert "Overall exposure level" in said


def test_systemd_hands_over_its_socket(tmp_path: Path) -> None:
    """The program that stands for systemd's socket unit: a client that came first is served."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{sock.getsockname()[1]}"
    (tmp_path / "tap.conf").write_text("[web]\nlisten = systemd:domain=INET:name=http\n")
    twistd = [Path(sys.executable).with_name("twistd"), "-n", "--pidfile=", "ctrader-stream"]
    command = ["systemd-socket-activate", f"--listen={where}", "--fdname=http", *twistd]
    ours = {name: value for name, value in os.environ.items() if not name.startswith("CTRADER_")}
    with (tmp_path / "log").open("wb") as log:
        daemon = subprocess.Popen(command, cwd=tmp_path, env=ours, stdout=log, stderr=log)
    try:
        body = fetched(f"http://{where}/healthz", lambda: daemon.poll() is None)
        assert body == b'{"status":"ok"}', (tmp_path / "log").read_text()
    finally:
        daemon.terminate()
        daemon.wait(20)


def fetched(url: str, is_alive: Callable[[], bool]) -> bytes:
    """What is there, once somebody listens; at most until nobody is left who could."""
    while is_alive():
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return bytes(answer.read())
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError):
                raise
    return b"nobody is left"


def test_prometheus_understands_the_rules() -> None:
    """promtool check rules is content."""
    said = run("promtool", "check", "rules", ROOT / "contrib/prometheus/alerts.yml")
    assert "SUCCESS" in said


def test_the_rules_fire_when_they_should(tmp_path: Path) -> None:
    """promtool test rules: what each series of numbers raises, and what it does not."""
    for path in (ROOT / "contrib/prometheus/alerts.yml", ROOT / "tests/operations/alerts.test.yml"):
        shutil.copy(path, tmp_path)
    assert "SUCCESS" in run("promtool", "test", "rules", tmp_path / "alerts.test.yml")
