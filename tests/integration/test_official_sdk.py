"""The official Python SDK talks to the simulated venue as it would to the real one.

Its pins (Twisted 24.3.0, protobuf 3.20.1, pyOpenSSL 24.1.0) shut us out, so it lives in an
environment of its own, `.venv-sdk`, which is built here once and kept.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue

from tests.bounded import bounded
from tests.integration.venue_process import ROOT, VenueProcess

ENVIRONMENT = ROOT / ".venv-sdk"
PACKAGE = "ctrader-open-api==0.9.2"
SCRIPT = Path(__file__).with_name("official_sdk_script.py")
CREDENTIALS = {
    "SIMULATOR_CLIENT_ID": "sdk-client",
    "SIMULATOR_CLIENT_SECRET": "sdk-secret",
    "SIMULATOR_ACCESS_TOKEN": "sdk-token",
    "SIMULATOR_ACCOUNT_ID": "1234567",
}


@pytest.fixture(scope="module")
def sdk_python() -> str:
    """The interpreter of the SDK's environment; skips, with the reason, if it cannot be built."""
    python = ENVIRONMENT / "bin" / "python"
    if not _works(python):
        _build(python)
    return str(python)


def _works(python: Path) -> bool:
    probe = [str(python), "-W", "ignore", "-c", "import ctrader_open_api"]
    return python.exists() and subprocess.run(probe, check=False).returncode == 0


def _build(python: Path) -> None:
    if uv := shutil.which("uv"):
        make = [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(ENVIRONMENT)]
        install = [uv, "pip", "install", "--quiet", "--python", str(python), PACKAGE]
    else:
        make = [sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)]
        install = [str(python), "-m", "pip", "install", "--quiet", PACKAGE]
    for command in (make, install):
        try:
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=180)
        except subprocess.TimeoutExpired:
            pytest.skip(f"the official SDK cannot be installed: {command[0]} took over 3 minutes")
        if done.returncode != 0:
            words = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
            pytest.skip(f"the official SDK cannot be installed: {words[-1]}")


@bounded(90)
async def test_the_official_sdk_connects_and_receives_spots(sdk_python: str) -> None:
    """Connect, both authorisations, symbols, details, subscription, and spots of both kinds."""
    venue = VenueProcess("--port", "0", environment=CREDENTIALS)
    try:
        port = await venue.port()
        out, err, status = await getProcessOutputAndValue(
            sdk_python,
            ["-W", "ignore", str(SCRIPT)],
            env={**os.environ, **CREDENTIALS, "VENUE_PORT": str(port)},
            reactor=reactor,
        )
    finally:
        await venue.stop()
    said = out.decode().splitlines()
    assert status == 0, f"{out.decode()}\n{err.decode()}\n{venue.said}"
    assert said[:2] == ["connected", "application authorised"]
    assert said[2] == "account 1234567 authorised"
    assert int(said[3].removeprefix("symbols ")) >= 30
    assert said[4:6] == ["digits 5", "subscribed"]
    assert "spots 20" in said
