"""Renewal of confirmed subscriptions that bring no price.

The venue sends the first price of a subscription at once, even if the market is closed. If none
comes, the confirmation was false: the subscription is ended and begun again, with a delay that
doubles up to `LONGEST_S`. A symbol that had none after `OFTEN` renewals may never have one; it is
renewed every `RARELY_S`, so that dead listings cost little over months.

So is a subscription that brought prices and has long been silent although the market is open: the
venue may have ended it without a message.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

FIRST_PRICE_S = 10.0
LONGEST_S = 60.0
# After so many renewals, which take about an hour, the delay is RARELY_S.
OFTEN = 60
RARELY_S = 600.0
# The longest delay between two renewals of a symbol that stays silent.
LONGEST_SILENT_S = 3600.0


@dataclass(slots=True)
class _Silence:
    """The renewals of a symbol that has been silent since a time, and when the next one is due."""

    since: float
    times: int = 0
    due: float = 0.0


class FirstPrices:
    """Waits for the first price of each confirmed subscription, and renews those without one, and
    those that are silent for long.
    """

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
        self._silences: dict[int, _Silence] = {}

    def expect(self, symbol_ids: Collection[int]) -> None:
        """Expect a price of each of these symbols, which the venue has just confirmed."""
        now = self._clock.seconds()
        for symbol_id in symbol_ids:
            if self._heard(symbol_id):
                self._times.pop(symbol_id, None)
            else:
                self._due[symbol_id] = now + self._delay_s(symbol_id)
        self._wake()

    def silent(self, since: Mapping[int, float], after_s: float) -> None:
        """Renew, when they are due, symbols that had no price for ``after_s`` or longer although
        their markets are open; ``since``: when each had the last one (a new time, a new silence).
        """
        now, due, newly = self._clock.seconds(), [], 0
        for symbol_id, since_s in since.items():
            silence = self._silences.get(symbol_id)
            if silence is None or silence.since != since_s:
                silence = self._silences[symbol_id] = _Silence(since_s)
            # Without a first price it is renewed as it is, and more often.
            if silence.due <= now and self._heard(symbol_id):
                newly += not silence.times
                silence.times += 1
                # 2**n without an upper bound would overflow after months.
                delay_s = after_s * 2.0 ** min(silence.times, 32)
                silence.due = now + min(delay_s, max(after_s, LONGEST_SILENT_S))
                due.append(symbol_id)
        if newly:
            self.log.info(
                "{count} subscriptions have sent no price for {silent:g} s although the market is "
                "open; they are renewed",
                count=newly,
                silent=after_s,
            )
        if due:
            self._renew(due)

    def stop(self, symbol_ids: Collection[int]) -> None:
        """Expect no price of these symbols any more: they were unsubscribed."""
        for symbol_id in symbol_ids:
            self._due.pop(symbol_id, None)

    def forget(self, symbol_ids: Collection[int]) -> None:
        """Forget the renewals of these symbols, which no client wants any more."""
        for symbol_id in symbol_ids:
            self._times.pop(symbol_id, None)
            self._silences.pop(symbol_id, None)

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
