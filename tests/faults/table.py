"""One row of the fault matrix, and how the rows become a page."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


@dataclass(frozen=True, slots=True)
class Measured:
    """What happened. Seconds; None where there is nothing to measure: ``notice_s`` None when
    clients noticed nothing, ``recover_s`` None when the fault is not one that ends.
    """

    fault: str
    promise: str
    notice_s: float | None
    recover_s: float | None
    ticks_lost: int | None
    before_kib: int
    after_kib: int
    kept: bool
    remark: str = ""


def memory_kib(pid: int | str = "self") -> int:
    """Resident memory of a process, after a collection when it is this one."""
    if pid == "self":
        gc.collect()
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_KIB


def as_markdown(rows: Iterable[Measured]) -> str:
    """The table."""
    lines = [
        "| fault | promised | noticed | recovered | ticks lost | memory before → after | |",
        "|---|---|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        lost = "-" if row.ticks_lost is None else str(row.ticks_lost)
        memory = f"{row.before_kib / 1024:.1f} → {row.after_kib / 1024:.1f} MiB"
        verdict = "kept" if row.kept else "**broken**"
        remark = f"{verdict}; {row.remark}" if row.remark else verdict
        lines.append(
            f"| {row.fault} | {row.promise} | {seconds(row.notice_s)} | {seconds(row.recover_s)} "
            f"| {lost} | {memory} | {remark} |"
        )
    return "\n".join(lines) + "\n"


def seconds(value: float | None) -> str:
    """As a person reads it."""
    if value is None:
        return "-"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 120 else f"{value / 60:.1f} min"
