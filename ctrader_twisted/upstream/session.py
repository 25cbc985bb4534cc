"""Being somebody: the life of one account, on one connection after another.

A session authenticates its account on a connection whose application is authenticated, fetches
the symbols, and is then ready. Its end is not the connection's end: the venue may throw out one
account and leave the others, and the session then comes back by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Protocol

from google.protobuf.message import Message
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ctrader_twisted import errands
from ctrader_twisted.errors import (
    ConnectionEnded,
    NotConnected,
    ProtocolError,
    RequestTimeout,
    VenueRefusal,
)
from ctrader_twisted.market.model import SpotUpdate, Trader
from ctrader_twisted.market.symbols import Catalogue
from ctrader_twisted.pb import api_pb2
from ctrader_twisted.refusals import CONNECTION_WIDE, Remedy, remedy_for, wait_s
from ctrader_twisted.upstream import translate
from ctrader_twisted.upstream.evictions import Evictions
from ctrader_twisted.upstream.requests import AnswerT, Lane, Requests

RETRY_FIRST_S = 1.0
RETRY_MAX_S = 60.0
# An account that was open for so long may come back at once when it is thrown out.
STABLE_AFTER_S = 60.0


class NoSymbols(ProtocolError):
    """The first list of symbols of an account has no enabled symbol."""


class SessionListener(Protocol):
    """Who is told about one account's session. Required, so that nothing is said to nobody."""

    def connecting(self) -> None:
        """An attempt to be somebody begins."""

    def ready(self, catalogue: Catalogue, kept: bool) -> None:
        """The account is open and its symbols are known.

        ``kept``: the venue says that it never left, so its subscriptions may still be alive.
        """

    def lost(self, code: str, reason: str) -> None:
        """The account is not open any more; nothing that it had is left."""

    def refused(self, code: str, reason: str) -> None:
        """The venue refuses the application or the account."""

    def retrying(self, attempt: int, delay_s: float, reason: str) -> None:
        """The next attempt begins in ``delay_s`` seconds."""

    def spots(self, updates: Iterable[SpotUpdate]) -> None:
        """Prices, in order."""

    def symbols_changed(self, symbol_ids: Sequence[int]) -> None:
        """The venue changed the settings of some symbols."""

    def relisted(self, catalogue: Catalogue) -> None:
        """The symbols as they are now, because somebody asked for them again."""

    def not_relisted(self) -> None:
        """A request for a new list of symbols (`Session.list_again`) failed."""


