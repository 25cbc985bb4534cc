"""The files that settings come from: what they hold as text, or one sentence why not."""

from __future__ import annotations

import os
from pathlib import Path

from ctrader_twisted.config_files import FileRefused, check_file, read_file
from ctrader_twisted.errors import ConfigurationError
from ctrader_twisted.settings.keys import Given
from ctrader_twisted.settings.shown import may_be_secret


def read_text(path: Path) -> str:
    """The text of a configuration file: UTF-8, a byte order mark is no part of it."""
    return _decode(_read(path, str(path), is_private=False), str(path))


def read_secret(given: Given) -> str:
    """The text of the file that `given` names; only its owner may have rights on it."""
    path = Path(given.text.strip()).expanduser()
    # The secret itself, where its file should be named, is the usual mistake.
    is_path = "/" in given.text and not may_be_secret(given.text)
    known = is_path or os.path.exists(path)
    where = f"{path} (named by {given.where})" if known else f"the file that {given.where} names"
    text = _decode(_read(path, where, is_private=True), where).strip()
    if not text or not text.isprintable():
        raise ConfigurationError(f"{where} must hold the secret on one line, and nothing else.")
    return text


def check_readable(path: Path, where: str) -> None:
    """ConfigurationError for a file that is not read later, by the rules of `config_files`."""
    try:
        check_file(path)
    except (FileRefused, OSError) as problem:
        raise ConfigurationError(_refusal(where, problem)) from None


def _read(path: Path, where: str, *, is_private: bool) -> bytes:
    try:
        return read_file(path, is_private=is_private)
    except (FileRefused, OSError, ValueError) as problem:
        raise ConfigurationError(_refusal(where, problem)) from None


def _refusal(where: str, problem: Exception) -> str:
    if isinstance(problem, FileRefused):
        return f"{where} {problem}."
    reason = getattr(problem, "strerror", None) or "that is no file name"
    return f"{where} cannot be read ({reason}): name a file that exists and that we may read."


def _decode(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{where} is not UTF-8 text: save it as UTF-8.") from None
