"""The entrance: a whole venue, ready to listen with TLS or to be joined in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    TimeoutError,
    gatherResults,
    maybeDeferred,
    succeed,
)
from twisted.internet.endpoints import SSL4ServerEndpoint
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from ctrader_twisted.simulator.behaviour import Behaviour, Credentials
from ctrader_twisted.simulator.certificates import Identity, Kind, make_identity
from ctrader_twisted.simulator.mischief import Mischief
from ctrader_twisted.simulator.server import VenueConnection
from ctrader_twisted.simulator.venue import Venue

__all__ = ["Behaviour", "Credentials", "Identity", "Simulator", "SimulatorService"]

log = Logger()

STOP_WITHIN_S = 2.0


def epoch_ms() -> int:
    """Now, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class VenueFactory(ServerFactory):
    """Builds the server side of connections, without TLS."""

    noisy = False

    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def buildProtocol(self, addr: IAddress | None) -> VenueConnection:
        """A protocol for one new client."""
        connection = self._venue.build_connection()
        connection.factory = self
        return connection


class Simulator:
    """A venue with its certificate. Nothing listens, and no time passes, before it is told to.

    ``rate`` is in ticks a second over all symbols, ``burst`` how many of them share a moment,
    ``synthetic`` how many symbols SYM000... are added. ``now_ms`` gives the wall clock (ms since
    the epoch) for timestamps and token lives; everything else runs on ``clock``.
    """

    def __init__(
        self,
        clock: IReactorTime,
        *,
        seed: int = 1,
        rate: float = 50.0,
        burst: int = 1,
        synthetic: int = 0,
        behaviour: Behaviour | None = None,
        credentials: Credentials | None = None,
        host_names: Sequence[str] = ("localhost",),
        certificate: Kind | Identity = "good",
        now_ms: Callable[[], int] = epoch_ms,
    ) -> None:
        self.clock = clock
        self.credentials = credentials or Credentials()
        self.venue = Venue(
            clock,
            now_ms,
            seed=seed,
            rate=rate,
            burst=burst,
            synthetic=synthetic,
            behaviour=behaviour or Behaviour(),
            credentials=self.credentials,
        )
        self.factory = VenueFactory(self.venue)
        self.mischief = Mischief(self.venue)
        self.port = 0
        self._host_names = host_names
        self._certificate = certificate

    @cached_property
    def identity(self) -> Identity:
        """Made when first asked for: an in-memory test needs none."""
        if isinstance(self._certificate, Identity):
            return self._certificate
        return make_identity(self._host_names, self._certificate)

    @property
    def ca_pem(self) -> bytes:
        """The authority that clients of this venue should trust, in PEM."""
        return self.identity.ca_pem

    def service(
        self,
        endpoint_or_reactor: IStreamServerEndpoint | Any,
        port: int = 0,
        interface: str = "127.0.0.1",
    ) -> SimulatorService:
        """A service that listens with TLS, on a reactor's port or on an endpoint of one's own.

        With a reactor ``self.port`` is known as soon as the service has started.
        """
        return SimulatorService(self, endpoint_or_reactor, port, interface)


class SimulatorService(Service):
    """Listens while it runs; stopping cuts every connection."""

    def __init__(
        self, simulator: Simulator, endpoint_or_reactor: Any, port: int, interface: str
    ) -> None:
        self._simulator = simulator
        self._where = endpoint_or_reactor
        self._wanted_port = port
        self._interface = interface
        self._listening: IListeningPort | None = None
        self._waiting: Deferred[IListeningPort] | None = None
        self._problems: list[Failure] = []
        self._closing: Deferred[None] = succeed(None)

    def privilegedStartService(self) -> None:
        """Listen; CannotListenError when the port is taken."""
        super().privilegedStartService()
        self._simulator.mischief.attach(self._pause, self._resume)
        self._listen(self._wanted_port)

    def startService(self) -> None:
        """Listen, unless that happened already."""
        super().startService()
        if self._listening is None and self._waiting is None:
            self.privilegedStartService()

    def stopService(self) -> Deferred[None]:
        """Stop listening and cut every connection."""
        super().stopService()
        simulator, venue = self._simulator, self._simulator.venue
        venue.abort_all()
        gone = venue.when_empty().addTimeout(STOP_WITHIN_S, simulator.clock)
        # A connection that was joined in memory may have nobody to end it.
        gone.addErrback(lambda failure: failure.trap(TimeoutError))
        return gatherResults([self._pause(), gone]).addCallback(lambda _: None)

    def _listen(self, port: int) -> None:
        simulator = self._simulator
        context = simulator.identity.context_factory()
        if IStreamServerEndpoint.providedBy(self._where):
            factory = TLSMemoryBIOFactory(context, False, simulator.factory)
            listening = self._where.listen(factory)
        else:
            endpoint = SSL4ServerEndpoint(
                self._where, port, context, backlog=128, interface=self._interface
            )
            listening = endpoint.listen(simulator.factory)
        self._waiting = listening
        self._problems.clear()
        listening.addCallbacks(self._listens, self._cannot_listen)
        if self._problems:
            self._problems[0].raiseException()

    def _listens(self, listening: IListeningPort) -> None:
        self._listening = listening
        self._waiting = None
        address: Any = listening.getHost()
        self._simulator.port = address.port
        log.info(
            "The simulated venue listens on {host}, port {port}.",
            host=address.host,
            port=address.port,
        )

    def _cannot_listen(self, failure: Failure) -> None:
        self._waiting = None
        self._problems.append(failure)
        if not failure.check(CancelledError):
            log.error("The simulated venue cannot listen: {why}", why=failure.getErrorMessage())

    def _pause(self) -> Deferred[None]:
        """Close the port; connections stay."""
        listening, self._listening = self._listening, None
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        closing = maybeDeferred(listening.stopListening) if listening else succeed(None)
        self._closing = closing.addCallback(lambda _: None)
        return self._closing

    def _resume(self) -> None:
        """Open the same port again, as soon as it is closed."""

        def listen(_: None) -> None:
            if self.running and self._listening is None:
                self._listen(self._simulator.port)

        self._closing.addCallback(listen)
        self._closing.addErrback(lambda failure: log.failure("Cannot listen again", failure))
