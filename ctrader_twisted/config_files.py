"""Reading of configured files: regular files of bounded size that no other user can change.

Such a file decides where credentials are sent, or holds a credential. So the file, and each folder
and link on the way to it, must belong to root or to the user of this process, and must not be
writable for others. Only the mode bits are checked; access control lists are not.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Collection
from pathlib import Path
from shlex import quote

from ctrader_twisted.errors import ConfigurationError, CtraderError

LIMIT_BYTES = 1024 * 1024
LINKS_MAX = 40

# Users whose files are accepted because the process will run as them (`twistd --uid`).
_later_users: set[int] = set()


class FileRefused(CtraderError):
    """A file that is not used. The text completes "FILE ..." and ends with the remedy."""

    def __init__(self, text: str) -> None:
        super().__init__(printable(text))


def printable(text: str) -> str:
    """The text with a question mark for each character that is not printable."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def whole_path(text: str) -> Path:
    """The absolute path of a file name; ``~`` and ``~user`` stand for home folders.

    Raises ValueError for a user without a home folder, and ConfigurationError for a relative name
    while the working directory is gone.
    """
    try:
        path = Path(text).expanduser()
    except RuntimeError as problem:
        raise ValueError from problem
    try:
        return path.absolute()
    except OSError:
        raise ConfigurationError(
            "a relative file name means nothing here, since the folder that this was started in "
            "does not exist any more: start it in another one, or write the whole path."
        ) from None


