"""twistd that logs a flood at SIGUSR2, of lines with control characters and a secret in them."""

from __future__ import annotations

import signal
from typing import Any

from twisted.logger import Logger

log = Logger()
LINES = 30_000


def flood() -> None:
    """Log many lines in one turn of the reactor."""
    for number in range(LINES):
        log.info("line {number} of a flood \x1b[31m {text}", number=number, text="x" * 100)


def begin() -> None:
    """Do it whenever the signal comes."""
    from twisted.internet import reactor

    def asked(*_: Any) -> None:
        reactor.callFromThread(flood)  # type: ignore[attr-defined]

    signal.signal(signal.SIGUSR2, asked)


if __name__ == "__main__":
    from twisted.scripts.twistd import run

    begin()
    run()
