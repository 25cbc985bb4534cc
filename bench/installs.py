"""Environments of the baselines: pinned, made once, beside ours and never in it.

Each Python one is a virtual environment below `.venv-bench/`, because their pins and ours exclude
each other; Node's is a `node_modules`. What cannot be had is skipped, and the reason kept.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BASELINES = ROOT / "bench" / "baselines"
FOLDER = ROOT / ".venv-bench"
PATIENCE_S = 300

PINS = {
    "fastapi": (
        "fastapi==0.165.0",
        "uvicorn==0.54.0",
        "websockets==17.4",
        "uvloop==0.23.0",
        "httptools==0.9.0",
    ),
    "socketify": ("socketify==0.0.31",),
    "sdk": ("ctrader-open-api==0.9.2", "autobahn==24.4.2", "txaio==26.6.1"),
}


class Missing(Exception):
    """A baseline cannot be had; the message says why."""


def python(environment: str) -> Path:
    """The interpreter of an environment, made if it is not there; Missing when it cannot be."""
    pins = PINS[environment]
    folder = FOLDER / environment
    interpreter = folder / "bin" / "python"
    stamp = folder / "pins.txt"
    wanted = "\n".join(pins)
    if stamp.exists() and stamp.read_text() == wanted:
        return interpreter
    print(f"installing {' '.join(pins)}", file=sys.stderr)
    uv = shutil.which("uv")
    if uv is not None:
        _run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
        _run(uv, "pip", "install", "--quiet", "--python", str(interpreter), *pins)
    else:
        _run(sys.executable, "-m", "venv", "--clear", str(folder))
        _run(str(interpreter), "-m", "pip", "install", "--quiet", *pins)
    stamp.write_text(wanted)
    return interpreter


def node() -> tuple[Path, Path]:
    """Node, and the `node_modules` with `ws`; Missing when there is no Node or no package."""
    program = shutil.which("node")
    if program is None:
        raise Missing("there is no node on the path")
    folder = FOLDER / "node"
    wanted = (BASELINES / "package.json").read_text()
    copied = folder / "package.json"
    stamp = folder / "pins.txt"
    if not (stamp.exists() and stamp.read_text() == wanted):
        npm = shutil.which("npm")
        if npm is None:
            raise Missing("there is no npm on the path")
        folder.mkdir(parents=True, exist_ok=True)
        copied.write_text(wanted)
        print("installing ws for node", file=sys.stderr)
        quiet = ("--no-package-lock", "--no-audit", "--no-fund", "--loglevel", "error")
        _run(npm, "install", "--prefix", str(folder), *quiet)
        stamp.write_text(wanted)
    return Path(program), folder / "node_modules"


def _run(*command: str) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=PATIENCE_S, env=environ
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{Path(command[0]).name}: {error}") from error
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise Missing(f"{Path(command[0]).name}: {words[-1]}")