def may_be_there(path: Path) -> bool:
    """False only for a file that is not there: one that cannot be looked at may well be."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def trust_user(uid: int) -> None:
    """Accept files of this user as our own: the process will run as that user."""
    _later_users.add(uid)


def read_file(
    path: Path,
    *,
    limit_bytes: int = LIMIT_BYTES,
    is_private: bool = False,
    owners: Collection[int] = (),
) -> bytes:
    """The content of a configured file.

    ``is_private``: others must not be able to read it either. ``owners``: users besides root and
    our own who may own it. Raises FileRefused for a file that is not regular, is too large, or can
    be changed by others, and OSError for one that cannot be opened. Never blocks.
    """
    descriptor = _open(path, is_private, {0, os.geteuid(), *_later_users, *owners})
    with os.fdopen(descriptor, "rb") as stream:
        content = stream.read(limit_bytes + 1)
    _refuse_large(len(content), limit_bytes)
    return content


def check_file(path: Path) -> None:
    """Raise the same errors as `read_file`, except for size, without reading the file."""
    os.close(_open(path, False, {0, os.geteuid(), *_later_users}))


def check_opened(
    path: Path, found: os.stat_result, *, is_private: bool, owners: Collection[int]
) -> None:
    """Raise FileRefused for an open file that `read_file` would refuse, owned by ``owners``."""
    _refuse_special(found.st_mode)
    _refuse_foreign_owner(path, found, owners)
    if is_private:
        _refuse_readable(path, found, is_projected=False)
    _refuse_writable(path, found)
    _refuse_large(found.st_size, LIMIT_BYTES)


def check_opened_folder(path: Path, found: os.stat_result, *, owners: Collection[int]) -> None:
    """Raise FileRefused for an open folder in which others could replace files."""
    _refuse_foreign_folder(str(path), found, owners)


def _open(path: Path, is_private: bool, trusted: Collection[int]) -> int:
    # Checked before the open as well, since opening a device can have effects.
    _refuse_special(os.stat(path).st_mode)
    links = _refuse_foreign_way(path, trusted)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        _refuse_special(found.st_mode)
        _refuse_foreign_owner(path, found, trusted)
        if is_private:
            # Kubernetes mounts a Secret behind a link of this name.
            _refuse_readable(path, found, is_projected="..data" in links)
        _refuse_writable(path, found)
    except FileRefused:
        os.close(descriptor)
        raise
    return descriptor


# -- rules ----------------------------------------------------------------------------------------

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def _refuse_special(mode: int) -> None:
    for is_kind, name in _KINDS:
        if is_kind(mode):
            raise FileRefused(f"is {name}: name a regular file that can be read")


def _refuse_large(size: int, limit_bytes: int) -> None:
    if size > limit_bytes:
        raise FileRefused(f"is larger than {limit_bytes / 1024**2:g} MiB: name the right file")


def _refuse_writable(path: Path, found: os.stat_result) -> None:
    if _others_can_write(found):
        raise FileRefused(
            f"can be changed by other users (mode {stat.S_IMODE(found.st_mode):04o}): run `chmod "
            f"go-w {quote(str(path))}`, and check that nobody has changed it"
        )


def _refuse_foreign_owner(path: Path, found: os.stat_result, trusted: Collection[int]) -> None:
    if found.st_uid in trusted or _is_unmapped(found.st_uid):
        return
    or_us = f"or to {user_name(os.geteuid())}" if os.geteuid() else "(uid 0)"
    raise FileRefused(
        f"belongs to {user_name(found.st_uid)}, not to root {or_us}, who "
        f"reads it: check what it says, then run `chown {_account(os.geteuid())} "
        f"{quote(str(path))}`, or start as its owner"
    )


def _refuse_readable(path: Path, found: os.stat_result, is_projected: bool) -> None:
    mode = stat.S_IMODE(found.st_mode)
    # Secrets that Docker, Kubernetes and systemd mount belong to root and cannot be written.
    is_mounted = _is_root(found.st_uid) and (is_projected or not mode & 0o222)
    if mode & 0o077 and not is_mounted and not _is_on_a_volume(path, found):
        raise FileRefused(
            f"holds a secret but is open to others (mode {mode:04o}): chmod 600 it, so that only "
            "its owner can read it"
        )


def _is_on_a_volume(path: Path, found: os.stat_result) -> bool:
    """True for a file of which only owner and group have rights, on a volume given to that group.

    Kubernetes (``fsGroup``) sets the group's rights on every file at each start.
    """
    folder = os.stat(os.path.dirname(os.path.realpath(path)))
    is_given = folder.st_mode & stat.S_ISGID and folder.st_gid == found.st_gid
    return bool(is_given) and not found.st_mode & 0o007 and _is_private_group(found)


def _refuse_foreign_way(path: Path, trusted: Collection[int]) -> set[str]:
    """Check every folder and link from the root to a file. Return the names of the links."""
    links: list[str] = []
    here = "/"
    rest = list(reversed(path.absolute().parts[1:]))
    while rest:
        name = rest.pop()
        if name == "..":
            here = os.path.dirname(here)
            continue
        folder, entry = os.stat(here), os.path.join(here, name)
        _refuse_foreign_folder(here, folder, trusted)
        found = os.lstat(entry)
        if not stat.S_ISLNK(found.st_mode):
            here = entry
            continue
        if folder.st_mode & stat.S_ISVTX:
            # Every user can create a link in such a folder.
            _refuse_foreign_owner(Path(entry), found, trusted)
        links.append(name)
        if len(links) > LINKS_MAX:
            raise FileRefused("is behind too many links: name the file itself")
        target = Path(os.readlink(entry))
        here = "/" if target.is_absolute() else here
        rest += reversed([part for part in target.parts if part != "/"])
    return set(links)


def _refuse_foreign_folder(path: str, found: os.stat_result, trusted: Collection[int]) -> None:
    if found.st_uid not in trusted and not _is_unmapped(found.st_uid):
        raise FileRefused(
            f"is in a folder of {user_name(found.st_uid)} ({path}), who could replace it: move it "
            f"into a folder of root or of {user_name(os.geteuid())}"
        )
    # With the sticky bit, as on /tmp, only the owner of an entry can replace it.
    if _others_can_write(found) and not found.st_mode & stat.S_ISVTX:
        raise FileRefused(
            f"is in a folder that other users can write to ({path}, mode "
            f"{stat.S_IMODE(found.st_mode):04o}), so they could replace it: run `chmod go-w "
            f"{quote(str(path))}`"
        )


def _others_can_write(found: os.stat_result) -> bool:
    if found.st_mode & stat.S_IWOTH:
        return True
    return bool(found.st_mode & stat.S_IWGRP) and not _is_private_group(found)


def _is_private_group(found: os.stat_result) -> bool:
    """True for a group of our process that has no members but root and our own account.

    Distributions give each user such a group and let it write by default (umask 002), and
    Kubernetes gives volumes to one (``fsGroup``). root needs none.
    """
    ours, gid = os.geteuid(), found.st_gid
    if ours == 0 or gid not in {os.getegid(), *os.getgroups()}:
        return False
    try:
        members = set(grp.getgrgid(gid).gr_mem)
    except KeyError:
        members = set()
    return all(
        account.pw_uid in {0, ours}
        for account in pwd.getpwall()
        if account.pw_gid == gid or account.pw_name in members
    )


# -- users ----------------------------------------------------------------------------------------


def user_name(uid: int) -> str:
    """The user's name and id for a sentence."""
    name = _account(uid)
    return f"uid {uid}" if name == str(uid) else f"{name} (uid {uid})"


def _account(uid: int) -> str:
    """The user's name for a command; the id if there is no name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _is_root(uid: int) -> bool:
    return uid == 0 or _is_unmapped(uid)


def _is_unmapped(uid: int) -> bool:
    """True for the id that a user namespace shows for users that it does not map.

    In a rootless container the files of the host's root have this id.
    """
    try:
        if uid != int(Path("/proc/sys/kernel/overflowuid").read_text()):
            return False
        ranges = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    except (OSError, ValueError):
        return False
    return not any(int(first) <= uid < int(first) + int(count) for first, _, count in ranges)
