"""Terminal output of commands: colours only on a terminal, no error if the reader is gone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TextIO

_GOOD, _BAD, _DIM, _STRONG = "32", "31", "2", "1"


class Paint:
    """Adds colours to text; none for a pipe, a dumb terminal, or with NO_COLOR set."""

    def __init__(self, out: TextIO, environ: Mapping[str, str]) -> None:
        is_dumb = environ.get("TERM", "") in {"", "dumb"}
        self.is_terminal = out.isatty()
        self._is_on = self.is_terminal and not is_dumb and not environ.get("NO_COLOR")

    def good(self, text: str) -> str:
        """Green."""
        return self._in(_GOOD, text)

    def bad(self, text: str) -> str:
        """Red."""
        return self._in(_BAD, text)

    def dim(self, text: str) -> str:
        """Less bright."""
        return self._in(_DIM, text)

    def strong(self, text: str) -> str:
        """Bold."""
        return self._in(_STRONG, text)

    def _in(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._is_on and text else text


def say(out: TextIO, text: str) -> None:
    """Write the text. A reader that is gone (`| head`) does not change the exit status."""
    try:
        out.write(text)
        out.flush()
    except BrokenPipeError:
        pass
