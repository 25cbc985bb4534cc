"""A scrape after load: what came in, times who listened, is what went out."""

from __future__ import annotations

import treq
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet import reactor
from twisted.web.client import HTTPConnectionPool

from tests.bounded import bounded
from tests.integration.harness import Running, until
from tests.integration.test_hazards import small_window
from tests.integration.ticks_client import TicksClient

LISTENERS = 20
SYMBOLS = ("EURUSD", "GBPUSD", "USDJPY")


async def scrape(port: int) -> dict[str, float]:
    """Every series by its name and labels, without our prefix."""
    pool = HTTPConnectionPool(reactor, persistent=False)
    response = await treq.get(f"http://127.0.0.1:{port}/metrics", pool=pool, timeout=5)
    assert response.code == 200
    assert response.headers.getRawHeaders("content-type") == [
        "text/plain; version=0.0.4; charset=utf-8"
    ]
    return {
        one.name.removeprefix("ctrader_stream_") + "".join(f" {v}" for v in one.labels.values()): (
            one.value
        )
        for family in text_string_to_metric_families(await response.text())
        for one in family.samples
    }


@bounded(40)
async def test_the_numbers_add_up() -> None:
    """Ticks in times listeners = written + conflated + dropped, and the clients heard just that."""
    async with Running({"symbols": "0", "rate": "2000"}) as running:
        await running.until_ready()
        clients = [await running.client(*SYMBOLS) for _ in range(LISTENERS)]
        before = await scrape(running.port)
        assert before["clients"] == LISTENERS
        assert before["subscriptions"] == len(SYMBOLS)
        assert before["session_state connected"] == 1
        await until(lambda: len(clients[0].ticks()) > 300, "some hundred ticks")
        for client in clients:
            await client.ask("unsubscribe", "unsubscribeResponse", symbols=list(SYMBOLS))
        after = await scrape(running.port)
        offered = after["ticks_offered_total"]
        ends = ("ticks_written_total", "ticks_conflated_total", "ticks_dropped_total")
        assert offered == sum(after[end] for end in ends)
        assert offered > 300 * LISTENERS / 2
        heard = sum(not tick.get("snapshot") for client in clients for tick in client.ticks())
        assert heard == after["ticks_written_total"]
        assert after["outbox_bytes"] == 0
        assert after["fanout_seconds_count"] > 0
        assert after["venue_requests_total subscribe answered"] >= 1
        assert after["venue_messages_received_total ProtoOASpotEvent"] >= 300


def heard(*clients: TicksClient) -> int:
    """Ticks that came as such; a snapshot, which answers a subscription, is none."""
    return sum(not tick.get("snapshot") for client in clients for tick in client.ticks())


def last(client: TicksClient) -> dict[str, int]:
    """The number of the last tick of each symbol."""
    return {tick["symbol"]: tick["seq"] for tick in client.ticks()}


def whole(client: TicksClient) -> bool:
    """No tick of a symbol is missing between its first and its last."""
    numbers: dict[str, list[int]] = {}
    for tick in client.ticks():
        numbers.setdefault(tick["symbol"], []).append(tick["seq"])
    return all(one == list(range(one[0], one[-1] + 1)) for one in numbers.values())


ENDS = ("ticks_written_total", "ticks_conflated_total", "ticks_dropped_total")


@bounded(60)
async def test_the_numbers_add_up_in_trouble() -> None:
    """One client stalls and comes back, one unsubscribes in the middle, one is cut off with ticks
    on their way: every tick that was wanted is written, conflated or dropped, and none twice.
    """
    async with Running({"symbols": "0", "rate": "2000", "outbox-age-s": "60"}) as running:
        await running.until_ready()
        steady = [await running.client(*SYMBOLS) for _ in range(4)]
        fickle = await running.client(*SYMBOLS)
        stalled, doomed = await running.client(), await running.client()
        for client in (stalled, doomed):
            small_window(client)
            await client.ask("subscribe", "subscribeResponse", symbols=list(SYMBOLS))
            client.transport.pauseProducing()
        await until(lambda: running.metrics.conflated == 0 and len(steady[0].ticks()) > 300, "load")
        await fickle.ask("unsubscribe", "unsubscribeResponse", symbols=["EURUSD", "USDJPY"])
        await until(
            lambda: sum(outbox.is_parked for outbox in running.daemon.audience.outboxes()) == 2,
            "two clients whose sockets are full",
            20,
        )
        more = running.metrics.ticks_in + 300
        await until(lambda: running.metrics.ticks_in > more, "ticks that they miss")
        during = await scrape(running.port)
        assert during["clients_parked"] == 2
        # Parked clients have ticks coming that nobody has counted among the ends yet.
        assert during["ticks_offered_total"] > sum(during[end] for end in ENDS)
        stalled.transport.resumeProducing()
        await until(
            lambda: sum(outbox.is_parked for outbox in running.daemon.audience.outboxes()) == 1,
            "one of them is back",
        )
        doomed.transport.abortConnection()
        await until(lambda: running.metrics.clients == 6, "the other one is gone")
        running.venue.mischief.quiet()
        await until(lambda: all(last(c) == last(steady[0]) for c in steady), "all have all")
        assert all(whole(client) for client in steady)
        alive = [*steady, fickle, stalled]
        for client in alive:
            await client.ask("unsubscribe", "unsubscribeResponse", symbols=list(SYMBOLS))
        after = await scrape(running.port)
        assert after["clients_parked"] == 0
        assert after["ticks_offered_total"] == sum(after[end] for end in ENDS)
        assert after["ticks_conflated_total"] > 0
        assert after["ticks_dropped_total"] > 0
        # What was written has been heard, except by the one who was cut off, who had something.
        assert heard(*alive) < after["ticks_written_total"] < heard(*alive) + heard(steady[0])
        assert heard(stalled) < heard(steady[0])
        assert after["ticks_offered_total"] > 7 * heard(stalled)
