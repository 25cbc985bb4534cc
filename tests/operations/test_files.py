"""Files under contrib/, checked by the programs that read them."""

from __future__ import annotations

import shutil
import subprocess
import sys
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


def test_prometheus_understands_the_rules() -> None:
    """promtool check rules is content."""
    said = run("promtool", "check", "rules", ROOT / "contrib/prometheus/alerts.yml")
    assert "SUCCESS" in said


def test_the_rules_fire_when_they_should(tmp_path: Path) -> None:
    """promtool test rules: what each series of numbers raises, and what it does not."""
    for path in (ROOT / "contrib/prometheus/alerts.yml", ROOT / "tests/operations/alerts.test.yml"):
        shutil.copy(path, tmp_path)
    assert "SUCCESS" in run("promtool", "test", "rules", tmp_path / "alerts.test.yml")
