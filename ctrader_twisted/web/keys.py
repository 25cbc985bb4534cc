"""API keys: made once, shown once, kept as hashes in a file that only its owner can read.

A key is 256 random bits, so a plain SHA-256 is all the hashing that it needs: there is no
dictionary to try. The file is read again whenever it has changed; one that is gone, open to others
or damaged lets nobody in until it is right again.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable, Collection
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, Literal, cast

import msgspec
from twisted.logger import Logger

from ctrader_twisted.config_files import FileRefused, read_file, user_name
from ctrader_twisted.errors import ConfigurationError
from ctrader_twisted.logs import Secret
from ctrader_twisted.web.key_edits import editable_owners, locked

SCOPES = ("read", "trade", "admin")

# The beginning of every key, which tells a wrong key from a token of another system.
PREFIX = "cts_"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


class ApiKey(msgspec.Struct, frozen=True):
    """One key as it is stored. ``made_at``: when, in ISO 8601. Scopes imply nothing further."""

    name: Annotated[str, msgspec.Meta(pattern=rf"^{_NAME.pattern}\Z")]
    scopes: tuple[Literal["read", "trade", "admin"], ...]
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    made_at: str


class _File(msgspec.Struct):
    version: int = 1
    keys: list[ApiKey] = []


class KeyRing:
    """The keys of one file, as they are now."""

    log = Logger()

    def __init__(
        self,
        path: Path,
        *,
        digest: Callable[[Secret], str] | None = None,
        is_same: Callable[[str, str], bool] = hmac.compare_digest,
    ) -> None:
        """Reads the file; ConfigurationError with one sentence when that is not possible.

        ``digest`` and ``is_same`` are all the work that depends on a key that is shown: the same
        for every one, right or wrong.
        """
        self._path = path
        self._digest = digest or _digest
        self._is_same = is_same
        self._looks = _looks(path)
        self._keys = tuple(read_keys(path))

    def find(self, given: Secret) -> ApiKey | None:
        """The stored key that was presented; every stored one is compared, match or not."""
        self.look_again()
        digest = self._digest(given)
        found = None
        for key in self._keys:
            if self._is_same(key.sha256, digest):
                found = key
        return found

    def holds(self, key: ApiKey) -> bool:
        """False once a key has been revoked or its scopes were changed."""
        return key in self._keys

    def is_empty(self) -> bool:
        """No key at all."""
        return not self._keys

    def look_again(self) -> None:
        """Read the file again if it has changed since."""
        looks = _looks(self._path)
        if looks == self._looks:
            return
        self._looks = looks
        try:
            self._keys = tuple(read_keys(self._path))
        except ConfigurationError as error:
            self._keys = ()
            self.log.error("nobody is let in by a key: {reason}", reason=str(error))
        else:
            self.log.info("{count} keys were read again", count=len(self._keys))


# -- the file ----------------------------------------------------------------------------------


def list_keys(path: Path) -> list[ApiKey]:
    """The keys of a file for its editor, which can be root in the folder of another user."""
    return read_keys(path, editable_owners(path))


def read_keys(path: Path, owners: Collection[int] = ()) -> list[ApiKey]:
    """The keys of a file; ConfigurationError when it is missing, open to others or damaged.

    ``owners``: users besides root and our own who may own it.
    """
    try:
        return _decoded(path, read_file(path, is_private=True, owners=owners))
    except FileRefused as refused:
        raise ConfigurationError(f"the key file {path} {refused}.") from None
    except OSError as error:
        raise _unreadable(path, error) from None


def _decoded(path: Path, octets: bytes) -> list[ApiKey]:
    try:
        return msgspec.json.decode(octets, type=_File).keys
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ConfigurationError(
            f"the key file {path} is damaged: restore it, or move it away and make new keys."
        ) from None


def _unreadable(path: Path, error: OSError) -> ConfigurationError:
    if isinstance(error, PermissionError):
        remedy = (
            f"it must belong to {user_name(os.geteuid())}, and lie in a folder that this user can "
            "enter, such as /var/lib/ctrader-stream."
        )
    else:
        remedy = (
            f"make it with `ctrader-stream keys add NAME --scope read --file {quote(str(path))}`, "
            "as the user that runs the daemon."
        )
    return ConfigurationError(f"the key file {path} cannot be read ({error.strerror}): {remedy}")


def new_key() -> Secret:
    """The text of a new key."""
    return Secret(PREFIX + secrets.token_urlsafe(32))


def add_key(
    path: Path, name: str, scopes: Collection[str], made_at: str, text: Secret | None = None
) -> Secret:
    """Store a key, a new one by default; its text, which is nowhere else. The name must be new."""
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!a} is no name for a key: letters, digits, dot, dash, underscore and @, "
            "64 at most, beginning with a letter or digit."
        )
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        wrong = f"there is no scope {unknown[0]!r}" if unknown else "a key needs a scope"
        raise ConfigurationError(f"{wrong}: the scopes are read, trade and admin.")
    text = text or new_key()
    ordered = cast(Any, tuple(scope for scope in SCOPES if scope in scopes))
    with locked(path) as edit:
        keys = [] if edit.content is None else _decoded(path, edit.content)
        if any(key.name == name for key in keys):
            raise ConfigurationError(
                f"there is a key {name} in {path} already: revoke it first, or choose another name."
            )
        keys.append(ApiKey(name, ordered, _digest(text), made_at))
        edit.replace(_encoded(keys))
    return text


def revoke_key(path: Path, name: str) -> None:
    """Take a key out; whoever is connected with it is shown out within seconds."""
    with locked(path) as edit:
        if edit.content is None:
            raise _unreadable(path, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
        keys = _decoded(path, edit.content)
        left = [key for key in keys if key.name != name]
        if len(left) == len(keys):
            raise ConfigurationError(
                f"there is no key {name!a} in {path}: `ctrader-stream keys list` has the names."
            )
        edit.replace(_encoded(left))


def _encoded(keys: list[ApiKey]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(_File(keys=keys)), indent=2) + b"\n"


def _looks(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode, found.st_ctime_ns)


def _digest(text: Secret) -> str:
    return hashlib.sha256(text.reveal().encode("utf-8", "surrogatepass")).hexdigest()
