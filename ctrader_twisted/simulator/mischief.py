"""The switches that make the venue misbehave (skeleton)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from ctrader_twisted.simulator.venue import Venue


class Mischief:
    """Switches; ``clear`` undoes what lasts."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def attach(self, pause: Callable[[], Deferred[None]], resume: Callable[[], None]) -> None:
        """Hand over how the port closes and opens."""
        self._pause, self._resume = pause, resume

    def drop(self) -> None:
        """Cut every connection without a word."""
        self._venue.abort_all()

    def clear(self) -> None:
        """All is well again."""
        self._venue.rules.clear()
        self._venue.refusing = False
