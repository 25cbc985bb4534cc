"""The venue's lists of symbols: which one is in force, and when the next is asked for.

A venue that is not whole yet after a restart gives lists that are empty or short. One that lost
most of what the list before it had is not believed: the catalogue stays as it was, and the venue
is asked again soon. A list that is short for a long time is what the venue means; an empty one
never is.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ctrader_twisted import errands
from ctrader_twisted.market.symbols import Catalogue
from ctrader_twisted.metrics import Metrics

# The list of symbols is fetched again when it may be out of date, but not at every typing error.
RELIST_SOON_S = 1.0
RELIST_PAUSE_S = 60.0
# Where a list cannot be right, or lacks what somebody wants: so soon, each time twice as late, up
# to RELIST_PAUSE_S.
RELIST_FIRST_S = 2.0
# For so long a list that is much shorter than the one before is taken for a fault of the venue.
DOUBTED_S = 900.0
# A list that lost a symbol is looked at again so often, also when nobody wants that symbol.
LOOKS = 3


class Listing:
    """The catalogue of one account, and the lists that it is made from."""

    log = Logger()
    catalogue: Catalogue | None = None
    # Why the newest list is not in force; empty when it is.
    fault = ""
    _timer: IDelayedCall | None = None
    _for = ""
    _doubted_since: float | None = None
    _has_asked = False
    # Whether the newest list lacks what somebody wants, and how many lists in a row were not right.
    _is_wanting, _in_vain, _looks = False, 0, 0

    def __init__(self, *, clock: IReactorTime, metrics: Metrics, ask: Callable[[], None]) -> None:
        """``ask`` asks the venue for its list; `take` or `failed` follow."""
        self._clock = clock
        self._metrics = metrics
        self._ask = ask
        self._listed_at = 0.0
        self.lists = 0

    def take(self, listed: Catalogue) -> bool:
        """A new list: True when it is in force now, False when it is not believed."""
        self._listed_at = self._clock.seconds()
        before = self.catalogue
        if before is not None and listed.is_fraction_of(before) and self._is_doubtful(listed):
            self._doubt(listed, before)
            return False
        self.lists += 1
        self._doubted_since, self.fault = None, ""
        self.catalogue = catalogue = Catalogue(listed.listed, before)
        if before is not None and not set(before.names).issubset(catalogue.names):
            self._looks = LOOKS
        if catalogue.shadowed:
            self.log.warn(
                "{count} symbols have the name or id of another, and cannot be had",
                count=len(catalogue.shadowed),
            )
        return True

    def is_wanting(self, wanting: bool) -> None:
        """The newest list lacks something that somebody wants, or does not."""
        self._is_wanting = wanting or bool(self.fault)
        if self._is_wanting or self._looks:
            self._looks = max(0, self._looks - 1)
            self._later()
        else:
            self._in_vain = 0

    def failed(self) -> None:
        """The venue gave no list."""
        if self._is_wanting:
            self._later()
        else:
            self._in(RELIST_PAUSE_S)

    def soon(self) -> None:
        """The list may be out of date."""
        # The first list of all has never been compared with another.
        pause_s = RELIST_PAUSE_S if self.lists > 1 or self._has_asked else RELIST_FIRST_S
        since = self._clock.seconds() - self._listed_at
        self._in(max(RELIST_SOON_S, pause_s - since))

    def next_s(self) -> float | None:
        """In how many seconds the venue is asked for its list; None when it is not."""
        return None if self._timer is None else self._timer.getTime() - self._clock.seconds()

    def end(self) -> None:
        """The life of the session is over; the next begins with a list."""
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
            f"the venue's last list has {len(listed.names)} symbols that can be had, the one "
            f"before it had {len(before.names)}"
        )
        self.log.warn("list of symbols not believed: {fault}; the old one stays", fault=self.fault)

    def _later(self) -> None:
        # 2**n without an upper bound would overflow after months.
        delay_s = min(RELIST_FIRST_S * 2.0 ** min(self._in_vain, 32), RELIST_PAUSE_S)
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
        # Asked counts as listed: a venue that gives no list is not to be asked every second.
        self._listed_at = self._clock.seconds()
        with errands.on_behalf_of(self._for):
            self._ask()
