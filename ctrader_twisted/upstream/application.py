"""Who is speaking: our program, authenticated once on the connection to one environment.

`Application` then opens every `Session`, and routes what the venue sends by account id.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count, groupby
from operator import attrgetter
from typing import cast

from google.protobuf.message import Message
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ctrader_twisted.errors import (
    ConnectionEnded,
    ProtocolError,
    RequestTimeout,
    VenueRefusal,
)
from ctrader_twisted.market.model import SpotUpdate
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.pb import api_pb2
from ctrader_twisted.refusals import CONNECTION_WIDE, Remedy, remedy_for
from ctrader_twisted.upstream import translate
from ctrader_twisted.upstream.protocol import OpenApiProtocol
from ctrader_twisted.upstream.requests import Lane, Requests
from ctrader_twisted.upstream.session import Session, run
from ctrader_twisted.wire.codec import Envelope, has_unknown_fields

_ACCOUNT_ID = attrgetter("account_id")


@dataclass(frozen=True, slots=True)
class Budget:
    """What the venue allows on one connection (requests per second), and our patience."""

    requests_per_s: float
    history_per_s: float
    timeout_s: float


class Application:
    """Our program on the connection to one environment: authenticates it, and opens the sessions.

    Implements ConnectionListener.
    """

    log = Logger()

    def __init__(
        self,
        *,
        client_id: str,
        client_secret: Callable[[], str],
        sessions: Sequence[Session],
        budget: Budget,
        clock: IReactorTime,
        metrics: Metrics,
    ) -> None:
        self._client_id = client_id
        self._client_secret = client_secret
        self._sessions = {session.account_id: session for session in sessions}
        for session in sessions:
            session.drop = self._drop
        self._budget = budget
        self._clock = clock
        self._metrics = metrics
        self._link: OpenApiProtocol | None = None
        self._requests: Requests | None = None
        # In the current attempt, or the last one.
        self.was_accepted = False
        # Executions carry the ids of whichever program caused them; ours must not be another's.
        self._run = secrets.token_hex(4)
        self._names = count(1)

    def connecting(self) -> None:
        """An attempt begins."""
        self.was_accepted = False
        for session in self._sessions.values():
            session.connecting()

    def opened(self, link: OpenApiProtocol) -> None:
        """A connection is there: a new life, with nothing of the last one in it."""
        self._link = link
        self._requests = Requests(
            clock=self._clock,
            send=link.send,
            metrics=self._metrics,
            requests_per_s=self._budget.requests_per_s,
            history_per_s=self._budget.history_per_s,
            timeout_s=self._budget.timeout_s,
            name=f"{self._run}-{next(self._names)}",
            arriving=link.is_arriving,
        )
        run(self._bring_up(link, self._requests), self.log)

    async def _bring_up(self, link: OpenApiProtocol, requests: Requests) -> None:
        request = translate.application_auth(self._client_id, self._client_secret())
        try:
            await requests.ask(request, api_pb2.ProtoOAApplicationAuthRes, lane=Lane.SESSION)
        except ConnectionEnded:
            return
        except (VenueRefusal, RequestTimeout, ProtocolError) as error:
            if not (isinstance(error, VenueRefusal) and remedy_for(error) is Remedy.SUCCEED):
                link.drop(error)
                return
        self.was_accepted = True
        openings = [session.open(requests) for session in self._sessions.values()]
        await gatherResults([Deferred.fromCoroutine(opening) for opening in openings])
        if not link.lost:
            link.settled()

    def received(self, envelope: Envelope, received_ms: int) -> None:
        """Route one message: an answer to whoever waits, news to the account it is about."""
        message = envelope.message
        requests = self._requests
        if requests is None:
            return
        if message is None:
            if envelope.error is not None:
                requests.settle(envelope)
            return
        if has_unknown_fields(message):
            self._metrics.count("unknown_fields", type(message).__name__)
        answered = requests.settle(envelope)
        refused = translate.refusal(message)
        if refused is not None and remedy_for(refused) in CONNECTION_WIDE:
            # Whoever was refused: the venue forgot the application, or is about to close.
            self._drop(refused)
        if isinstance(message, api_pb2.ProtoOAClientDisconnectEvent):
            self._disconnected(translate.words(message.reason))
        elif isinstance(message, api_pb2.ProtoOAAccountsTokenInvalidatedEvent):
            self._token_invalidated(message)
        elif type(message).__name__.endswith("Event"):
            session = self._sessions.get(getattr(message, "ctidTraderAccountId", 0))
            if session is not None:
                session.received(message, received_ms)
        elif not answered:
            self._unasked(message, refused)

    def spots(self, updates: Iterable[SpotUpdate]) -> None:
        """Prices, each for the account that it belongs to, while that is open."""
        for account_id, its_own in groupby(updates, _ACCOUNT_ID):
            session = self._sessions.get(account_id)
            if session is not None and session.is_ready:
                session.spots(its_own)

    def lost(self, cause: BaseException, reason: str) -> None:
        """The connection is over: everything that waits on it ends now."""
        requests, self._requests, self._link = self._requests, None, None
        if requests is not None:
            requests.fail_all(ConnectionEnded(reason, sent=False))
        for session in self._sessions.values():
            session.closed(cause, reason)

    def retrying(self, attempt: int, delay_s: float, reason: str) -> None:
        """The next attempt is announced."""
        for session in self._sessions.values():
            session.retrying(attempt, delay_s, reason)

    def ready_s(self) -> float:
        """For how long an account has been open; 0 while none is."""
        return max((session.ready_s for session in self._sessions.values()), default=0.0)

    def budgets_used(self) -> dict[str, float]:
        """How much of the venue's budgets is used up now, by name; nothing without a connection."""
        return {} if self._requests is None else self._requests.budgets_used()

    def pending(self) -> int:
        """How many requests wait, for the budget or for an answer."""
        return 0 if self._requests is None else self._requests.pending()

    async def log_out(self) -> None:
        """Say goodbye for every account; the caller bounds the wait. What becomes of one of them
        does not cut off the others; the first failure is raised when all are done.
        """
        if self._requests is None:
            return
        leaving = [Deferred.fromCoroutine(s.log_out()) for s in self._sessions.values()]
        for is_fine, failure in await DeferredList(leaving, consumeErrors=True):
            if not is_fine:
                cast(Failure, failure).raiseException()

    def _disconnected(self, reason: str) -> None:
        self._drop(ConnectionEnded(f"the venue disconnected us: {reason}", sent=False))

    def _drop(self, cause: BaseException) -> None:
        if self._link is not None:
            self._link.drop(cause)

    def _token_invalidated(self, event: api_pb2.ProtoOAAccountsTokenInvalidatedEvent) -> None:
        # Often the echo of a refresh of our own: authenticate with the stored token, and never
        # refresh because of it.
        reason = translate.words(event.reason) or "the token was invalidated"
        for account_id in dict.fromkeys(event.ctidTraderAccountIds):
            session = self._sessions.get(account_id)
            if session is not None:
                session.reopen("TOKEN_INVALIDATED", reason)

    def _unasked(self, message: Message, refused: VenueRefusal | None) -> None:
        self._metrics.count("unasked_answers", type(message).__name__)
        if isinstance(message, api_pb2.ProtoOASymbolsListRes):
            session = self._sessions.get(message.ctidTraderAccountId)
            if session is not None:
                session.listed_late(message)
        if refused is None:
            return
        self.log.warn("the venue says, unasked: {refused}", refused=str(refused))
        forgotten = remedy_for(refused) is Remedy.REAUTHORISE
        if forgotten and refused.account_id in self._sessions:
            self._sessions[refused.account_id].reopen(refused.code, str(refused))
