"""One client's way out: send now, park and keep only the newest prices, or show out.

While the socket takes bytes they go straight through. When Twisted's buffer is full the client is
parked: ticks are no longer written for it at all (on waking it gets the newest of each symbol that
changed), and what must be delivered waits in a queue with a bound. A parked client therefore costs
nothing per tick and can never grow beyond its bound.
"""

from __future__ import annotations

import fcntl
import struct
import termios
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from ctrader_twisted.accounts import Group
from ctrader_twisted.web.fanout import Fanout


@implementer(IPushProducer)
class Outbox:
    """A Consumer of the account's demand, and the producer of one client's transport."""

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
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._group: Group | None = None
        self._parked_at: int | None = None
        self._shut = False
        self._progress: object = None
        self._stalled_since: float | None = None
        self.sent_at = 0.0

    # -- what goes out

    def send(self, frame: bytes, now: float) -> None:
        """A message that must be delivered, in order."""
        if self._shut:
            return
        if self._parked_at is None:
            self.sent_at = now
            self._transport.write(frame)
            return
        self._queue.append(frame)
        self._queued += len(frame)
        if self._queued > self._limit:
            self._too_slow(f"more than {self._limit} bytes were waiting")

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
            old.ready.pop(self, None)
        if group is not None and self._parked_at is None and not self._shut:
            group.ready[self] = self._transport.write

    def idle_since(self) -> float:
        """When something last went out."""
        return self.sent_at if self._group is None else max(self.sent_at, self._group.sent_at)

    # -- the transport's flow control

    def pauseProducing(self) -> None:
        """The socket is full: park."""
        if self._parked_at is None:
            self._parked_at = self._fanout.serial
            self._progress, self._stalled_since = None, None
            if self._group is not None:
                self._group.ready.pop(self, None)

    def resumeProducing(self) -> None:
        """The socket has drained: first what waited, then the newest prices."""
        since, self._parked_at = self._parked_at, None
        if since is None or self._shut:
            return
        while self._queue and not self._is_parked():
            frame = self._queue.popleft()
            self._queued -= len(frame)
            self._transport.write(frame)
        if self._is_parked():
            # Full again: prices are still owed from where they stopped.
            self._parked_at = since
            return
        if self._group is not None:
            self.flush()
            self._group.ready[self] = self._transport.write
            frames = self._fanout.newest(self._group.keys, since)
            if frames:
                self._transport.write(frames)

    def _is_parked(self) -> bool:
        return self._parked_at is not None

    def stopProducing(self) -> None:
        """The transport is gone."""
        self.shut()

    # -- the end

    def shut(self) -> None:
        """Nothing goes out any more, and nothing is kept."""
        self._shut = True
        self._queue.clear()
        self._queued = 0
        if self._group is not None:
            self._group.ready.pop(self, None)

    def is_stalled(self, now: float, age_s: float) -> bool:
        """True when the client is parked and its socket has taken nothing for ``age_s``."""
        if self._parked_at is None or self._shut:
            return False
        progress = self._unsent()
        if progress != self._progress or self._stalled_since is None:
            self._progress, self._stalled_since = progress, now
        return now - self._stalled_since >= age_s

    def _unsent(self) -> object:
        """What the kernel still has to send: changes as long as the client reads at all."""
        try:
            raw = fcntl.ioctl(self._transport.fileno(), termios.TIOCOUTQ, b"\0" * 4)
        except (OSError, AttributeError, ValueError):
            return None
        return struct.unpack("i", raw)
