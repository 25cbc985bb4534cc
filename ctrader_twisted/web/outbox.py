"""One client's way out: send now, park and keep only the newest prices, or show out.

Why it looks like this
----------------------
``transport.write`` of Twisted does not write: it remembers, asks the reactor to be told when the
socket is writable, and writes a turn later. That is two system calls and a turn more than the
``send`` that would nearly always have succeeded at once. So on plain TCP an outbox calls the
socket's own ``send``, and comes to Twisted only with what the kernel did not take.

Two rules keep that safe:

* **One gate.** Every byte for the client passes here: ticks, replies, and all that Autobahn itself
  has to say (`web/gate`). So either Twisted's buffer is empty and we send, or something waits
  there and nothing overtakes it.
* **Parked or ready, never both.** A client that the kernel did not take everything from is parked.
  Twisted gets the rest, and us as its pull producer: it calls `resumeProducing` when the rest is
  out. Until then no tick is written, joined or kept for this client; on waking it gets, in order,
  what had to be delivered meanwhile (statuses, replies: a queue with a bound), and then the newest
  tick of each symbol that changed. A parked client costs nothing per tick.

A TLS transport cannot be bypassed (it has a ``socket`` attribute too, and bytes sent there would be
plain text in the middle of the TLS stream), so there we write as everybody does, and are parked
and woken as a push producer.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import IPullProducer, IPushProducer, ISSLTransport
from zope.interface import implementer

from ctrader_twisted.accounts import Group
from ctrader_twisted.market.model import Tick
from ctrader_twisted.web.fanout import NOTHING_SEEN, Fanout

# Linux: how much may wait unsent in the kernel before a socket counts as full. Small, so that
# "sent" means on the wire, and a slow client gets newer prices rather than a longer queue.
_NOTSENT_LOWAT = 25
_NOTSENT_BYTES = 16_384


@implementer(IPushProducer, IPullProducer)
class Outbox:
    """A Consumer of the account's demand, and the producer of one client's transport."""

    # There is one for every client, and most of them wait for nothing most of the time.
    __slots__ = (
        "_arming",
        "_fanout",
        "_group",
        "_in_step",
        "_is_behind_http",
        "_is_direct",
        "_is_full",
        "_joined",
        "_limit",
        "_missed",
        "_owed",
        "_parked_at",
        "_progress",
        "_queue",
        "_queued",
        "_seen",
        "_send",
        "_shut",
        "_stalled_since",
        "_too_slow",
        "_transport",
        "sent_at",
    )

    def __init__(
        self,
        *,
        transport: Any,
        fanout: Fanout,
        limit_bytes: int,
        too_slow: Callable[[str], None],
    ) -> None:
        """``too_slow`` is called (with the reason) when the client must be shown out."""
        self._transport = transport
        self._fanout = fanout
        self._limit = limit_bytes
        self._too_slow = too_slow
        self._queue: deque[bytes] | None = None
        self._queued = 0
        self._group: Group | None = None
        # Ticks: offered to the group when we were last in step with it; missed in those before it.
        self._in_step = self._missed = 0
        self._parked_at: int | None = None
        self._joined: dict[str, int] = {}
        self._owed: set[str] | None = None  # a snapshot of these was asked for while parked
        self._seen = NOTHING_SEEN
        self._shut = False
        self._arming = False
        self._is_full = False
        self._progress: object = None
        self._stalled_since: float | None = None
        self.sent_at = 0.0
        self._is_direct = not ISSLTransport.providedBy(transport) and hasattr(transport, "socket")
        # If this socket began as HTTP, its channel is still the transport's producer, and what it
        # had to say may still be in Twisted's buffer: once past it, and no sooner, we know that
        # the buffer is empty.
        self._is_behind_http = self._is_direct and transport.producer is not None
        transport.unregisterProducer()
        if self._is_direct:
            self._send: Callable[[bytes], int] = transport.socket.send
            _prefer_fresh(transport.socket)
        else:
            self._send = self._buffer
            transport.registerProducer(self, True)

    # -- what goes out

    def send(self, frame: bytes, now: float) -> None:
        """A message that must be delivered, in order; whoever was shown out hears nothing more."""
        if not self._shut:
            self.sent_at = now
            self.write(frame)

    def show(self, ticks: Sequence[Tick], now: float, reply: bytes = b"") -> None:
        """The last known ticks of symbols that were subscribed to, in one write with the ``reply``
        that comes before them. A parked client gets, on waking, what is the last known then: the
        same number never comes twice, and nothing waits for it.
        """
        if self._parked_at is None:
            self.flush()
        if self._parked_at is not None:
            if reply:
                self.send(reply, now)
            if ticks:
                self._owed = (self._owed or set()).union(tick.symbol.key for tick in ticks)
        elif ticks or reply:
            self.send(reply + self._fanout.snapshots(ticks), now)

    def write(self, some: bytes) -> None:
        """The gate: any bytes for this client, in order."""
        if self._parked_at is None and not self._shut:
            # Ticks of this turn were first. Were we parked before them, they would be lost.
            self.flush()
        if self._shut:
            # Nothing but the close frame comes after `shut`; it goes behind what Twisted holds.
            self._transport.write(some)
        elif self._parked_at is not None:
            if self._queue is None:
                self._queue = deque()
            self._queue.append(some)
            self._queued += len(some)
            if self._queued > self._limit:
                self._too_slow(f"more than {self._limit} bytes were waiting")
        elif self._is_behind_http:
            self._is_behind_http = False
            self.park(some)
        else:
            try:
                taken = self._send(some)
            except OSError:
                taken = 0
            if taken != len(some):
                self.park(some[taken:])

    def flush(self) -> None:
        """What the group has pending leaves now, so that a reply keeps its place among ticks."""
        if self._group is not None:
            self._fanout.flush_group(self._group)

    def join(self, group: Group | None) -> None:
        """The wants changed (see Consumer)."""
        old, self._group = self._group, group
        for one in (old, group):
            if one is not None:
                self._fanout.flush_group(one)
        if old is not None:
            self._fall_behind(old)
            self._missed += old.offered - self._in_step
        if group is not None:
            self._in_step = group.offered
        elif self._missed:
            self._fanout.dropped(self._missed)
            self._missed = 0
        if group is not None and self._parked_at is not None:
            # Of a symbol that is new to a parked client nothing from before now is owed to it.
            for key in group.keys.difference(() if old is None else old.keys):
                self._joined[key] = self._fanout.serial
        if self._owed:
            self._owed.intersection_update(() if group is None else group.keys)
        self._get_ready()

    def idle_since(self) -> float:
        """When something last went out."""
        return self.sent_at if self._group is None else max(self.sent_at, self._group.sent_at)

    @property
    def waiting_bytes(self) -> int:
        """What must be delivered and waits for the socket."""
        return self._queued

    @property
    def is_parked(self) -> bool:
        """Is the socket full?"""
        return self._parked_at is not None

    # -- parked

    def park(self, rest: bytes) -> None:
        """The kernel took not all: Twisted gets the rest, and wakes us when it is out."""
        if self._shut or self._parked_at is not None:
            self._transport.write(rest)
            return
        self._mark_parked()
        self._transport.write(rest)
        if self._is_direct:
            # Registering calls resumeProducing at once; there is nothing to resume yet.
            self._arming = True
            self._transport.registerProducer(self, False)
            self._arming = False

    def pauseProducing(self) -> None:
        """TLS: the transport's buffer is full."""
        self._is_full = True
        if self._parked_at is None and not self._shut:
            self.flush()
        if self._parked_at is None and not self._shut:
            self._mark_parked()

    def resumeProducing(self) -> None:
        """All is out: what waited comes first, then the newest prices."""
        if self._arming or self._shut or self._parked_at is None:
            return
        while self._queue:
            frame = self._queue.popleft()
            self._queued -= len(frame)
            if not self._pass(frame):
                return
        if self._group is not None:
            self._fanout.flush_group(self._group)
            missed = self._fanout.newest(
                self._group.keys, self._parked_at, self._seen, self._joined
            )
            self._missed += self._group.offered - self._in_step
            self._fanout.caught_up(self._missed, len(missed), self._seen)
            self._missed, self._in_step = 0, self._group.offered
            if self._owed:
                missed[:0] = self._fanout.unchanged(self._owed, self._parked_at, self._joined)
            self._mark_parked()
            if missed and not self._pass(b"".join(missed)):
                return
        self._parked_at, self._seen = None, NOTHING_SEEN
        if self._is_direct:
            self._transport.unregisterProducer()
        self._get_ready()

    def stopProducing(self) -> None:
        """The transport is gone."""
        self.shut()

    # -- the end

    def shut(self) -> None:
        """Nothing goes out any more but a close frame, and nothing is kept."""
        if self._shut:
            return
        self._shut = True
        self._queue = None
        self._queued = 0
        if self._group is not None:
            self._fall_behind(self._group)
        # A transport with a producer never finishes closing.
        self._transport.unregisterProducer()

    def is_stalled(self, now: float, age_s: float) -> bool:
        """True when the client is parked and its socket has taken nothing for ``age_s``."""
        if self._parked_at is None or self._shut:
            return False
        progress = self._unsent()
        if progress != self._progress or self._stalled_since is None:
            self._progress, self._stalled_since = progress, now
        return now - self._stalled_since >= age_s

    # -- inside

    def _get_ready(self) -> None:
        if self._group is not None and self._parked_at is None and not self._shut:
            self._group.ready[self] = self._send

    def _fall_behind(self, group: Group) -> None:
        """Out of the list of the ready: what the group is offered from now on is missed."""
        if group.ready.pop(self, None) is not None:
            self._in_step = group.offered

    def _mark_parked(self) -> None:
        self._parked_at = self._fanout.serial
        self._joined.clear()
        self._owed = None
        self._progress, self._stalled_since = None, None
        if self._group is not None:
            self._fall_behind(self._group)
            self._seen = self._fanout.seen(self._group)

    def _pass(self, some: bytes) -> bool:
        """While waking: True when the socket took all of it."""
        if not self._is_direct:
            self._is_full = False
            self._transport.write(some)
            return not self._is_full
        try:
            taken = self._send(some)
        except OSError:
            taken = 0
        if taken != len(some):
            self._transport.write(some[taken:])
            return False
        return True

    def _buffer(self, some: bytes) -> int:
        self._transport.write(some)
        return len(some)

    def _unsent(self) -> object:
        """What the kernel still has to send: changes as long as the client reads at all."""
        try:
            raw = fcntl.ioctl(self._transport.fileno(), termios.TIOCOUTQ, b"\0" * 4)
        except (OSError, AttributeError, ValueError):
            return None
        return struct.unpack("i", raw)


def _prefer_fresh(sock: socket.socket) -> None:
    """Small writes leave at once, and little waits unsent. (A unix socket has neither option.)"""
    with suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, _NOTSENT_BYTES)
