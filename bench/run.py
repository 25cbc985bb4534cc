"""`make bench`: rounds of all steps, each case in fresh processes, and then the verdicts.

    python -m bench [--rounds 5] [--only G1,G3] [--smoke] [--time 5]

Product and baselines take turns within a round, in the opposite order in every other one, and only
ratios of one round are compared. Results go to bench/results/. The exit status is 1 when a floor is
missed, the product failed, or a frame of it was malformed, reordered or lost; 2 when a full run
could not judge everything (noise, the generator at its limit); a skipped baseline changes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench import proc, report
from bench.children import Broken, cores
from bench.goals import GOALS, SMOKE_GOALS, Goal
from bench.installs import Missing
from bench.judge import MISSED, OPEN, Verdict, faults, judge
from bench.plan import Step, smoke, steps
from bench.servers import PRODUCT
from bench.stage import WAITING_LIMIT, Row, Stage

RESULTS = Path(__file__).resolve().parent / "results"
ROUNDS, SMOKE_ROUNDS = 5, 2
EXTRAS = "extras"
EASE_OF_SMOKE = 2.0
ANY_WAITING = 1.0


class Run:
    """All rounds of one call."""

    def __init__(self, stage: Stage, steps: Sequence[Step], rounds: int) -> None:
        self._stage = stage
        self._steps = steps
        self._rounds = rounds
        self.rows: list[Row] = []
        self.skipped: dict[str, str] = {}

    def go(self) -> None:
        """Measure everything."""
        for number in range(1, self._rounds + 1):
            for step in self._steps:
                if number <= step.most_rounds:
                    self._step(step, number)

    def _step(self, step: Step, number: int) -> None:
        cases = list(step.cases.items())
        for name, measure in cases if number % 2 else reversed(cases):
            if name in self.skipped:
                continue
            row: Row = {"round": number, "step": step.name, "case": name}
            began_s = time.monotonic()
            try:
                row.update(measure(self._stage))
            except Missing as error:
                self.skipped[name] = str(error)
                tell(f"skipped: {name}: {error}")
                continue
            except Broken as error:
                row["refused"] = f"failed: {error}"
            self.rows.append(row)
            tell(f"{number}/{self._rounds} {report.line(row)} [{time.monotonic() - began_s:.0f} s]")


def tell(sentence: str) -> None:
    """To whoever watches."""
    print(sentence, file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    """Where the numbers come from."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    server_core, load_core = cores()
    return {
        "model": model,
        "cores": os.cpu_count(),
        "server_core": server_core,
        "load_core": load_core,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "twisted": version("twisted"),
        "autobahn": version("autobahn"),
        "protobuf": version("protobuf"),
        "load_average": os.getloadavg()[0],
    }


def chosen(only: str, *, is_smoke: bool) -> tuple[list[Goal], list[Step]]:
    """The goals to judge, and the steps that they need; steps without a goal are extras."""
    words = {word.strip() for word in only.split(",") if word.strip()}
    plan = smoke() if is_smoke else steps()
    goals = [goal for goal in GOALS if not words or goal.number in words]
    if is_smoke:
        goals = [goal for goal in goals if goal.key in SMOKE_GOALS]
    unknown = words - {goal.number for goal in GOALS} - {EXTRAS} - {step.name for step in plan}
    if unknown:
        known = ", ".join([*dict.fromkeys(g.number for g in GOALS), EXTRAS])
        raise SystemExit(f"bench: there is no {', '.join(sorted(unknown))}; there are {known}")
    needed = {goal.step for goal in goals}
    with_goal = {goal.step for goal in GOALS}
    extras = not words or EXTRAS in words
    taken = [
        step
        for step in plan
        if step.name in needed | words or (extras and step.name not in with_goal)
    ]
    return goals, taken


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="the goals, measured")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--only", default="", help="goals or steps, with commas; or extras")
    parser.add_argument("--smoke", action="store_true", help="half a minute, for CI")
    parser.add_argument("--busy", action="store_true", help="count rows of a disturbed server too")
    parser.add_argument("--time", type=float, default=0.0, help="seconds of each measurement")
    return parser.parse_args()


def main() -> None:
    """The whole of it."""
    if not sys.platform.startswith("linux"):
        raise SystemExit("bench: this needs Linux (epoll, schedstat, core affinity)")
    options = arguments()
    rounds = options.rounds or (SMOKE_ROUNDS if options.smoke else ROUNDS)
    ease = EASE_OF_SMOKE if options.smoke else 1.0
    goals, plan = chosen(options.only, is_smoke=options.smoke)
    proc.allow_many_files()
    if len(os.sched_getaffinity(0)) < 2:
        tell("bench: with one core, server and load disturb each other; trust no number")
    folder = Path(tempfile.mkdtemp(prefix="ctrader-bench-"))
    time_s = options.time or (1.0 if options.smoke else 5.0)
    # CI machines are never quiet; the halved floors of a smoke run allow for it.
    limit = ANY_WAITING if options.smoke or options.busy else WAITING_LIMIT
    stage = Stage(folder, warm_s=0.4 if options.smoke else 1.5, time_s=time_s, waiting_limit=limit)
    run = Run(stage, plan, rounds)
    began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    where = machine()
    try:
        run.go()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    results = {
        "began": began,
        "ended": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": where,
        "rounds": rounds,
        "time_s": time_s,
        "smoke": options.smoke,
        "goals": [goal.key for goal in goals],
        "steps": {step.name: step.what for step in plan},
        "skipped": run.skipped,
        "rows": run.rows,
    }
    verdicts = [judge(goal, run.rows, run.skipped, ease) for goal in goals]
    raise SystemExit(conclude(results, verdicts))


def conclude(results: dict[str, Any], verdicts: Sequence[Verdict]) -> int:
    """Write and print what came out; the exit status."""
    RESULTS.mkdir(exist_ok=True)
    kind = "smoke" if results["smoke"] else "bench"
    stem = f"{kind}-{results['began'].replace(':', '')}"
    text = report.markdown(results)
    (RESULTS / f"{stem}.json").write_text(json.dumps(results, indent=1) + "\n")
    (RESULTS / f"{stem}.md").write_text(text)
    print(text)
    print(f"Written to bench/results/{stem}.json and .md")
    wrong = faults(results["rows"], PRODUCT)
    missed = [verdict for verdict in verdicts if verdict.word == MISSED]
    for sentence in wrong:
        print(f"FAULT: {sentence}")
    for verdict in missed:
        print(f"MISSED: {verdict.goal.key}: {verdict.shown()}, floor {verdict.goal.floor:g}")
    unsure = [one for one in verdicts if one.word == OPEN and one.goal.floor is not None]
    for verdict in unsure:
        print(f"NOT JUDGED: {verdict.goal.key}: {verdict.shown()}")
    if wrong or missed:
        return 1
    undecided = [verdict for verdict in unsure if verdict.goal.against not in results["skipped"]]
    return 2 if undecided and not results["smoke"] else 0
