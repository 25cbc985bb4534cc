"""Frames in and out of one socket.

The protocol knows frames, not accounts. It beats (a heartbeat is the one thing that nobody asks
for), listens for silence, and says aloud why a connection ends. What arrives goes on by the one
listener that it was born with.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Protocol, cast

from google.protobuf.message import Message
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IHandshakeListener,
    IReactorTime,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from ctrader_twisted.errors import PayloadError, ProtocolError
from ctrader_twisted.market.model import SpotUpdate
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.pb import api_pb2, common_pb2
from ctrader_twisted.upstream.partial_frame import PartialFrame
from ctrader_twisted.upstream.translate import spot_updates
from ctrader_twisted.wire.codec import (
    HEARTBEAT,
    SPOT,
    SPOT_HEAD_SIZE,
    SPOT_HEADS,
    Envelope,
    decode,
    encode,
)

SILENT_LOOKS = 4
# Log at most this many payload types as ignored, on one connection.
MOST_TOLD = 100
KEEPALIVE_PROBES, KEEPALIVE_INTERVAL_S = 3, 5

# Where prices go: all that one read brought, in order.
Spots = Callable[[Iterator[SpotUpdate]], None]
HEARTBEAT_FRAME = encode(common_pb2.ProtoHeartbeatEvent())


class LinkListener(Protocol):
    """Who is told about one connection. Required, so that no event meets an empty room."""

    def opened(self, link: OpenApiProtocol) -> None:
        """TLS is up and verified; nobody is authenticated yet."""

    def received(self, envelope: Envelope, received_ms: int) -> None:
        """One message, neither a heartbeat nor a spot; ``received_ms`` is the time of day."""

    def settled(self) -> None:
        """The layer above is content with this connection."""

    def lost(self, link: OpenApiProtocol, cause: BaseException) -> None:
        """The connection is over (also when it never opened)."""


@implementer(IHandshakeListener)
class OpenApiProtocol(Int32StringReceiver):
    """One connection to the venue: length-prefixed ProtoMessage over TLS.

    ``silence_s``: a venue that sends no byte for so long is taken for dead and the socket closed.
    ``frame_timeout_s``: how long one frame may take from its first byte to its last.
    ``now_ms`` is the time of day in ms since the epoch, looked at once for every frame.
    The alarm needs four silent looks in a row, so that no single jump of the clock can ring it.
    """

    log = Logger()

    def __init__(
        self,
        *,
        clock: IReactorTime,
        listener: LinkListener,
        spots: Spots,
        metrics: Metrics,
        now_ms: Callable[[], int],
        heartbeat_s: float,
        silence_s: float,
        keepalive_s: int,
        frame_limit: int,
        frame_timeout_s: float,
    ) -> None:
        self.MAX_LENGTH = frame_limit
        self._partial = PartialFrame(clock=clock, timeout_s=frame_timeout_s, too_slow=self.drop)
        self._clock = clock
        self._listener = listener
        self._spots = spots
        self._waiting: list[bytes] = []
        self._told: set[int] = set()
        self._metrics = metrics
        self._now_ms = now_ms
        self._received_ms = 0
        self._silence_s = silence_s
        self._keepalive_s = keepalive_s
        self._heard = False
        self._silent_looks = 0
        self._cause: BaseException | None = None
        self.lost = False
        self._heartbeat_s = heartbeat_s
        self._timers: list[LoopingCall] = []

    # -- the socket's life

    def connectionMade(self) -> None:
        """TCP is up. With TLS the handshake is still to come, and only then are we open."""
        self._keep_alive()
        if not ISSLTransport.providedBy(self.transport):
            self.handshakeCompleted()

    def handshakeCompleted(self) -> None:
        """The certificate and its host name are verified: the connection is open."""
        self._every(self._heartbeat_s, self._send_heartbeat)
        self._every(self._silence_s / SILENT_LOOKS, self._check_silence)
        self._listener.opened(self)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The end of the connection, told once, with the best cause that is known."""
        if self.lost:
            return
        self.lost = True
        for timer in self._timers:
            if timer.running:
                timer.stop()
        self._partial.stop()
        self._listener.lost(self, self._cause or reason.value or ConnectionDone())

    # -- what the layer above may do

    def send(self, message: Message, client_message_id: str | None = None) -> None:
        """Write one message; nothing happens once the connection is lost."""
        if not self.lost:
            self.sendString(encode(message, client_message_id))
            self._metrics.count("messages_out", type(message).__name__)

    def drop(self, cause: BaseException) -> None:
        """End the connection now, because of ``cause``. Dropping twice keeps the first cause."""
        if self.lost or self._cause is not None:
            return
        self._cause = cause
        # Aborting does not wait for a peer that may never answer again.
        cast(ITCPTransport, self.transport).abortConnection()

    def is_arriving(self, within_s: float) -> bool:
        """Whether a long frame is arriving and its newest byte is at most ``within_s`` old. An
        outstanding answer may be that frame, or come after it.
        """
        return self._partial.is_arriving(within_s)

    def settled(self) -> None:
        """Authentication is through."""
        self._listener.settled()

    # -- frames

    def dataReceived(self, data: bytes) -> None:
        """Some bytes. All frames that they complete were received now: one look at the clock.

        Nearly all frames are prices, and come in flocks: they wait in a list, and go on together
        at the end, or before the next frame that is no price, so that nothing overtakes anything.
        """
        self._received_ms = self._now_ms()
        self._metrics.received_at = self._clock.seconds()
        self._heard = True
        super().dataReceived(data)
        if self._waiting:
            self._pass_on()
        if self._cause is None:
            self._partial.look(self._unprocessed, len(data))

    def stringReceived(self, string: bytes) -> None:
        """One frame."""
        if string[:SPOT_HEAD_SIZE] == SPOT_HEADS.get(len(string)):
            self._waiting.append(string[SPOT_HEAD_SIZE:])
            return
        if self._waiting:
            self._pass_on()
        self._metrics.frames_in += 1
        if self._cause is not None:
            return
        try:
            envelope = decode(string)
        except PayloadError as error:
            self._unreadable(error, error.payload_type)
            # It may answer a request, which then fails now instead of timing out.
            lost = Envelope(error.payload_type, None, error.client_message_id, error)
            self._listener.received(lost, self._received_ms)
            return
        except ProtocolError as error:
            self._undecodable(error)
            return
        message = envelope.message
        if isinstance(message, api_pb2.ProtoOASpotEvent):
            # Not known by its first bytes: it is long, has a message id, or another field order.
            payload = message.SerializeToString()
            self._spots(spot_updates((payload,), self._received_ms, self._unreadable))
            return
        self._metrics.count("messages_in", "unknown" if message is None else type(message).__name__)
        if envelope.payload_type == HEARTBEAT:
            return
        if envelope.message is None:
            self._metrics.count("unknown_messages")
            self._tell_once(envelope.payload_type, "it is not known")
        self._listener.received(envelope, self._received_ms)

    def lengthLimitExceeded(self, length: int) -> None:
        """A frame is announced that we are not prepared to read."""
        if self._waiting:
            self._pass_on()
        self._undecodable(
            ProtocolError(f"the venue announced a frame of {length} bytes ({self.MAX_LENGTH})")
        )

    def _pass_on(self) -> None:
        payloads, self._waiting = self._waiting, []
        self._metrics.frames_in += len(payloads)
        if self._cause is None:
            self._spots(spot_updates(payloads, self._received_ms, self._unreadable))

    def _unreadable(self, error: ProtocolError, payload_type: int = SPOT) -> None:
        """Count one lost message; the next one is intact, since the frame's length was right."""
        self._metrics.count("undecodable_frames")
        self._tell_once(payload_type, str(error))

    def _tell_once(self, payload_type: int, why: str) -> None:
        # Bounded, so that the venue can fill neither the log nor the memory.
        if payload_type in self._told or len(self._told) >= MOST_TOLD:
            return
        self._told.add(payload_type)
        self.log.warn(
            "ignoring messages of payload type {number}: {why}; further ones are only counted",
            number=payload_type,
            why=why,
        )

    def _undecodable(self, error: ProtocolError) -> None:
        self.log.error("dropping the connection: {error}", error=error)
        self._metrics.count("undecodable_frames")
        self.drop(error)

    # -- liveness

    def _send_heartbeat(self) -> None:
        self.sendString(HEARTBEAT_FRAME)

    def _check_silence(self) -> None:
        self._silent_looks = 0 if self._heard else self._silent_looks + 1
        self._heard = False
        if self._silent_looks >= SILENT_LOOKS:
            self.drop(TimeoutError(f"the venue said nothing for {self._silence_s:g} s (silence_s)"))

    def _every(self, interval_s: float, function: Callable[[], None]) -> None:
        def died(failure: Failure) -> None:
            # A LoopingCall that raises stops for good; a connection without it is not alive.
            self.log.failure("a timer of the connection failed", failure)
            self.drop(failure.value or RuntimeError("unknown"))

        timer = LoopingCall(function)
        timer.clock = self._clock
        self._timers.append(timer)
        timer.start(interval_s, now=False).addErrback(died)

    def _keep_alive(self) -> None:
        sock = getattr(self.transport, "socket", None)
        if sock is None:
            return
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, self._keepalive_s)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
            # While bytes are unacknowledged TCP probes nothing, and after a network drop there is
            # always a heartbeat of ours: without this only the silence alarm would find it.
            patience_s = self._keepalive_s + KEEPALIVE_PROBES * KEEPALIVE_INTERVAL_S
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience_s * 1000)
        except (OSError, AttributeError):
            # Not every platform has every option; the silence alarm works on all of them.
            self.log.info("TCP keepalive could not be set")
