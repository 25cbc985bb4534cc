"""Tables of a run, and their place in a document.

    python -m bench.report docs/performance.md [RESULTS.json ...]

puts the tables of a results file (the newest full run of bench/results/ if none is named) between
the two markers of the document. Of a second file come the tables that the first does not have.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.goals import GOALS, Goal
from bench.judge import MISSED, Verdict, judge, median_of, short

BEGIN = "<!-- tables: begin (python -m bench.report writes between these two lines) -->"
END = "<!-- tables: end -->"

# Column title, metric; a step shows those that its rows have.
COLUMNS = (
    ("CPU µs/message", "us_per_message"),
    ("messages per CPU-second", "messages_per_cpu_s"),
    ("delivered/s", "messages_per_s"),
    ("p50 ms", "p50_ms"),
    ("p99 ms", "p99_ms"),
    ("server core", "server_core"),
    ("handshakes/s", "handshakes_per_s"),
    ("CPU µs/handshake", "us_per_handshake"),
    ("KB/client", "kb_per_client"),
    ("KB/stalled client", "kb_per_stalled"),
    ("frames per CPU-second", "frames_per_cpu_s"),
    ("µs/frame", "us_per_frame"),
    ("first ms", "first_ms"),
    ("after a drop ms", "again_ms"),
    ("server waited", "server_waited"),
    ("generator core", "generator_core"),
)


def line(row: Mapping[str, Any]) -> str:
    """One row for whoever watches."""
    head = f"{row['step']}: {row['case']}:"
    if "refused" in row and len(row) == 4:
        return f"{head} REFUSED: {row['refused']}"
    numbers = [f"{title} {short(row[metric])}" for title, metric in COLUMNS if metric in row]
    refused = f" REFUSED: {row['refused']}" if "refused" in row else ""
    return f"{head} {', '.join(numbers)}{refused}"


def markdown(results: Mapping[str, Any]) -> str:
    """The goals and every step."""
    ease = 2.0 if results["smoke"] else 1.0
    goals = [goal for goal in GOALS if goal.key in results["goals"]]
    verdicts = [judge(goal, results["rows"], results["skipped"], ease) for goal in goals]
    parts = [_where(results), _goals(verdicts, ease)]
    if results["skipped"]:
        parts.append(_skipped(results["skipped"]))
    parts += _steps(results)
    return "\n\n".join(parts) + "\n"


def more(results: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    """The steps of another run, as far as ``known`` does not have them."""
    new = {name: what for name, what in results["steps"].items() if name not in known["steps"]}
    return "\n\n".join([_where(results), *_steps({**results, "steps": new})]) + "\n"


def _steps(results: Mapping[str, Any]) -> list[str]:
    return [
        _step(what, [row for row in results["rows"] if row["step"] == name])
        for name, what in results["steps"].items()
    ]


def _where(results: Mapping[str, Any]) -> str:
    machine = results["machine"]
    kind = "Smoke run" if results["smoke"] else "Run"
    return (
        f"{kind} of {results['began'][:16].replace('T', ' ')} UTC, {results['rounds']} rounds of "
        f"{results['time_s']:g} s each, on {machine['cores']} cores ({machine['model']}), Linux "
        f"{machine['kernel']}, Python {machine['python']}, Twisted {machine['twisted']}, Autobahn "
        f"{machine['autobahn']}, protobuf {machine['protobuf']}. Medians, with the least and the "
        "greatest of the rounds behind them."
    )


def _goals(verdicts: Sequence[Verdict], ease: float) -> str:
    rows = [
        (
            verdict.goal.key,
            verdict.goal.what,
            verdict.shown(),
            _bound(verdict.goal, verdict.goal.floor, ease),
            _bound(verdict.goal, verdict.goal.moonshot, 1.0),
            f"**{verdict.word}**" if verdict.word == MISSED else verdict.word,
        )
        for verdict in verdicts
    ]
    return "### Goals\n\n" + table(("#", "what", "median", "floor", "moonshot", "verdict"), rows)


def _bound(goal: Goal, bound: float | None, ease: float) -> str:
    if bound is None:
        return ""
    eased = bound / ease if goal.more else bound * ease
    return f"{'≥' if goal.more else '≤'} {short(eased)}{goal.unit}"


def _skipped(skipped: Mapping[str, str]) -> str:
    return "Not here: " + "; ".join(f"{name} ({why})" for name, why in skipped.items()) + "."


def _step(what: str, rows: Sequence[Mapping[str, Any]]) -> str:
    cases = list(dict.fromkeys(row["case"] for row in rows))
    shown = [(title, metric) for title, metric in COLUMNS if any(metric in row for row in rows)]
    lines = []
    for case in cases:
        mine = [row for row in rows if row["case"] == case]
        cells = [_cell(median_of(mine, metric)) for _, metric in shown]
        lines.append((case, *cells))
    text = f"### {what[0].upper()}{what[1:]}\n\n" + table(("case", *(t for t, _ in shown)), lines)
    refusals = [
        f"Refused: {row['case']}, round {row['round']}: {row['refused']}"
        for row in rows
        if "refused" in row
    ]
    return "\n\n".join([text, *refusals])


def _cell(numbers: tuple[float, float, float] | None) -> str:
    if numbers is None:
        return "-"
    median, least, greatest = numbers
    return f"{short(median)} ({short(least)}–{short(greatest)})"  # noqa: RUF001 - a range


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def place(document: str, tables: str) -> str:
    """The document with these tables between its markers."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"report: the document needs two lines, {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{tables}\n{END}{after}"


def main() -> None:
    """The command."""
    document = Path(sys.argv[1])
    sources = [Path(name) for name in sys.argv[2:]]
    if not sources:
        found = sorted((Path(__file__).resolve().parent / "results").glob("bench-*.json"))
        if not found:
            raise SystemExit("report: there are no results yet; run `make bench`")
        sources = found[-1:]
    first, *others = (json.loads(source.read_text()) for source in sources)
    tables = "\n".join([markdown(first), *(more(other, first) for other in others)])
    document.write_text(place(document.read_text(), tables))
    print(f"{', '.join(source.name for source in sources)}: now in {document}")


if __name__ == "__main__":
    main()
