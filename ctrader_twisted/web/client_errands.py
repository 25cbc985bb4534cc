"""A client's request, as the log tells of it: taken, and answered.

Only what leads to the venue is told. What is answered from here (a ping, a health check, one more
client for a price that comes already) would drown it, and let any client fill the disk.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ctrader_twisted.accounts import Wanted
from ctrader_twisted.errands import Errand
from ctrader_twisted.logs import redact

# A word, or the method and path of an HTTP request.
_HARMLESS = re.compile(r"(?:[A-Z]{1,10} )?[A-Za-z0-9._/-]{1,100}")


class ClientErrand(Errand):
    """One request of a client.

    What it says of itself is looked at when it is told, and not before: most is never told.
    """

    __slots__ = ("_began_at", "_clock", "_is_told", "_request", "_request_id")

    log = Logger()

    def __init__(self, known_as: str, clock: IReactorTime, *, lasts: bool = False) -> None:
        super().__init__(known_as, lasts=lasts)
        self._request: object = None
        self._request_id: object = None
        self._clock = clock
        self._began_at = clock.seconds()
        self._is_told = False

    def asks(self, request: object, request_id: object = None) -> None:
        """What it asks for, and what the client calls it, in the client's own words."""
        self._request, self._request_id = request, request_id

    def leads_on(self) -> None:
        """The venue has to be asked: from now on this is a matter for the log."""
        if not self._is_told:
            self._is_told = True
            self.log.info(
                "[{correlation_id}] a client asks: {request} (its id: {request_id})",
                request=harmless(self._request),
                request_id=harmless(self._request_id),
                correlation_id=self.known_as,
            )

    def answered(self, outcome: str, symbols: Sequence[Wanted] = ()) -> None:
        """The client has its answer, or has gone; being answered twice changes nothing.

        ``symbols``: what it was told about each that it asked for.
        """
        self.end()
        if self._is_told:
            self._is_told = False
            self.log.info(
                "[{correlation_id}] the client was answered: {request}, {outcome}, after "
                "{duration_ms} ms",
                request=harmless(self._request),
                request_id=harmless(self._request_id),
                outcome=_told(symbols) if symbols else outcome,
                correlation_id=self.known_as,
                duration_ms=round((self._clock.seconds() - self._began_at) * 1000, 1),
            )


def _told(symbols: Sequence[Wanted]) -> str:
    """How many, by what they were told: ``2 pending, 1 UNKNOWN_SYMBOL``."""
    counts = Counter(one.code or ("pending" if one.pending else "had") for one in symbols)
    return ", ".join(f"{number} {what}" for what, number in counts.items())


def harmless(word: object) -> str:
    """A client's word as it may stand in the log: plain and short, and no secret; else "?"."""
    if word is None:
        return "-"
    text = str(word)[:112]
    return redact(text) if _HARMLESS.fullmatch(text) else "?"
