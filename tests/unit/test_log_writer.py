"""`LogWriter` and its targets: the caller never waits, and lost lines are counted and reported."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted import log_writer, upkeep
from ctrader_twisted.log_targets import Descriptor, LogFile, Stream, standard
from ctrader_twisted.log_writer import LogWriter, lines_lost, reopen_all

PATIENCE_S = 20.0


class Gate:
    """A target that takes what it may: everything, nothing (`stop`), or fails with `error`."""

    name = "the gate"
    stuck = "the gate is shut"
    path = ""
    joins = True
    notice_priority = 4

    def __init__(self) -> None:
        self.taken = b""
        self.priorities: list[int] = []
        self.error: OSError | None = None
        self.at_once = 1 << 20
        self.reopened = 0
        self.asked = threading.Event()
        self.refused = threading.Event()
        self._open = threading.Event()
        self._open.set()

    def stop(self) -> None:
        """Take nothing from now on."""
        self._open.clear()

    def go(self) -> None:
        """Take everything again."""
        self.error = None
        self._open.set()

    def write(self, priority: int, data: memoryview) -> int:
        """As a target does."""
        self.asked.set()
        if self.error is not None:
            raise self.error
        if not self._open.wait(0.01):
            self.refused.set()
            return 0
        self.priorities.append(priority)
        self.taken += bytes(data[: self.at_once])
        return len(data[: self.at_once])

    def reopen(self) -> None:
        """As a target does."""
        self.reopened += 1
        if self.error is not None:
            raise self.error
        self.taken += b"(new file)"


def notice(lost: int, reason: str) -> bytes:
    return f"[{lost} lost: {reason}]\n".encode()


class WriterCase(SynchronousTestCase):
    """A writer before a gate."""

    def setUp(self) -> None:
        self.gate = Gate()

    def writer(self, **more: Any) -> LogWriter:
        """One that ends with the test."""
        writer = LogWriter(self.gate, notice, **{"retry_s": 0.01, **more})
        self.addCleanup(writer.close)
        self.addCleanup(self.gate.go)
        return writer

    def held(self, **more: Any) -> LogWriter:
        """One whose thread has a first line in hand and cannot write it."""
        writer = self.writer(**more)
        self.gate.stop()
        writer.put(b"first\n")
        self.assertTrue(self.gate.refused.wait(PATIENCE_S))
        return writer


class LogWriterTest(WriterCase):
    """The queue and its thread."""

    def test_in_order(self) -> None:
        """Everything that is put is written, in the order in which it came."""
        writer = self.writer()
        for number in range(1000):
            writer.put(b"%d\n" % number)
        self.assertTrue(writer.flush(PATIENCE_S))
        self.assertEqual(self.gate.taken.split(), [b"%d" % number for number in range(1000)])
        self.assertEqual(writer.lost, 0)

    def test_a_target_that_takes_nothing(self) -> None:
        """Whoever logs goes on; lines beyond the bound are lost, counted, and told in their place
        when the target takes lines again.
        """
        before = lines_lost()
        writer = self.held(max_lines=3)
        began = time.monotonic()
        for number in range(100):
            writer.put(b"%d\n" % number)
        self.assertLess(time.monotonic() - began, 1)
        self.assertTrue(writer.is_full())
        writer.drop()
        self.assertEqual((writer.lost, lines_lost() - before), (99, 99))
        self.gate.go()
        self.assertTrue(writer.flush(PATIENCE_S))
        writer.put(b"later\n")
        writer.close(PATIENCE_S)
        told = b"first\n0\n1\n[99 lost: the gate is shut]\nlater\n"
        self.assertEqual(self.gate.taken, told)

    def test_lost_again(self) -> None:
        """Each gap has a line of its own, and the sum is right."""
        writer = self.held(max_lines=2)
        for _ in range(3):
            for number in range(10):
                writer.put(b"%d\n" % number)
            self.gate.go()
            self.assertTrue(writer.flush(PATIENCE_S))
            self.gate.stop()
            self.gate.asked.clear()
            writer.put(b"next\n")
            self.assertTrue(self.gate.asked.wait(PATIENCE_S))
        self.gate.go()
        writer.close(PATIENCE_S)
        self.assertEqual(self.gate.taken.count(b"[9 lost: "), 3)
        self.assertEqual(writer.lost, 27)

    def test_bytes(self) -> None:
        """What waits is bounded in bytes, too; a line larger than that is lost."""
        writer = self.held(max_bytes=100)
        writer.put(b"x" * 90 + b"\n")
        writer.put(b"y" * 90 + b"\n")
        writer.put(b"z" * 1000 + b"\n")
        self.assertEqual(writer.lost, 2)
        self.gate.go()
        writer.close(PATIENCE_S)
        self.assertNotIn(b"y", self.gate.taken)
        self.assertIn(b"[2 lost: ", self.gate.taken)

    def test_errors(self) -> None:
        """A full disk, a reader that left: tried again, and the line has the system's words."""
        for number in (errno.ENOSPC, errno.EIO, errno.EPIPE, errno.EBADF, errno.EAGAIN):
            self.gate = Gate()
            writer = self.writer(max_lines=2)
            self.gate.error = OSError(number, os.strerror(number))
            writer.put(b"first\n")
            self.assertTrue(self.gate.asked.wait(PATIENCE_S))
            for _ in range(5):
                writer.put(b"more\n")
            self.gate.go()
            writer.close(PATIENCE_S)
            words = f"[4 lost: the gate: {os.strerror(number)}]\n".encode()
            self.assertEqual(self.gate.taken, b"first\nmore\n" + words)

    def test_a_flood(self) -> None:
        """Lines that come faster than they can be written are lost with that reason."""
        writer = self.writer(max_lines=2)
        with writer._changed:
            for _ in range(5):
                writer.put(b"more\n")
        writer.close(PATIENCE_S)
        self.assertIn(b"[3 lost: they came faster than the gate takes them]", self.gate.taken)

    def test_partial_writes(self) -> None:
        """A target may take a few bytes at a time."""
        self.gate.at_once = 3
        writer = self.writer()
        for _ in range(10):
            writer.put(b"0123456789\n")
        writer.close(PATIENCE_S)
        self.assertEqual(self.gate.taken, b"0123456789\n" * 10)

    def test_line_by_line(self) -> None:
        """A target that joins no lines gets each with its priority."""
        self.gate.joins = False
        writer = self.writer()
        with writer._changed:
            for priority in (6, 6, 3, 4):
                writer.put(b"a\n", priority)
        writer.close(PATIENCE_S)
        self.assertEqual(self.gate.priorities, [6, 6, 3, 4])

    def test_within_itself(self) -> None:
        """A signal handler or a destructor may log in the middle of a line that is being put."""
        writer = self.writer()
        with writer._changed:
            writer.put(b"inside\n")
        self.assertTrue(writer.flush(PATIENCE_S))
        self.assertEqual(self.gate.taken, b"inside\n")

    def test_no_thread_to_be_had(self) -> None:
        """Where the system has no thread left, the line waits, and the next one tries again."""
        writer = self.writer()
        with mock.patch.object(threading.Thread, "start", side_effect=RuntimeError("none left")):
            writer.put(b"one\n")
        writer.put(b"two\n")
        self.assertTrue(writer.flush(PATIENCE_S))
        self.assertEqual(self.gate.taken, b"one\ntwo\n")

    def test_the_end(self) -> None:
        """At the end every line is waited for, within one bound for all together."""
        writer = self.held()
        began = time.monotonic()
        writer.finish(0.2)
        for _ in range(10):
            writer.put(b"goodbye\n")
        self.assertLess(time.monotonic() - began, 5)
        self.gate.go()
        self.assertTrue(writer.flush(PATIENCE_S))
        self.assertEqual(self.gate.taken.count(b"goodbye"), 10)

    def test_the_end_is_written_before_it_returns(self) -> None:
        """With a target that takes lines, each is written when `put` returns."""
        writer = self.writer()
        writer.finish(PATIENCE_S)
        writer.put(b"goodbye\n")
        self.assertEqual(self.gate.taken, b"goodbye\n")

    def test_a_thread_is_started_again(self) -> None:
        """After `close`, as before a fork, the next line starts another thread."""
        writer = self.writer()
        for _ in range(3):
            writer.put(b"a\n")
            writer.close(PATIENCE_S)
            self.assertIsNone(writer._thread)
        self.assertEqual(self.gate.taken, b"a\n" * 3)

    def test_a_fork(self) -> None:
        """The child writes what it logs itself, and nothing a second time."""
        reading, writing = os.pipe()
        writer = LogWriter(Descriptor(writing, "a pipe"), notice)
        self.addCleanup(os.close, reading)
        self.addCleanup(os.close, writing)
        self.addCleanup(writer.close)
        writer.put(b"before\n")
        child = os.fork()
        if child == 0:
            try:
                writer.put(b"in the child\n")
                os._exit(0 if writer.flush(PATIENCE_S) else 1)
            finally:
                os._exit(2)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
        writer.put(b"in the parent\n")
        self.assertTrue(writer.flush(PATIENCE_S))
        self.assertEqual(os.read(reading, 1000), b"before\nin the child\nin the parent\n")


