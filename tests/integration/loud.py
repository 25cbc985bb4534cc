"""Loggers for twistd's ``--logger`` that leave nothing out, debug level included."""

from __future__ import annotations

import sys
from typing import TextIO

from twisted.logger import ILogObserver, LogEvent
from zope.interface import implementer

from ctrader_twisted.logs import console_line, json_line


@implementer(ILogObserver)
class _Loud:
    """Every event on standard error, as the daemon's own observer of that form writes it."""

    def __init__(self, form: str) -> None:
        self._render = {"json": json_line, "console": console_line}[form]
        # Taken now: Twisted replaces sys.stderr when logging begins.
        self._stream: TextIO = sys.stderr

    def __call__(self, event: LogEvent) -> None:
        """Write it, whatever its level."""
        self._stream.write(self._render(event))
        self._stream.flush()


def json() -> ILogObserver:
    """One JSON object a line."""
    return _Loud("json")


def console() -> ILogObserver:
    """Readable lines."""
    return _Loud("console")
