"""One tick to everybody who wants it: one encode, one frame, one join, one send.

Why it looks like this
----------------------
Writing 90 bytes to a socket costs the kernel 3 to 4 microseconds; everything that Python does for
a tick costs less than that. So the only thing worth saving is *sends*, and the only way to save
them without holding prices back is this: whatever one read of the upstream socket brought is one
moment, and leaves as one write to each client. It stays one WebSocket message per tick.

Three steps, and each is done once for many:

1. A tick is written as JSON and framed once, whoever listens (`TickWriter`).
2. It is put into every *group* that wants the symbol. A group is all clients with exactly the same
   wants (`market/demand`); a page with one default list of symbols makes one group of thousands.
3. At the end of the reactor's turn the frames of each group are joined once, and each client of
   the group gets the same bytes by one call of its socket's ``send``.

"The end of the turn" is a timer of zero seconds: the reactor runs it before it polls again, so it
delays nothing, and all TLS records of one read have been handled by then. A window in milliseconds
(``window_s``) makes turns longer, for feeds whose ticks come evenly spaced.

A client whose socket does not take all of it leaves the list of the ready until it has drained
(`Outbox`): a slow client costs no call at all, and what it missed is made up from `newest`, the
last tick of each symbol, when it wakes.

Plain calls from here to the socket: no Deferred, no logging, no object per client and tick.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ctrader_twisted.accounts import Group
from ctrader_twisted.market.model import Tick
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.web.frames import TickWriter

if TYPE_CHECKING:
    from ctrader_twisted.web.outbox import Outbox


class Seen(NamedTuple):
    """What a client had got when it was parked: each symbol's sequence number, in which life."""

    life: int
    seqs: Mapping[str, int]


# Takes bytes, and says how many of them it took.
Send = Callable[[bytes], int]

NOTHING_SEEN = Seen(-1, {})


