"""`python -m tests.faults`: run the whole fault matrix, and write docs/reliability.md from it.

Ends with 1 when a promise was broken; the page is written all the same, and says so.
"""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from tests.faults import on_sockets, on_the_clock
from tests.faults.table import Measured, as_markdown

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"

HEAD = """# What goes wrong, and what happens then

This page is written by `make faults`, which runs every row. Nothing is listed that was not run.
Last run: {when}, Python {python}, {seconds:.0f} s, {broken}.

*Noticed* is when clients were told (or, for faults of clients, when the fault was over); `-`: they
noticed nothing, and were meant not to. *Recovered* counts from the end of the fault (a fault of a
moment ends when it begins) until every subscribed symbol ticks again. *Ticks lost* is what the
venue sent or would have sent to us in the meantime. What we do about each code is in
[venue-errors.md](venue-errors.md).

## Between the daemon and the venue

The product from the socket's bytes to the account, on a simulated clock, with the default settings
(first wait 1 s, longest 60 s, silence 60 s, request 10 s, stale 30 s, look every 10 s), twenty
symbols and about fifteen ticks a second. Times are exact to 50 ms; TCP and TLS take none. Memory is
that of the process that runs all rows, which keeps what it saw of each.

"""

SOCKETS = """
## With sockets, processes and signals

A daemon as `twistd` runs it, with 500 ticks a second and a client that reads everything while the
fault lasts. Times are those of the machine that ran it.

"""

CODES = """
## Each error code, said once on the way back

The connection is cut, and one request of the way back is refused with the code. Promised: all
symbols are restored within 65 s (a code that needs a person is probed once a minute).

"""


def main() -> int:
    """Run everything, and write the page."""
    began = time.monotonic()
    clock = list(told(on_the_clock.run()))
    codes = list(on_the_clock.run_codes())
    sockets = list(told(on_sockets.run()))
    everything = [*clock, *codes, *sockets]
    broken = [row for row in everything if not row.kept]
    for row in broken:
        sys.stderr.write(f"BROKEN: {row}\n")
    head = HEAD.format(
        when=f"{datetime.now(UTC):%Y-%m-%d}",
        python=platform.python_version(),
        seconds=time.monotonic() - began,
        broken=f"{len(everything)} faults, {len(broken)} promises broken",
    )
    page = [head, as_markdown(clock), SOCKETS, as_markdown(sockets), CODES, *code_table(codes)]
    PAGE.write_text("".join(page))
    return 1 if broken else 0


def told(rows: Iterable[Measured]) -> Iterator[Measured]:
    """The same, said aloud while they come."""
    for row in rows:
        sys.stderr.write(f"{'kept  ' if row.kept else 'BROKEN'}  {row.fault}\n")
        sys.stderr.flush()
        yield row


def code_table(rows: list[Measured]) -> Iterator[str]:
    """One line a code: seconds to recovery from each of the three who can be refused."""
    yield "| code | application auth | account auth | subscription | |\n|---|--:|--:|--:|---|\n"
    by_code: dict[str, list[Measured]] = {}
    for row in rows:
        by_code.setdefault(row.fault.split(" to ")[0], []).append(row)
    for code, three in by_code.items():
        cells = " | ".join(_recovered(row) for row in three)
        verdict = "kept" if all(row.kept for row in three) else "**broken**"
        yield f"| `{code}` | {cells} | {verdict} |\n"


def _recovered(row: Measured) -> str:
    return "not" if row.recover_s is None else f"{row.recover_s:.1f} s"


if __name__ == "__main__":
    sys.exit(main())
