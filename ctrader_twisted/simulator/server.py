"""The venue's end of one connection: frames in, answers and news out, and the gates between."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message
from twisted.internet.interfaces import IDelayedCall, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure

from ctrader_twisted.pb import api_pb2, common_pb2
from ctrader_twisted.simulator.answers import (
    FOR_ACCOUNTS,
    FOR_APPLICATIONS,
    FOR_STRANGERS,
    PRETENDED,
    Answer,
)
from ctrader_twisted.simulator.frames import (
    Refusal,
    Request,
    careless_frame,
    open_envelope,
    open_request,
)
from ctrader_twisted.simulator.liveness import Backlog, Bucket, Watch
from ctrader_twisted.simulator.rules import Rule
from ctrader_twisted.wire.codec import HEARTBEAT

if TYPE_CHECKING:
    from ctrader_twisted.simulator.venue import Venue

log = Logger()

#: Requests that count against the budget for history.
HISTORICAL: frozenset[type[Message]] = frozenset(
    {
        api_pb2.ProtoOAGetTrendbarsReq,
        api_pb2.ProtoOAGetTickDataReq,
        api_pb2.ProtoOADealListReq,
        api_pb2.ProtoOADealListByPositionIdReq,
        api_pb2.ProtoOAOrderListReq,
        api_pb2.ProtoOAOrderListByPositionIdReq,
        api_pb2.ProtoOACashFlowHistoryListReq,
    }
)


#: A goodbye needs the client's answer (TLS has it so); one that gives none is cut after this.
CLOSE_WITHIN_S = 5.0


class VenueConnection(Int32StringReceiver):
    """One client. ``accounts`` holds the authorised ones, with the token that each came with."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        behaviour, clock = venue.behaviour, venue.clock
        self.MAX_LENGTH = behaviour.frame_cap_bytes
        self.application = False
        self.accounts: dict[int, str] = {}
        self.mute = False
        self.stalled = False
        self._lost = True
        self._closed = False
        self._backlog = Backlog(behaviour.backlog_cap_bytes)
        self._bad_frames = 0
        self._watch = Watch(clock, behaviour, cut=self._cut, beat=self._beat)
        self._ordinary = Bucket(clock, behaviour.ordinary_per_s)
        self._historical = Bucket(clock, behaviour.historical_per_s)
        self._timers: set[IDelayedCall] = set()
        self._slowed: deque[Callable[[], None]] = deque()

    # -- the socket

    def connectionMade(self) -> None:
        """A client is there; perhaps it may not stay."""
        self._lost = False
        transport: Any = self.transport
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
        transport.registerProducer(self._backlog, True)
        self._watch.start()
        if not self._venue.admit(self):
            self.abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Nothing of it stays: no timer, no subscription."""
        self._lost = True
        self._watch.stop()
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._slowed.clear()
        self._venue.forget(self)

    def close(self) -> None:
        """Say no more, and close when all is sent."""
        transport: Any = self.transport
        if not self._lost and not self._closed:
            self._closed = True
            self._watch.stop()
            transport.unregisterProducer()
            transport.loseConnection()
            self.later(CLOSE_WITHIN_S, self.abort)

    def abort(self) -> None:
        """Cut it now."""
        transport: Any = self.transport
        if not self._lost:
            self._closed = True
            self._watch.stop()
            transport.abortConnection()

    def stall(self, stalled: bool) -> None:
        """Half-open: read nothing, write nothing, close nothing; or wake up again."""
        transport: Any = self.transport
        if self._lost or self._closed or stalled == self.stalled:
            return
        self.stalled = stalled
        if stalled:
            self._watch.stop()
            transport.pauseProducing()
        else:
            transport.resumeProducing()
            self._watch.start(stranger=not self.application)

    # -- out

    def write(self, octets: bytes) -> None:
        """Send bytes as they are, unless this connection was told to say nothing."""
        transport: Any = self.transport
        if self._lost or self._closed or self.mute or self.stalled:
            return
        self._watch.said()
        transport.write(octets)
        if self._backlog.is_too_long_with(len(octets)):
            log.warn("A client does not read what it asked for; cutting it.")
            self.abort()

    def send(self, message: Message, message_id: str | None = None) -> None:
        """Send one message."""
        self.write(self._venue.wording.frame(message, message_id))

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call after a while, unless the connection ends first; at once when there is no delay."""
        if delay_s <= 0:
            call()
            return

        def run() -> None:
            self._timers.discard(timer)
            call()

        timer = self._venue.clock.callLater(delay_s, run)
        self._timers.add(timer)

    def introduce(self) -> None:
        """The application has said who it is."""
        self.application = True
        self._watch.introduced()

    def become_stranger(self) -> None:
        """The application is nobody any more, and has its time to say who it is again."""
        self.application = False
        self._watch.estranged()

    def _beat(self) -> None:
        self.send(common_pb2.ProtoHeartbeatEvent())

    def _cut(self, why: str) -> None:
        log.info("Closing a connection: {why}.", why=why)
        self.close()

    # -- in

    def lengthLimitExceeded(self, length: int) -> None:
        """A frame over the cap is refused, and ends the connection."""
        cap = self._venue.behaviour.frame_cap_bytes
        text = f"A frame of {length} bytes is over the cap of {cap}"
        self._refuse(Refusal("FRAME_TOO_LONG", text, proxy=True, close=True), None)

    def stringReceived(self, string: bytes) -> None:
        """One frame: a heartbeat, a request, or rubbish."""
        if self._closed or self.stalled:
            return
        self._watch.heard()
        try:
            envelope = open_envelope(string)
        except Refusal as refusal:
            self._bad_frames += 1
            refusal.close = self._bad_frames >= self._venue.behaviour.bad_frames_until_close
            self._refuse(refusal, None)
            return
        if envelope.payloadType == HEARTBEAT:
            return
        message_id = envelope.clientMsgId if envelope.HasField("clientMsgId") else None
        try:
            request = open_request(envelope)
            self._spend(type(request.message))
        except Refusal as refusal:
            self._refuse(refusal, message_id)
            return
        self._take(request)

    def _spend(self, kind: type[Message]) -> None:
        """One request of the budget; Refusal when it is used up."""
        behaviour = self._venue.behaviour
        bucket = self._historical if kind in HISTORICAL else self._ordinary
        if behaviour.over_budget_code and not bucket.take():
            newer = behaviour.over_budget_code == "BLOCKED_PAYLOAD_TYPE"
            raise Refusal(
                behaviour.over_budget_code,
                "Too many requests",
                retry_after_s=behaviour.retry_after_s if newer else None,
            )

    def _take(self, request: Request) -> None:
        """Serve a request now, or when mischief lets us; slow answers keep their order."""
        rule = self._venue.rules.take(request.name)
        slow_s = self._venue.rules.delay_s
        if rule.delay_s:
            self.later(rule.delay_s, lambda: self._serve(request, rule))
        elif slow_s or self._slowed:
            self._slowed.append(lambda: self._serve(request, rule))
            self.later(slow_s or 1e-3, self._serve_next)
        else:
            self._serve(request, rule)

    def _serve_next(self) -> None:
        self._slowed.popleft()()

    def _serve(self, request: Request, rule: Rule) -> None:
        if rule.ignored:
            return
        try:
            if rule.refusal is not None:
                raise rule.refusal
            answer = self._answer(request, rule.pretended)
        except Refusal as refusal:
            for _ in range(0 if rule.unanswered else rule.copies):
                self._refuse(refusal, request.message_id)
            return
        if rule.edit is not None:
            rule.edit(answer.reply)
        for _ in range(0 if rule.unanswered else rule.copies):
            if rule.careless:
                self.write(careless_frame(answer.reply, request.message_id))
            else:
                self.send(answer.reply, request.message_id)
        if answer.afterwards is not None:
            answer.afterwards()

    def _answer(self, request: Request, pretended: bool) -> Answer:
        """Check maintenance, application and account, in this order, and then serve the request.
        The venue says that a request is not served only after these checks.
        """
        venue, message, kind = self._venue, request.message, type(request.message)
        self._refuse_in_maintenance()
        if kind in FOR_STRANGERS:
            return FOR_STRANGERS[kind](venue, self, message)
        if not self.application:
            raise Refusal("CH_CLIENT_NOT_AUTHENTICATED", "Client is not authenticated")
        if kind in FOR_APPLICATIONS:
            return FOR_APPLICATIONS[kind](venue, self, message)
        account_id = request.account_id
        if account_id is not None and account_id not in self.accounts:
            code = venue.behaviour.unauthorised_account_code
            raise Refusal(code, "Trading account is not authorized", account_id=account_id)
        if kind not in FOR_ACCOUNTS:
            text = f"{request.name} is not served"
            raise Refusal("UNSUPPORTED_MESSAGE", text, account_id=account_id)
        if venue.rules.back_end_down:
            raise Refusal("CANT_ROUTE_REQUEST", "No back end", account_id=account_id)
        if pretended:
            return Answer(PRETENDED[request.name](ctidTraderAccountId=account_id))
        return FOR_ACCOUNTS[kind](venue, self, message)

    def _refuse_in_maintenance(self) -> None:
        end_ms = self._venue.rules.maintenance_end_ms
        if end_ms is not None and self._venue.now_ms() < end_ms:
            raise Refusal(
                "SERVER_IS_UNDER_MAINTENANCE",
                "The server is under maintenance",
                maintenance_end_s=-(-end_ms // 1000),
                close=True,
            )

    def _refuse(self, refusal: Refusal, message_id: str | None) -> None:
        self.send(refusal.message(), message_id)
        if refusal.close:
            self.close()
