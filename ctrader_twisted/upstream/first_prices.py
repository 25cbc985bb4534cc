"""Renewal of confirmed subscriptions that bring no price.

The venue sends the first price of a subscription at once, even if the market is closed. If none
comes, the confirmation was false: the subscription is ended and begun again, with a delay that
doubles up to `LONGEST_S`. A symbol that had none after `OFTEN` renewals may never have one; it is
renewed every `RARELY_S`, so that dead listings cost little over months.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

FIRST_PRICE_S = 10.0
LONGEST_S = 60.0
# After so many renewals, which take about an hour, the delay is RARELY_S.
OFTEN = 60
RARELY_S = 600.0


class FirstPrices:
    """Waits for the first price of each confirmed subscription, and renews those without one."""

    log = Logger()
    _timer: IDelayedCall | None = None

    def __init__(
        self,
        *,
        clock: IReactorTime,
        heard: Callable[[int], bool],
        renew: Callable[[Collection[int]], None],
    ) -> None:
        """``heard(id)``: whether a price has come since the symbol was subscribed; ``renew(ids)``
        ends subscriptions and begins them again.
        """
        self._clock = clock
        self._heard = heard
        self._renew = renew
        self._due: dict[int, float] = {}
        self._times: dict[int, int] = {}

    def expect(self, symbol_ids: Collection[int]) -> None:
        """Expect a price of each of these symbols, which the venue has just confirmed."""
        now = self._clock.seconds()
        for symbol_id in symbol_ids:
            if self._heard(symbol_id):
                self._times.pop(symbol_id, None)
            else:
                self._due[symbol_id] = now + self._delay_s(symbol_id)
        self._wake()

    def stop(self, symbol_ids: Collection[int]) -> None:
        """Expect no price of these symbols any more: they were unsubscribed."""
        for symbol_id in symbol_ids:
            self._due.pop(symbol_id, None)

    def forget(self, symbol_ids: Collection[int]) -> None:
        """Forget the renewals of these symbols, which no client wants any more."""
        for symbol_id in symbol_ids:
            self._times.pop(symbol_id, None)

    def end(self) -> None:
        """Expect nothing any more: the session ended."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _delay_s(self, symbol_id: int) -> float:
        times = self._times.get(symbol_id, 0)
        if times >= OFTEN:
            return RARELY_S
        return min(FIRST_PRICE_S * 2.0**times, LONGEST_S)

    def _wake(self) -> None:
        if not self._due:
            return
        due = min(self._due.values())
        if self._timer is not None:
            # A timer that is too early does no harm: `_look` sets the next one.
            if self._timer.getTime() <= due:
                return
            self._timer.cancel()
        self._timer = self._clock.callLater(max(0.0, due - self._clock.seconds()), self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        silent = []
        for symbol_id, at in list(self._due.items()):
            if self._heard(symbol_id):
                del self._due[symbol_id]
                self._times.pop(symbol_id, None)
            elif at <= now:
                del self._due[symbol_id]
                self._times[symbol_id] = self._times.get(symbol_id, 0) + 1
                silent.append(symbol_id)
        if silent:
            self._log(silent)
            self._renew(silent)
        self._wake()

    def _log(self, silent: Collection[int]) -> None:
        """Warn at the first renewal of a symbol, and when its renewals become rare."""
        times = [self._times[symbol_id] for symbol_id in silent]
        if 1 in times:
            self.log.warn(
                "{count} confirmed subscriptions have sent no first price; they are renewed",
                count=times.count(1),
            )
        if OFTEN in times:
            self.log.warn(
                "{count} subscriptions were renewed {times} times and have sent no first price; "
                "they are renewed every {delay:g} s",
                count=times.count(OFTEN),
                times=OFTEN,
                delay=RARELY_S,
            )
