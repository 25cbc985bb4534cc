"""Unix housekeeping: the file descriptor limit, log reopening by signal, and own threads."""

from __future__ import annotations

import codecs
import resource
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

from ctrader_twisted import log_writer

log = Logger()

# Descriptors kept back for the venue, listeners, files and look-ups, and for connections that are
# accepted in one turn of the reactor before they are refused; at least the second number if the
# limit is low.
KEPT_BACK = 50
KEPT_BACK_LEAST = 40
# Descriptors for connections that are no WebSocket clients (yet): health checks, the page,
# handshakes.
ARRIVING = 50
# Descriptors that the process needs besides one for each client.
OTHERS = KEPT_BACK + ARRIVING
# The number that stands for an unlimited count of descriptors.
UNLIMITED = 1_000_000


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many connections, and how many WebSocket clients among them, a limit of file descriptors
    allows.
    """

    connections: int
    clients: int

    @classmethod
    def of(cls, limit: int) -> Capacity:
        """The capacity for a limit of ``limit`` descriptors."""
        kept_back = min(KEPT_BACK, max(KEPT_BACK_LEAST, limit // 8))
        connections = max(4, limit - kept_back)
        return cls(connections, connections - min(ARRIVING, max(1, connections // 4)))

    def without_key(self, clients: int) -> int:
        """How many remote connections without a key are allowed by default: half of the room."""
        return max(1, self.connections - self.clients, min(clients, self.clients) // 2)


def room_now() -> int:
    """How many connections the present limit of descriptors allows."""
    return Capacity.of(descriptor_limit()).connections


def descriptor_limit() -> int:
    """How many file descriptors this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return UNLIMITED if soft == resource.RLIM_INFINITY else min(soft, UNLIMITED)


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
            room=Capacity.of(reachable).clients,
            clients=clients,
            needed=needed,
        )


def load_late_modules() -> None:
    """Load modules that Python would otherwise load at the first request.

    By then root's rights may be gone (``twistd --uid``), or an upgrade may have replaced the files.
    """
    for codec in ("idna", "utf-8-sig", "utf-16"):
        codecs.lookup(codec)
    files("ctrader_twisted").joinpath("py.typed").is_file()


def listen_for_hangup(reactor: Any) -> None:
    """Reopen log files on SIGHUP and SIGUSR1 from now on, instead of ending the process.

    SIGUSR1 is what twistd uses to rotate its own log files, so rotation tools may send it.
    """

    def hung_up(number: int, frame: object) -> None:
        reactor.callFromThread(reopen_logs)

    def begin() -> None:
        signal.signal(signal.SIGHUP, hung_up)
        if signal.getsignal(signal.SIGUSR1) in {signal.SIG_DFL, None}:
            signal.signal(signal.SIGUSR1, hung_up)

    # After twistd has gone to the background, and after the reactor's own.
    reactor.callWhenRunning(begin)


def reopen_logs() -> None:
    """Open all log files anew by their paths, after a rotation tool has moved them away."""

    def done(path: str, error: OSError | None) -> None:
        if error is None:
            log.info("log file {path} was reopened", path=path)
        else:
            log.error(
                "the log file {path} cannot be reopened, and the old one is written to: {reason}",
                path=path,
                reason=error.strerror or str(error),
            )

    if not log_writer.reopen_all(done):
        log.info("no log file is open: there is nothing to reopen")


def in_own_thread(reactor: Any, call: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
    """Call a blocking function in a thread of its own; fires with its result or failure.

    The end of the process does not wait for this thread, unlike those of the reactor's pool.
    """
    told: Deferred[Any] = Deferred()

    def tell(outcome: Any) -> None:
        reactor.callFromThread(told.callback, outcome)

    def work() -> None:
        maybeDeferred(call, *arguments).addBoth(tell)

    threading.Thread(target=work, name=call.__name__, daemon=True).start()
    return told
