"""Prometheus's text: every counter is in it, and the books of the ticks balance."""

from __future__ import annotations

import ast
import re
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

import ctrader_twisted
from ctrader_twisted.market.model import Phase
from ctrader_twisted.metrics import Freshness, Histogram, Metrics
from ctrader_twisted.web.scrape import COUNTED, INSIDE, PREFIX, TOTALS, Gauges, Scrape
from tests.unit.stream_case import StreamCase

Series = dict[tuple[str, str], float]


def gauges(**more: Any) -> Gauges:
    """What a daemon at rest says."""
    known = {
        "phase": lambda: Phase.CONNECTED,
        "is_open": lambda: True,
        "attempts": lambda: 0,
        "subscriptions": lambda: 0,
        "restored_s": lambda: None,
        "budgets_used": dict,
        "pending": lambda: 0,
        "outboxes": list,
    }
    return Gauges(**{**known, **more})


def series(metrics: Metrics, asked: Gauges | None = None) -> Series:
    """(name without prefix, the values of the labels) -> value, as a scraper reads it."""
    text = Scrape(metrics=metrics, gauges=asked or gauges(), version="1").text().decode()
    return {
        (one.name.removeprefix(PREFIX), " ".join(one.labels.values())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


class ExportTest(SynchronousTestCase):
    """Everything that is counted can be seen."""

    def test_every_counter_of_the_code(self) -> None:
        """Whatever the code counts is named in the tables, and the tables name nothing else."""
        root = Path(ctrader_twisted.__file__).parent
        counted = set()
        for path in root.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                is_count = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
                if is_count and node.func.attr == "count" and node.args:
                    text = node.args[0]
                    is_metric = "metrics" in ast.unparse(node.func.value)
                    if is_metric and isinstance(text, ast.Constant):
                        counted.add(text.value)
        self.assertEqual(counted, set(COUNTED) | INSIDE)

    def test_every_family_has_a_row(self) -> None:
        """docs/operations.md lists what there is, with labels and meaning, and nothing else."""
        asked = gauges(restored_s=lambda: 1.0, budgets_used=lambda: {"ordinary": 0.0})
        there_is = [
            (
                family.name + ("_total" if family.type == "counter" else ""),
                [name for name in vars(family)["_labelnames"] if name != "le"],
                family.documentation,
            )
            for family in Scrape(metrics=Metrics(), gauges=asked, version="1").collect()
        ]
        page = Path(ctrader_twisted.__file__).parents[1] / "docs/operations.md"
        section = page.read_text("utf-8").partition("\n## Metrics\n")[2].partition("\n## ")[0]
        rows = re.findall(r"^\| `(\w+)` \| (.*?) ?\| (.+) \|$", section, re.MULTILINE)
        listed = [(name, re.findall(r"\w+", labels), meaning) for name, labels, meaning in rows]
        self.assertEqual(listed, there_is)

    def test_plain_numbers(self) -> None:
        """Every attribute of the metrics that is a number has a series."""
        numbers = {name for name, value in vars(Metrics()).items() if isinstance(value, int)}
        self.assertEqual(numbers - {"clients"}, set(TOTALS))

    def test_values(self) -> None:
        """Numbers arrive where they belong."""
        metrics = Metrics()
        metrics.frames_in, metrics.ticks_in, metrics.clients = 12, 7, 3
        for _ in range(2):
            metrics.count("messages_in", "ProtoHeartbeatEvent")
        metrics.count("undecodable_frames")
        metrics.count("requests_refused", 'A"\n\\B')
        metrics.count("something_new", "x")
        metrics.requested("read", "answered", 0.03)
        metrics.requested("read", "not_sent", None)
        asked = gauges(
            budgets_used=lambda: {"ordinary": 0.25},
            restored_s=lambda: 1.5,
            unavailable=lambda: {"MARKET_CLOSED": 2},
            log_lines_lost=lambda: 4711,
        )
        seen = series(metrics, asked)
        for key, value in {
            ("venue_messages_received_total", "ProtoHeartbeatEvent"): 2,
            ("venue_messages_received_total", "ProtoOASpotEvent"): 9,
            ("venue_undecodable_frames_total", ""): 1,
            ("clients_closed_slow_total", ""): 0,
            ("venue_refusals_total", 'A"\n\\B'): 1,
            ("events_total", "something_new x"): 1,
            ("venue_requests_total", "read answered"): 1,
            ("venue_requests_total", "read not_sent"): 1,
            ("venue_request_seconds_bucket", "read 0.05"): 1,
            ("venue_request_seconds_count", "read"): 1,
            ("venue_budget_used_ratio", "ordinary"): 0.25,
            ("restore_seconds", ""): 1.5,
            ("symbols_unavailable", "MARKET_CLOSED"): 2,
            ("symbols_unavailable", "SYMBOL_DISABLED"): 0,
            ("log_lines_lost_total", ""): 4711,
            ("session_state", "connected"): 1,
            ("session_state", "error"): 0,
            ("ticks_received_total", ""): 7,
            ("clients", ""): 3,
        }.items():
            self.assertEqual(seen.get(key), value, key)
        self.assertIn(("process_open_fds", ""), seen)

    def test_freshness(self) -> None:
        """By source: symbols by state, those of several accounts together, and the newest tick."""
        metrics = Metrics()
        for source, stale, age_s in (("demo", 2, 40.5), ("demo", 1, 7.0), ("other", 0, None)):
            symbols = {"fresh": 3, "stale": stale}
            metrics.freshness.append(partial(Freshness, source, symbols, age_s))
        seen = series(metrics)
        for key, value in {
            ("symbols", "fresh demo"): 6,
            ("symbols", "stale demo"): 3,
            ("symbols", "stale other"): 0,
            ("newest_tick_age_seconds", "demo"): 7,
        }.items():
            self.assertEqual(seen.get(key), value, key)
        self.assertNotIn(("newest_tick_age_seconds", "other"), seen)

    def test_few_series(self) -> None:
        """At rest there are not many, and a thousand clients add none."""
        few = len(series(Metrics()))
        metrics = Metrics()
        metrics.clients = 1000
        self.assertEqual(len(series(metrics)), few)
        self.assertLess(few, 100)

    @given(st.lists(st.floats(0, 100), max_size=30))
    def test_histogram(self, values: list[float]) -> None:
        """Each bucket holds what is at most its bound; the last holds all."""
        histogram = Histogram((0.5, 2.0, 10.0))
        for value in values:
            histogram.observe(value)
        for bound, count in histogram.cumulative():
            self.assertEqual(count, sum(value <= float(bound) for value in values))
        self.assertAlmostEqual(histogram.sum, sum(values))


class BooksTest(StreamCase):
    """Ticks in times listeners is written plus replaced plus dropped."""

    def owed(self) -> int:
        """What parked clients have missed, and will hear of or not."""
        return sum(
            client.protocol.outbox._missed
            + client.protocol.outbox._group.offered
            - client.protocol.outbox._in_step
            for client in self.clients
            if client.protocol.outbox._group is not None
            and client.protocol.outbox not in client.protocol.outbox._group.ready
        )

    def assert_balanced(self) -> None:
        """The books, with what is still on its way."""
        m = self.metrics
        total = m.ticks_out + m.conflated + m.ticks_dropped + self.owed()
        self.assertEqual(m.ticks_offered, total)

    def test_listeners(self) -> None:
        """Three listeners, five ticks: fifteen offered and written."""
        self.ready()
        for _ in range(3):
            self.client().subscribe("EURUSD")
        before = self.metrics.ticks_in
        for number in range(5):
            self.spot(1, 100_000 + number, 100_010)
            self.turn()
        self.assertEqual(self.metrics.ticks_in - before, 5)
        self.assertEqual((self.metrics.ticks_offered, self.metrics.ticks_out), (15, 15))
        self.assert_balanced()
        self.assertEqual(sum(self.metrics.fanout_s.counts), 5)

    steps = st.lists(
        st.tuples(
            st.sampled_from(
                ["tick", "tick", "tick", "block", "free", "want", "unwant", "leave", "outage"]
            ),
            st.integers(0, 3),
            st.integers(1, 3),
        ),
        max_size=60,
    )

    @settings(max_examples=40, deadline=None)
    @given(steps)
    def test_whatever_happens(self, steps: list[tuple[str, int, int]]) -> None:
        """Sockets that fill and drain, wants that change, clients that go, outages: they balance,
        and when everybody is gone nothing is left over.
        """
        self.clients.clear()
        self.build()
        self.ready()
        price = 100_000
        for _ in range(4):
            self.client().subscribe("EURUSD", "GBPUSD")
        for what, who, symbol in steps:
            client = self.clients[who]
            price += 1
            if what == "tick":
                self.spot(symbol, price, price + 10)
            elif what == "block":
                client.wire.kernel.room = 50
            elif what == "free":
                client.wire.kernel.room = None
            elif what == "leave":
                client.wire.lose()
            elif what == "outage":
                self.lose_venue()
                self.ready()
            elif not client.wire.disconnected:
                kind = "subscribe" if what == "want" else "unsubscribe"
                names = {1: "EURUSD", 2: "GBPUSD", 3: "XAUUSD"}
                client.murmur({"type": kind, "symbols": [names[symbol]]})
            self.turn()
            self.assert_balanced()
        for client in self.clients:
            client.wire.lose()
        self.turn()
        m = self.metrics
        self.assertEqual(m.ticks_offered, m.ticks_out + m.conflated + m.ticks_dropped)
        self.account.stop()
        self.clock.advance(10)
