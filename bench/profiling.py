"""`make profile`: where the daemon's time goes under the burst load, as a table.

    python -m bench.profiling [--clients 500] [--time 8] [--sets 20] [--even] [--storm]

cProfile by way of ``twistd --profile``. It makes every Python call dearer and no system call, so
read the order, not the microseconds. With ``--py-spy`` (where py-spy is installed) the daemon is
watched from outside instead, at no cost to it.
"""

from __future__ import annotations

import argparse
import pstats
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bench import proc
from bench.plan import BURST, EVEN
from bench.report import line
from bench.servers import PRODUCT, SERVERS, Server, Start
from bench.stage import Load, Row, Stage

_ALL_OF_IT = 120.0


def profiled(path: Path) -> Server:
    """The daemon, under cProfile; ``path`` gets the statistics when it ends."""
    plain = SERVERS[PRODUCT]

    def start(port: int, venue_port: int, folder: Path, more: Mapping[str, str]) -> Start:
        usual = plain.start(port, venue_port, folder, more)
        program, *arguments = usual.command
        watched = ("--profile", str(path), "--profiler", "cprofile", "--savestats")
        return Start((program, *watched, *arguments), usual.environ)

    return replace(plain, start=start)


def by_cprofile(stage: Stage, load: Load, lines: int, *, storm: bool) -> Row:
    """Run under the load, then print the table."""
    path = stage.folder / "profile"
    server = profiled(path)
    row = stage.storm(server, load, {}, idle=False) if storm else stage.fanout(server, load, {})
    ends = time.monotonic() + 20
    while not path.exists() and time.monotonic() < ends:
        time.sleep(0.1)
    if not path.exists():
        raise SystemExit("profile: the daemon wrote no statistics")
    statistics = pstats.Stats(str(path)).strip_dirs()
    statistics.sort_stats("tottime").print_stats(lines)
    return row


def by_py_spy(stage: Stage, load: Load, lines: int) -> Row:
    """Samples of a daemon that knows nothing of it: functions by their own share of time."""
    program = shutil.which("py-spy")
    if program is None:
        raise SystemExit("profile: there is no py-spy on the path")
    path = stage.folder / "samples"
    spies: list[subprocess.Popen[bytes]] = []

    def watched(pid: int) -> None:
        command = [program, "record", "--format", "raw", "--rate", "500", "--nonblocking"]
        command += ["--duration", str(int(stage.time_s)), "--output", str(path), "--pid", str(pid)]
        spies.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))

    row = stage.fanout(SERVERS[PRODUCT], load, {}, watch=watched)
    for spy in spies:
        spy.wait(30)
    own: Counter[str] = Counter()
    for stack in path.read_text().splitlines():
        frames, _, count = stack.rpartition(" ")
        own[frames.split(";")[-1]] += int(count)
    total = sum(own.values()) or 1
    for function, samples in own.most_common(lines):
        print(f"{100 * samples / total:5.1f} %  {function}")
    return row


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="make profile", description=__doc__)
    parser.add_argument("--clients", type=int, default=BURST.clients)
    parser.add_argument("--time", type=float, default=8.0)
    parser.add_argument("--lines", type=int, default=30)
    parser.add_argument("--sets", type=int, default=0, help="so many symbols of one's own")
    parser.add_argument("--even", action="store_true", help="one tick at a time")
    parser.add_argument("--storm", action="store_true", help="clients that connect, and no ticks")
    parser.add_argument("--py-spy", action="store_true")
    options = parser.parse_args()
    proc.allow_many_files()
    load = replace(EVEN if options.even else BURST, clients=options.clients, each=options.sets)
    with tempfile.TemporaryDirectory(prefix="ctrader-profile-") as folder:
        stage = Stage(Path(folder), warm_s=1.0, time_s=min(options.time, _ALL_OF_IT))
        if options.py_spy:
            row = by_py_spy(stage, load, options.lines)
        else:
            row = by_cprofile(stage, load, options.lines, storm=options.storm)
    print(f"while being watched: {line({'step': 'profile', 'case': PRODUCT, **row})}")


if __name__ == "__main__":
    main()
