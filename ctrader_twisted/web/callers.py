"""Limits for open connections: by address, without an API key, and in all.

Every accepted connection holds a `Place` until its socket is closed. Three limits apply:

* one address (an IPv6 /64 counts as one) has at most ``per_address`` connections that have shown
  no key; one more is refused;
* all remote connections that have shown no key are at most ``without_key``, and all connections
  at most ``total``, which leaves file descriptors for the venue, files and look-ups. Beyond these
  two the connection that has been open longest is closed for the new one, so that silent
  connections cannot keep out a health check or a client that has a key.

WebSocket clients that have been admitted are never closed for a new connection.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol
from twisted.logger import Logger

from ctrader_twisted.budget import Bucket
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.web import visitors
from ctrader_twisted.web.visitors import Proxies

log = Logger()

# Seconds between two warnings that a limit is reached.
WARN_S = 60.0


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The three limits (see the module)."""

    per_address: int = 500
    without_key: int = 5000
    total: int = 1_000_000


class Callers:
    """Registry of all open connections, which enforces the limits."""

    def __init__(
        self,
        limits: ConnectionLimits,
        proxies: Proxies,
        *,
        clock: IReactorTime,
        metrics: Metrics,
        room: Callable[[], int] | None = None,
    ) -> None:
        """``room()``: how many connections the descriptor limit allows now, which can be fewer than
        ``limits.total``.
        """
        self._limits = limits
        self._proxies = proxies
        self._clock = clock
        self._metrics = metrics
        self._room = room
        self._warnings = Bucket(1 / WARN_S, clock.seconds(), 1)
        self._open: Counter[str] = Counter()
        # Connections that may be closed for a new one, the oldest first.
        self.remote: dict[Place, None] = {}
        self.local: dict[Place, None] = {}
        self.with_key: dict[Place, None] = {}
        self.total = 0

    def place(self, address: str) -> Place | None:
        """Return a place for one more connection; None if it has to be refused."""
        # A proxy, even one on this machine, brings many clients, so its address is not limited.
        is_proxy = self._proxies.trusts(address)
        is_here = visitors.is_loopback(address)
        group = self.local if is_here and not is_proxy else self.remote
        counted_as = "" if is_here or is_proxy else visitors.counted_as(address)
        if counted_as and self._open[counted_as] >= self._limits.per_address:
            self._metrics.count("connections_refused")
            return None
        if group is self.remote and len(group) >= self._limits.without_key:
            self._close_oldest(group, "without_key")
            self._warn_without_key()
        total = self._limits.total
        if self._room is not None:
            # Asked each time, since the descriptor limit of a running process can be changed.
            total = min(total, self._room())
        if self.total >= total:
            self._warn_total(total)
            candidates = self.remote or self.local or self.with_key
            if not candidates:
                self._metrics.count("connections_refused")
                return None
            self._close_oldest(candidates, "total")
        return Place(self, group, counted_as)

    def _close_oldest(self, group: dict[Place, None], limit: str) -> None:
        self._metrics.count("connections_displaced", limit)
        next(iter(group)).close()

    def _warn_without_key(self) -> None:
        if self._may_warn():
            log.warn(
                "the limit of {count} connections without a key is reached, and the oldest are "
                "closed for new ones: shut out their addresses at the firewall, or raise "
                "connections_without_key",
                count=self._limits.without_key,
            )

    def _warn_total(self, total: int) -> None:
        if self._may_warn():
            log.warn(
                "the limit of {count} connections is reached, and idle ones are closed for new "
                "ones: it follows from the file descriptor limit, so raise LimitNOFILE (ulimit -n)",
                count=total,
            )

    def _may_warn(self) -> bool:
        if self._warnings.wait(self._clock.seconds()) > 0:
            return False
        self._warnings.take()
        return True


class Place:
    """The entry of one open connection in `Callers`."""

    __slots__ = ("_callers", "_counted_as", "_group", "_transport")

    def __init__(
        self, callers: Callers | None, group: dict[Place, None] | None, counted_as: str
    ) -> None:
        self._callers = callers
        self._group = group
        self._counted_as = counted_as
        self._transport: Any = None
        if callers is not None:
            callers.total += 1
            self._join(group)
            if counted_as:
                callers._open[counted_as] += 1

    def opened(self, transport: Any) -> None:
        """Remember the transport, to be able to close the connection."""
        if self._callers is not None:
            self._transport = transport

    def key_shown(self) -> None:
        """Count the connection in the total only, since a right key came over it."""
        if self._callers is None:
            return
        self._release_address()
        if self._group is not None:
            self._join(self._callers.with_key)

    def admitted(self) -> None:
        """Never close this connection for a new one: it is an admitted WebSocket client."""
        self._join(None)

    def leave(self) -> None:
        """Count the connection no more, since it has ended. A second call does nothing."""
        if self._callers is None:
            return
        self._release_address()
        self._join(None)
        self._callers.total -= 1
        self._callers = self._transport = None

    def close(self) -> None:
        """Close the connection, and count it no more."""
        transport = self._transport
        self.leave()
        if transport is not None:
            transport.abortConnection()

    def _join(self, group: dict[Place, None] | None) -> None:
        if self._group is not None:
            self._group.pop(self, None)
        self._group = group
        if group is not None:
            group[self] = None

    def _release_address(self) -> None:
        address, self._counted_as = self._counted_as, ""
        if address and self._callers is not None:
            self._callers._open[address] -= 1
            if not self._callers._open[address]:
                del self._callers._open[address]


#: The place of a connection that is not counted, as in tests.
NO_PLACE = Place(None, None, "")


class NoRoom(Protocol):
    """The protocol of a refused connection: it closes it without an answer, which over TLS would
    cost a handshake.
    """

    def connectionMade(self) -> None:
        """Close."""
        transport: Any = self.transport
        transport.abortConnection()
