"""The time of day may jump; what the daemon does at intervals must not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.bounded import bounded
from tests.integration.ticks_client import connect_to, of_type
from tests.integration.twistd import listening, started

#: twistd in a world whose time of day goes back by an hour at SIGUSR2 (nothing of ours is touched:
#: this stands in for the machine's clock, which a test must not set).
BACKWARDS = """
import signal, sys, time
of_day, back_s = time.time, []
time.time = lambda: of_day() - sum(back_s)
signal.signal(signal.SIGUSR2, lambda *_: back_s.append(3600))
sys.argv[0] = "twistd"
from twisted.scripts.twistd import run
run()
"""


@pytest.mark.parametrize("reactor_name", ["default", "asyncio"])
@bounded(40)
async def test_the_clock_goes_back_an_hour(tmp_path: Path, reactor_name: str) -> None:
    """Ticks, heartbeats and the end all come as if nothing had happened, with either reactor."""
    choice = [] if reactor_name == "default" else ["--reactor", reactor_name]
    command = [sys.executable, "-c", BACKWARDS, *choice, "-n", "--pidfile=", "ctrader-stream"]
    options = ["--ws-port=0", "--web-heartbeat-s=2", "--stop-timeout-s=1"]
    async with started(tmp_path, *options, command=command) as process:
        ticking = await connect_to(await listening(process))
        idle = await connect_to(await listening(process))
        await ticking.ask("subscribe", "subscribeResponse", symbols=["EURUSD"])
        await ticking.next(of_type("tick"), "a tick")
        process.signal("USR2")
        await idle.ask("ping", "pong")
        for _ in range(3):
            await ticking.next(of_type("tick"), "a tick after the jump")
        await idle.next(of_type("heartbeat"), "a heartbeat after the jump")
        process.signal("TERM")
        assert await process.end(5) < 2
        assert await ticking.gone == 1001
        assert "Traceback" not in process.out
        assert process.err == ""
