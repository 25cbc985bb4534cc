"""What Linux tells about a process: CPU that it used, memory that it holds."""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path


def cpu_s(pid: int) -> float:
    """Seconds on a core, of all threads (to the nanosecond, unlike /proc/PID/stat)."""
    spent_ns = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        # A thread may end while we look.
        with suppress(OSError):
            spent_ns += int((task / "schedstat").read_text().split()[0])
    return spent_ns / 1e9


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
