"""What a process on a Unix machine sees to: room for its sockets, log files that move."""

from __future__ import annotations

import resource
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

from ctrader_twisted import log_writer

log = Logger()

# Kept back for the venue, listeners, files and look-ups, and for what is accepted in one turn of
# the reactor before it is refused; where the limit is low, not fewer than the second number.
KEPT_BACK = 50
KEPT_BACK_LEAST = 40
# For connections that are no WebSocket clients yet, or never: health checks, the page, handshakes.
ARRIVING = 50
# What a process needs besides one descriptor for each client.
OTHERS = KEPT_BACK + ARRIVING
# How many descriptors "unlimited" is taken for.
UNLIMITED = 1_000_000


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a limit of file descriptors leaves room for: connections in all, and WebSocket clients
    among them.
    """

    connections: int
    clients: int

    @classmethod
    def of(cls, limit: int) -> Capacity:
        """The room that ``limit`` descriptors leave."""
        kept_back = min(KEPT_BACK, max(KEPT_BACK_LEAST, limit // 8))
        connections = max(4, limit - kept_back)
        return cls(connections, connections - min(ARRIVING, max(1, connections // 4)))

    def without_key(self, clients: int) -> int:
        """How many remote connections without a key are allowed by default: half of the room."""
        return max(1, self.connections - self.clients, min(clients, self.clients) // 2)


def room_now() -> int:
    """How many connections the limit of descriptors leaves room for at this moment."""
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


def listen_for_hangup(reactor: Any) -> None:
    """From now on SIGHUP reopens log files, instead of ending the process; so does SIGUSR1.

    SIGUSR1 makes twistd's own log files rotate. Ours do not, and it would end the process.
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
    """A rotation tool has moved the files away: write to new ones of the old names."""

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
    """Call something that blocks in a thread of its own; fires with what became of it.

    The end of the process does not wait for it, as it would for the threads of the reactor's pool.
    """
    told: Deferred[Any] = Deferred()

    def tell(outcome: Any) -> None:
        reactor.callFromThread(told.callback, outcome)

    def work() -> None:
        maybeDeferred(call, *arguments).addBoth(tell)

    threading.Thread(target=work, name=call.__name__, daemon=True).start()
    return told
