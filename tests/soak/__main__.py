"""`python -m tests.soak MINUTES [SEED]`: the whole daemon through random faults.

Real TLS, real WebSockets, one process. The daemon's patience is shortened a hundredfold, so that a
minute here holds the faults of hours. Each round something goes wrong at the venue while clients
come, go and change their minds; then all must be well again within a bound. Checked all the while:
every tick of every client in order and without a gap, legal statuses, nobody shown out. At the end:
counts at zero; memory, descriptors and timers as they were.
"""

from __future__ import annotations

import gc
import os
import random
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

from ctrader_twisted.simulator.mischief import Mischief
from tests.faults.table import memory_kib
from tests.integration.harness import SYNTHETIC, Running, until
from tests.soak.client import SoakClient, join

SUBSCRIBE = "ProtoOASubscribeSpotsReq"
ACCOUNT = "ProtoOAAccountAuthReq"
APPLICATION = "ProtoOAApplicationAuthReq"
LIST = "ProtoOASymbolsListReq"
CODES = ("UNKNOWN_ERROR", "TIMEOUT_ERROR", "CH_SERVER_NOT_REACHABLE", "CANT_ROUTE_REQUEST")

#: Everything that heals by itself within seconds here. What waits for a person is a minute each.
FAULTS: dict[str, Callable[[Mischief, random.Random], Any]] = {
    "drop": lambda m, r: m.drop(),
    "refuse": lambda m, r: (m.refuse(), m.drop()),
    "port closed": lambda m, r: (m.refuse("port"), m.drop()),
    "mute": lambda m, r: m.mute(lasting=r.random() < 0.5),
    "stall": lambda m, r: m.stall(lasting=r.random() < 0.5),
    "half frame": lambda m, r: m.half_frame(r.choice(["silence", "close"])),
    "garbage": lambda m, r: m.garbage(r.randint(1, 4096)),
    "oversize": lambda m, r: m.oversize(),
    "unknown type": lambda m, r: m.unknown_type(),
    "unknown fields": lambda m, r: m.unknown_fields(),
    "missing field": lambda m, r: m.missing_field(),
    "swallow": lambda m, r: m.swallow(
        r.choice([SUBSCRIBE, ACCOUNT, APPLICATION, LIST]), r.random() < 0.5
    ),
    "late": lambda m, r: m.late(r.choice([SUBSCRIBE, ACCOUNT, LIST]), r.uniform(0.1, 1.2)),
    "duplicate": lambda m, r: m.duplicate(r.choice([SUBSCRIBE, ACCOUNT]), 3),
    "error": lambda m, r: m.error(r.choice([SUBSCRIBE, ACCOUNT, LIST]), r.choice(CODES)),
    "blocked": lambda m, r: m.error(SUBSCRIBE, "BLOCKED_PAYLOAD_TYPE", retry_after_s=1),
    "slow": lambda m, r: m.slow(0.05),
    "client disconnect": lambda m, r: m.client_disconnect(),
    "account disconnect": lambda m, r: m.account_disconnect(stale=r.random() < 0.5),
    "token": lambda m, r: m.token_invalidated(r.choice(["session-ends", "session-survives"])),
    "symbol changed": lambda m, r: m.symbol_changed(("SYM001",)),
    "trader updated": lambda m, r: m.trader_updated(),
    "maintenance": lambda m, r: (m.maintenance(1), m.drop()),
    "quiet": lambda m, r: m.quiet(),
}


