"""A client's request, as the log tells of it: taken, and answered.

Only what leads to the venue is told. What is answered from here (a ping, a health check, one more
client for a price that comes already) would drown it, and let any client fill the disk. While there
is no venue anything may lead to it; so there is a limit as well.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ctrader_twisted.accounts import Wanted
from ctrader_twisted.budget import Bucket
from ctrader_twisted.errands import Errand
from ctrader_twisted.logs import redact

# How many requests of clients are told at once, and per second after that.
AT_ONCE = 200.0
PER_S = 50.0

# A word, or the method and path of an HTTP request.
_HARMLESS = re.compile(r"(?:[A-Z]{1,10} )?[A-Za-z0-9._/-]{1,100}")


class ClientLog:
    """Where the requests of clients are told of, as long as there are not too many."""

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self._room = Bucket(PER_S, clock.seconds(), AT_ONCE)

    def errand(self, known_as: str, *, lasts: bool = False) -> ClientErrand:
        """A request begins to be served (see `Errand`)."""
        return ClientErrand(known_as, self, lasts=lasts)

    def has_room(self) -> bool:
        """May one more be told? If so, it counts as told."""
        if self._room.wait(self.clock.seconds()) > 0:
            return False
        self._room.take()
        return True


class ClientErrand(Errand):
    """One request of a client.

    What it says of itself is looked at when it is told, and not before: most is never told.
    """

    __slots__ = ("_began_at", "_is_told", "_log", "_request", "_request_id")

    log = Logger()

    def __init__(self, known_as: str, client_log: ClientLog, *, lasts: bool = False) -> None:
        super().__init__(known_as, lasts=lasts)
        self._request: object = None
        self._request_id: object = None
        self._log = client_log
        self._began_at = client_log.clock.seconds()
        self._is_told = False

    def asks(self, request: object, request_id: object = None) -> None:
        """What it asks for, and what the client calls it, in the client's own words."""
        self._request, self._request_id = request, request_id

    def leads_on(self) -> None:
        """The venue has to be asked: from now on this is a matter for the log."""
        if not self._is_told and self._log.has_room():
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
                duration_ms=round((self._log.clock.seconds() - self._began_at) * 1000, 1),
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
