"""Connects a client factory to a host, trying all of its addresses.

One attempt (`HostConnector.connect`) looks the host up, and tries its addresses one after the
other: the next one as soon as one fails, or after `STAGGER_S` without an answer. The first that
takes the TCP connection is kept, and TLS is agreed on it. The next attempt begins with the address
after that one, so an address whose TLS or whose service is broken cannot keep us from the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.base import BaseConnector
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import (
    IAddress,
    IConnector,
    IDelayedCall,
    IOpenSSLClientConnectionCreator,
    IProtocol,
)
from twisted.internet.protocol import ClientFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from ctrader_twisted.tls.addresses import after
from ctrader_twisted.tls.failures import NameNotResolved, Unreachable

#: RFC 8305: between two addresses, when the first does not answer.
STAGGER_S = 0.3


class LooksUp(Protocol):
    """Finds the addresses of a host."""

    def addresses(self, host: str) -> Deferred[list[str]]:
        """At least one address; NameNotResolved."""


class HostConnector(BaseConnector):
    """An IConnector to a host instead of an address. ``options`` None: without TLS."""

    def __init__(
        self,
        host: str,
        port: int,
        factory: Any,
        options: IOpenSSLClientConnectionCreator | None,
        *,
        timeout: float,
        reactor: Any,
        resolver: LooksUp,
    ) -> None:
        super().__init__(factory, timeout, reactor)
        self.host, self.port, self.options, self.resolver = host, port, options, resolver
        #: The address that took the last connection.
        self.last_address = ""

    def _makeTransport(self) -> Any:
        self._attempt = _Attempt(self)
        return self._attempt

    def connect(self) -> None:
        """Begin an attempt."""
        super().connect()
        self._attempt.begin()

    def getDestination(self) -> Any:
        """The host and port, for a log line."""
        return self.host, self.port


def connect_host(
    reactor: Any, resolver: LooksUp
) -> Callable[[str, int, Any, IOpenSSLClientConnectionCreator | None, float], HostConnector]:
    """A function like IReactorSSL.connectSSL that tries all addresses of a host."""

    def connect(
        host: str,
        port: int,
        factory: Any,
        contextFactory: IOpenSSLClientConnectionCreator | None,
        timeout: float,
    ) -> HostConnector:
        connector = HostConnector(
            host, port, factory, contextFactory, timeout=timeout, reactor=reactor, resolver=resolver
        )
        connector.connect()
        return connector

    return connect


class _Attempt:
    """One attempt; stands in for the transport while there is none."""

    def __init__(self, connector: HostConnector) -> None:
        self._connector = connector
        self._rest: list[str] = []
        self._pending: dict[str, IConnector | None] = {}
        self._tried: dict[str, BaseException] = {}
        self._stagger: IDelayedCall | None = None
        self._looking: Deferred[Any] | None = None
        self._winner: IConnector | None = None
        self._over = False

    def begin(self) -> None:
        """Look the host up, and go on from there."""
        # No thread may be had: that fails this attempt, and not all attempts.
        self._looking = maybeDeferred(self._connector.resolver.addresses, self._connector.host)
        self._looking.addCallback(self._found).addErrback(self._not_found)

    def _found(self, addresses: list[str]) -> None:
        self._looking = None
        self._rest = after(addresses, self._connector.last_address)
        self._next()

    def _not_found(self, failure: Failure) -> None:
        self._looking = None
        if not failure.check(CancelledError):
            self._end(failure)

    def _next(self) -> None:
        """Try the next address."""
        self._stagger = None
        connector, address = self._connector, self._rest.pop(0)
        reactor: Any = connector.reactor
        self._pending[address] = None
        one: Any = _OneAddress(self, address)
        if connector.options is not None:
            one = TLSMemoryBIOFactory(connector.options, True, one, clock=reactor)
        tcp = reactor.connectTCP(address, connector.port, one, connector.timeout)
        if address in self._pending:
            self._pending[address] = tcp
        if self._rest and not self._over and self._stagger is None:
            self._stagger = reactor.callLater(STAGGER_S, self._next)

    # -- what becomes of an address -----------------------------------------------------------

    def failed(self, address: str, cause: BaseException) -> None:
        """No TCP with this one."""
        if self._over:
            return
        del self._pending[address]
        self._tried[address] = cause
        if self._rest:
            self._cancel_stagger()
            self._next()
        elif not self._pending:
            self._end(Failure(self._unreachable()))

    def won(self, address: str, peer: IAddress) -> IProtocol | None:
        """This one took the connection: no other is needed. None when it comes too late."""
        if self._over:
            return None
        self._winner = self._pending.pop(address)
        self._give_up_others()
        self._connector.last_address = address
        return self._connector.buildProtocol(peer)

    def lost(self, reason: Failure) -> None:
        """The connection is over."""
        self._connector.connectionLost(reason)

    # -- as a transport -----------------------------------------------------------------------

    def failIfNotConnected(self, error: BaseException) -> None:
        """The time is over, or nobody wants the connection any more."""
        if self._over:
            return
        if self._looking is not None:
            host = self._connector.host
            why: Exception = NameNotResolved(host, "the name server has not answered in time")
        else:
            self._tried.update(dict.fromkeys(self._pending, error))
            why = self._unreachable()
        self._end(Failure(why))

    def loseConnection(self) -> None:
        """Part of IConnector.disconnect."""
        if self._winner is not None:
            self._winner.disconnect()

    # -- the end ------------------------------------------------------------------------------

    def _unreachable(self) -> Unreachable:
        return Unreachable(self._connector.host, self._connector.port, self._tried)

    def _end(self, failure: Failure) -> None:
        self._give_up_others()
        self._connector.connectionFailed(failure)

    def _give_up_others(self) -> None:
        self._over = True
        self._cancel_stagger()
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
        pending, self._pending = self._pending, {}
        for tcp in pending.values():
            if tcp is not None:
                tcp.stopConnecting()

    def _cancel_stagger(self) -> None:
        if self._stagger is not None:
            self._stagger.cancel()
            self._stagger = None


class _OneAddress(ClientFactory):
    """What TCP to one address is told to."""

    noisy = False

    def __init__(self, attempt: _Attempt, address: str) -> None:
        self._attempt = attempt
        self._address = address
        self._connected = False

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """TCP is up."""
        assert addr is not None  # noqa: S101 (of TCP)
        protocol = self._attempt.won(self._address, addr)
        self._connected = protocol is not None
        return protocol

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        """No TCP."""
        self._attempt.failed(self._address, reason.value or ConnectionAbortedError())

    def clientConnectionLost(self, connector: IConnector, reason: Failure) -> None:
        """The connection is over."""
        if self._connected:
            self._attempt.lost(reason)
