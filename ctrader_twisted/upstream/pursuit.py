"""A goal pursued: what is missing is asked for, in batches, until nothing is missing.

Restoring subscriptions after an outage is not a script that runs once. What is wanted changes
while it runs, parts of it are refused, and the next outage may come in its middle. So the one
question is asked again after every change: *what is missing now?*
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ctrader_twisted.errors import ConnectionEnded, ProtocolError, RequestTimeout, VenueRefusal
from ctrader_twisted.refusals import (
    CONNECTION_WIDE,
    TOO_OFTEN,
    Remedy,
    advised_s,
    remedy_for,
    wait_s,
)

RETRY_FIRST_S = 1.0
RETRY_MAX_S = 60.0
# A refused id is asked for again after this delay, which doubles each time up to RETRY_MAX_S.
REFUSED_FIRST_S = 2.0
# The shortest time between two such requests, while they are refused.
REFUSED_PACE_S = 1.0
# Takes the place of the venue's code if there was no answer, or an unreadable one.
NO_ANSWER = "NO_ANSWER"
# What fails more often in a row may fail because of one of its ids.
PATIENCE = 2

# The account has lost its place, or needs its token looked at.
_NOT_AUTHORISED = {Remedy.REAUTHORISE, Remedy.REFRESH}
# The request may come back as it is; anything else is the fault of one of its ids.
_NOT_NOW = {Remedy.RETRY, Remedy.GIVE_UP}
# One that is refused so will heal; an "already" about something else says nothing of it.
_LATER = {Remedy.WAIT, Remedy.SUCCEED, *_NOT_NOW}


class Pursuit:
    """Requests missing ids from the venue in batches, until ``missing`` yields none.

    A batch that is refused because of one of its ids, or that fails repeatedly without a stated
    reason, is halved until the faulty id is alone, so that one bad id cannot hold up the others.
    That id is set aside and asked for again later, since a refusal need not be final. Ids that
    were set aside are never asked for together with others.
    """

    log = Logger()
    _pause: IDelayedCall | None = None
    _rest: IDelayedCall | None = None
    _pauses = _in_vain = 0
    _ended = False
    # Of ids that were set aside: how many one request has, and the earliest time of the next one.
    _group, _not_before = 0, 0.0

    def __init__(
        self,
        name: str,
        missing: Callable[[], Iterable[int]],
        ask: Callable[[Sequence[int]], Deferred[Any]],
        reached: Callable[[Collection[int]], None],
        refused: Callable[[int, VenueRefusal], None],
        *,
        clock: IReactorTime,
        not_authorised: Callable[[VenueRefusal], None],
        batch: int,
        in_flight: int = 4,
        already: str | None = None,
        already_all: bool = True,
        freed: Callable[[], None] = lambda: None,
    ) -> None:
        """``missing()`` returns the ids still to ask for, those in flight or refused included.

        ``reached(ids)`` is called for ids that are as wanted now, also after `end`;
        ``refused(id, error)`` for each refusal of a single id; ``not_authorised(error)`` when the
        account is no longer authorised; ``freed()`` when ids leave flight or their pause without
        being reached. ``already``: the code of a refusal which means that nothing was left to do.
        """
        self._name = name
        self._clock = clock
        self._missing = missing
        self._ask = ask
        self._reached = reached
        self._refused = refused
        self._not_authorised = not_authorised
        self._batch = self._group = batch
        self._room = in_flight
        self._already, self._already_all = already, already_all
        self._freed = freed
        self._next: list[list[int]] = []
        self._unanswered: dict[tuple[int, ...], int] = {}
        self.busy: set[int] = set()
        # The venue's last refusal of each id, until the id is reached or no longer missing.
        self.refusals: dict[int, VenueRefusal] = {}
        self._times_refused: dict[int, int] = {}
        # When each id that was set aside is asked for again.
        self._aside: dict[int, float] = {}
        # How many answers there had been when an id was last asked for in vain.
        self._answers, self._failed_at = 0, dict[int, int]()

    @property
    def is_paused(self) -> bool:
        """Whether nothing is asked for at the moment, since a request failed."""
        return self._pause is not None

    def pursue(self) -> None:
        """Ask for what is missing now. Call it after every change of what is wanted or had."""
        # Looked at anew for each batch: an answer that comes at once changes what is missing.
        while self._room and not self._ended and self._pause is None:
            ids = self._next.pop() if self._next else self._next_batch() or self._next_group()
            if not ids:
                break
            self._request(ids)
        self._wake()

    def forgive(self, symbol_id: int) -> None:
        """Ask again for a refused id without waiting for its delay, since a client asks again."""
        if symbol_id in self._aside and symbol_id in self._times_refused:
            self._aside[symbol_id] = self._clock.seconds()

    def forget(self, symbol_ids: Iterable[int]) -> None:
        """Drop the refusals of these ids, and the delays until they are asked for again."""
        for symbol_id in symbol_ids:
            self._aside.pop(symbol_id, None)
            self.refusals.pop(symbol_id, None)
            self._times_refused.pop(symbol_id, None)

    def next_attempt_s(self, symbol_id: int) -> float | None:
        """Seconds until an id that was set aside is asked for again; None if it was not."""
        due = self._aside.get(symbol_id)
        return None if due is None else max(0.0, due - self._clock.seconds())

    def end(self) -> None:
        """The life of the session is over; nothing is asked for any more."""
        self._ended = True
        for timer in (self._pause, self._rest):
            if timer is not None:
                timer.cancel()
        self._pause = self._rest = None

    def _next_batch(self) -> list[int]:
        asked = (
            symbol_id
            for symbol_id in self._missing()
            if symbol_id not in self.busy and symbol_id not in self._aside
        )
        # Fewer at a time, so that something succeeds and the rest is known to be at fault.
        return list(islice(asked, max(1, self._batch >> max(0, self._in_vain - PATIENCE))))

    def _next_group(self) -> list[int]:
        """The next ids to ask for of those that were set aside and are due."""
        now = self._clock.seconds()
        due = [symbol_id for symbol_id, at in self._aside.items() if at <= now]
        if not due or now < self._not_before:
            return []
        missing = set(self._missing())
        gone = [symbol_id for symbol_id in due if symbol_id not in missing]
        self.busy.difference_update(gone)
        self.forget(gone)
        group = [symbol_id for symbol_id in due if symbol_id in missing][: self._group]
        if group:
            self._not_before = now + REFUSED_PACE_S
        for symbol_id in group:
            del self._aside[symbol_id]
        return group

    def _request(self, ids: list[int]) -> None:
        self._room -= 1
        self.busy.update(ids)
        answer = self._ask(ids)
        answer.addBoth(self._answered, ids)
        answer.addErrback(self._broken)

    def _answered(self, result: object, ids: list[int]) -> None:
        self._room += 1
        self.busy.difference_update(ids)
        if self._ended:
            if not isinstance(result, Failure):
                # Done after all, and perhaps in the middle of another life.
                self._reached(ids)
            return
        if isinstance(result, Failure):
            self._not_reached(result, ids)
            self._freed()
        else:
            self._pauses, self._in_vain = 0, max(0, self._in_vain - 1)
            self._answers += 1
            for symbol_id in ids if self._failed_at else ():
                self._failed_at.pop(symbol_id, None)
            self._unanswered.pop(tuple(ids), None)
            self._are_reached(ids)
        self.pursue()

    def _not_reached(self, failure: Failure, ids: list[int]) -> None:
        error = failure.value
        if isinstance(error, ConnectionEnded):
            # So is the life of the session; whatever is asked now fails at once.
            self.end()
            if tuple(ids) in self._unanswered:
                # It had been sent before, and perhaps that was done.
                self.busy.update(ids)
        elif isinstance(error, ProtocolError) or (isinstance(error, RequestTimeout) and error.sent):
            # An unreadable answer leaves it as open as no answer whether the request was done.
            self._unknown(error, ids)
        elif not isinstance(error, VenueRefusal):
            self._wait(error or RuntimeError("no reason"))
        else:
            self._refused_by(error, remedy_for(error), ids)

    def _unknown(self, error: ProtocolError | RequestTimeout, ids: list[int]) -> None:
        # Perhaps it was done. The same ids again, so that ALREADY_... is about all of them;
        # till then they count as asked for, and a price that comes is not thrown away.
        self.busy.update(ids)
        asked = self._unanswered.pop(tuple(ids), 0) + 1
        if self._is_guilty(ids):
            self._unanswered[tuple(ids)] = asked
            self._leave_alone(error, ids[0])
            return
        middle = len(ids) // 2 if asked > PATIENCE else 0
        for part in (ids[middle:], ids[:middle]):
            if part:
                self._next.append(part)
                self._unanswered[tuple(part)] = min(asked, PATIENCE)
        self._wait(error)

    def _is_guilty(self, ids: Sequence[int]) -> bool:
        """True for one that fails again, while others were answered meanwhile."""
        before = self._failed_at.get(ids[0], self._answers)
        self._failed_at.update(dict.fromkeys(ids, self._answers))
        return len(ids) == 1 and before < self._answers

    def _refused_by(self, error: VenueRefusal, remedy: Remedy, ids: list[int]) -> None:
        was_asked_before = self._unanswered.pop(tuple(ids), 0) > 0
        if remedy in _NOT_AUTHORISED:
            self._not_authorised(error)
        elif remedy in CONNECTION_WIDE:
            # The connection is about to be ended, and this life with it.
            self.end()
        elif error.code in TOO_OFTEN:
            self._wait(error)
        elif remedy in _NOT_NOW and not self._is_guilty(ids):
            if self._pause is None:
                self._in_vain = min(self._in_vain + 1, PATIENCE + self._batch.bit_length())
            self._wait(error)
        elif error.code == self._already and (
            len(ids) == 1 or (was_asked_before and self._already_all)
        ):
            self._are_reached(ids)
        elif len(ids) > 1:
            self._halve(ids)
        elif remedy in _LATER:
            self._leave_alone(error, ids[0])
        else:
            self._set_aside(error, ids[0])

    def _are_reached(self, ids: list[int]) -> None:
        if not self._times_refused.keys().isdisjoint(ids):
            # The venue accepts ids that it refused before: larger groups, without a pause.
            self._group, self._not_before = min(2 * self._group, self._batch), 0.0
            self.forget(ids)
        self._reached(ids)

    def _halve(self, ids: list[int]) -> None:
        if not self._times_refused.keys().isdisjoint(ids):
            self._group = max(1, len(ids) // 2)
        # Some ids may have been reached by this answer, or be wanted no more.
        missing = set(self._missing())
        left = [symbol_id for symbol_id in ids if symbol_id in missing]
        middle = len(left) // 2
        self._next += [part for part in (left[middle:], left[:middle]) if part]

    def _set_aside(self, error: VenueRefusal, symbol_id: int) -> None:
        """Ask for a refused id again after a delay that doubles with each refusal."""
        times = self._times_refused.get(symbol_id, 0)
        self._times_refused[symbol_id] = times + 1
        # 2**n without an upper bound would overflow after months of refusals.
        delay_s = min(REFUSED_FIRST_S * 2.0 ** min(times, 32), RETRY_MAX_S)
        self._put_off(error, symbol_id, max(delay_s, advised_s(error, 0.0)))

    def _leave_alone(self, error: Exception, symbol_id: int) -> None:
        """Ask for an id later, without holding up others, since its failure is temporary."""
        if not isinstance(error, VenueRefusal):
            error = VenueRefusal(NO_ANSWER, str(error))
        self._put_off(error, symbol_id, RETRY_MAX_S)

    def _put_off(self, error: VenueRefusal, symbol_id: int, delay_s: float) -> None:
        before = self.refusals.get(symbol_id)
        if before is None or before.code != error.code:
            self.log.warn(
                "{name}: symbol {id} refused: {error}; again in {delay:g} s",
                name=self._name,
                id=symbol_id,
                error=error,
                delay=delay_s,
            )
        self._aside[symbol_id] = self._clock.seconds() + delay_s
        self.refusals[symbol_id] = error
        if error.code != NO_ANSWER and remedy_for(error) is not Remedy.SUCCEED:
            self._refused(symbol_id, error)

    def _wake(self) -> None:
        """Set the timer to the time when the first of the ids that were set aside is due."""
        if self._ended or not self._aside or not self._room or self._pause is not None:
            return
        due = max(min(self._aside.values()), self._not_before)
        if self._rest is not None:
            if self._rest.getTime() <= due:
                return
            self._rest.cancel()
        self._rest = self._clock.callLater(max(0.0, due - self._clock.seconds()), self._rested)

    def _rested(self) -> None:
        self._rest = None
        # Ids without an answer were kept busy until they are due (see `_unknown`).
        now = self._clock.seconds()
        self.busy -= {symbol_id for symbol_id, at in self._aside.items() if at <= now}
        self.pursue()
        self._freed()

    def _wait(self, error: BaseException) -> None:
        """Not now: pause, longer each time in a row. All that is refused during a pause is one
        time.
        """
        if self._pause is not None:
            advice_s = advised_s(error, 0.0)
            if self._pause.getTime() < self._clock.seconds() + advice_s:
                self._pause.reset(advice_s)
            return
        delay_s = wait_s(error, self._pauses, first_s=RETRY_FIRST_S, longest_s=RETRY_MAX_S)
        self._pauses += 1
        self.log.warn(
            "{name}: {reason}; again in {delay:g} s", name=self._name, reason=error, delay=delay_s
        )
        self._pause = self._clock.callLater(delay_s, self._resume)

    def _resume(self) -> None:
        self._pause = None
        self.pursue()

    def _broken(self, failure: Failure) -> None:
        self.log.failure("{name} failed", failure, name=self._name)
