"""What is logged while a test runs, as the JSON log has it."""

from __future__ import annotations

import json
from typing import Any

from twisted.logger import LogEvent, LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.logs import console_line, json_line

Line = dict[str, Any]


class LogLines:
    """Every line from level info on; ``console`` has the same ones for people."""

    def __init__(self, case: SynchronousTestCase) -> None:
        self.lines: list[Line] = []
        self.console: list[str] = []
        globalLogPublisher.addObserver(self)
        case.addCleanup(globalLogPublisher.removeObserver, self)

    def __call__(self, event: LogEvent) -> None:
        """One event."""
        if event.get("log_level", LogLevel.info) >= LogLevel.info:
            self.lines.append(json.loads(json_line(event)))
            self.console.append(console_line(event))

    def of(self, known_as: str) -> list[str]:
        """The messages that belong to this correlation id, without the id in front."""
        front = f"[{known_as}] "
        mine = [one for one in self.lines if one.get("correlation_id") == known_as]
        return [one["message"].removeprefix(front) for one in mine]

    def about(self, word: str) -> list[Line]:
        """The lines whose message has this word in it."""
        return [one for one in self.lines if word in one["message"]]

    def ids(self, word: str) -> list[str]:
        """The correlation ids of these lines."""
        return [one.get("correlation_id", "") for one in self.about(word)]
