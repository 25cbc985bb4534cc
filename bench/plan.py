"""What is measured: the steps of a round, who takes part in each, and under which load."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from bench.decode import DECODERS, FRAMERS, decode
from bench.restore import restore
from bench.servers import PRODUCT, SERVERS
from bench.stage import Load, Row, Stage

STALLED_SHARE = 0.1
# So that the daemon's bound on age does not end what is being measured.
PATIENT = {"CTRADER_STREAM_WEB_OUTBOX_AGE_S": "600"}
WINDOWS_MS = (0, 2, 5, 10, 20)


@dataclass(frozen=True, slots=True)
class Step:
    """One load with all who take part in it: names of cases, and how each is measured.

    ``most_rounds`` is for what no goal depends on.
    """

    name: str
    what: str
    cases: Mapping[str, Callable[[Stage], Row]] = field(repr=False)
    most_rounds: int = 1000


def _fanout(name: str, what: str, load: Load, *servers: str, most_rounds: int = 1000) -> Step:
    def case(server: str) -> Callable[[Stage], Row]:
        return lambda stage: stage.fanout(SERVERS[server], load, {})

    return Step(name, what, {server: case(server) for server in servers}, most_rounds)


def _storm(name: str, what: str, load: Load, *, idle: bool) -> Step:
    def case(server: str) -> Callable[[Stage], Row]:
        return lambda stage: stage.storm(SERVERS[server], load, {}, idle=idle)

    return Step(name, what, {server: case(server) for server in (PRODUCT, "node-ws", "autobahn")})


def _stalled(load: Load, time_s: float) -> Step:
    def case(share: float) -> Callable[[Stage], Row]:
        def measure(stage: Stage) -> Row:
            product = SERVERS[PRODUCT]
            return stage.stalled(product, load, PATIENT, share=share, time_s=time_s)

        return measure

    what = f"bursts, one client in ten reads nothing for {time_s:g} s"
    cases = {PRODUCT: case(STALLED_SHARE), "nobody-stalled": case(0.0)}
    return Step("stalled", what, cases)


def _windows(load: Load) -> Step:
    def case(window_ms: int) -> Callable[[Stage], Row]:
        environ = {"CTRADER_STREAM_WEB_WINDOW_MS": str(window_ms)} if window_ms else {}
        return lambda stage: stage.fanout(SERVERS[PRODUCT], load, environ)

    what = "coalescing window: 800 evenly spaced ticks/s to 200 clients"
    return Step("windows", what, {f"{ms} ms": case(ms) for ms in WINDOWS_MS}, 2)


def _latencies(rate: float) -> Step:
    load = Load(rate, 1, 100, awake=True)
    what = f"latency at {rate:g} evenly spaced ticks/s to 100 clients"
    return _fanout(f"latency{rate:g}", what, load, PRODUCT, most_rounds=2)


BURST = Load(200, 10, 500)
EVEN = Load(200, 1, 500)


def steps() -> list[Step]:
    """A round of `make bench`."""
    # Next to each other those that a goal compares most closely: the machine drifts within a round.
    everybody = (PRODUCT, "bare", "node-ws", "autobahn", "fastapi")
    big = Load(1000, 10, 1000, symbols=500, each=20)
    storm = Load(200, 10, 5000)
    sets = replace(BURST, each=20)
    return [
        _fanout(
            "burst",
            "200 ticks/s in bursts of 10 to 500 clients",
            BURST,
            PRODUCT,
            "node-ws",
            "bare-batch",
        ),
        _fanout("sets", "the same, each client its own 20 of 50 symbols", sets, PRODUCT, "node-ws"),
        _fanout("even", "200 ticks/s, evenly spaced, to 500 clients", EVEN, *everybody),
        _fanout(
            "calm",
            "50 ticks/s, evenly spaced, to 500 clients: nobody is behind",
            replace(EVEN, rate=50),
            PRODUCT,
            "autobahn",
            "fastapi",
        ),
        _fanout("many", "200 ticks/s in bursts of 10 to 5,000 clients", storm, PRODUCT),
        _fanout(
            "path",
            "whole path: TLS, protobuf, a record per event, bursts, 500 clients",
            replace(BURST, records=True),
            PRODUCT,
            "sdk",
        ),
        Step(
            "decode",
            "frames to JSON, in process, 16 KiB chunks",
            {name: partial(decode, name=name) for name in DECODERS},
        ),
        _stalled(BURST, 30.0),
        _storm("idle", "5,000 clients connect and ask for nothing", storm, idle=True),
        _storm("storm", "5,000 clients connect and subscribe, 64 at a time", storm, idle=False),
        Step("restore", "200 symbols wanted, simulator as venue", {PRODUCT: restore}),
        _fanout(
            "closed",
            "saturation: 16 ticks in flight, 500 clients",
            Load(0, 0, 500, window=16, awake=True),
            PRODUCT,
            "socketify",
        ),
        *map(_latencies, (50, 200, 1000)),
        _windows(Load(800, 1, 200)),
        _fanout(
            "big",
            "1,000 ticks/s in bursts of 10, 500 symbols, 1,000 clients with 20 each",
            big,
            PRODUCT,
            "node-ws",
            most_rounds=2,
        ),
        Step(
            "framers",
            "frames cut, in process: Int32StringReceiver and a tight one",
            {name: partial(decode, name=name) for name in FRAMERS},
            2,
        ),
    ]


def smoke() -> list[Step]:
    """A round for CI: small, short, and still the same things."""
    burst, even = replace(BURST, clients=100), replace(EVEN, clients=100)
    return [
        _fanout(
            "burst",
            "200 ticks/s in bursts of 10 to 100 clients",
            burst,
            PRODUCT,
            "node-ws",
            "bare-batch",
        ),
        _fanout("even", "200 ticks/s, evenly spaced, to 100 clients", even, PRODUCT, "bare"),
        _stalled(burst, 2.0),
    ]
