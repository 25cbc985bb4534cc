"""Edits of the key file: races, kills between two steps, full disks, and the resulting owner."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.errors import ConfigurationError
from ctrader_twisted.web import key_edits
from ctrader_twisted.web.keys import KeyRing, add_key, list_keys, revoke_key

# Nobody's: root gives files away to it, which only root can.
OTHER = 54321


class EditCase(SynchronousTestCase):
    """A folder with a key file in it; as root, both are another user's."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.above = Path(folder.name).resolve()
        self.folder = self.above / "state"
        self.folder.mkdir()
        self.path = self.folder / "keys.json"
        self.user = os.geteuid()
        if self.user == 0:
            self.user = OTHER
            os.chown(self.folder, OTHER, OTHER)
        # What must stay as it is, whatever happens to names.
        self.victim = self.above / "victim"
        self.victim.write_text("precious")
        self.victim.chmod(0o600)

    def add(self, name: str) -> None:
        """A new key."""
        add_key(self.path, name, ["read"], "2026-01-01T00:00:00Z")

    def names(self) -> list[str]:
        """Read the file."""
        return [key.name for key in list_keys(self.path)]

    def refusal(self, call: Callable[..., Any], *arguments: Any) -> str:
        """The one sentence that must come."""
        said = str(self.assertRaises(ConfigurationError, call, *arguments))
        self.assertTrue(said.endswith((".", "?")), said)
        self.assertNotIn("\n", said)
        return said

    def assert_victim_untouched(self) -> None:
        """Owner, mode and content are what they were."""
        found = self.victim.stat()
        self.assertEqual((found.st_uid, found.st_mode & 0o777), (os.geteuid(), 0o600))
        self.assertEqual(self.victim.read_text(), "precious")

    def leftovers(self) -> list[str]:
        """Files in the folder besides the key file."""
        return [path.name for path in self.folder.iterdir() if path != self.path]

    def forked(self, act: Callable[[], None]) -> int:
        """The exit status of a process that does this, and nothing of a test's end."""
        child = os.fork()
        if child == 0:
            status = 1
            try:
                act()
                status = 0
            except ConfigurationError:
                status = 3
            finally:
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class OwnerTest(EditCase):
    """Whose the file is, and that nothing else becomes theirs."""

    def test_owner_of_the_folder(self) -> None:
        """A new file belongs to the user whose folder it is in; an old one stays its owner's."""
        self.add("a")
        self.assertEqual(self.path.stat().st_uid, self.user)
        self.add("b")
        found = self.path.stat()
        self.assertEqual((found.st_uid, found.st_mode & 0o777), (self.user, 0o600))
        self.assertEqual(self.names(), ["a", "b"])

    def test_any_umask(self) -> None:
        """The owner can read the file and others cannot, whatever the umask."""
        for mask in (0o000, 0o777):
            before = os.umask(mask)
            self.addCleanup(os.umask, before)
            self.add(f"k{mask}")
            os.umask(before)
            self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_link_swapped_in(self) -> None:
        """Links for the new file, at every step of the edit, give nothing away."""
        for step in ("fchmod", "fchown", "fsync", "replace"):
            for old in (False, True):
                with self.subTest(step=step, old=old):
                    self.path.unlink(missing_ok=True)
                    if old:
                        self.add("old")
                    self._swap_at(step)
                    try:
                        self.add("new")
                    except ConfigurationError:
                        pass
                    finally:
                        key_edits.os = os  # type: ignore[attr-defined]
                    self.assert_victim_untouched()

    def _swap_at(self, step: str) -> None:
        folder, victim = self.folder, self.victim

        class Swapping:
            def __getattr__(self, name: str) -> Any:
                if name == step:
                    for entry in folder.glob(".keys.json.*"):
                        entry.unlink()
                        entry.symlink_to(victim)
                return getattr(os, name)

        self.patch(key_edits, "os", Swapping())

    def test_folder_swapped(self) -> None:
        """A link in the place of the folder, after the path was looked at, is refused."""
        elsewhere = self.above / "elsewhere"
        elsewhere.mkdir()
        look = os.path.realpath

        def looked(path: Any, **more: Any) -> str:
            found = look(path, **more)
            self.folder.rename(self.above / "away")
            self.folder.symlink_to(elsewhere)
            return found

        self.patch(os.path, "realpath", looked)
        self.assertIn("folder", self.refusal(self.add, "a"))
        self.assertEqual(list(elsewhere.iterdir()), [])

    def test_a_link_is_not_edited(self) -> None:
        """The file itself must be named; what the link leads to is left alone."""
        self.path.symlink_to(self.victim)
        self.assertIn("is a link", self.refusal(self.add, "a"))
        self.assertIn("is a link", self.refusal(revoke_key, self.path, "a"))
        self.assert_victim_untouched()

    def test_file_of_a_stranger(self) -> None:
        """A file of a user who neither owns the folder nor is root is not edited."""
        if os.geteuid() != 0:
            return  # Only root can give a file away.
        self.add("a")
        os.chown(self.path, OTHER + 1, OTHER + 1)
        self.assertIn(f"belongs to uid {OTHER + 1}", self.refusal(self.add, "b"))
        self.assertIn("belongs to", self.refusal(list_keys, self.path))
        # A daemon that runs as root does not take the file of another user, root's editor does.
        os.chown(self.path, OTHER, OTHER)
        self.assertEqual(self.names(), ["a"])
        self.assertIn(f"uid {OTHER}", self.refusal(KeyRing, self.path))

    def test_folder_that_others_can_write(self) -> None:
        """They could replace the file, so it is not begun there."""
        self.folder.chmod(0o777)
        self.assertIn("chmod go-w", self.refusal(self.add, "a"))
        self.assertEqual(self.leftovers(), [])

    def test_nothing_that_is_no_file(self) -> None:
        """A named pipe or a folder of that name is refused at once."""
        os.mkfifo(self.path, 0o600)
        self.assertIn("is a named pipe", self.refusal(self.add, "a"))
        self.assertIn("is a named pipe", self.refusal(KeyRing, self.path))
        self.path.unlink()
        self.path.mkdir()
        self.assertIn("is a directory", self.refusal(self.add, "a"))
        self.assertIn("is a directory", self.refusal(KeyRing, self.path))


