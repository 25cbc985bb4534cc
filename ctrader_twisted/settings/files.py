"""The files that settings come from: what they hold as text, or one sentence why not."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from twisted.logger import Logger

from ctrader_twisted.config_files import FileRefused, check_file, printable, read_file, whole_path
from ctrader_twisted.errors import ConfigurationError
from ctrader_twisted.logs import Secret
from ctrader_twisted.settings.keys import Given
from ctrader_twisted.settings.shown import may_be_secret


def read_text(path: Path) -> str:
    """The text of a configuration file: UTF-8, a byte order mark is no part of it."""
    return _decode(_read(path, str(path), is_private=False), str(path))


def read_secret(given: Given) -> str:
    """The text of the file that `given` names; only its owner may have rights on it."""
    name = given.text.strip()
    try:
        path = whole_path(name) if name.startswith("~") else Path(name)
    except ValueError:
        # No user of that name: it stays as it stands, and is not there.
        path = Path(name)
    # The secret itself, where its file should be named, is the usual mistake.
    is_path = "/" in given.text and not may_be_secret(given.text)
    known = is_path or os.path.exists(path)
    where = f"{path} (named by {given.where})" if known else f"the file that {given.where} names"
    text = _decode(_read(path, where, is_private=True), where).strip()
    if not text or not text.isprintable():
        raise ConfigurationError(f"{where} must hold the secret on one line, and nothing else.")
    return text


class SecretFile:
    """A secret in a file that is read again at each use, so that a new one needs no restart.

    While the file is missing, empty or half written, the last good value stays in use.
    """

    log = Logger()

    def __init__(self, given: Given, value: Secret, conceal: Callable[[Secret], None]) -> None:
        """``value``: what the file held at start. ``conceal`` is called with each new value before
        the value is used anywhere.
        """
        # Absolute, since twistd changes its working directory after the start.
        path = whole_path(given.text.strip())
        self._given = replace(given, text=str(path))
        self._value = value
        self._conceal = conceal
        self._complaint = ""
        # A value that looked half written; it is used if the next read finds it again.
        self._doubted: Secret | None = None

    def reveal(self) -> str:
        """Read the file and return the text of the secret."""
        try:
            found = Secret(read_secret(self._given))
        except ConfigurationError as error:
            self._complain(str(error))
            return self._value.reveal()
        if found == self._value:
            # A later half of it is doubted anew.
            self._doubted = None
        elif not self._is_doubtful(found):
            self._conceal(found)
            self._value = found
            self.log.info("a new secret was read: {where}", where=self._given.where)
        self._complaint = ""
        return self._value.reveal()

    def _is_doubtful(self, found: Secret) -> bool:
        """Return True, once, for a value that may be half written: it is the beginning of the last
        one, or much shorter.
        """
        text, last = found.reveal(), self._value.reveal()
        is_partial = last.startswith(text) or len(text) * 2 < len(last)
        if not is_partial or found == self._doubted:
            return False
        self._doubted = found
        return True

    def _complain(self, why: str) -> None:
        if why != self._complaint:
            self._complaint = why
            self.log.warn("the last good secret stays in use: {reason}", reason=why)


def check_readable(path: Path, where: str) -> None:
    """Raise ConfigurationError for a file that `config_files` would refuse to read."""
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
        return f"{printable(where)} {problem}."
    reason = getattr(problem, "strerror", None) or "that is no file name"
    return f"{where} cannot be read ({reason}): name a file that exists and that we may read."


def _decode(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{where} is not UTF-8 text: save it as UTF-8.") from None
