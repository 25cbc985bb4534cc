"""What a process on a Unix machine sees to: room for its sockets, and log files that move."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Iterator
from typing import Any

from twisted.logger import Logger, globalLogPublisher
from twisted.python.logfile import LogFile

log = Logger()

# Besides one descriptor for each client: the venue, listeners, log files, threads.
OTHERS = 100


def make_room(clients: int) -> None:
    """Allow ourselves a descriptor for every client, or say how many there will be room for."""
    needed = clients + OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    reachable = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if reachable > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, hard))
    if reachable < needed:
        log.warn(
            "only {allowed} file descriptors are allowed, which is room for about {room} of the "
            "{clients} clients that are configured: raise LimitNOFILE (ulimit -n) to {needed}, or "
            "lower clients",
            allowed=reachable,
            room=max(0, reachable - OTHERS),
            clients=clients,
            needed=needed,
        )


def listen_for_hangup(reactor: Any) -> None:
    """From now on SIGHUP reopens log files, instead of ending the process."""

    def hung_up(number: int, frame: object) -> None:
        reactor.callFromThread(reopen_logs)

    def begin() -> None:
        signal.signal(signal.SIGHUP, hung_up)

    # After twistd has gone to the background, and after the reactor's own.
    reactor.callWhenRunning(begin)


def reopen_logs() -> None:
    """A rotation tool has moved the files away: write to new ones of the old names."""
    count = 0
    for reopen in _files():
        reopen()
        count += 1
    log.info("{count} log files were reopened", count=count)


def _files() -> Iterator[Callable[[], None]]:
    """The way to reopen each file that twistd's --logfile writes to."""
    for observer in list(globalLogPublisher._observers):
        file = getattr(observer, "_outFile", None)
        if isinstance(file, LogFile):
            yield file.reopen