class ReopenTest(WriterCase):
    """A new file in the place of one that was moved."""

    def reopen(self, writer: LogWriter) -> list[OSError | None]:
        """Ask for it, and wait until it is done."""
        told: list[OSError | None] = []
        done = threading.Event()

        def tell(path: str, error: OSError | None) -> None:
            told.append(error)
            done.set()

        writer.reopen(tell)
        self.assertTrue(done.wait(PATIENCE_S))
        return told

    def test_between_lines(self) -> None:
        """What was put before is in the old file."""
        writer = self.writer()
        writer.put(b"old\n")
        self.assertTrue(writer.flush(PATIENCE_S))
        self.assertEqual(self.reopen(writer), [None])
        writer.put(b"new\n")
        writer.close(PATIENCE_S)
        self.assertEqual(self.gate.taken, b"old\n(new file)new\n")

    def test_while_it_is_stuck(self) -> None:
        """A target that takes nothing is exchanged at once: that may be what was wrong."""
        writer = self.held()
        self.assertEqual(self.reopen(writer), [None])
        self.gate.go()
        writer.close(PATIENCE_S)
        self.assertEqual(self.gate.taken, b"(new file)first\n")

    def test_in_the_middle_of_a_line(self) -> None:
        """A line that the old file has the half of does not begin the new one."""
        self.gate.at_once = 4
        writer = self.writer()

        def fail_after_four(priority: int, data: memoryview) -> int:
            if self.gate.taken == b"0123":
                self.gate.asked.set()
                return 0
            return Gate.write(self.gate, priority, data)

        self.gate.asked.clear()
        self.gate.write = fail_after_four  # type: ignore[method-assign]
        with writer._changed:
            writer.put(b"0123456789\n")
            writer.put(b"next\n")
        while self.gate.taken != b"0123":
            self.assertTrue(self.gate.asked.wait(PATIENCE_S))
        self.assertEqual(self.reopen(writer), [None])
        writer.close(PATIENCE_S)
        self.assertTrue(self.gate.taken.startswith(b"0123(new file)next\n"), self.gate.taken)
        self.assertEqual(writer.lost, 1)

    def test_that_fails(self) -> None:
        """The old target stays in use, and the caller is told why."""
        writer = self.writer()
        self.gate.error = OSError(errno.ENOENT, "gone")
        self.assertEqual(self.reopen(writer), [self.gate.error])
        self.gate.go()
        writer.put(b"old\n")
        writer.close(PATIENCE_S)
        self.assertEqual(self.gate.taken, b"old\n")

    def test_nothing_to_reopen(self) -> None:
        """Standard output is no file that could be moved."""
        self.writer()
        before = reopen_all(lambda *_: None)
        self.writer()
        self.assertEqual(reopen_all(lambda *_: None), before)


