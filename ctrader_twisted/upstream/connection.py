"""The life of the socket: connect, notice its end, wait, connect again. For months.

Ready is later than connected: the delay between attempts grows until the layer above has been
content with a connection for a while, so a venue that accepts sockets and refuses logins never
meets a tight loop. The delay that is announced is the delay that is used.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IConnector,
    IDelayedCall,
    IReactorTime,
)
from twisted.internet.protocol import ReconnectingClientFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from ctrader_twisted.errors import ConnectionEnded
from ctrader_twisted.market.model import SpotUpdate
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.refusals import advised_s, wait_s
from ctrader_twisted.tls.authorities import Authorities
from ctrader_twisted.tls.failures import ConnectFailed, handshake_failure, place
from ctrader_twisted.tls.policy import ClientOptions
from ctrader_twisted.upstream.evictions import Evictions
from ctrader_twisted.upstream.progress import Progress
from ctrader_twisted.upstream.protocol import OpenApiProtocol
from ctrader_twisted.upstream.reasons import reason_of
from ctrader_twisted.upstream.requests import LOOK_AGAIN_S
from ctrader_twisted.wire.codec import Envelope

_BY_THE_VENUE = (ConnectionDone, ConnectionLost, ConnectionEnded)


@dataclass(frozen=True, slots=True)
class ConnectionPolicy:
    """How patient we are. Seconds throughout; see tap.conf.example for the defaults."""

    connect_timeout_s: float
    heartbeat_s: float
    silence_s: float
    keepalive_s: int
    backoff_initial_s: float
    backoff_max_s: float
    stable_after_s: float
    frame_limit_bytes: int
    frame_timeout_s: float


class ConnectionListener(Protocol):
    """Who is told about the connection to one environment."""

    def connecting(self) -> None:
        """An attempt begins."""

    def opened(self, link: OpenApiProtocol) -> None:
        """A verified TLS connection is there; nobody is authenticated on it."""

    def received(self, envelope: Envelope, received_ms: int) -> None:
        """A message arrived."""

    def spots(self, updates: Iterable[SpotUpdate]) -> None:
        """Prices arrived. Called past everybody in between."""

    def lost(self, cause: BaseException, reason: str) -> None:
        """The connection, or the attempt, is over; ``reason`` says why in plain words."""

    def retrying(self, attempt: int, delay_s: float, reason: str) -> None:
        """The next attempt begins in ``delay_s`` seconds."""

    def ready_s(self) -> float:
        """For how long an account has been open; 0 while none is, and nothing is stable."""


class OpenApiFactory(ReconnectingClientFactory):
    """Makes one `OpenApiProtocol` after another. Of the two ways to lose one (the attempt fails,
    the connection ends) each leads to exactly one retry.
    """

    noisy = False
    log = Logger()

    def __init__(
        self,
        *,
        clock: IReactorTime,
        policy: ConnectionPolicy,
        listener: ConnectionListener,
        metrics: Metrics,
        rng: random.Random,
        now_ms: Callable[[], int],
        place: Callable[[str], str],
    ) -> None:
        """``place(address)`` returns host, port and address as text; "": no address tried yet."""
        self._clock = clock
        self._place = place
        self._address = ""
        self._policy = policy
        self._listener = listener
        self._metrics = metrics
        self._rng = rng
        self._now_ms = now_ms
        self.link: OpenApiProtocol | None = None
        self._deadline: IDelayedCall | None = None
        self._stable: IDelayedCall | None = None
        self._settled_at: float | None = None
        self._evictions = Evictions("this account or client id")
        self._stage = "TCP"
        self.progress = Progress(now_ms)
        self._late: TimeoutError | None = None
        self._stopping: list[Deferred[None]] = []

    # -- an attempt

    def startedConnecting(self, connector: IConnector) -> None:
        """One attempt begins; from here to `settled` the deadline runs."""
        self.connector = connector
        self._stage, self._address = "TCP", ""
        self._late = self._settled_at = None
        self.progress.begin()
        seconds = self._policy.connect_timeout_s
        self._deadline = self._clock.callLater(seconds, self._too_late, connector)
        self._listener.connecting()

    def buildProtocol(self, addr: IAddress | None) -> OpenApiProtocol:
        """A protocol for the new socket, on which TLS still has to be agreed."""
        self._stage, self._address = "TLS", str(getattr(addr, "host", ""))
        self.progress.reach("socket")
        self.link = OpenApiProtocol(
            clock=self._clock,
            listener=self,
            spots=self._listener.spots,
            metrics=self._metrics,
            now_ms=self._now_ms,
            heartbeat_s=self._policy.heartbeat_s,
            silence_s=self._policy.silence_s,
            keepalive_s=self._policy.keepalive_s,
            frame_limit=self._policy.frame_limit_bytes,
            frame_timeout_s=self._policy.frame_timeout_s,
        )
        self.link.factory = self
        return self.link

    def _too_late(self, connector: IConnector) -> None:
        seconds, stage = self._policy.connect_timeout_s, self._stage
        if self.link is not None and self.link.is_arriving(seconds):
            # A long list of symbols over a slow line; the frame has a deadline of its own.
            self._deadline = self._clock.callLater(LOOK_AGAIN_S, self._too_late, connector)
            return
        self._deadline = None
        self._late = TimeoutError(
            f"not ready {seconds:g} s after it began (stuck in {stage}), see connect_timeout_s"
        )
        if self.link is not None:
            self.link.drop(self._late)
        else:
            connector.stopConnecting()

    # -- what the protocol tells (LinkListener)

    def opened(self, link: OpenApiProtocol) -> None:
        """TLS is up."""
        self._stage = "authentication"
        self.progress.reach("tls")
        self._listener.opened(link)

    def received(self, envelope: Envelope, received_ms: int) -> None:
        """A message arrived."""
        self._listener.received(envelope, received_ms)

    def settled(self) -> None:
        """The bring-up is through; a spell of stability from now on resets the back-off."""
        self.progress.reach("application")
        self._cancel_timers()
        self._settled_at = self._clock.seconds()
        self._stable = self._clock.callLater(self._policy.stable_after_s, self._is_stable)

    def lost(self, link: OpenApiProtocol, cause: BaseException) -> None:
        """The connection is over."""
        # Only the protocol learns the real reason of a TLS failure; the factory would see
        # "connection done". So the retry starts here, and clientConnectionLost does nothing.
        self.link = None
        self._ended(handshake_failure(cause) if self._stage == "TLS" else cause)

    def _is_stable(self) -> None:
        self._stable = None
        missing_s = self._policy.stable_after_s - self._listener.ready_s()
        if missing_s > 0:
            # Not sooner: what is left of a spell may be too little for a clock to move.
            self._stable = self._clock.callLater(max(1.0, missing_s), self._is_stable)
        else:
            self.retries = 0

    # -- the end of an attempt

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        """No connection came about."""
        cause = reason.value or ConnectionAbortedError()
        if self._late is None:
            self._ended(cause)
        elif isinstance(cause, ConnectFailed):
            # Its text names the addresses that did not answer.
            self._ended(self._late, f"{cause}; {self._late}")
        else:
            self._ended(self._late)

    def clientConnectionLost(self, connector: IConnector, unused_reason: Failure) -> None:
        """Told by `lost` already."""

    def _ended(self, cause: BaseException, reason: str = "") -> None:
        self._cancel_timers()
        self._metrics.count("connections_lost", type(cause).__name__)
        settled_at, evicted = self._settled_at, isinstance(cause, _BY_THE_VENUE)
        if evicted and settled_at is not None:
            self._evictions.count(self._clock.seconds() - settled_at)

        def untold(failure: Failure) -> None:
            self.log.failure("the end of a connection could not be told", failure)

        reason = reason or reason_of(cause, self._place(self._address))
        if evicted and settled_at is not None:
            reason = self._evictions.explain(reason)
        self.progress.fail(cause, reason)
        # Whatever becomes of the news, the next attempt follows.
        maybeDeferred(self._listener.lost, cause, reason).addErrback(untold)
        self._go_on(cause, reason)

    def _go_on(self, cause: BaseException, reason: str) -> None:
        if self.continueTrying:
            self._retry_after(self._next_delay(cause), reason)
        elif self.link is None:
            self._tell_stopped()

    def _tell_stopped(self) -> None:
        stopping, self._stopping = self._stopping, []
        for stopped in stopping:
            stopped.callback(None)

    def _next_delay(self, cause: BaseException) -> float:
        """Doubling from the initial delay, jittered, capped; at once the cap for a refusal that
        only a person can heal, and never before the venue wants to see us.
        """
        first_s, now_s = self._policy.backoff_initial_s, self._now_ms() / 1000
        delay_s = self._rng.uniform(0.75, 1.0) * wait_s(
            cause, self.retries, first_s=first_s, longest_s=self._policy.backoff_max_s, now_s=now_s
        )
        advice_s = advised_s(cause, now_s)
        if not advice_s:
            return delay_s
        # All clients come back at the end of a maintenance: not all of them at once.
        return max(delay_s, advice_s + self._rng.uniform(0.0, first_s))

    def _retry_after(self, delay_s: float, reason: str) -> None:
        """Announce the next attempt, and make it when announced."""
        self.retries += 1
        self.log.warn(
            "no connection to the venue: {reason}; attempt {attempt} in {delay:.1f} s",
            reason=reason,
            attempt=self.retries,
            delay=delay_s,
        )
        self._callID = self._clock.callLater(delay_s, self._try_again)
        self._listener.retrying(self.retries, delay_s, reason)

    def _try_again(self) -> None:
        self._callID = None
        if self.connector is not None:
            self.connector.connect()

    def _cancel_timers(self) -> None:
        for timer in (self._deadline, self._stable):
            if timer is not None and timer.active():
                timer.cancel()
        self._deadline = self._stable = None

    def is_resting(self) -> bool:
        """Has the next attempt its time, and is that still to come?"""
        return self._callID is not None

    def stop(self) -> Deferred[None]:
        """No further attempts; fires when no connection is left."""
        stopped: Deferred[None] = Deferred()
        self._stopping.append(stopped)
        self.continueTrying = 0
        if self.connector is not None:
            self.stopTrying()
        self._cancel_timers()
        if self.link is None:
            self._tell_stopped()
        else:
            self.link.drop(ConnectionAbortedError("we are shutting down"))
        return stopped


class Connection(Service):
    """The one connection to an environment, as a service.

    ``port`` is a callable, because an embedded venue's port is known only once it listens.
    ``connect`` is like IReactorSSL.connectSSL (see `tls.connector.connect_host`).
    """

    def __init__(
        self,
        *,
        host: str,
        port: Callable[[], int],
        authorities: Authorities,
        connect: Callable[..., object],
        clock: IReactorTime,
        policy: ConnectionPolicy,
        listener: ConnectionListener,
        metrics: Metrics,
        rng: random.Random,
        now_ms: Callable[[], int],
    ) -> None:
        self._host = host
        self._port = port
        self._authorities = authorities
        self._connect = connect
        self._timeout_s = policy.connect_timeout_s
        self.factory = OpenApiFactory(
            clock=clock,
            policy=policy,
            listener=listener,
            metrics=metrics,
            rng=rng,
            now_ms=now_ms,
            place=lambda address: place(host, port(), address),
        )

    def startService(self) -> None:
        """Begin to connect, and never give up until stopped."""
        super().startService()
        options = ClientOptions(self._host, self._authorities)
        # The deadline of the whole bring-up is the factory's; this one is only its twin for TCP.
        self._connect(self._host, self._port(), self.factory, options, timeout=self._timeout_s + 1)

    def stopService(self) -> Deferred[None]:
        """Close; fires when the socket is gone."""
        super().stopService()
        return self.factory.stop()
