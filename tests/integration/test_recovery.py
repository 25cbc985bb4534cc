"""Whatever the venue does, the daemon comes back by itself, with everything that was wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from ctrader_twisted.simulator.mischief import Mischief
from tests.bounded import bounded
from tests.integration.harness import Running
from tests.integration.outages import Outage, everything_ticks
from tests.integration.ticks_client import of_type


@dataclass(frozen=True)
class Fault:
    """Something that ends the session once, and what the log must say about it."""

    name: str
    flip: Callable[[Mischief], object]
    words: str
    requests: int = 4

    def __str__(self) -> str:
        return self.name


FAULTS = [
    Fault("drop", lambda m: m.drop(), "the connection"),
    Fault("mute", lambda m: m.mute(), "the venue said nothing for 1 s"),
    Fault("stall", lambda m: m.stall(), "the venue said nothing for 1 s"),
    Fault("half a frame, silence", lambda m: m.half_frame(), "the venue said nothing"),
    Fault("half a frame, close", lambda m: m.half_frame("close"), "the venue closed"),
    Fault("garbage", lambda m: m.garbage(), "is not an envelope"),
    Fault("garbage of 1 byte", lambda m: m.garbage(1), "is not an envelope"),
    Fault("oversize", lambda m: m.oversize(), "announced a frame of 2147483648 bytes"),
    Fault("client disconnect", lambda m: m.client_disconnect(), "Cancelled by the server"),
    Fault(
        "client disconnect and close",
        lambda m: m.client_disconnect(close=True),
        "Cancelled by the server",
    ),
    Fault("account disconnect", lambda m: m.account_disconnect(), "ended the account's session"),
    Fault(
        "account disconnect, only said",
        lambda m: m.account_disconnect(stale=True),
        "ended the account's session",
        requests=6,
    ),
    Fault("token, session ends", lambda m: m.token_invalidated(), "token was invalidated"),
    Fault(
        "token, session survives",
        lambda m: m.token_invalidated("session-survives"),
        "token was invalidated",
        requests=6,
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@bounded(30)
async def test_it_comes_back(fault: Fault) -> None:
    """One fault, one outage: all symbols are restored, and one line of the log says why."""
    async with Running() as running:
        client = await everything_ticks(running)
        outage = Outage(running, client)
        fault.flip(running.venue.mischief)
        await outage.noticed()
        await outage.over(requests=fault.requests)
        assert [line for line in outage.logged() if fault.words in line]
        assert any(fault.words in reason for reason in outage.reasons)


@dataclass(frozen=True)
class Siege(Fault):
    """Something that lasts until it is cleared; ``status`` and ``code`` are told meanwhile."""

    status: str = "disconnected"
    code: str = "VENUE_UNREACHABLE"


SIEGES = [
    Siege(
        "refuse", lambda m: (m.refuse(), m.drop()), "closed the connection during the TLS handshake"
    ),
    Siege("refuse, port closed", lambda m: (m.refuse("port"), m.drop()), "connection refused"),
    Siege("mute from now on", lambda m: (m.mute(True), m.drop()), "ApplicationAuthReq was not"),
    Siege("stalled from now on", lambda m: (m.stall(True), m.drop()), "not ready 1.5 s after"),
    Siege(
        "wrong application",
        lambda m: (m.auth_refused(times=0), m.drop()),
        "CH_CLIENT_AUTH_FAILURE",
        status="error",
        code="CH_CLIENT_AUTH_FAILURE",
    ),
    Siege(
        "maintenance",
        lambda m: (m.maintenance(60), m.drop()),
        "closed the connection during the TLS handshake",
    ),
]


@pytest.mark.parametrize("siege", SIEGES, ids=str)
@bounded(40)
async def test_it_tries_until_it_can(siege: Siege) -> None:
    """As long as it lasts it is tried again, and told; once it is over, all is restored."""
    async with Running() as running:
        client = await everything_ticks(running)
        outage = Outage(running, client)
        siege.flip(running.venue.mischief)
        told = of_type("status", status=siege.status, code=siege.code)
        await client.heard(told, siege.status, since=outage.since)
        attempt = of_type("status", status="reconnecting", attempt=3)
        assert siege.words in (await client.heard(attempt, "attempt 3", 12))["reason"]
        status, body = await running.get("/readyz")
        assert status == 503
        assert body["reasons"]
        running.venue.mischief.clear()
        await outage.over()
        assert (await running.get("/readyz"))[0] == 200
        assert [line for line in outage.logged() if siege.words in line]