class FileCase(SynchronousTestCase):
    """A folder, and what is logged meanwhile."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.path = self.folder / "daemon.log"
        self.said: list[str] = []
        self.addCleanup(os.umask, os.umask(0))

        def hear(event: LogEvent) -> None:
            self.said.append(formatEvent(event))

        globalLogPublisher.addObserver(hear)
        self.addCleanup(globalLogPublisher.removeObserver, hear)

    def file(self) -> LogFile:
        """Our log file."""
        file = LogFile(str(self.path))
        self.addCleanup(file.close)
        return file

    def mode(self) -> int:
        """The mode of the file."""
        return stat.S_IMODE(self.path.stat().st_mode)


class LogFileTest(FileCase):
    """The file of ``--logfile``."""

    def test_a_new_one(self) -> None:
        """Nobody else can read it, whatever the umask is; nor the one after a rotation."""
        file = self.file()
        file.write(0, memoryview(b"old\n"))
        self.assertEqual(self.mode(), 0o600)
        self.path.rename(f"{self.path}.1")
        file.reopen()
        file.write(0, memoryview(b"new\n"))
        self.assertEqual(self.mode(), 0o600)
        self.assertEqual(self.path.read_text(), "new\n")
        self.assertEqual(self.said, [])

    def test_one_that_exists(self) -> None:
        """It is appended to; rights of others, or to write, are taken away, and that is said."""
        for before, after in ((0o644, 0o600), (0o666, 0o600), (0o602, 0o600), (0o755, 0o600)):
            self.said.clear()
            self.path.write_text("before\n")
            self.path.chmod(before)
            self.file().write(0, memoryview(b"after\n"))
            self.assertEqual(self.mode(), after)
            self.assertEqual(self.path.read_text(), "before\nafter\n")
            (line,) = self.said
            self.assertIn(f"(mode {before:o})", line)

    def test_a_group_that_may_read(self) -> None:
        """Mode 640 is what a rotation tool makes on purpose, for those who collect logs."""
        for mode in (0o600, 0o640, 0o400):
            self.path.write_text("")
            self.path.chmod(mode)
            if os.access(self.path, os.W_OK):
                self.file()
                self.assertEqual(self.mode(), mode)
        self.assertEqual(self.said, [])

    def test_another_users(self) -> None:
        """Where the mode cannot be changed it is said what to do."""
        self.path.write_text("")
        self.path.chmod(0o644)
        with mock.patch("os.fchmod", side_effect=PermissionError(1, "Operation not permitted")):
            self.file()
        (line,) = self.said
        self.assertIn("run chmod 600 as its owner", line)

    def test_devices(self) -> None:
        """The mode of a device is none of our business."""
        before = os.stat("/dev/null").st_mode
        self.path = Path("/dev/null")
        self.assertEqual(self.file().write(0, memoryview(b"x\n")), 2)
        self.assertEqual(os.stat("/dev/null").st_mode, before)

    def test_a_full_disk(self) -> None:
        """It fails with the system's error, each time."""
        self.path = Path("/dev/full")
        file = self.file()
        for _ in range(2):
            error = self.assertRaises(OSError, file.write, 0, memoryview(b"x\n"))
            self.assertEqual(error.errno, errno.ENOSPC)

    def test_a_fifo(self) -> None:
        """Without a reader it fails, and does not wait; with one that reads nothing it fills up;
        when the reader has left it fails again.
        """
        os.mkfifo(self.path)
        file = self.file()
        self.assertRaises(OSError, file.write, 0, memoryview(b"x\n"))
        reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, os.dup(reader))
        taken = 1
        while taken:
            taken = file.write(0, memoryview(b"x" * 4096))
        self.assertEqual(os.read(reader, 10), b"x" * 10)
        os.close(reader)

    def test_no_such_folder(self) -> None:
        """It is an error at once."""
        self.path = self.folder / "nowhere" / "daemon.log"
        self.assertRaises(OSError, self.file)

    def test_a_reopening_that_fails(self) -> None:
        """The old file stays open."""
        inner = self.folder / "logs"
        inner.mkdir()
        self.path = inner / "daemon.log"
        file = self.file()
        inner.rename(f"{inner}.1")
        self.assertRaises(OSError, file.reopen)
        file.write(0, memoryview(b"still\n"))
        self.assertEqual(Path(f"{inner}.1", "daemon.log").read_text(), "still\n")


