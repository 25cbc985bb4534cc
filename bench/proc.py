"""What Linux tells about a process: CPU that it used, memory that it holds."""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path


def cpu_s(pid: int) -> tuple[float, float]:
    """Seconds on a core, and seconds of waiting for one, of all threads.

    To the nanosecond, unlike /proc/PID/stat. Waiting means that somebody else had the core.
    """
    spent_ns = waited_ns = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        # A thread may end while we look.
        with suppress(OSError):
            spent, waited, _ = (task / "schedstat").read_text().split()
            spent_ns += int(spent)
            waited_ns += int(waited)
    return spent_ns / 1e9, waited_ns / 1e9


def rss_kb(pid: int) -> float:
    """Resident memory in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return float(line.split()[1])
    return 0.0


def allow_many_files() -> int:
    """Raise the limit of open files as far as it goes without a password; says how far."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