class Session:
    """One account on one connection after another."""

    log = Logger()

    def __init__(
        self,
        *,
        account_id: int,
        access_token: Callable[[], str],
        clock: IReactorTime,
        listener: SessionListener,
    ) -> None:
        """``access_token`` gives the stored token; it is asked at every attempt."""
        self.account_id = account_id
        self._access_token = access_token
        self._clock = clock
        self._listener = listener
        # Where prices of this account go while it `is_ready`: on without a step in between.
        self.spots: Callable[[Iterable[SpotUpdate]], None] = listener.spots
        self._requests: Requests | None = None
        self._retry: IDelayedCall | None = None
        self._attempts = 0
        self._ready_at = 0.0
        self._was_ready = self._was_listed = False
        self.is_ready = False
        # Whether a request for the list of symbols timed out on this connection, and the argument
        # ``kept`` for `SessionListener.ready` if its answer still comes.
        self._list_is_late = self._kept = False
        self._evictions = Evictions("this account")
        # What the broker last said about the account itself, if anything.
        self.trader: Trader | None = None
        self._life = 0
        # What ends the connection, in favour of a new one; set by the application.
        self.drop: Callable[[BaseException], None] = lambda _: None

    def ask(
        self,
        message: Message,
        answer_type: type[AnswerT],
        lane: Lane,
        late: Callable[[], None] | None = None,
    ) -> Deferred[AnswerT]:
        """Ask the venue something on behalf of this account; fails with NotConnected when the
        account is not open, else as `Requests.ask` does.
        """
        if self._requests is None:
            errands.lead_on()
            return fail(NotConnected("there is no connection to the venue; nothing was sent"))
        return self._requests.ask(
            message, answer_type, lane=lane, account_id=self.account_id, late=late
        )

    @property
    def ready_s(self) -> float:
        """For how long the account has been open; 0 while it is not."""
        return self._clock.seconds() - self._ready_at if self.is_ready else 0.0

    # -- what the application tells

    def connecting(self) -> None:
        """The socket is being opened."""
        self._listener.connecting()

    async def open(self, requests: Requests) -> None:
        """Authenticate on a connection whose application is authenticated.

        Never raises: a refusal is announced and tried again, ever more slowly.
        """
        self._requests = requests
        self._life += 1
        life = self._life
        try:
            self._kept = await self._authenticate()
            if life != self._life:
                return
            answer = await self._list(Lane.SESSION)
        except ConnectionEnded:
            return
        except (VenueRefusal, RequestTimeout, ProtocolError) as error:
            if life == self._life and self._requests is requests:
                self._not_opened(error)
            return
        if life != self._life or self._requests is not requests:
            return
        self._listed(answer)

    def listed_late(self, answer: api_pb2.ProtoOASymbolsListRes) -> None:
        """Use a list of symbols that came after its request had timed out; on a slow line the next
        one would be as late.
        """
        if not self._list_is_late:
            return
        self._list_is_late = False
        if self.is_ready:
            self._listener.relisted(Catalogue(translate.symbols(answer)))
            return
        # A new attempt may have begun meanwhile; its requests are not needed any more.
        self._end_life()
        self._listed(answer)

    def closed(self, cause: BaseException, reason: str) -> None:
        """The connection is gone."""
        self._end_life()
        self._requests = None
        self._was_ready = self._list_is_late = False
        self._attempts = 0
        if isinstance(cause, VenueRefusal):
            self._listener.refused(cause.code, reason)
        else:
            self._listener.lost("VENUE_UNREACHABLE", reason)

    def retrying(self, attempt: int, delay_s: float, reason: str) -> None:
        """The connection will be tried again."""
        self._listener.retrying(attempt, delay_s, reason)

    def received(self, message: Message, received_ms: int) -> None:
        """News for this account; ``received_ms`` is when our socket read it."""
        if isinstance(message, api_pb2.ProtoOASymbolChangedEvent):
            self._listener.symbols_changed(list(message.symbolId))
        elif isinstance(message, api_pb2.ProtoOAAccountDisconnectEvent):
            self.reopen("ACCOUNT_DISCONNECTED", "the venue ended the account's session")
        elif isinstance(message, api_pb2.ProtoOATraderUpdatedEvent):
            self.trader = translate.trader(message.trader)

    def reopen(self, code: str, reason: str) -> None:
        """The account lost its place on a living connection: authenticate again."""
        if self._requests is None or not self.is_ready:
            # Not open, or already on its way: the echo of something that we know.
            return
        if code != "TOKEN_INVALIDATED":
            self._evictions.count(self.ready_s)
            reason = self._evictions.explain(reason)
        self.log.warn("{code}: {reason}", code=code, reason=reason, account_id=self.account_id)
        self._end_life()
        self._listener.lost(code, reason)
        if self._clock.seconds() - self._ready_at >= STABLE_AFTER_S:
            self._attempts = 0
        # A venue that lets in and throws out again must not meet a tight loop.
        self._try_in(self._back_off(self._attempts - 1) if self._attempts else 0.0, reason)

    def end_connection(self, reason: str) -> None:
        """Nothing that can be done on this connection helps: end it, and another one follows."""
        if self.is_ready:
            self.log.warn("ending the connection: {reason}", reason=reason)
            self.drop(TimeoutError(reason))

    def list_again(self) -> None:
        """Fetch the symbols anew; the listener's `relisted` or `not_relisted` follows, unless this
        life ends.
        """
        if self.is_ready:
            run(self._relist(self._life), self.log)

    async def log_out(self) -> None:
        """Tell the venue that the account leaves; the caller bounds the wait."""
        was_ready = self.is_ready
        # The venue confirms with an AccountDisconnectEvent, which must not bring us back.
        self._end_life()
        if was_ready:
            await self.ask(
                translate.account_logout(self.account_id),
                api_pb2.ProtoOAAccountLogoutRes,
                Lane.SESSION,
            )

    async def _relist(self, life: int) -> None:
        try:
            answer = await self._list(Lane.READ)
        except ConnectionEnded:
            return
        except (VenueRefusal, RequestTimeout, ProtocolError) as error:
            self.log.warn("the symbols could not be listed again: {error}", error=error)
            if life == self._life:
                self._listener.not_relisted()
            return
        if life == self._life:
            self._listener.relisted(Catalogue(translate.symbols(answer)))

    # -- one attempt

    async def _list(self, lane: Lane) -> api_pb2.ProtoOASymbolsListRes:
        request = translate.symbols_list(self.account_id)
        try:
            answer = await self.ask(request, api_pb2.ProtoOASymbolsListRes, lane)
        except RequestTimeout as error:
            self._list_is_late = self._list_is_late or error.sent
            raise
        self._list_is_late = False
        return answer

    def _listed(self, answer: api_pb2.ProtoOASymbolsListRes) -> None:
        catalogue = Catalogue(translate.symbols(answer))
        if not catalogue.names and not self._was_listed:
            # A venue that has just started may not have its symbols yet.
            self._not_opened(NoSymbols("the venue lists no symbol that can be subscribed to"))
            return
        self._ready_at = self._clock.seconds()
        self.is_ready = self._was_ready = self._was_listed = True
        self._listener.ready(catalogue, self._kept)

    async def _authenticate(self) -> bool:
        request = translate.account_auth(self.account_id, self._access_token())
        try:
            await self.ask(request, api_pb2.ProtoOAAccountAuthRes, Lane.SESSION)
        except VenueRefusal as error:
            if remedy_for(error) is Remedy.SUCCEED:
                # Only a life on this connection can have left subscriptions behind.
                return self._was_ready
            raise
        return False

    def _not_opened(self, error: VenueRefusal | RequestTimeout | ProtocolError) -> None:
        code = "NO_ANSWER" if isinstance(error, RequestTimeout) else "UNEXPECTED_ANSWER"
        if isinstance(error, NoSymbols):
            code = "NO_SYMBOLS"
        if isinstance(error, VenueRefusal):
            if remedy_for(error) in CONNECTION_WIDE:
                # The application ends the connection because of it, and `closed` follows.
                return
            code = error.code
        delay_s = wait_s(error, self._attempts, first_s=RETRY_FIRST_S, longest_s=RETRY_MAX_S)
        self._end_life()
        self._listener.refused(code, str(error))
        self._try_in(delay_s, str(error))

    def _back_off(self, attempts: int) -> float:
        # 2**n without an upper bound would overflow after months of retrying.
        return float(min(RETRY_FIRST_S * 2 ** min(attempts, 32), RETRY_MAX_S))

    def _try_in(self, delay_s: float, reason: str) -> None:
        self._attempts += 1
        self.log.warn(
            "the account is not open: {reason}; attempt {attempt} in {delay:g} s",
            reason=reason,
            attempt=self._attempts,
            delay=delay_s,
            account_id=self.account_id,
        )
        self._retry = self._clock.callLater(delay_s, self._try_again)
        self._listener.retrying(self._attempts, delay_s, reason)

    def _try_again(self) -> None:
        self._retry = None
        if self._requests is not None:
            self._listener.connecting()
            run(self.open(self._requests), self.log)

    def _end_life(self) -> None:
        self.is_ready = False
        self._life += 1
        if self._requests is not None:
            over = ConnectionEnded("the account lost its place", sent=False)
            self._requests.withdraw(self.account_id, over)
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None


def run(coroutine: Coroutine[Deferred[object], object, None], log: Logger) -> None:
    """Run a coroutine whose outcome nobody waits for; what it did not expect is logged."""

    def failed(failure: Failure) -> None:
        log.failure("an unforeseen failure of the session", failure)

    Deferred.fromCoroutine(coroutine).addErrback(failed)
