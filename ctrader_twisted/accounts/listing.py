"""The venue's lists of symbols: which one is in force, and when the next is requested.

A venue that has just restarted may send lists that are empty or short. A list without most of the
symbols of the one before is rejected: the catalogue stays as it was, and the venue is asked again
soon. A list that has been short for `DOUBTED_S` is accepted; an empty one never is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ctrader_twisted import errands
from ctrader_twisted.market.symbols import Catalogue
from ctrader_twisted.metrics import Metrics

# Seconds between two requests for a list that may be out of date, so that clients that ask for
# unknown names do not cause a request each.
RELIST_SOON_S = 1.0
RELIST_PAUSE_S = 60.0
# Seconds until the next request if a list was rejected or lacks a wanted symbol; doubled each time,
# up to RELIST_PAUSE_S.
RELIST_FIRST_S = 2.0
# Seconds for which a much shorter list is taken for a fault of the venue.
DOUBTED_S = 900.0
# How many further lists are requested after one that lost a symbol, even one that is not wanted.
# The delay doubles up to LOOK_PAUSE_S, so they are spread over most of a day.
LOOKS = 30
LOOK_PAUSE_S = 3600.0
# How many lost symbols are remembered until a list has them again.
LOST_MOST = 10_000


class Listing:
    """The catalogue of one account, made from the venue's lists, and the timer of the next list."""

    log = Logger()
    catalogue: Catalogue | None = None
    # Why the newest list was rejected; empty if it is in force.
    fault = ""
    _timer: IDelayedCall | None = None
    _for = ""
    _doubted_since: float | None = None
    _has_asked = False
    # Whether the newest list lacks a wanted symbol; how many requests in a row were made for one
    # that does not; how many are still to come after a list that lost a symbol.
    _is_wanting, _in_vain, _looks = False, 0, 0

    def __init__(self, *, clock: IReactorTime, metrics: Metrics, ask: Callable[[], None]) -> None:
        """``ask()`` requests the list from the venue; a call of `take` or `failed` follows."""
        self._clock = clock
        self._metrics = metrics
        self._ask = ask
        self._listed_at = 0.0
        self.lists = 0
        # Names that an earlier list offered and the newest one does not.
        self._lost = set[str]()

    def take(self, listed: Catalogue) -> bool:
        """Accept or reject a new list; True if it is in force now."""
        self._listed_at = self._clock.seconds()
        before = self.catalogue
        if before is not None and listed.is_fraction_of(before) and self._is_doubtful(listed):
            self._doubt(listed, before)
            return False
        self.lists += 1
        self._doubted_since, self.fault = None, ""
        self.catalogue = catalogue = Catalogue(listed.listed, before)
        if before is not None:
            self._note_lost(before.names, catalogue.names)
        if catalogue.shadowed:
            self.log.warn(
                "{count} symbols have the name or id of another, and are left out",
                count=len(catalogue.shadowed),
            )
        return True

    def is_wanting(self, wanting: bool) -> None:
        """Note whether the newest list lacks a wanted symbol; if so, request the next one soon."""
        self._is_wanting = wanting or bool(self.fault)
        if self._is_wanting or self._looks:
            self._looks = max(0, self._looks - 1)
            self._later(RELIST_PAUSE_S if self._is_wanting else LOOK_PAUSE_S)
        else:
            self._in_vain = 0

    def failed(self) -> None:
        """Schedule the next request: the venue sent no list."""
        if self._is_wanting:
            self._later(RELIST_PAUSE_S)
        else:
            self._in(RELIST_PAUSE_S)

    def soon(self) -> None:
        """Schedule a request, since the list may be out of date."""
        # Only a second list tells whether the first one was whole, so it follows early.
        pause_s = RELIST_PAUSE_S if self.lists > 1 or self._has_asked else RELIST_FIRST_S
        since = self._clock.seconds() - self._listed_at
        self._in(max(RELIST_SOON_S, pause_s - since))

    def next_s(self) -> float | None:
        """Seconds until the next list is requested; None if no request is scheduled."""
        return None if self._timer is None else self._timer.getTime() - self._clock.seconds()

    def end(self) -> None:
        """Cancel the next request: the session ended, and the next one begins with a list."""
        self._in_vain = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- inside

    def _is_doubtful(self, listed: Catalogue) -> bool:
        since = self._doubted_since
        return not listed.names or since is None or self._clock.seconds() < since + DOUBTED_S

    def _doubt(self, listed: Catalogue, before: Catalogue) -> None:
        if self._doubted_since is None:
            self._doubted_since = self._clock.seconds()
        self._metrics.count("symbol_lists_rejected")
        self.fault = (
            f"the venue's newest list has {len(listed.names)} enabled symbols, the one before it "
            f"had {len(before.names)}"
        )
        self.log.warn("list of symbols rejected: {fault}; the old one stays", fault=self.fault)

    def _note_lost(self, before: Collection[str], now: Collection[str]) -> None:
        lost = set(before).difference(now)
        self._lost = (self._lost if len(self._lost) <= LOST_MOST else lost).difference(now) | lost
        if lost:
            self._looks = LOOKS
        elif not self._lost:
            self._looks = 0

    def _later(self, longest_s: float) -> None:
        # 2**n without an upper bound would overflow after months.
        delay_s = min(RELIST_FIRST_S * 2.0 ** min(self._in_vain, 32), longest_s)
        self._in_vain += 1
        self._in(delay_s)

    def _in(self, delay_s: float) -> None:
        if self._timer is not None:
            if self._timer.getTime() <= self._clock.seconds() + delay_s:
                return
            self._timer.cancel()
        self._timer = self._clock.callLater(delay_s, self._now)
        errands.lead_on()
        self._for = errands.current()

    def _now(self) -> None:
        self._timer, self._has_asked = None, True
        # A request counts as a list, so that a venue that sends none is not asked every second.
        self._listed_at = self._clock.seconds()
        with errands.on_behalf_of(self._for):
            self._ask()
