"""Prometheus: what `Metrics` counted, and what is read when somebody looks.

Few series, and none per client or symbol. The tables are all there is: a counter that is not in
them is still exported, as an event. `docs/operations.md` says what each is good for.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Protocol

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from ctrader_twisted.market.model import Phase
from ctrader_twisted.metrics import Histogram, Metrics

PREFIX = "ctrader_stream_"
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

# What `Metrics.count` was told -> name, label, meaning.
COUNTED: dict[str, tuple[str, str, str]] = {
    "connections_lost": ("connections_lost", "cause", "Connections to the venue that ended"),
    "messages_in": ("venue_messages_received", "type", "Messages of the venue"),
    "messages_out": ("venue_messages_sent", "type", "Messages to the venue"),
    "symbol_lists_rejected": (
        "symbol_lists_rejected",
        "",
        "Lists of symbols rejected because they had lost most of the symbols",
    ),
    "requests_refused": ("venue_refusals", "code", "Requests that the venue refused"),
    "unasked_answers": ("venue_unasked_answers", "type", "Answers that nobody waited for"),
    "unknown_fields": ("venue_unknown_fields", "type", "Messages with fields that we do not know"),
    "unknown_messages": ("venue_unknown_messages", "", "Messages of a type that we do not know"),
    "undecodable_frames": ("venue_undecodable_frames", "", "Frames that could not be read"),
    "client_messages": ("client_messages", "type", "Requests of WebSocket clients"),
    "client_request_errors": ("client_errors", "code", "Client requests that were refused"),
    "clients_refused": ("clients_refused", "code", "WebSocket clients that were not let in"),
    "clients_turned_away": ("clients_turned_away", "", "WebSocket clients without room"),
    "clients_silent": ("clients_silent", "", "Clients dropped since they answered no ping"),
    "clients_closed_slow": ("clients_closed_slow", "", "Clients closed for reading too slowly"),
    "connections_refused": (
        "connections_refused",
        "",
        "Connections refused because their address, or all together, had too many",
    ),
    "connections_displaced": (
        "connections_displaced",
        "limit",
        "Idle connections closed for new ones because a limit was reached",
    ),
    "subscriptions_refused": ("subscriptions_refused", "code", "Subscriptions beyond a limit"),
    "requests_refused_at_the_door": ("http_refused", "code", "HTTP requests refused at the door"),
}
# Counted by lane as well, in `requests`, and kept under these names for tests.
INSIDE = frozenset({"requests_answered", "requests_timed_out"})

# Attribute of `Metrics` -> name and meaning.
TOTALS = {
    "frames_in": ("venue_frames_received", "Frames of the venue"),
    "ticks_in": ("ticks_received", "Prices of the venue"),
    "ticks_offered": ("ticks_offered", "Ticks times the clients that wanted them"),
    "ticks_out": ("ticks_written", "Ticks handed to a socket"),
    "conflated": ("ticks_conflated", "Ticks that a newer one replaced for a slow client"),
    "ticks_dropped": ("ticks_dropped", "Ticks for clients that left, or that an outage overtook"),
    "frames_out": ("writes", "Writes of ticks to a socket"),
}

SPOT = "ProtoOASpotEvent"


class Waiting(Protocol):
    """A client's way out."""

    @property
    def waiting_bytes(self) -> int:
        """What waits for the socket."""

    @property
    def is_parked(self) -> bool:
        """Is its socket full?"""


@dataclass(frozen=True, slots=True)
class Gauges:
    """What is asked at each scrape."""

    phase: Callable[[], Phase]
    is_open: Callable[[], bool]
    attempts: Callable[[], int]
    subscriptions: Callable[[], int]
    restored_s: Callable[[], float | None]
    budgets_used: Callable[[], dict[str, float]]
    pending: Callable[[], int]
    outboxes: Callable[[], Iterable[Waiting]]
    unavailable: Callable[[], dict[str, int]] = dict
    log_lines_lost: Callable[[], int] = lambda: 0


