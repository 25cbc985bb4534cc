"""`make demo`: what somebody sees who has just cloned the repository."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

from twisted.internet import reactor

from tests.bounded import bounded
from tests.integration.ticks_client import connect_to, of_type
from tests.integration.twistd import listening, started

ROOT = Path(__file__).resolve().parents[2]
VENV = Path(sys.prefix)


@bounded(60)
async def test_prices_within_seconds() -> None:
    """It says where to look and gives a line to copy; a price comes at once; Ctrl-C ends it."""
    make = shutil.which("make")
    assert make, "make is not installed"
    # The environment that runs this test is the one to run the demo in: it is not made anew.
    command = [make, "-o", f"{VENV}/.ready-to-test", f"VENV={VENV}", "demo"]
    began = reactor.seconds()
    async with started(ROOT, command=command, environment={"WS_PORT": "0"}) as process:
        port = await listening(process)
        client = await connect_to(port)
        client.say("subscribe", symbols=["EURUSD", "GBPUSD"])
        await client.next(of_type("tick"), "a tick", 5)
        assert reactor.seconds() - began < 10
        line = re.search(r"^ {4}(\S+ctrader-stream tail .+)$", process.out, re.MULTILINE)
        assert line, process.told()
        program, *_ = shlex.split(line[1])
        assert (ROOT / program).exists()
        assert f"http://127.0.0.1:{port}/" in process.out
        process.signal("TERM")
        await process.end(10)
        assert await client.gone == 1001
        assert "Traceback" not in process.told()
