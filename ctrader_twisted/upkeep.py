"""What a process on a Unix machine sees to: room for its sockets, and log files that move."""

from __future__ import annotations

import resource
import signal
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.logger import Logger, globalLogPublisher, textFileLogObserver
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


def reopen_logs(publisher: object = globalLogPublisher) -> None:
    """A rotation tool has moved the files away: write to new ones of the old names."""
    files = log_files(publisher)
    if files is None:
        log.error(
            "the log files cannot be found in this version of Twisted: restart the daemon after "
            "each rotation, or let the rotation tool copy and truncate the file"
        )
        return
    count = 0
    for file in files:
        try:
            # First on trial: a file that is closed and cannot be opened again logs nothing more.
            Path(file.path).open("ab").close()
            file.reopen()
            count += 1
        except OSError as error:
            log.error("the log file cannot be reopened: {reason}", reason=str(error))
    log.info("{count} log files were reopened", count=count)


def log_files(publisher: object = globalLogPublisher) -> list[LogFile] | None:
    """The files that twistd's --logfile writes to; None when nobody can tell.

    Twisted has no public way to them: twistd makes the file, hands it to an observer, and keeps
    neither. So this looks where they are known to be, after a trial whether observers are built
    like that in this version.
    """
    probe = StringIO()
    observers = getattr(publisher, "_observers", None)
    if observers is None or _file_of(textFileLogObserver(probe)) is not probe:
        return None
    return [file for file in map(_file_of, list(observers)) if isinstance(file, LogFile)]


def _file_of(observer: object) -> object:
    return getattr(observer, "_outFile", None)