class Scrape:
    """Everything in Prometheus's text."""

    def __init__(self, *, metrics: Metrics, gauges: Gauges, version: str) -> None:
        self._metrics = metrics
        self._gauges = gauges
        self._version = version
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """All series as they are now."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """One family after another (Prometheus calls this)."""
        yield from self._state()
        yield from self._queues()
        yield from self._freshness()
        for attribute, (name, meaning) in TOTALS.items():
            yield CounterMetricFamily(
                PREFIX + name, meaning, value=float(getattr(self._metrics, attribute))
            )
        yield CounterMetricFamily(
            PREFIX + "log_lines_lost",
            "Log lines dropped since their target took none",
            value=float(self._gauges.log_lines_lost()),
        )
        yield from self._counted()
        yield _histogram("fanout_seconds", "From a socket to all sockets", self._metrics.fanout_s)
        yield self._requests()
        requests = HistogramMetricFamily(
            PREFIX + "venue_request_seconds", "From a request to its answer", labels=["lane"]
        )
        for lane, histogram in self._metrics.request_s.items():
            requests.add_metric([lane], histogram.cumulative(), histogram.sum)
        yield requests

    def _state(self) -> Iterator[Metric]:
        gauges = self._gauges
        info = GaugeMetricFamily(
            PREFIX + "build_info", "What runs here", labels=["version", "python"]
        )
        info.add_metric([self._version, platform.python_version()], 1)
        yield info
        now = gauges.phase()
        state = GaugeMetricFamily(
            PREFIX + "session_state", "1 for the state that the session is in", labels=["state"]
        )
        for phase in Phase:
            state.add_metric([phase.value], float(phase is now))
        yield state
        yield _gauge("connection_open", "Is there a connection", float(gauges.is_open()))
        yield _gauge("reconnect_attempts", "Attempts since it was stable", gauges.attempts())
        yield _gauge("subscriptions", "Symbols that the venue confirmed", gauges.subscriptions())
        unavailable = GaugeMetricFamily(
            PREFIX + "symbols_unavailable",
            "Symbols that clients want and that are unavailable, by code",
            labels=["code"],
        )
        # A series that exists from the beginning can be watched for its first change.
        usual = dict.fromkeys(("SYMBOL_DISABLED", "SYMBOL_NOT_FOUND", "SYMBOL_NOT_LISTED"), 0)
        for code, number in {**usual, **gauges.unavailable()}.items():
            unavailable.add_metric([code], number)
        yield unavailable
        restored = gauges.restored_s()
        if restored is not None:
            yield _gauge("restore_seconds", "From ready to all symbols confirmed", restored)

    def _queues(self) -> Iterator[Metric]:
        gauges = self._gauges
        depths = [(outbox.waiting_bytes, outbox.is_parked) for outbox in gauges.outboxes()]
        sizes = [size for size, _ in depths]
        yield _gauge("clients", "WebSocket clients", self._metrics.clients)
        yield _gauge("clients_parked", "Clients whose socket is full", sum(p for _, p in depths))
        yield _gauge("outbox_bytes", "Bytes that wait for all clients", sum(sizes))
        yield _gauge("outbox_bytes_max", "Bytes that wait for one client", max(sizes, default=0))
        yield _gauge("venue_requests_pending", "Queued or unanswered requests", gauges.pending())
        used = GaugeMetricFamily(
            PREFIX + "venue_budget_used_ratio", "Used up of a rate budget", labels=["budget"]
        )
        for budget, ratio in gauges.budgets_used().items():
            used.add_metric([budget], ratio)
        yield used

    def _freshness(self) -> Iterator[Metric]:
        symbols = GaugeMetricFamily(
            PREFIX + "symbols",
            "Symbols that should tick, by how fresh they are",
            labels=["source", "freshness"],
        )
        newest = GaugeMetricFamily(
            PREFIX + "newest_tick_age_seconds", "How old the newest tick is", labels=["source"]
        )
        numbers: Counter[tuple[str, str]] = Counter()
        ages: dict[str, float] = {}
        for ask in self._metrics.freshness:
            told = ask()
            # Several accounts may have the same source.
            numbers.update({(told.source, state): many for state, many in told.symbols.items()})
            if told.newest_tick_s is not None:
                ages[told.source] = min(told.newest_tick_s, ages.get(told.source, inf))
        for labels, number in numbers.items():
            symbols.add_metric(labels, number)
        for source, age_s in ages.items():
            newest.add_metric([source], age_s)
        yield from (symbols, newest)

    def _counted(self) -> Iterator[Metric]:
        families = {
            name: CounterMetricFamily(PREFIX + metric, meaning, labels=[label] if label else [])
            for name, (metric, label, meaning) in COUNTED.items()
        }
        events = CounterMetricFamily(PREFIX + "events", "Other events", labels=["event", "label"])
        others = self._metrics.frames_in
        for (name, label), number in sorted(self._metrics.all().items()):
            if name in families:
                families[name].add_metric([label] if COUNTED[name][1] else [], number)
            elif name not in INSIDE and name != "requests":
                events.add_metric([name, label], number)
            if name in {"messages_in", "undecodable_frames"}:
                others -= number
        # Prices are not counted by type, one by one: they are what is left.
        families["messages_in"].add_metric([SPOT], max(0, others))
        for name, family in families.items():
            if not COUNTED[name][1] and not family.samples:
                family.add_metric([], 0)
            yield family
        yield events

    def _requests(self) -> Metric:
        family = CounterMetricFamily(
            PREFIX + "venue_requests", "Requests that are over", labels=["lane", "outcome"]
        )
        for (name, label), number in sorted(self._metrics.all().items()):
            if name == "requests":
                lane, _, outcome = label.partition("/")
                family.add_metric([lane, outcome], number)
        return family


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, meaning, value=float(value))


def _histogram(name: str, meaning: str, histogram: Histogram) -> Metric:
    family = HistogramMetricFamily(PREFIX + name, meaning, labels=[])
    family.add_metric([], histogram.cumulative(), histogram.sum)
    return family
