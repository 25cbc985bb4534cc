"""The files that settings come from: what they hold as text, or one sentence why not."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ctrader_twisted.errors import ConfigurationError
from ctrader_twisted.settings.keys import Given
from ctrader_twisted.settings.shown import may_be_secret

FILE_LIMIT_BYTES = 1024 * 1024


def read_text(path: Path) -> str:
    """The text of a configuration file: UTF-8, a byte order mark is no part of it."""
    return _decode(_read(path, str(path), owner_only=False), str(path))


def read_secret(given: Given) -> str:
    """The text of the file that `given` names; only its owner may have rights on it."""
    path = Path(given.text.strip()).expanduser()
    # The secret itself, where its file should be named, is the usual mistake.
    is_path = "/" in given.text and not may_be_secret(given.text)
    known = is_path or os.path.exists(path)
    where = f"{path} (named by {given.where})" if known else f"the file that {given.where} names"
    text = _decode(_read(path, where, owner_only=True), where).strip()
    if not text or not text.isprintable():
        raise ConfigurationError(f"{where} must hold the secret on one line, and nothing else.")
    return text


def _read(path: Path, where: str, *, owner_only: bool) -> bytes:
    try:
        with path.open("rb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            if owner_only and mode & 0o077:
                raise ConfigurationError(
                    f"{where} holds a secret but is open to others (mode {mode:04o}): "
                    "chmod 600 it, so that only its owner can read it."
                )
            content = stream.read(FILE_LIMIT_BYTES + 1)
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or "that is no file name"
        raise ConfigurationError(
            f"{where} cannot be read ({reason}): name a file that exists and that we may read."
        ) from None
    if len(content) > FILE_LIMIT_BYTES:
        raise ConfigurationError(f"{where} is larger than 1 MiB: name the right file.")
    return content


def _decode(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{where} is not UTF-8 text: save it as UTF-8.") from None
