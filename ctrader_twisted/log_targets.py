"""Targets of log lines: an open descriptor, a log file, syslog.

A target writes as much as there is room for and returns how much that was. It waits for `POLL_S`
at most, except where the system gives no choice (a hung disk, the C library's syslog).
"""

from __future__ import annotations

import errno
import os
import select
import stat
import syslog
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from twisted.logger import Logger

# How long a write waits for room before it reports that there is none.
POLL_S = 0.25
# How much a pipe that is ready takes without blocking (at least 512 by POSIX, 4096 on Linux).
PIPE_BYTES = select.PIPE_BUF

# The mode of a new file. An existing one may be readable for a group, if its owner chose so.
FILE_MODE = 0o600
ALLOWED_MODE = 0o640


class Target(Protocol):
    """A place to write log lines to.

    ``joins``: several lines may be written at once. ``path``: of a file that can be reopened, else
    empty. ``stuck``: why lines are lost while `write` returns 0.
    """

    name: str
    stuck: str
    path: str
    joins: bool
    notice_priority: int

    def write(self, priority: int, data: memoryview) -> int:
        """Write some of it, and return how many bytes; 0 if there is no room. Raises OSError."""

    def reopen(self) -> None:
        """Open the target anew and close the old one. On an OSError the old one stays open."""


class Descriptor:
    """A descriptor that other processes may share, such as standard output.

    It stays in blocking mode, which is a property that all of them share; so `write` polls first.
    """

    path = ""
    joins = True
    notice_priority = 0

    def __init__(self, number: int, name: str) -> None:
        """``number`` is the file descriptor; -1 if there is none."""
        self.name = name
        self.stuck = f"the reader of {name} does not read"
        self._number = number

    def write(self, priority: int, data: memoryview) -> int:
        """Write as much as there is room for."""
        return write_some(self._number, data)

    def reopen(self) -> None:
        """Do nothing: only a file can be reopened."""


class LogFile:
    """A file that is appended to, and that others cannot read. It is never rotated from here."""

    joins = True
    notice_priority = 0
    log = Logger()

    def __init__(self, path: str) -> None:
        """Open the file; OSError if that fails. A FIFO without a reader is opened later."""
        self.path = self.name = os.path.abspath(path)
        self.stuck = f"the reader of {self.path} does not read"
        self._number = -1
        try:
            self._number = self._open()
        except OSError as error:
            if error.errno != errno.ENXIO or not Path(self.path).is_fifo():
                raise

    def write(self, priority: int, data: memoryview) -> int:
        """Append as much as there is room for."""
        if self._number < 0:
            self._number = self._open()
        return write_some(self._number, data)

    def reopen(self) -> None:
        """Open the file that has the path now, creating it if there is none."""
        old, self._number = self._number, self._open()
        if old >= 0:
            os.close(old)

    def close(self) -> None:
        """Close the file; a later write opens it again."""
        number, self._number = self._number, -1
        if number >= 0:
            os.close(number)

    def _open(self) -> int:
        # O_NONBLOCK: opening a FIFO without a reader fails instead of waiting.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        number = os.open(self.path, flags, FILE_MODE)
        self._close_to_others(number)
        return number

    def _close_to_others(self, number: int) -> None:
        status = os.fstat(number)
        mode = stat.S_IMODE(status.st_mode)
        if not stat.S_ISREG(status.st_mode) or not mode & ~ALLOWED_MODE:
            return
        try:
            os.fchmod(number, FILE_MODE)
        except OSError as error:
            self.log.warn(
                "the log file {path} is open to other users (mode {mode}), and that cannot be "
                "changed: {reason}; run chmod 600 as its owner",
                path=self.path,
                mode=f"{mode:o}",
                reason=error.strerror,
            )
        else:
            self.log.info(
                "the log file {path} was open to other users (mode {mode}): its mode is 600 now",
                path=self.path,
                mode=f"{mode:o}",
            )


class Stream:
    """A file object without a descriptor, such as a test uses as ``sys.stderr``.

    It is in memory and does not block, so it has the methods of a `log_writer.LogWriter` and is
    used in its place.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def put(self, line: bytes, priority: int = 0) -> None:
        """Write one line."""
        octets = getattr(self._stream, "buffer", None)
        # ValueError means that it is closed, and there is no other place to report that.
        with suppress(OSError, ValueError):
            if octets is None:
                self._stream.write(line.decode("utf-8", "replace"))
            else:
                octets.write(line)
            self._stream.flush()

    def is_full(self) -> bool:
        """Return False: there is always room."""
        return False

    def drop(self) -> None:
        """Do nothing: no line is dropped."""


class Syslog:
    """The system's log by the C library, which waits without limit while syslogd is stuck."""

    name = "syslog"
    stuck = "syslog does not take them"
    path = ""
    joins = False
    notice_priority = syslog.LOG_WARNING

    def __init__(self, prefix: str) -> None:
        """``prefix`` begins each line."""
        syslog.openlog(prefix, 0, syslog.LOG_USER)

    def write(self, priority: int, data: memoryview) -> int:
        """Send one event; each of its lines becomes a message."""
        for line in bytes(data).decode("utf-8", "replace").replace("\0", "").splitlines():
            syslog.syslog(priority, line)
        return len(data)

    def reopen(self) -> None:
        """Do nothing: only a file can be reopened."""


def standard(stream: Any, name: str) -> Descriptor | Stream:
    """The target for ``sys.stdout`` or ``sys.stderr``, which is None where it was closed."""
    if stream is None:
        return Descriptor(-1, name)
    try:
        return Descriptor(stream.fileno(), name)
    except (OSError, AttributeError):
        return Stream(stream)


def write_some(number: int, data: memoryview) -> int:
    """Write without waiting longer than `POLL_S`; 0 when there is no room. Raises OSError."""
    if number < 0:
        raise OSError(errno.EBADF, "it is closed")
    if stat.S_ISREG(os.fstat(number).st_mode):
        return os.write(number, data)
    room = select.poll()
    room.register(number, select.POLLOUT)
    if not room.poll(POLL_S * 1000):
        return 0
    return os.write(number, data[:PIPE_BYTES])
