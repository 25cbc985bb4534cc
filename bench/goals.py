"""The goals: ratios of the product to a baseline within one round, with a floor and a moonshot."""

from __future__ import annotations

from dataclasses import dataclass

from bench.servers import PRODUCT

# How far the paired ratios of one goal may lie apart, as a share of their median, before we say
# "too noisy" instead of a number. Percentiles of latency are rougher than sums of CPU time.
SPREAD_OF_SUMS = 0.6
SPREAD_OF_PERCENTILES = 1.2


@dataclass(frozen=True, slots=True)
class Goal:
    """``metric`` of the product in ``step``, divided by that of ``against`` (empty: not divided).

    ``more`` is better, or less. Without a floor nothing can be missed.
    """

    key: str
    what: str
    step: str
    metric: str
    against: str
    more: bool
    floor: float | None
    moonshot: float | None
    unit: str = ""
    spread: float = SPREAD_OF_SUMS
    case: str = PRODUCT

    @property
    def number(self) -> str:
        """`G1`, of `G1 sets`."""
        return self.key.split()[0]


PER_CPU = "messages_per_cpu_s"
PER_MESSAGE = "us_per_message"
ROUGH = SPREAD_OF_PERCENTILES

GOALS = (
    Goal("G1", "burst: messages per CPU-second ÷ Node ws", "burst", PER_CPU, "node-ws",
         True, 6, 11, "x"),
    Goal("G1 sets", "the same, every client's set different", "sets", PER_CPU, "node-ws",
         True, 3, 5, "x"),
    Goal("G2", "burst: p99 ÷ Node's", "burst", "p99_ms", "node-ws", False, 0.3, 0.12, "", ROUGH),
    Goal("G3", "burst: CPU per message ÷ bare loop, one send per client and burst", "burst",
         PER_MESSAGE, "bare-batch", False, 1.5, 1.2),
    Goal("G4", "even: messages per CPU-second ÷ Node ws", "even", PER_CPU, "node-ws",
         True, 1.2, 1.5, "x"),
    Goal("G5", "even: CPU per message ÷ bare Python send loop", "even", PER_MESSAGE, "bare",
         False, 1.2, 1.0),
    Goal("G6 Autobahn", "even, at 50 ticks/s: messages per CPU-second ÷ Autobahn sendMessage",
         "calm", PER_CPU, "autobahn", True, 2, 2.8, "x"),
    Goal("G6 FastAPI", "even, at 50 ticks/s: messages per CPU-second ÷ FastAPI send_text", "calm",
         PER_CPU, "fastapi", True, 1.3, 1.8, "x"),
    Goal("G6 Autobahn 200", "the same at 200 ticks/s, which is too much for Autobahn", "even",
         PER_CPU, "autobahn", True, None, None, "x"),
    Goal("G6 FastAPI 200", "the same at 200 ticks/s, which is too much for FastAPI", "even",
         PER_CPU, "fastapi", True, None, None, "x"),
    Goal("G7 rate", "5,000 clients: messages per second (1 M asked)", "many", "messages_per_s", "",
         True, 900_000, 990_000, "/s"),
    Goal("G7 p99", "5,000 clients: p99", "many", "p99_ms", "", False, 60, 30, " ms", ROUGH),
    Goal("G7 core", "5,000 clients: share of a core", "many", "server_core", "", False, None, 0.6),
    Goal("G8", "TLS and protobuf to client: messages per CPU-second ÷ official SDK", "path",
         PER_CPU, "sdk", True, 6, 12, "x"),
    Goal("G9", "decode: frames per CPU-second ÷ official SDK", "decode", "frames_per_cpu_s", "sdk",
         True, 6, 11, "x"),
    Goal("G10 memory", "stalled: RSS growth per stalled client", "stalled", "kb_per_stalled", "",
         False, 64, 2, " KB", float("inf")),
    Goal("G10 p99", "stalled: p99 of the others ÷ with nobody stalled", "stalled", "p99_ms",
         "nobody-stalled", False, 1.5, 1.0, "", ROUGH),
    Goal("G11", "idle: RSS per connection ÷ Node ws", "idle", "kb_per_client", "node-ws",
         False, 1.0, 0.63),
    Goal("G12", "storm: handshakes per second ÷ Node ws", "storm", "handshakes_per_s", "node-ws",
         True, 0.9, 1.3, "x"),
    Goal("G13 first", "authenticated to 200 symbols streaming", "restore", "first_ms", "",
         False, 1000, 50, " ms", ROUGH),
    Goal("G13 again", "the same after a reconnect", "restore", "again_ms", "",
         False, 1000, 50, " ms", ROUGH),
    Goal("G14", "saturation: messages per CPU-second ÷ uWebSockets (socketify)", "closed", PER_CPU,
         "socketify", True, 0.85, 1.1, "x"),
    Goal("G14 p99", "saturation: p99 ÷ uWebSockets'", "closed", "p99_ms", "socketify",
         False, 1.0, 0.8, "", ROUGH),
)  # fmt: skip

SMOKE_GOALS = ("G1", "G3", "G5", "G10 memory", "G10 p99")