class StandardTest(SynchronousTestCase):
    """Standard output and error."""

    def test_a_pipe_that_is_not_read(self) -> None:
        """It takes what there is room for, stays in blocking mode, and never makes us wait."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        self.addCleanup(os.close, writing)
        target = Descriptor(writing, "standard output")
        total = 0
        while taken := target.write(0, memoryview(b"x" * 100_000)):
            total += taken
        self.assertEqual(len(os.read(reading, total)), total)
        self.assertTrue(os.get_blocking(writing))
        self.assertEqual(target.write(0, memoryview(b"again\n")), 6)

    def test_a_reader_that_has_left(self) -> None:
        """It is an error, and no signal."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)
        os.close(reading)
        error = self.assertRaises(
            BrokenPipeError, Descriptor(writing, "x").write, 0, memoryview(b"x\n")
        )
        self.assertEqual(error.errno, errno.EPIPE)

    def test_closed(self) -> None:
        """``>&-``: there is no stream, and its number may be a socket's by now."""
        target = standard(None, "standard output")
        assert isinstance(target, Descriptor)
        error = self.assertRaises(OSError, target.write, 0, memoryview(b"x\n"))
        self.assertEqual(error.errno, errno.EBADF)

    def test_a_stream_without_a_descriptor(self) -> None:
        """It is written to at once; one that is closed costs nothing."""
        with tempfile.SpooledTemporaryFile(mode="w+") as file:
            target = Stream(file)
            target.put(b"line\n")
            target.drop()
            self.assertFalse(target.is_full())
            file.seek(0)
            self.assertEqual(file.read(), "line\n")
        target.put(b"nobody hears it\n")


