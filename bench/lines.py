"""How measuring processes are told what to do: a word and numbers a line, answered in JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

Command = Callable[..., dict[str, Any] | None]


class Orders:
    """Lines on standard input; each is answered by one line on standard output.

    A command that returns None has not finished, and says its answer when it has.
    """

    def __init__(self, commands: dict[str, Command]) -> None:
        self._commands = commands
        self._rest = b""

    def fileno(self) -> int:
        """To wait for."""
        return sys.stdin.fileno()

    def read(self) -> None:
        """Whoever started us has written, or is gone: then so are we."""
        some = os.read(self.fileno(), 65_536)
        if not some:
            raise SystemExit(0)
        *lines, self._rest = (self._rest + some).split(b"\n")
        for line in lines:
            word, *numbers = line.decode().split()
            answer = self._commands[word](*map(float, numbers))
            if answer is not None:
                say(answer)


def say(answer: dict[str, Any]) -> None:
    """One line of JSON."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
