"""Loggers for twistd's ``--logger`` that leave nothing out, debug level included."""

from __future__ import annotations

import sys

from twisted.logger import ILogObserver, LogLevel

from ctrader_twisted.log_targets import standard
from ctrader_twisted.logs import console_line, json_line, observer_of


def json() -> ILogObserver:
    """One JSON object a line, as the daemon's own logger writes it."""
    return observer_of(standard(sys.stderr, "standard error"), json_line, LogLevel.debug)


def console() -> ILogObserver:
    """Readable lines, as the daemon's own logger writes them."""
    return observer_of(standard(sys.stderr, "standard error"), console_line, LogLevel.debug)
