"""The only way out: every request to the venue passes here.

Requests wait in lanes (closing before trading before subscribing before history), each lane fair
between accounts, and leave as the venue's two budgets allow. Each carries a client message id
and a deadline. One `Requests` lives exactly as long as its connection: on loss everything that
waits is ended at once, and nothing that was queued can ever leave on the next connection.

Each leaves two lines in the log, when it is sent and when it is over, with the correlation id of
whoever caused it. What the daemon begins by itself is called ``own:`` and its connection's name,
which no client can call itself.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import count
from typing import TypeVar, cast

from google.protobuf.message import Message
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ctrader_twisted import errands
from ctrader_twisted.budget import Bucket
from ctrader_twisted.errors import ConnectionEnded, ProtocolError, RequestTimeout, VenueRefusal
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.refusals import is_known
from ctrader_twisted.upstream.latecomers import Latecomers
from ctrader_twisted.upstream.translate import refusal
from ctrader_twisted.wire.codec import Envelope

AnswerT = TypeVar("AnswerT", bound=Message)
Send = Callable[[Message, str], None]
# Called with seconds: whether a long frame is arriving, whose newest byte is no older than that.
Arriving = Callable[[float], bool]

# Seconds by which a deadline is put off while a long frame arrives.
LOOK_AGAIN_S = 1.0
# The venue counts any second: what was saved up leaves on top of what the second brings.
BURST = 0.25


class Lane(IntEnum):
    """Who goes first when the budget is short."""

    SESSION = 0
    CLOSE = 1
    TRADE = 2
    SUBSCRIBE = 3
    READ = 4
    HISTORY = 5


@dataclass(eq=False, slots=True)
class _Waiting:
    """One request on its way: queued, then sent, then settled."""

    message: Message
    answer_type: type[Message]
    lane: Lane
    account_id: int
    client_message_id: str
    known_as: str
    asked_at: float
    result: Deferred[Message]
    deadline: IDelayedCall | None = None
    sent: bool = False
    sent_at: float = 0.0
    late: Callable[[], None] | None = None


@dataclass(slots=True)
class _Queue:
    """One lane: a deque for each account, served in turn."""

    by_account: OrderedDict[int, deque[_Waiting]] = field(default_factory=OrderedDict)

    def put(self, waiting: _Waiting) -> None:
        self.by_account.setdefault(waiting.account_id, deque()).append(waiting)

    def pop(self) -> _Waiting:
        account_id, queue = next(iter(self.by_account.items()))
        waiting = queue.popleft()
        self.by_account.move_to_end(account_id)
        if not queue:
            del self.by_account[account_id]
        return waiting

    def remove(self, waiting: _Waiting) -> None:
        queue = self.by_account[waiting.account_id]
        queue.remove(waiting)
        if not queue:
            del self.by_account[waiting.account_id]


class Requests:
    """What one connection has been asked and has not answered yet."""

    log = Logger()

    def __init__(
        self,
        *,
        clock: IReactorTime,
        send: Send,
        metrics: Metrics,
        requests_per_s: float,
        history_per_s: float,
        timeout_s: float,
        name: str,
        arriving: Arriving = lambda _: False,
    ) -> None:
        """``name`` begins every client message id, and is unique to the connection. Deadlines wait
        while a long frame is ``arriving``, since it may be the answer, or come before it.
        """
        self._clock = clock
        self._send = send
        self._metrics = metrics
        self._timeout_s = timeout_s
        self._name = name
        self._arriving = arriving
        self._numbers = count(1)
        now = clock.seconds()
        self._ordinary = Bucket(requests_per_s, now, requests_per_s * BURST)
        self._history = Bucket(history_per_s, now, history_per_s * BURST)
        self._lanes = {lane: _Queue() for lane in Lane}
        self._waiting: dict[str, _Waiting] = {}
        self._latecomers = Latecomers()
        self._wake_up: IDelayedCall | None = None
        self._ended: BaseException | None = None

    def ask(
        self,
        message: Message,
        answer_type: type[AnswerT],
        *,
        lane: Lane,
        account_id: int = 0,
        timeout_s: float | None = None,
        late: Callable[[], None] | None = None,
    ) -> Deferred[AnswerT]:
        """Send ``message`` as soon as the budget allows; fires with the venue's answer.

        Fails with VenueRefusal (the venue said no), RequestTimeout or ConnectionEnded (``sent``
        tells whether the outcome is unknown), ProtocolError (an answer of the wrong type).
        ``late`` is called when it was done after all, after its time was over.
        """
        name = type(message).__name__
        result: Deferred[Message] = Deferred(lambda _: self._give_up(waiting))
        waiting = _Waiting(
            message=message,
            answer_type=answer_type,
            lane=lane,
            account_id=account_id,
            client_message_id=f"{self._name}-{next(self._numbers)}",
            known_as=errands.current() or f"own:{self._name}",
            asked_at=self._clock.seconds(),
            result=result,
            late=late,
        )
        errands.lead_on()
        if self._ended is not None:
            self._log_end(waiting, "not_sent", "connection ended")
            result.errback(ConnectionEnded(f"{name}: {self._ended}", sent=False))
            return cast("Deferred[AnswerT]", result)
        seconds = self._timeout_s if timeout_s is None else timeout_s
        waiting.deadline = self._clock.callLater(seconds, self._expire, waiting, seconds)
        self._waiting[waiting.client_message_id] = waiting
        self._lanes[lane].put(waiting)
        self._pump()
        return cast("Deferred[AnswerT]", result)

    def settle(self, envelope: Envelope) -> bool:
        """Give an answer to whoever waits for it; False when nobody does.

        News that also answers (an execution event) settles here *and* walks on: the caller
        passes events to both.
        """
        waiting = self._waiting.get(envelope.client_message_id or "")
        answer = envelope.error or envelope.message
        if waiting is None or not waiting.sent or answer is None:
            self._latecomers.came(envelope.client_message_id, envelope.message)
            return False
        self._forget(waiting)
        with errands.on_behalf_of(waiting.known_as):
            if isinstance(answer, ProtocolError):
                self._over(waiting, "answered", "unreadable")
                waiting.result.errback(answer)
            else:
                self._settle(waiting, answer)
        return True

    def _settle(self, waiting: _Waiting, message: Message) -> None:
        name, refused = type(waiting.message).__name__, refusal(message)
        if refused is not None:
            self._over(waiting, "refused", _harmless(refused.code))
            self._note(refused, name, waiting)
            waiting.result.errback(refused)
            return
        got = type(message).__name__
        self._over(waiting, "answered", got)
        if isinstance(message, waiting.answer_type):
            self._metrics.count("requests_answered", waiting.lane.name.lower())
            waiting.result.callback(message)
        else:
            waiting.result.errback(ProtocolError(f"{name} was answered by {got}"))

    def fail_all(self, cause: BaseException) -> None:
        """The connection is over: everything that waits learns it now."""
        self._ended = cause
        if self._wake_up is not None and self._wake_up.active():
            self._wake_up.cancel()
        # One at a time: whoever learns it may cancel others that wait.
        while self._waiting:
            self._fail(next(iter(self._waiting.values())), cause, "connection ended")

    def withdraw(self, account_id: int, cause: BaseException) -> None:
        """The account lost its place: what it has queued must not be sent when it is back.

        That would be done unasked, behind the back of whoever begins anew. What is sent already
        is answered as ever.
        """
        for queue in self._lanes.values():
            while account_id in queue.by_account:
                self._fail(queue.by_account[account_id][0], cause, "the account lost its place")

    def _fail(self, waiting: _Waiting, cause: BaseException, why: str) -> None:
        self._forget(waiting)
        self._over(waiting, "lost" if waiting.sent else "not_sent", why)
        name = type(waiting.message).__name__
        with errands.on_behalf_of(waiting.known_as):
            waiting.result.errback(ConnectionEnded(f"{name}: {cause}", sent=waiting.sent))

    def _note(self, refused: VenueRefusal, name: str, waiting: _Waiting) -> None:
        if is_known(refused.code):
            self._metrics.count("requests_refused", refused.code)
            return
        # One label for all of them: the venue must not be able to fill our memory with names.
        self._metrics.count("requests_refused", "UNKNOWN_CODE")
        self.log.error(
            "{request} was refused with a code that we do not know, and is not repeated: {code} "
            "({description!r}, retry after {retry_after_s} s, maintenance until "
            "{maintenance_end_s}, message {client_message_id}, lane {lane})",
            request=name,
            code=refused.code,
            description=refused.description,
            retry_after_s=refused.retry_after_s,
            maintenance_end_s=refused.maintenance_end_s,
            client_message_id=waiting.client_message_id,
            lane=waiting.lane.name,
            account_id=waiting.account_id,
        )

    def pending(self) -> int:
        """How many requests are queued or unanswered."""
        return len(self._waiting)

    def budgets_used(self) -> dict[str, float]:
        """How much of each budget is used up now: 0 is nothing, 1 is all of it."""
        now = self._clock.seconds()
        budgets = {"ordinary": self._ordinary, "history": self._history}
        return {name: bucket.used(now) for name, bucket in budgets.items()}

    def _over(self, waiting: _Waiting, outcome: str, reason: str) -> None:
        seconds = self._clock.seconds() - waiting.sent_at if waiting.sent else None
        self._metrics.requested(waiting.lane.name.lower(), outcome, seconds)
        self._log_end(waiting, outcome, reason)

    def _log_end(self, waiting: _Waiting, outcome: str, reason: str) -> None:
        since = waiting.sent_at if waiting.sent else waiting.asked_at
        self.log.info(
            "[{correlation_id}] {request} {client_message_id}: {outcome} after {duration_ms} ms "
            "({reason})",
            request=type(waiting.message).__name__,
            client_message_id=waiting.client_message_id,
            outcome=outcome,
            reason=reason,
            lane=waiting.lane.name.lower(),
            account_id=waiting.account_id,
            correlation_id=waiting.known_as,
            duration_ms=self._ms_since(since),
        )

    def _ms_since(self, moment: float) -> float:
        return round((self._clock.seconds() - moment) * 1000, 1)

    def _pump(self) -> None:
        if self._wake_up is not None and self._wake_up.active():
            self._wake_up.cancel()
        self._wake_up = None
        now = self._clock.seconds()
        waits = []
        for lane, queue in self._lanes.items():
            bucket = self._history if lane is Lane.HISTORY else self._ordinary
            while queue.by_account:
                wait = bucket.wait(now)
                if wait > 0:
                    waits.append(wait)
                    break
                bucket.take()
                self._let_go(queue.pop())
        # What came back at once may have pumped again, or ended everything.
        if waits and self._wake_up is None and self._ended is None:
            self._wake_up = self._clock.callLater(min(waits), self._pump)

    def _let_go(self, waiting: _Waiting) -> None:
        waiting.sent = True
        waiting.sent_at = self._clock.seconds()
        self.log.info(
            "[{correlation_id}] {request} sent as {client_message_id}, lane {lane}, account "
            "{account_id}, after {queued_ms} ms in the queue",
            request=type(waiting.message).__name__,
            client_message_id=waiting.client_message_id,
            lane=waiting.lane.name.lower(),
            account_id=waiting.account_id,
            correlation_id=waiting.known_as,
            queued_ms=self._ms_since(waiting.asked_at),
        )
        try:
            self._send(waiting.message, waiting.client_message_id)
        except ProtocolError as error:
            self._forget(waiting)
            self._log_end(waiting, "not_sent", "cannot be encoded")
            waiting.result.errback(error)

    def _expire(self, waiting: _Waiting, seconds: float) -> None:
        if waiting.sent and self._arriving(seconds):
            waiting.deadline = self._clock.callLater(LOOK_AGAIN_S, self._expire, waiting, seconds)
            return
        waiting.deadline = None
        self._forget(waiting)
        if waiting.sent and waiting.late is not None:
            self._latecomers.expect(waiting.client_message_id, waiting.answer_type, waiting.late)
        self._metrics.count("requests_timed_out", waiting.lane.name.lower())
        self._over(waiting, "timed_out" if waiting.sent else "not_sent", "its time is over")
        name = type(waiting.message).__name__
        what = "was not answered" if waiting.sent else "could not be sent"
        setting = " (request_timeout_s)" if seconds == self._timeout_s else ""
        error = RequestTimeout(f"{name} {what} in {seconds:g} s{setting}", sent=waiting.sent)
        with errands.on_behalf_of(waiting.known_as):
            waiting.result.errback(error)

    def _give_up(self, waiting: _Waiting) -> None:
        if waiting.client_message_id in self._waiting:
            self._forget(waiting)
            self._log_end(waiting, "given_up", "nobody waits for it any more")

    def _forget(self, waiting: _Waiting) -> None:
        """No answer is awaited any more; what was not sent yet is never sent."""
        self._waiting.pop(waiting.client_message_id, None)
        if waiting.deadline is not None and waiting.deadline.active():
            waiting.deadline.cancel()
        waiting.deadline = None
        if not waiting.sent and waiting in self._lanes[waiting.lane].by_account.get(
            waiting.account_id, ()
        ):
            self._lanes[waiting.lane].remove(waiting)


def _harmless(code: str) -> str:
    """The venue's word for a refusal, unless it is one that could say anything."""
    return code if is_known(code) else "UNKNOWN_CODE"
