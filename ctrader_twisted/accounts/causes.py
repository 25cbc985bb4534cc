"""Whose request it was that made a symbol wanted: kept for the log until the symbol is had."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from twisted.internet.interfaces import IReactorTime

from ctrader_twisted import errands

# Notes of what nobody wants any more are looked for no more often than that.
LOOK_S = 1.0


class Causes:
    """The correlation id of the first request for each symbol that is not had yet.

    Never more than are wanted, plus what was noted within a second: a note whose symbol is not
    wanted any more names nobody.
    """

    def __init__(self, clock: IReactorTime, wanted: Callable[[], Collection[str]]) -> None:
        """``wanted`` gives the keys that somebody wants now."""
        self._clock = clock
        self._wanted = wanted
        self._known_as: dict[str, str] = {}
        self._looked_at = clock.seconds()

    def note(self, key: str) -> None:
        """Somebody asks for a symbol that is not had. The first one counts."""
        errand = errands.serving()
        if errand is None or not errand.known_as:
            return
        self._look(errand.known_as)
        if key not in self._known_as:
            self._known_as[key] = errand.known_as
            errand.leads_on()

    def of(self, keys: Iterable[str]) -> str:
        """The ids of those who caused these to be wanted, each once; empty when nobody did."""
        return " ".join(dict.fromkeys(filter(None, map(self._known_as.get, keys))))

    def drop(self, keys: Iterable[str]) -> None:
        """These are had, or cannot be had."""
        for key in keys:
            self._known_as.pop(key, None)

    def __len__(self) -> int:
        return len(self._known_as)

    def _look(self, asks: str) -> None:
        now = self._clock.seconds()
        if not self._known_as or now - self._looked_at < LOOK_S:
            return
        self._looked_at = now
        wanted = self._wanted()
        # What the present request has noted becomes wanted only when all of it has been looked at.
        self._known_as = {k: v for k, v in self._known_as.items() if k in wanted or v == asks}