class Fanout:
    """The way of every tick from the account to the outboxes."""

    def __init__(self, *, clock: IReactorTime, metrics: Metrics, window_s: float = 0.0) -> None:
        """``window_s``: at most one write to each client in so many seconds; 0: one a turn."""
        self._clock = clock
        self._metrics = metrics
        self._window_s = window_s
        self._writer = TickWriter()
        self._write = self._writer.tick
        self._dirty: list[Group] = []
        self._timer: IDelayedCall | None = None
        self._flushed_at = 0.0
        self._newest: dict[str, tuple[int, Tick, bytes]] = {}
        self._snapshots: dict[str, tuple[Tick, bytes]] = {}
        # What the last one who came was shown, and what was recalled for it.
        self._shown: tuple[Sequence[Tick], bytes] = ((), b"")
        self._recalled: Sequence[Tick] = ()
        # How many outages there were, and the serial at the last one.
        self._life = self._life_serial = 0
        self._began_at = 0.0
        self._last_seen: tuple[Group | None, int, Seen] = (None, -1, NOTHING_SEEN)
        self.serial = 0

    def deliver(self, tick: Tick, groups: Collection[Group]) -> None:
        """Hand one tick to the groups that want it; it leaves at the end of this turn."""
        frame = self._write(tick)
        self.serial = serial = self.serial + 1
        self._newest[tick.symbol.key] = (serial, tick, frame)
        for group in groups:
            pending = group.pending
            if not pending:
                self._dirty.append(group)
            pending.append(frame)
        if self._timer is None:
            self._timer = self._clock.callLater(self._delay(), self.flush)
            self._began_at = self._metrics.received_at

    def snapshot(self, tick: Tick) -> bytes:
        """The frame of a cached tick, written once however many ask for it."""
        key = tick.symbol.key
        known = self._snapshots.get(key)
        if known is None or known[0] is not tick:
            known = self._snapshots[key] = (tick, self._writer.snapshot(tick))
        return known[1]

    def snapshots(self, ticks: Sequence[Tick]) -> bytes:
        """Their frames in one piece. Who comes after another often asks for the same."""
        if self._shown[0] != ticks:
            self._shown = (ticks, b"".join(map(self.snapshot, ticks)))
        return self._shown[1]

    def recall(self, ticks: Sequence[Tick]) -> None:
        """The last ticks of symbols that somebody wants now. While nobody did, ticks may have come
        that were not delivered, and who counts what it misses begins to count after them.
        """
        if ticks == self._recalled:
            return
        self._recalled = ticks
        for tick in ticks:
            key = tick.symbol.key
            known = self._newest.get(key)
            if known is None or known[1] is not tick:
                # It is from before everybody's time: nobody missed it.
                serial = 0 if known is None else known[0]
                self._newest[key] = (serial, tick, self._writer.tick(tick))
                self._last_seen = (None, -1, NOTHING_SEEN)

    def flush(self) -> None:
        """Everything of this turn leaves now."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        self._flushed_at = self._clock.seconds()
        dirty, self._dirty = self._dirty, []
        for group in dirty:
            self.flush_group(group)
        if dirty:
            # Once a flush, not once a tick: the oldest of them, until the last client had it.
            self._metrics.fanout_s.observe(self._clock.seconds() - self._began_at)

    def flush_group(self, group: Group) -> None:
        """The frames that one group has waiting leave now: done before its members change, so
        that nobody misses a tick or gets one from before its time.
        """
        frames = group.pending
        if not frames:
            return
        group.pending = []
        joined = frames[0] if len(frames) == 1 else b"".join(frames)
        size = len(joined)
        group.sent_at = self._clock.seconds()
        group.offered += len(frames)
        self._metrics.ticks_offered += len(frames) * len(group.members)
        short: list[tuple[Send, int]] = []
        # A copy: a TLS transport may park its client from inside the call. Whose each callable is
        # matters only when it came back short; until then no client is touched but its socket.
        ready = list(group.ready.values())
        for send in ready:
            try:
                taken = send(joined)
            except OSError:
                # Full (EAGAIN), or dead: Twisted will find out when it writes the rest.
                taken = 0
            if taken != size:
                short.append((send, taken))
        if short:
            owners: dict[int, Outbox] = {id(send): one for one, send in group.ready.items()}
            for send, taken in short:
                owners[id(send)].park(joined[taken:])
        self._metrics.ticks_out += len(frames) * len(ready)
        self._metrics.frames_out += len(ready)

    def newest(
        self, keys: Iterable[str], since: int, seen: Seen, joined: Mapping[str, int]
    ) -> list[bytes]:
        """What a client missed after serial ``since``: the newest tick of each key that changed,
        oldest first, framed. What it will never see, counted from ``seen``, is in ``conflated``.
        Keys that it has wanted for a shorter time have a serial of their own in ``joined``.
        """
        # In a new life of the session every symbol begins again at 1.
        seqs = seen.seqs if seen.life == self._life else {}
        found = [
            entry
            for key in keys
            if (entry := self._newest.get(key)) and entry[0] > joined.get(key, since)
        ]
        found.sort(key=lambda entry: entry[0])
        frames = []
        for _, tick, frame in found:
            key = tick.symbol.key
            before = None if joined.get(key, 0) > self._life_serial else seqs.get(key, 0)
            conflated = 0 if before is None else tick.seq - before - 1
            if conflated > 0:
                frames.append(self._writer.late(tick, conflated))
            else:
                frames.append(frame)
        return frames

    def unchanged(self, keys: Iterable[str], since: int, joined: Mapping[str, int]) -> list[bytes]:
        """Snapshots of those keys of which `newest` has nothing to tell."""
        return [
            self.snapshot(entry[1])
            for key in keys
            if (entry := self._newest.get(key)) and entry[0] <= joined.get(key, since)
        ]

    def caught_up(self, missed: int, written: int, seen: Seen) -> None:
        """Of the ticks that a client missed while it was parked some were written in the end; the
        others were replaced by newer ones, or, after an outage, are nobody's price any more.
        """
        self._metrics.ticks_out += written
        if seen.life in {self._life, NOTHING_SEEN.life}:
            self._metrics.conflated += missed - written
        else:
            self._metrics.ticks_dropped += missed - written

    def dropped(self, missed: int) -> None:
        """Ticks that a client will never get, because it is gone, or wants nothing any more."""
        self._metrics.ticks_dropped += missed

    def seen(self, group: Group) -> Seen:
        """What whoever is in ``group`` has got until now. Clients that are parked by the same
        write share one answer.
        """
        if self._last_seen[:2] != (group, self.serial):
            seqs = {key: entry[1].seq for key in group.keys if (entry := self._newest.get(key))}
            self._last_seen = (group, self.serial, Seen(self._life, seqs))
        return self._last_seen[2]

    def forget(self) -> None:
        """An outage: what was the newest is not any more."""
        self._life += 1
        self._life_serial = self.serial
        self._newest.clear()
        self._snapshots.clear()
        self._shown, self._recalled = ((), b""), ()

    def _delay(self) -> float:
        if not self._window_s:
            return 0.0
        return max(0.0, self._flushed_at + self._window_s - self._clock.seconds())