class MovedLogTest(FileCase):
    """SIGHUP, as `upkeep` takes it."""

    def writer(self) -> LogWriter:
        """The daemon's."""
        writer = LogWriter(self.file(), notice)
        self.addCleanup(writer.close)
        return writer

    def reopened(self, look: Callable[[str], bool]) -> str:
        """Reopen all, and wait for the line about ours."""
        heard = threading.Event()
        lines: list[str] = []

        def hear(event: LogEvent) -> None:
            line = formatEvent(event)
            if look(line):
                lines.append(line)
                heard.set()

        globalLogPublisher.addObserver(hear)
        self.addCleanup(globalLogPublisher.removeObserver, hear)
        upkeep.reopen_logs()
        self.assertTrue(heard.wait(PATIENCE_S))
        return lines[0]

    def test_reopened(self) -> None:
        """After a rotation tool has moved the file, lines go to a new one of the old name."""
        writer = self.writer()
        writer.put(b"before\n")
        self.assertTrue(writer.flush(PATIENCE_S))
        self.path.rename(f"{self.path}.1")
        self.reopened(lambda line: line == f"log file {self.path} was reopened")
        writer.put(b"after\n")
        self.assertTrue(writer.flush(PATIENCE_S))
        self.assertEqual(self.path.read_text(), "after\n")
        self.assertEqual(Path(f"{self.path}.1").read_text(), "before\n")

    def test_cannot_be_reopened(self) -> None:
        """Where the new file cannot be made the old one is kept, and it is said why."""
        inner = self.folder / "logs"
        inner.mkdir()
        self.path = inner / "daemon.log"
        self.writer()
        inner.rename(f"{inner}.1")
        line = self.reopened(lambda line: str(self.path) in line)
        self.assertIn("cannot be reopened", line)
        self.assertIn("No such file or directory", line)

    def test_nothing_to_reopen(self) -> None:
        """Where logs go to standard output, SIGHUP says that there is nothing to do."""
        self.patch(log_writer, "_writers", set())
        upkeep.reopen_logs()
        self.assertEqual(self.said, ["no log file is open: there is nothing to reopen"])
