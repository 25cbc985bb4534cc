"""One tick to everybody who wants it: one encode, one frame, one join per group and turn.

Ticks of one reactor turn wait in their groups; at its end each group's frames are joined once,
and every client of the group is handed those same bytes. Plain calls throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import cast

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ctrader_twisted.accounts import Group
from ctrader_twisted.market.model import Tick
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.web.frames import TickWriter

Send = Callable[[bytes], None]


class Fanout:
    """The way of every tick from the account to the outboxes."""

    log = Logger()

    def __init__(self, *, clock: IReactorTime, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._writer = TickWriter()
        self._dirty: list[Group] = []
        self._timer: IDelayedCall | None = None
        self._newest: dict[str, tuple[int, bytes]] = {}
        self.serial = 0

    def deliver(self, tick: Tick, groups: Collection[Group]) -> None:
        """Hand one tick to the groups that want it; it leaves at the end of this turn."""
        frame = self._writer.tick(tick)
        self.serial += 1
        self._newest[tick.symbol.key] = (self.serial, frame)
        for group in groups:
            if not group.pending:
                self._dirty.append(group)
            group.pending.append(frame)
        if self._timer is None:
            # Zero seconds: before the reactor polls again, so nothing is delayed, and all that
            # one read of the upstream socket brought leaves together.
            self._timer = self._clock.callLater(0, self.flush)

    def snapshot(self, tick: Tick) -> bytes:
        """The frame of a cached tick."""
        return self._writer.snapshot(tick)

    def flush(self) -> None:
        """Everything of this turn leaves now."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        dirty, self._dirty = self._dirty, []
        for group in dirty:
            self.flush_group(group)

    def flush_group(self, group: Group) -> None:
        """The frames that one group has waiting leave now: done before its members change, so
        that nobody misses a tick or gets one from before its time.
        """
        frames = group.pending
        if not frames:
            return
        group.pending = []
        joined = frames[0] if len(frames) == 1 else b"".join(frames)
        group.sent_at = self._clock.seconds()
        # A copy: a client whose socket is full leaves `ready` while we iterate.
        clients = list(group.ready.values())
        for send in clients:
            try:
                cast(Send, send)(joined)
            except Exception:
                # One client's socket must not cost the others their ticks.
                self.log.failure("a client could not be written to")
        self._metrics.ticks_out += len(frames) * len(clients)

    def newest(self, keys: Iterable[str], since: int) -> bytes:
        """The newest tick of each key that changed after serial ``since``, oldest first."""
        found = [entry for key in keys if (entry := self._newest.get(key)) and entry[0] > since]
        found.sort()
        return b"".join([frame for _, frame in found])

    def forget(self) -> None:
        """An outage: what was the newest is not any more."""
        self._newest.clear()
