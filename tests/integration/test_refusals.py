"""What the venue refuses, leaves unanswered, answers late or twice, or says in words of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from ctrader_twisted.simulator.mischief import Mischief
from tests.bounded import bounded
from tests.integration.harness import SYNTHETIC, Running, until
from tests.integration.outages import Outage, everything_ticks
from tests.integration.ticks_client import connected, of_type


@dataclass(frozen=True)
class Trouble:
    """What goes wrong with requests while we come back from an outage.

    ``requests``: how many about symbols may be sent until all is restored.
    """

    name: str
    flip: Callable[[Mischief], object]
    words: str
    requests: int = 4

    def __str__(self) -> str:
        return self.name


def refused(request: str, code: str, **more: object) -> Callable[[Mischief], object]:
    """One refusal of one request."""
    return lambda m: m.error(request, code, **more)


SUBSCRIBE = "ProtoOASubscribeSpotsReq"
DETAILS = "ProtoOASymbolByIdReq"
SYMBOLS = "ProtoOASymbolsListReq"
ACCOUNT = "ProtoOAAccountAuthReq"
APPLICATION = "ProtoOAApplicationAuthReq"

TROUBLES = [
    Trouble("application unanswered", lambda m: m.swallow(APPLICATION), "was not answered in 0.8"),
    Trouble("account unanswered", lambda m: m.swallow(ACCOUNT), "was not answered in 0.8 s"),
    Trouble("symbols unanswered", lambda m: m.swallow(SYMBOLS), "was not answered in 0.8 s"),
    Trouble("subscribe unanswered", lambda m: m.swallow(SUBSCRIBE), "was not answered", 5),
    Trouble("details unanswered", lambda m: m.swallow(DETAILS), "was not answered", 5),
    Trouble("application refused", lambda m: m.auth_refused(), "CH_CLIENT_AUTH_FAILURE"),
    Trouble(
        "account refused, for now",
        lambda m: m.auth_refused("account", "CH_SERVER_NOT_REACHABLE"),
        "CH_SERVER_NOT_REACHABLE",
    ),
    Trouble("symbols refused", refused(SYMBOLS, "UNKNOWN_ERROR"), "UNKNOWN_ERROR", 5),
    Trouble("account thrown out", refused(SUBSCRIBE, "ACCOUNT_NOT_AUTHORIZED"), "NOT_AUTH", 9),
    Trouble("blocked", refused(SUBSCRIBE, "BLOCKED_PAYLOAD_TYPE", retry_after_s=1), "BLOCKED", 5),
    Trouble("proxy error", refused(SUBSCRIBE, "TIMEOUT_ERROR", proxy=True), "TIMEOUT_ERROR", 5),
    Trouble("refused and closed", refused(SUBSCRIBE, "UNKNOWN_ERROR", close=True), "closed", 8),
    Trouble("no such code", refused(DETAILS, "SOMETHING_NEW"), "SOMETHING_NEW", 6),
    Trouble(
        "careless symbol list",
        lambda m: m.missing_field(request=SYMBOLS),
        "ProtoOASymbolsListRes arrived without required fields",
        5,
    ),
]


@pytest.mark.parametrize("trouble", TROUBLES, ids=str)
@bounded(30)
async def test_trouble_on_the_way_back(trouble: Trouble) -> None:
    """The connection is cut, and then a request goes wrong: all is restored all the same."""
    async with Running() as running:
        client = await everything_ticks(running)
        outage = Outage(running, client)
        trouble.flip(running.venue.mischief)
        running.venue.mischief.drop()
        await outage.noticed()
        await outage.over(requests=trouble.requests)
        assert [line for line in outage.logged() if trouble.words in line]


@bounded(30)
async def test_everything_is_slow() -> None:
    """A venue that takes its time for every answer is waited for."""
    async with Running({"request-timeout-s": "5", "connect-timeout-s": "5"}) as running:
        client = await everything_ticks(running)
        outage = Outage(running, client)
        running.venue.mischief.slow(0.2)
        running.venue.mischief.drop()
        await outage.noticed()
        await outage.over()
        assert len(outage.logged()) == 1, "only the loss itself"


@bounded(30)
async def test_a_list_that_was_refused_is_asked_for_in_parts() -> None:
    """A refusal that may concern one symbol of a list silences none of the others."""
    async with Running() as running:
        await running.until_ready()
        running.venue.mischief.error(SUBSCRIBE, "SYMBOL_NOT_FOUND")
        running.venue.mischief.error(SUBSCRIBE, "SYMBOL_NOT_FOUND")
        client = await running.client(*SYNTHETIC[:20])
        wanted = set(SYNTHETIC[:20])
        await until(lambda: {tick["symbol"] for tick in client.ticks()} == wanted, "all tick")
        assert running.asked() == 1 + 5, "the whole, a half, two quarters of it, the other half"


@bounded(30)
async def test_what_a_person_must_heal_is_told_and_tried_slowly() -> None:
    """A void token: `error` with the venue's code, a wait of a minute, `/readyz` says why; a new
    connection with a good token ends it."""
    async with Running() as running:
        client = await everything_ticks(running)
        outage = Outage(running, client)
        running.venue.mischief.token_invalidated("revoked")
        error = await client.heard(of_type("status", status="error"), since=outage.since)
        assert error["code"] == "CH_ACCESS_TOKEN_INVALID"
        waiting = of_type("status", status="reconnecting", delayMs=60_000)
        await client.heard(waiting, "a wait of a minute", since=outage.since)
        status, body = await running.get("/readyz")
        assert (status, body["ready"]) == (503, False)
        assert "CH_ACCESS_TOKEN_INVALID" in body["reasons"][0]
        running.venue.mischief.clear()
        running.venue.mischief.drop()
        await outage.over()


@bounded(20)
async def test_what_is_unknown_is_tolerated_and_counted() -> None:
    """Unknown payload types and unknown fields change nothing, and are counted."""
    async with Running() as running:
        client = await everything_ticks(running)
        seen = len(client.messages)
        running.venue.mischief.unknown_type(9999)
        running.venue.mischief.unknown_type(60_000)
        await until(lambda: running.metrics.counted("unknown_messages") == 2, "counted")
        running.venue.mischief.missing_field()
        running.venue.mischief.newer_values()
        await until(lambda: running.metrics.counted("undecodable_frames") == 1, "counted")
        running.venue.mischief.unknown_fields()
        await client.next(of_type("tick"), "ticks with unknown fields")
        await client.ask("subscribe", "subscribeResponse", symbols=["EURUSD"])
        await client.heard(of_type("tick", symbol="EURUSD"), "a new symbol")
        assert running.metrics.counted("unknown_fields", "ProtoOASubscribeSpotsRes") == 1
        assert not client.statuses(seen)
        assert running.log.with_words("9999")


@bounded(20)
async def test_answers_that_come_twice_or_late() -> None:
    """A second answer, and one that nobody waits for any more, are let go."""
    async with Running() as running:
        client = await everything_ticks(running)
        seen = len(client.messages)
        running.venue.mischief.duplicate(SUBSCRIBE, copies=3)
        running.venue.mischief.late(DETAILS, seconds=1.0)
        await client.ask("subscribe", "subscribeResponse", symbols=["EURUSD"])
        await client.heard(of_type("tick", symbol="EURUSD"), "a new symbol", since=seen)
        unasked = [("unasked_answers", "ProtoOASubscribeSpotsRes")]
        await until(lambda: running.metrics.counted(*unasked[0]) == 2, "two were too many")
        late = "ProtoOASymbolByIdRes"
        await until(lambda: running.metrics.counted("unasked_answers", late) == 1, "one too late")
        assert not client.statuses(seen)


@bounded(30)
async def test_many_outages_leave_nothing_behind() -> None:
    """Ten cuts in a row, some in the middle of the way back: one connection, all restored."""
    async with Running() as running:
        client = await everything_ticks(running)
        outage = Outage(running, client)
        for number in range(10):
            seen = len(client.messages)
            running.venue.mischief.drop()
            wanted = connected if number % 2 else of_type("status", status="ctrader-connecting")
            await client.heard(wanted, f"cut {number}", since=seen)
        await outage.over(requests=4 * 10)
        assert len(running.venue.venue.connections) == 1
        assert running.venue.venue.feed.subscriptions == len(SYNTHETIC)