class OneAtATimeTest(EditCase):
    """Two editors at once."""

    def test_the_second_waits(self) -> None:
        """It goes on when the first is done, with what that has written."""
        pauses: list[float] = []

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            os.close(self.held)

        self.add("a")
        self.held = os.open(self.folder, os.O_RDONLY)
        fcntl.flock(self.held, fcntl.LOCK_EX)
        with key_edits.locked(self.path, pause=pause) as edit:
            self.assertIn(b'"a"', edit.content or b"")
        self.assertEqual(len(pauses), 1)

    def test_not_for_ever(self) -> None:
        """Root gives up after a while if another process keeps the lock."""
        held = os.open(self.folder, os.O_RDONLY)
        self.addCleanup(os.close, held)
        fcntl.flock(held, fcntl.LOCK_EX)
        self.patch(key_edits, "LOCK_TIMEOUT_S", 0.1)
        self.assertIn("is being edited by another process", self.refusal(self.add, "a"))

    def test_many_processes(self) -> None:
        """Eight at once: every key is there."""
        children = []
        for number in range(8):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    self.add(f"k{number}")
                    status = 0
                finally:
                    os._exit(status)
            children.append(child)
        ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        self.assertEqual(ends, [0] * 8)
        self.assertEqual(sorted(self.names()), [f"k{number}" for number in range(8)])


class DeathTest(EditCase):
    """An editor that is killed, or cannot write."""

    def test_killed_between_two_steps(self) -> None:
        """Whichever: the old keys or the new ones are there, and the next edit cleans up."""
        self.add("a")
        step, is_done = 0, False
        while not is_done:
            step += 1
            self.assertLess(step, 200)

            class Dying:
                def __init__(self, left: int) -> None:
                    self.left = left

                def __getattr__(self, name: str) -> Any:
                    found = getattr(os, name)
                    if not callable(found):
                        return found
                    self.left -= 1
                    if self.left == 0:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return found

            dying = Dying(step)

            def edit(dying: Any = dying, step: int = step) -> None:
                key_edits.os = dying
                self.add(f"k{step}")

            before = self.names()
            is_done = self.forked(edit) == 0
            self.assertIn(self.names(), (before, [*before, f"k{step}"]))
        self.assertGreater(step, 10)
        self.add("last")
        self.assertEqual(self.leftovers(), [])
        self.assertIn("last", self.names())

    def test_full_disk(self) -> None:
        """A file that cannot be written whole: the old one stays, and nothing is left over."""
        self.add("a")
        stored = self.path.read_bytes()

        def edit() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
            self.add("b")

        self.assertEqual(self.forked(edit), 3)
        self.assertEqual(self.path.read_bytes(), stored)
        self.assertEqual(self.leftovers(), [])

    def test_no_step_that_fails(self) -> None:
        """No room at any of the steps is one sentence, and changes nothing."""
        self.add("a")
        stored = self.path.read_bytes()

        def full(*arguments: Any, **named: Any) -> Any:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        for step in ("fchmod", "fsync", "replace"):
            patched = self.patch(os, step, full)
            said = self.refusal(self.add, "b")
            patched.restore()
            self.assertIn("No space left on device", said)
            self.assertIn("nothing was changed", said)
            self.assertEqual(self.path.read_bytes(), stored)
            self.assertEqual(self.leftovers(), [])