@dataclass
class Report:
    """What the run saw."""

    rounds: int = 0
    ticks: int = 0
    joined: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    slowest: str = ""
    samples: list[tuple[int, int, int]] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For people."""
        first, last = self.samples[0], self.samples[-1]
        return [
            f"{self.rounds} rounds, {sum(self.faults.values())} faults of {len(self.faults)} "
            f"kinds, {self.joined} clients, {self.ticks} ticks checked",
            f"slowest way back {self.slowest_s:.1f} s, after {self.slowest}",
            f"memory {first[0] / 1024:.1f} -> {last[0] / 1024:.1f} MiB, descriptors {first[1]} -> "
            f"{last[1]}, timers {first[2]} -> {last[2]}",
        ]


class Soak:
    """One run."""

    def __init__(self, running: Running, rng: random.Random) -> None:
        self._running = running
        self._rng = rng
        self._clients: list[SoakClient] = []
        self.report = Report()

    async def round(self) -> None:
        """Something breaks, clients live on, and all is well again."""
        rng, mischief = self._rng, self._running.venue.mischief
        names = rng.sample(sorted(FAULTS), rng.choice([1, 1, 1, 2, 3]))
        for name in names:
            self.report.faults[name] += 1
            FAULTS[name](mischief, rng)
            await self._live()
            await pause(rng.uniform(0.0, 0.6))
        mischief.clear()
        began = reactor.seconds()
        try:
            await until(self._all_well, f"well again after {names}", 25)
        except TimeoutError as error:
            state = [(c.word, sorted(c.wants - c.fresh)[:5], c.broken) for c in self._clients]
            raise AssertionError(f"{error}: {state}") from error
        took_s = reactor.seconds() - began
        if took_s > self.report.slowest_s:
            self.report.slowest_s, self.report.slowest = took_s, " + ".join(names)
        self._check()
        self.report.rounds += 1

    async def populate(self, number: int) -> None:
        """So many clients, with wants of their own."""
        while len(self._clients) < number:
            client = await join(self._running.port)
            self.report.joined += 1
            client.say("subscribe", symbols=self._some())
            self._clients.append(client)

    async def settle(self) -> None:
        """Five clients with the same wants as ever: what is measured then can be compared."""
        await self._send_away(len(self._clients))
        await self.populate(5)
        for client in self._clients:
            client.say("subscribe", symbols=SYNTHETIC[:50])
        await until(self._all_well, "the pause for measuring", 25)
        gc.collect()
        descriptors = len(os.listdir("/proc/self/fd"))
        self.report.samples.append((memory_kib(), descriptors, len(reactor.getDelayedCalls())))

    async def empty(self) -> None:
        """Everybody leaves, and nothing is left of them."""
        await self._send_away(len(self._clients))
        running = self._running
        await until(lambda: running.metrics.clients == 0, "no clients")
        account = running.daemon.account
        await until(lambda: account.confirmed() == 0, "no subscriptions", 12)
        await until(lambda: running.venue.venue.feed.subscriptions == 0, "none at the venue")
        if len(running.venue.venue.connections) != 1:
            raise AssertionError(f"{len(running.venue.venue.connections)} connections")

    def check_flat(self) -> None:
        """Memory, descriptors and timers are at the end what they were at the beginning."""
        samples = self.report.samples
        (first_kib, first_fds, first_timers), (kib, fds, timers) = samples[1], samples[-1]
        problems = []
        if kib > first_kib + 8 * 1024 + first_kib // 10:
            problems.append(f"memory grew from {first_kib} to {kib} KiB")
        if fds > first_fds + 2:
            problems.append(f"descriptors grew from {first_fds} to {fds}")
        if timers > first_timers + 8:
            problems.append(f"timers grew from {first_timers} to {timers}")
        if problems:
            raise AssertionError("; ".join(problems))

    # -- inside

    async def _live(self) -> None:
        """Clients come, go and change their minds."""
        rng = self._rng
        for client in self._clients:
            if rng.random() < 0.3:
                client.say(rng.choice(["subscribe", "unsubscribe"]), symbols=self._some())
        if rng.random() < 0.3:
            await self._send_away(1)
        await self.populate(rng.randint(3, 8))

    async def _send_away(self, number: int) -> None:
        for _ in range(min(number, len(self._clients))):
            client = self._clients.pop(self._rng.randrange(len(self._clients)))
            await client.leave(politely=self._rng.random() < 0.5)
            self._look_at(client)

    def _some(self) -> list[str]:
        return self._rng.sample(SYNTHETIC, self._rng.randint(1, 40))

    def _all_well(self) -> bool:
        return all(client.is_well() for client in self._clients)

    def _check(self) -> None:
        for client in self._clients:
            self._look_at(client)

    def _look_at(self, client: SoakClient) -> None:
        self.report.ticks += client.ticks
        client.ticks = 0
        if client.broken:
            raise AssertionError("; ".join(client.broken[:5]))


async def pause(seconds: float) -> None:
    """Let the fault do its work. Nothing else here waits for time; here time is the fault."""
    await deferLater(reactor, seconds)


async def main(minutes: float, seed: int) -> Report:
    """Run until the time is over; AssertionError with the seed when something is not so."""
    rng = random.Random(seed)
    options = {"rate": "2000", "stale-after-s": "2", "stale-check-s": "0.5"}
    async with Running(options) as running:
        await running.until_ready()
        soak = Soak(running, rng)
        ends = reactor.seconds() + minutes * 60
        try:
            await soak.settle()
            while reactor.seconds() < ends:
                for _ in range(8):
                    await soak.round()
                await soak.settle()
            await soak.empty()
            soak.check_flat()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, round {soak.report.rounds}: {error}") from error
        return soak.report


def run(clock: Any, minutes: str = "1", seed: str = "") -> Deferred[None]:
    """From the command line."""
    number = int(seed) if seed else random.SystemRandom().randrange(10**6)
    sys.stdout.write(f"soak for {minutes} min, seed {number}\n")
    sys.stdout.flush()

    def tell(report: Report) -> None:
        sys.stdout.write("\n".join([*report.lines(), "soak passed", ""]))

    return Deferred.fromCoroutine(main(float(minutes), number)).addCallback(tell)


if __name__ == "__main__":
    react(run, sys.argv[1:])
