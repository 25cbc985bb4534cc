"""Log output that never blocks the caller: a bounded queue, and a thread that writes it.

A pipe without a reader, a terminal that is stopped, a full or hung disk and a stuck syslog all
make a write block or fail. Here that happens in a thread: the queue fills up, further lines are
counted and dropped, and one line says how many were lost as soon as writing works again.

`LogWriter.put` may be called from any thread, from a signal handler and from a destructor, since
Twisted logs in all of them: the lock is re-entrant, and no other code runs while it is held.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from weakref import WeakSet

from ctrader_twisted.log_targets import Target

# The bounds of the queue: some minutes of an ordinary log, seconds of a flood.
QUEUE_LINES = 10_000
QUEUE_BYTES = 4 * 1024 * 1024
# How much is given to the target in one call.
BATCH_BYTES = 64 * 1024
# Seconds until a failed write is tried again.
RETRY_S = 0.5
# Seconds for which the end of the process, or a fork, waits for the queue to be written.
GRACE_S = 1.0

Notice = Callable[[int, str], bytes]
# Called with the path of the file, and with the error if it could not be opened.
Reopened = Callable[[str, OSError | None], None]


class LogWriter:
    """Writes lines to one target in a thread of its own.

    The thread starts with the first line, and is a daemon thread, so it does not keep the process
    alive. The child of a fork starts a new one.
    """

    def __init__(
        self,
        target: Target,
        notice: Notice,
        *,
        max_lines: int = QUEUE_LINES,
        max_bytes: int = QUEUE_BYTES,
        retry_s: float = RETRY_S,
    ) -> None:
        """``notice(lost, reason)`` returns the line that reports lost lines."""
        self._target = target
        self._notice = notice
        self._max_lines = max_lines
        self._max_bytes = max_bytes
        self._retry_s = retry_s
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._queue: deque[tuple[int, bytes]] = deque()
        # Of all lines that are not written yet, those that the thread is writing included.
        self._waiting_lines = 0
        self._waiting_bytes = 0
        self._lost = 0
        # Lines lost since the last notice, and how many queued lines are written before the next,
        # so that the notice comes where the lines are missing.
        self._untold = 0
        self._until_notice = 0
        self._trouble = ""
        self._reopened: list[Reopened] = []
        self._ending = False
        self._wait_until: float | None = None
        _writers.add(self)

    @property
    def lost(self) -> int:
        """How many lines were dropped."""
        return self._lost

    def is_full(self) -> bool:
        """Return True if the next line would be dropped, so that it need not be made."""
        return self._waiting_lines >= self._max_lines or self._waiting_bytes >= self._max_bytes

    def put(self, line: bytes, priority: int = 0) -> None:
        """Queue one line, its end included; drop and count it if there is no room."""
        with self._changed:
            if self.is_full() or self._waiting_bytes + len(line) > self._max_bytes:
                self._drop()
                return
            self._queue.append((priority, line))
            self._waiting_lines += 1
            self._waiting_bytes += len(line)
            self._begin()
            self._changed.notify_all()
        if self._wait_until is not None:
            self.flush(self._wait_until - time.monotonic())

    def drop(self) -> None:
        """Count a line as lost that was not rendered because there was no room for it."""
        with self._changed:
            self._drop()

    def reopen(self, done: Reopened) -> None:
        """Have the thread reopen the target; it then calls ``done(path, error)``."""
        with self._changed:
            self._reopened.append(done)
            self._begin()
            self._changed.notify_all()

    def flush(self, seconds: float) -> bool:
        """Wait up to ``seconds`` until everything is written. Return True if it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting_lines, max(0.0, seconds))

    def finish(self, seconds: float) -> None:
        """From now on wait until each line is written, for ``seconds`` in total at most."""
        self._wait_until = time.monotonic() + seconds
        self.flush(seconds)

    def close(self, seconds: float = GRACE_S) -> None:
        """Write the queue and end the thread, waiting up to ``seconds``."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(seconds)
        with self._changed:
            self._ending = False

    def forget(self) -> None:
        """Clear the state in the child of a fork: its parent has the thread and the queue."""
        self._changed = threading.Condition()
        self._thread = None
        self._queue.clear()
        self._waiting_lines = self._waiting_bytes = self._untold = 0
        self._ending = False

    def _drop(self) -> None:
        if self._untold == 0:
            self._until_notice = len(self._queue)
        self._untold += 1
        self._lost += 1

    def _begin(self) -> None:
        """Start the thread unless it runs. If the system refuses, the next line tries again."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="log writer", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:
                self._thread = None

    def _run(self) -> None:
        # A signal that is delivered to this thread would not wake the main thread.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            with self._changed:
                self._changed.wait_for(self._has_work)
                if not self._queue and not self._reopened and not self._untold:
                    self._thread = None
                    return
                lines, octets, priority, data = self._take()
            self._reopen()
            self._write(priority, data)
            with self._changed:
                self._waiting_lines -= lines
                self._waiting_bytes -= octets
                if not self._queue:
                    # A signal handler that logs can interrupt an addition, and so lose it.
                    self._waiting_lines = self._waiting_bytes = 0
                self._changed.notify_all()
            self._tell_of_losses()

    def _has_work(self) -> bool:
        return bool(self._queue or self._reopened or self._untold or self._ending)

    def _take(self) -> tuple[int, int, int, bytes]:
        """Take lines of one priority from the queue, up to the place where lines are missing."""
        taken: list[bytes] = []
        priority = self._queue[0][0] if self._queue else 0
        octets = 0
        while (
            self._queue and octets < BATCH_BYTES and not (self._untold and not self._until_notice)
        ):
            if taken and (not self._target.joins or self._queue[0][0] != priority):
                break
            taken.append(self._queue.popleft()[1])
            octets += len(taken[-1])
            self._until_notice -= 1 if self._untold else 0
        return len(taken), octets, priority, b"".join(taken)

    def _write(self, priority: int, data: bytes) -> None:
        """Write all of it, however long that takes."""
        if not self._untold:
            self._trouble = ""
        at = 0
        while at < len(data):
            try:
                written = self._target.write(priority, memoryview(data)[at:])
            except OSError as error:
                self._trouble = f"{self._target.name}: {error.strerror or error}"
                self._pause()
            else:
                if not written:
                    self._trouble = self._target.stuck
                at += written
            if self._reopened and self._reopen() and at and data[at - 1 : at] != b"\n":
                # The rest of a line that is cut would be the first line of the new file.
                at = (data.find(b"\n", at) + 1) or len(data)
                self.drop()

    def _pause(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._reopened), self._retry_s)

    def _reopen(self) -> bool:
        """Reopen the target if that was requested. Return True if there is a new file."""
        with self._changed:
            asked, self._reopened = self._reopened, []
        problem: OSError | None = None
        if asked:
            try:
                self._target.reopen()
            except OSError as error:
                problem = error
        for done in asked:
            done(self._target.path, problem)
        return bool(asked) and problem is None

    def _tell_of_losses(self) -> None:
        with self._changed:
            if not self._untold or self._until_notice > 0:
                return
            lost, self._untold = self._untold, 0
            reason, self._trouble = self._trouble, ""
        reason = reason or f"they came faster than {self._target.name} takes them"
        self._write(self._target.notice_priority, self._notice(lost, reason))


_writers: WeakSet[LogWriter] = WeakSet()


def lines_lost() -> int:
    """How many log lines this process has dropped, all targets together."""
    return sum(writer.lost for writer in list(_writers))


def reopen_all(done: Reopened) -> int:
    """Reopen all log files, and return how many there are. See `LogWriter.reopen`."""
    moved = [writer for writer in list(_writers) if writer._target.path]
    for writer in moved:
        writer.reopen(done)
    return len(moved)


def finish_all(seconds: float = GRACE_S) -> None:
    """Write all queues before the process ends, waiting up to ``seconds`` for each."""
    for writer in list(_writers):
        writer.finish(seconds)


def _before_fork() -> None:
    for writer in list(_writers):
        writer.close()


def _after_fork_in_child() -> None:
    for writer in list(_writers):
        writer.forget()


os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
atexit.register(finish_all)
