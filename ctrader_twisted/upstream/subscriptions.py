"""What one account is subscribed to, and the way from there to what is wanted.

Three pursuits share one picture: the digits of wanted symbols, their spots, and the end of spots
that nobody wants any more. Intent lives elsewhere and survives; what the venue has confirmed is
here, and ends with the life of the session: one object per life.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from google.protobuf.message import Message
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from ctrader_twisted import errands
from ctrader_twisted.errors import ProtocolError, RequestTimeout, VenueRefusal
from ctrader_twisted.market.model import SymbolDetails
from ctrader_twisted.pb import api_pb2
from ctrader_twisted.upstream import translate
from ctrader_twisted.upstream.first_prices import FirstPrices
from ctrader_twisted.upstream.pursuit import Pursuit
from ctrader_twisted.upstream.requests import AnswerT, Lane

# Seconds between two requests for the details of changed symbols.
DESCRIBE_PACE_S = 1.0


class Asker(Protocol):
    """The part of a Session that is used here."""

    @property
    def account_id(self) -> int:
        """The ctidTraderAccountId."""

    def ask(
        self,
        message: Message,
        answer_type: type[AnswerT],
        lane: Lane,
        late: Callable[[], None] | None = None,
    ) -> Deferred[AnswerT]:
        """See `Session.ask`."""

    def reopen(self, code: str, reason: str) -> None:
        """See `Session.reopen`."""


class Subscriptions:
    """The venue's side of the demand, during one life of the session.

    ``restored_s``: seconds until everything that was wanted was confirmed for the first time.
    """

    restored_s: float | None = None
    _ended = False
    _describing: IDelayedCall | None = None
    _not_before = 0.0

    def __init__(
        self,
        *,
        session: Asker,
        clock: IReactorTime,
        wanted: Callable[[], Collection[int]],
        described: Callable[[Sequence[SymbolDetails]], None],
        stopped: Callable[[Collection[int]], None],
        refused: Callable[[int, VenueRefusal], None],
        batch: int,
        left_over: Iterable[int] = (),
        causes_of: Callable[[Collection[int]], str] = lambda _: "",
        had: Callable[[Collection[int]], None] = lambda _: None,
        belated: Callable[[Collection[int]], None] = lambda _: None,
        heard: Callable[[int], bool] = lambda _: True,
        renewed: Callable[[Collection[int]], None] = lambda _: None,
    ) -> None:
        """Callbacks: ``described`` with the details of symbols; ``stopped`` with ids that the venue
        no longer sends; ``refused`` with each refusal of an id; ``had`` with ids that are confirmed
        and described; ``belated`` with ids that a late answer, after the end of this session,
        subscribed or unsubscribed (see `doubt`). ``heard(id)``: whether a price of a symbol has
        come (see `FirstPrices`). ``left_over``: ids that an earlier session on the same connection
        was subscribed to; they are unsubscribed first, since only a new subscription brings a full
        price. ``renewed`` is called with ids whose subscriptions have ended and are begun again at
        once (see `renew`). ``causes_of(ids)``: the correlation ids of the requests for them, for
        the log.
        """
        self._session, self._wanted = session, wanted
        self._tell_described = described
        self._tell_stopped = stopped
        self._causes_of = causes_of
        self._tell_had = had
        self._tell_belated, self._tell_renewed = belated, renewed
        self.confirmed, self.described = set(left_over), set[int]()
        self._renew = self.confirmed.copy()
        # To be ended and begun again while they count as confirmed; and those that are ended.
        self._unnoticed, self._between = set[int](), set[int]()
        # Asked for without an answer, so that the venue may send them.
        self._unclear, self._changed = set[int](), set[int]()
        self._clock, self._began_at = clock, clock.seconds()
        # What one of the three had in hand another may have waited for.
        thrown_out, freed = self._thrown_out, self.pursue
        pursuit = partial(Pursuit, clock=clock, batch=batch, not_authorised=thrown_out, freed=freed)
        know = self._to_describe, self._ask_details, self._are_described
        self._describe = pursuit("symbol details", *know, refused)
        start = self._to_subscribe, self._ask_subscribe, self._started
        self._subscribe = pursuit("subscribe", *start, refused, already="ALREADY_SUBSCRIBED")
        stop = self._to_unsubscribe, self._ask_unsubscribe, self._stopped
        # A refused unsubscription harms no client, so nobody is told.
        self._unsubscribe = pursuit(
            "unsubscribe",
            *stop,
            lambda _, __: None,
            already="NOT_SUBSCRIBED_TO_SPOTS",
            already_all=False,
        )
        self._first_prices = FirstPrices(clock=clock, heard=heard, renew=self.renew)

    def pursue(self) -> None:
        """Ask for whatever is missing now."""
        self._end_renewals()
        # Digits and spots are asked for together: restoring costs one round trip, not two.
        self._describe.pursue()
        self._unsubscribe.pursue()
        self._subscribe.pursue()

    def is_expected(self, symbol_id: int) -> bool:
        """True when prices of this symbol are ours: confirmed, or asked for."""
        return symbol_id in self.confirmed or symbol_id in self._subscribe.busy

    def may_be_subscribed(self) -> set[int]:
        """What the venue may be sending: confirmed, or asked for and not yet answered."""
        return self.confirmed | self._subscribe.busy | self._unclear

    def refusal(self, symbol_id: int) -> VenueRefusal | None:
        """Why the venue does not send this symbol, if it refused."""
        return self._subscribe.refusals.get(symbol_id) or self._describe.refusals.get(symbol_id)

    def next_attempt_s(self, symbol_id: int) -> float | None:
        """Seconds until a refused symbol is asked for again; None if it was not refused, or if the
        request is on its way.
        """
        waits = (
            self._subscribe.next_attempt_s(symbol_id),
            self._describe.next_attempt_s(symbol_id),
        )
        return min((wait_s for wait_s in waits if wait_s is not None), default=None)

    def forgive(self, symbol_id: int) -> None:
        """Somebody asks again for a refused symbol: so shall we."""
        self._subscribe.forgive(symbol_id)
        self._describe.forgive(symbol_id)

    def describe_again(self, symbol_ids: Iterable[int]) -> None:
        """Fetch the details of changed symbols anew, with one request a second at most."""
        self._changed.update(symbol_ids)
        if self._describing is None and not self._ended:
            wait_s = max(0.0, self._not_before - self._clock.seconds())
            if wait_s:
                self._describing = self._clock.callLater(wait_s, self._describe_changed)
            else:
                self._describe_changed()

    def doubt(self, symbol_ids: Collection[int]) -> None:
        """A request of an earlier life was carried out now. What the venue sends of these symbols
        is unclear: ended and begun again, it is as wanted.
        """
        self.confirmed.update(symbol_ids)
        self._renew.update(symbol_ids)
        self._unsubscribe.pursue()

    def renew(self, symbol_ids: Collection[int]) -> None:
        """End these and begin them again. Till then they count as confirmed, and the last price
        stands: no client notices a renewal that succeeds.
        """
        ids = self.confirmed.intersection(symbol_ids) - self._renew - self._between
        self._unnoticed.update(ids)
        self._renew.update(ids)
        self._unsubscribe.pursue()

    def silent(self, since: Mapping[int, float], after_s: float) -> None:
        """See `FirstPrices.silent`."""
        self._first_prices.silent(since, after_s)

    def end(self) -> None:
        """The life of the session is over; late answers are for the next one."""
        self._ended = True
        for each in (self._describe, self._subscribe, self._unsubscribe, self._first_prices):
            each.end()
        if self._describing is not None:
            self._describing.cancel()
            self._describing = None

    def _describe_changed(self) -> None:
        self._describing = None
        self._not_before = self._clock.seconds() + DESCRIBE_PACE_S
        self.described -= self._changed
        self._changed.clear()
        self._describe.pursue()

    # -- what is missing

    def _to_describe(self) -> list[int]:
        return sorted(set(self._wanted()) - self.described)

    def _to_subscribe(self) -> list[int]:
        taken = (self.confirmed - self._between) | self._renew | self._unsubscribe.busy
        return [symbol_id for symbol_id in self._wanted() if symbol_id not in taken]

    def _to_unsubscribe(self) -> list[int]:
        ended = (self.confirmed | self._unclear).difference(self._wanted(), self._between)
        missing = ended | self._renew
        # Not while one is asked for again: ALREADY_SUBSCRIBED has to be about all of them.
        return sorted(missing - self._subscribe.busy)

    def _is_missing(self) -> bool:
        return bool(set(self._wanted()) - self.confirmed - self._subscribe.refusals.keys())

    # -- asking

    def _ask_details(self, ids: Sequence[int]) -> Deferred[Any]:
        request = translate.symbol_by_id(self._session.account_id, ids)
        with errands.on_behalf_of(self._causes_of(ids)):
            answer = self._session.ask(request, api_pb2.ProtoOASymbolByIdRes, Lane.READ)

        def known(message: api_pb2.ProtoOASymbolByIdRes) -> None:
            if self._ended:
                return
            details = translate.symbol_details(message)
            self._tell_described(details)
            told = {symbol.symbol_id for symbol in details}
            if not told.issuperset(ids):
                self._are_described(told.intersection(ids))
                # Treated like a refusal, so that halving finds the symbols that are missing.
                raise VenueRefusal("SYMBOL_NOT_FOUND", "the venue does not describe this symbol")

        return answer.addCallback(known)

    def _ask_subscribe(self, ids: Sequence[int]) -> Deferred[Any]:
        request = translate.subscribe_spots(self._session.account_id, ids)
        # Perhaps it is done long after it was asked for again: then that is what counts.
        with errands.on_behalf_of(self._causes_of(ids)):
            answer = self._session.ask(
                request,
                api_pb2.ProtoOASubscribeSpotsRes,
                Lane.SUBSCRIBE,
                partial(self._started, ids),
            )
        return answer.addErrback(_note_unclear, self._unclear, ids)

    def _ask_unsubscribe(self, ids: Sequence[int]) -> Deferred[Any]:
        request = translate.unsubscribe_spots(self._session.account_id, ids)
        # It is sent because nobody wants them.
        with errands.on_behalf_of(""):
            answer = self._session.ask(
                request,
                api_pb2.ProtoOAUnsubscribeSpotsRes,
                Lane.SUBSCRIBE,
                partial(self._stopped, ids),
            )
        # Wanted again meanwhile, they are subscribed anew, since perhaps they were ended.
        return answer.addErrback(_note_unclear, self._renew, ids)

    def _are_described(self, symbol_ids: Collection[int]) -> None:
        if self._ended:
            return
        self.described.update(symbol_ids)
        self._tell_had(self.confirmed.intersection(symbol_ids))

    def _started(self, symbol_ids: Collection[int]) -> None:
        if self._ended:
            self._tell_belated(symbol_ids)
            return
        self.confirmed.update(symbol_ids)
        self._unclear.difference_update(symbol_ids)
        self._between.difference_update(symbol_ids)
        self._tell_had(self.described.intersection(symbol_ids))
        if self.restored_s is None and not self._is_missing():
            self.restored_s = self._clock.seconds() - self._began_at
        self._first_prices.expect(symbol_ids)
        # Meanwhile nobody may want it any more.
        self._unsubscribe.pursue()

    def _stopped(self, symbol_ids: Collection[int]) -> None:
        if self._ended:
            self._tell_belated(symbol_ids)
            return
        self._renew.difference_update(symbol_ids)
        self._unclear.difference_update(symbol_ids)
        self._first_prices.stop(symbol_ids)
        self._first_prices.forget(set(symbol_ids).difference(self._wanted()))
        between = self._unnoticed.intersection(symbol_ids, self._wanted())
        self._unnoticed.difference_update(symbol_ids)
        self._between.update(between)
        if between:
            self._tell_renewed(between)
        self._are_ended([symbol_id for symbol_id in symbol_ids if symbol_id not in between])
        self._subscribe.pursue()
        self._end_renewals()

    def _end_renewals(self) -> None:
        """What was ended to be renewed, and cannot be begun again now or is not wanted any more, is
        like any other symbol that the venue does not send.
        """
        if self._between and self._subscribe.is_paused:
            self._are_ended(self._between.copy())
        elif self._between:
            unwanted = self._between.difference(self._wanted())
            self._first_prices.forget(unwanted)
            self._are_ended(unwanted | (self._between & self._subscribe.refusals.keys()))

    def _are_ended(self, symbol_ids: Collection[int]) -> None:
        if symbol_ids:
            self.confirmed.difference_update(symbol_ids)
            self._between.difference_update(symbol_ids)
            self._tell_stopped(symbol_ids)

    def _thrown_out(self, error: VenueRefusal) -> None:
        self._session.reopen(error.code, str(error))


def _note_unclear(failure: Failure, unclear: set[int], ids: Sequence[int]) -> Failure:
    """Add the ids of a request to ``unclear`` if it may have been carried out without an answer."""
    error = failure.value
    if isinstance(error, ProtocolError) or (isinstance(error, RequestTimeout) and error.sent):
        unclear.update(ids)
    return failure
