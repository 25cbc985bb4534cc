"""One measurement: a venue, a server, a generator, each a fresh process; and a row of numbers."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.children import Broken, Child, Children, cores
from bench.servers import Server, free_port, wait_until_open, wait_until_ready
from ctrader_twisted.simulator.certificates import make_identity

Row = dict[str, Any]

GENERATOR_LIMIT = 0.8
# How long the server may wait for its core, as a share of the time: more, and somebody else was
# at work on it.
WAITING_LIMIT = 0.1
_FAULTS = ("malformed", "reordered", "lost", "died")
_SUBSCRIBED_WITHIN_S = 20.0


@dataclass(frozen=True, slots=True)
class Load:
    """Ticks per second in bursts, to so many clients; ``each`` symbols of their own, or all.

    ``records``: each event is a TLS record of its own. ``window``: not a rate but a closed loop
    with so many ticks in flight. ``awake``: the clients wait in epoll and do not nap, so that
    latencies are exact and the server pays for waking them.
    """

    rate: float
    burst: int
    clients: int
    symbols: int = 50
    each: int = 0
    records: bool = False
    window: int = 0
    awake: bool = False

    @property
    def asked(self) -> float:
        """Messages per second, to all clients together; 0 when that is not fixed."""
        share = self.each / self.symbols if self.each else 1.0
        return 0.0 if self.window else self.rate * self.clients * share


@dataclass(frozen=True, slots=True)
class Crew:
    """The processes of one measurement."""

    venue: Child
    server: Child
    generator: Child


class Stage:
    """Where measurements are made."""

    def __init__(
        self, folder: Path, *, warm_s: float, time_s: float, waiting_limit: float = WAITING_LIMIT
    ) -> None:
        """``folder`` is for certificates and logs; each number is taken over ``time_s``.

        Above ``waiting_limit`` (share of the time that the server waits for its core) a row does
        not count.
        """
        self.folder = folder
        self._waiting_limit = waiting_limit
        self.warm_s = warm_s
        self.time_s = time_s
        self.server_core, self.load_core = cores()
        identity = make_identity()
        for name, pem in (
            ("ca.pem", identity.ca_pem),
            ("certificate.pem", identity.certificate_pem),
            ("key.pem", identity.key_pem),
        ):
            (folder / name).write_bytes(pem)

    # -- kinds of measurement

    def fanout(
        self,
        server: Server,
        load: Load,
        environ: Mapping[str, str],
        watch: Callable[[int], None] | None = None,
    ) -> Row:
        """Ticks to clients for a while. ``watch`` is told the server's pid when it begins."""
        with self._crew(server, load, environ) as crew:
            self._join(crew, load)
            self._wait_subscribed(crew.venue)
            self._go(crew, load)
            time.sleep(self.warm_s)
            if watch is not None:
                watch(crew.server.pid)
            return self._measured(crew, load, self.time_s)

    def stalled(
        self, server: Server, load: Load, environ: Mapping[str, str], *, share: float, time_s: float
    ) -> Row:
        """The same while a share of the clients reads nothing; then they wake, and are checked."""
        with self._crew(server, load, environ) as crew:
            self._join(crew, load)
            self._wait_subscribed(crew.venue)
            self._go(crew, load)
            time.sleep(self.warm_s)
            stalled = int(load.clients * share)
            crew.generator.ask(f"stall {stalled}")
            row = self._measured(crew, load, time_s, reading=load.clients - stalled)
            crew.generator.ask("wake")
            time.sleep(1.0)
            after = crew.generator.ask("mark", 30)
            row.update({name: after[name] for name in (*_FAULTS, "conflated")})
            grown_kb = row["rss_after_kb"] - row["rss_before_kb"]
            row["kb_per_stalled"] = max(0.0, grown_kb / stalled) if stalled else 0.0
            return self._checked(row)

    def storm(self, server: Server, load: Load, environ: Mapping[str, str], *, idle: bool) -> Row:
        """All clients come at once, 64 at a time; memory is looked at when they are in."""
        with self._crew(server, load, environ, idle=idle) as crew:
            joined = self._join(crew, load)
            time.sleep(0.5)
            now = crew.generator.ask("mark", 30)
            count = joined["joined"]
            kb = now["server_rss_kb"] - joined["server_rss_before_kb"]
            return self._checked(
                {
                    "handshakes_per_s": count / joined["took_s"],
                    "us_per_handshake": joined["server_cpu_s"] / count * 1e6,
                    "kb_per_client": kb / count,
                    "generator_core": joined["generator_core"],
                    **{name: now[name] for name in _FAULTS},
                }
            )

    # -- steps

    @contextmanager
    def _crew(
        self, server: Server, load: Load, environ: Mapping[str, str], *, idle: bool = False
    ) -> Iterator[Crew]:
        with Children(self.folder) as children:
            venue = children.start("venue", self._venue(server, load), **self._ours())
            ports = venue.hear()
            port = free_port()
            start = server.start(port, ports["port"], self.folder, environ)
            child = children.start(
                server.name, start.command, core=self.server_core, environ=start.environ
            )
            command = [
                *(sys.executable, "-m", "bench.generator", "--port", str(port)),
                *("--clients", str(load.clients), "--symbols", str(load.symbols)),
                *("--each", str(load.each), "--watch", str(child.pid)),
                *("--credit-port", str(ports["credit_port"])),
                *(["--idle"] if idle else []),
                *(["--awake"] if load.awake else []),
            ]
            generator = children.start("generator", command, **self._ours())
            wait = wait_until_open if server.raw or server.name == "sdk" else wait_until_ready
            wait(child, port)
            yield Crew(venue, child, generator)

    def _venue(self, server: Server, load: Load) -> list[str]:
        command = [sys.executable, "-m", "bench.venue", "--symbols", str(load.symbols)]
        if server.raw:
            return [*command, "--raw"]
        certificate, key = self.folder / "certificate.pem", self.folder / "key.pem"
        records = ["--records"] if load.records else []
        return [*command, *records, "--certificate", str(certificate), "--key", str(key)]

    def _ours(self) -> dict[str, Any]:
        root = str(Path(__file__).resolve().parents[1])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        return {
            "core": self.load_core,
            "environ": {**os.environ, "PYTHONPATH": path},
            "talks": True,
        }

    def _join(self, crew: Crew, load: Load) -> Row:
        joined = crew.generator.ask("join", 120)
        if joined["joined"] != load.clients:
            let_in = f"let in {joined['joined']} of {load.clients} clients"
            raise crew.server.broken(f"{let_in} ({joined['reason']})")
        return joined

    def _wait_subscribed(self, venue: Child) -> None:
        """Until the server is there, and asks for no more symbols."""
        ends = time.monotonic() + _SUBSCRIBED_WITHIN_S
        before = -1
        while time.monotonic() < ends:
            state = venue.ask("state")
            if state["peers"] and state["subscribed"] == before and (before > 0 or state["raw"]):
                return
            before = state["subscribed"]
            time.sleep(0.15)
        raise venue.broken("was not asked for prices")

    def _go(self, crew: Crew, load: Load) -> None:
        if load.window:
            crew.generator.ask("window")
            crew.venue.ask(f"window {load.window}")
        else:
            crew.venue.ask(f"go {load.rate} {load.burst}")

    def _measured(self, crew: Crew, load: Load, time_s: float, reading: int | None = None) -> Row:
        venue_before = crew.venue.ask("state")
        before = crew.generator.ask("mark", 30)
        time.sleep(time_s)
        after = crew.generator.ask("mark", 30)
        venue_after = crew.venue.ask("stop", 30)
        if not crew.server.is_alive():
            raise crew.server.broken("died under the load")
        span_s = after["at_s"] - before["at_s"]
        ticks = after["ticks"] - before["ticks"]
        cpu_s = after["server_cpu_s"] - before["server_cpu_s"]
        if not ticks:
            raise crew.server.broken("delivered nothing")
        asked = load.asked * (1.0 if reading is None else reading / load.clients)
        return self._checked(
            {
                "messages_per_s": ticks / span_s,
                "asked_per_s": asked,
                "us_per_message": cpu_s / ticks * 1e6,
                "messages_per_cpu_s": ticks / cpu_s,
                "server_core": cpu_s / span_s,
                "server_waited": (after["server_waited_s"] - before["server_waited_s"]) / span_s,
                "generator_core": (after["cpu_s"] - before["cpu_s"]) / span_s,
                "venue_core": (venue_after["cpu_s"] - venue_before["cpu_s"]) / span_s,
                "venue_late_ms": venue_after["late_ms"],
                "venue_skipped": venue_after["skipped"],
                "rss_before_kb": before["server_rss_kb"],
                "rss_after_kb": after["server_rss_kb"],
                **{name: after[name] for name in ("p50_ms", "p99_ms", "max_ms", "samples")},
                **{name: after[name] for name in (*_FAULTS, "conflated")},
            }
        )

    def _checked(self, row: Row) -> Row:
        """With the reason why the row does not count, if there is one."""
        faults = [f"{row[name]} {name}" for name in _FAULTS if row[name]]
        if faults:
            row["refused"] = "faults: " + ", ".join(faults)
        elif row["generator_core"] > GENERATOR_LIMIT:
            share = row["generator_core"]
            row["refused"] = f"the generator was the bottleneck ({share:.2f} of a core)"
        elif row.get("server_waited", 0.0) > self._waiting_limit:
            share = row["server_waited"]
            row["refused"] = f"somebody else used the server's core ({share:.2f} of the time)"
        return row


__all__ = ["Broken", "Load", "Row", "Stage"]
