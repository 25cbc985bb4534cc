"""Atomic edits of the key file: locked, and by descriptors only.

root edits the file in a folder of the daemon's user, who could replace any name in it by a link. So
the folder is opened once, and owners are changed and files replaced by descriptor, never by path.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ctrader_twisted.config_files import FileRefused, check_opened, check_opened_folder
from ctrader_twisted.errors import ConfigurationError

LOCK_TIMEOUT_S = 10.0
LOCK_CHECK_S = 0.05

# Folders on the way need the right to search only.
_STEP = getattr(os, "O_PATH", os.O_RDONLY)
# Links are resolved before; one that appears after that is refused.
_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class KeyFileEdit:
    """The locked key file: its content, and the way to replace it."""

    def __init__(self, path: Path, folder: int) -> None:
        self._path = path
        self._folder = folder
        held_by = os.fstat(folder)
        self._owner = (held_by.st_uid, held_by.st_gid)
        check_opened_folder(path.parent, held_by, owners=_owners(held_by.st_uid))
        # None if there is no file yet.
        self.content = self._read()

    def _read(self) -> bytes | None:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
        try:
            descriptor = os.open(self._path.name, flags, dir_fd=self._folder)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise FileRefused("is a link: name the file that it leads to") from None
            raise
        try:
            found = os.fstat(descriptor)
            check_opened(self._path, found, is_private=True, owners=_owners(self._owner[0]))
        except FileRefused:
            os.close(descriptor)
            raise
        self._owner = (found.st_uid, found.st_gid)
        with os.fdopen(descriptor, "rb") as stream:
            return stream.read()

    def replace(self, octets: bytes) -> None:
        """Replace the file, keeping its owner (a new file gets the owner of the folder). After an
        OSError the old file is still in place.
        """
        fresh = f".{self._path.name}.{secrets.token_hex(4)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(fresh, flags, 0o600, dir_fd=self._folder)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(octets)
                stream.flush()
                # The umask may have removed rights.
                os.fchmod(descriptor, 0o600)
                if os.geteuid() == 0:
                    os.fchown(descriptor, *self._owner)
                os.fsync(descriptor)
            os.replace(fresh, self._path.name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except OSError:
            with suppress(OSError):
                os.unlink(fresh, dir_fd=self._folder)
            raise
        # Not every file system can sync a folder, and the new file is in place already.
        with suppress(OSError):
            os.fsync(self._folder)

    def forget_leftovers(self) -> None:
        """Remove the temporary files of editors that were killed before they replaced the file."""
        leftover = re.compile(rf"\.{re.escape(self._path.name)}\.[0-9a-f]{{8}}")
        for name in filter(leftover.fullmatch, os.listdir(self._folder)):
            with suppress(OSError):
                os.unlink(name, dir_fd=self._folder)


@contextmanager
def locked(path: Path, *, pause: Callable[[float], None] = time.sleep) -> Iterator[KeyFileEdit]:
    """Lock the key file for an edit. Raises ConfigurationError if that is not possible."""
    try:
        folder = _open_folder(path.parent)
    except OSError as error:
        raise ConfigurationError(
            f"the folder {path.parent} of the key file cannot be used ({error.strerror}): make it."
        ) from None
    try:
        _lock(folder, path, pause)
        edit = KeyFileEdit(path, folder)
        edit.forget_leftovers()
        yield edit
    except FileRefused as refused:
        raise ConfigurationError(f"the key file {path} {refused}.") from None
    except OSError as error:
        raise ConfigurationError(
            f"the key file {path} cannot be written ({error.strerror}), and nothing was changed: "
            "check the rights on its folder and the room on the disk."
        ) from None
    finally:
        os.close(folder)


def editable_owners(path: Path) -> Collection[int]:
    """Users besides root and our own who may own the key file: for root, the folder's owner."""
    try:
        return {os.stat(path.parent).st_uid} if os.geteuid() == 0 else ()
    except OSError:
        return ()


def _owners(of_folder: int) -> Collection[int]:
    return {0, os.geteuid(), of_folder} if os.geteuid() == 0 else {0, os.geteuid()}


def _open_folder(path: Path) -> int:
    """Open a folder step by step, so that no link can be swapped in on the way."""
    here = os.open("/", _STEP | _FOLDER)
    parts = Path(os.path.realpath(path, strict=True)).parts[1:]
    try:
        for part in parts:
            above = here
            here = os.open(part, _STEP | _FOLDER, dir_fd=above)
            os.close(above)
        # The last folder is locked and listed, for which the right to search is not enough.
        return os.open(".", os.O_RDONLY | _FOLDER, dir_fd=here)
    finally:
        os.close(here)


def _lock(folder: int, path: Path, pause: Callable[[float], None]) -> None:
    # Every user who can read the folder can hold the lock, so root must not wait for ever.
    for _ in range(round(LOCK_TIMEOUT_S / LOCK_CHECK_S)):
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pause(LOCK_CHECK_S)
        else:
            return
    raise ConfigurationError(
        f"the key file {path} is being edited by another process for more than "
        f"{LOCK_TIMEOUT_S:g} s: end that one, and try again."
    )
