"""Connector for a client factory that tries all addresses of a host.

One attempt (`HostConnector.connect`) looks the host up and tries its addresses in turn: the next
one as soon as one fails, or after `STAGGER_S` without an answer. The first address that accepts the
TCP connection is kept for TLS. The next attempt begins with the address after that one, so that an
address whose TLS or service is broken does not keep us from the others.
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

#: Seconds without an answer until the next address is tried as well (RFC 8305).
STAGGER_S = 0.3


class LooksUp(Protocol):
    """Interface for the look-up of a host."""

    def addresses(self, host: str) -> Deferred[list[str]]:
        """Fires with at least one address; fails with NameNotResolved."""


class HostConnector(BaseConnector):
    """An IConnector to a host, by TLS unless ``options`` is None."""

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
        #: The address that accepted the last connection.
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
    """Return a function like IReactorSSL.connectSSL that tries all addresses of a host."""

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
    """One attempt to connect, and the connector's transport until there is a real one."""

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
        """Look the host up, then try its addresses."""
        # If the system refuses a thread for the look-up, only this attempt fails.
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
        """Note that TCP to the address failed, and try the next one."""
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
        """Build the protocol for the first address that accepts; None if the attempt is over."""
        if self._over:
            return None
        self._winner = self._pending.pop(address)
        self._give_up_others()
        self._connector.last_address = address
        return self._connector.buildProtocol(peer)

    def lost(self, reason: Failure) -> None:
        """Tell the connector that the connection ended."""
        self._connector.connectionLost(reason)

    # -- as a transport -----------------------------------------------------------------------

    def failIfNotConnected(self, error: BaseException) -> None:
        """End the attempt: it timed out, or was cancelled by `stopConnecting`."""
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
        """Close the connection; called by IConnector.disconnect."""
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
    """Factory for the TCP connection to one address, which reports to the attempt."""

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
