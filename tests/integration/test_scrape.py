"""A scrape after load: what came in, times who listened, is what went out."""

from __future__ import annotations

import treq
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet import reactor
from twisted.web.client import HTTPConnectionPool

from tests.bounded import bounded
from tests.integration.harness import Running, until

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
