"""Client endpoint that tries all addresses of a host, and connects after the TLS handshake."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IConnector,
    IDelayedCall,
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from ctrader_twisted.tls.connector import HostConnector, LooksUp
from ctrader_twisted.tls.failures import (
    ConnectFailed,
    HandshakeTimeout,
    handshake_failure,
    place,
)


@implementer(IStreamClientEndpoint)
class HostEndpoint:
    """Endpoint for ``host``, by TLS if ``options`` are given.

    The protocol is built only when the TLS handshake is complete. Otherwise `connect` fails with a
    `ConnectFailed` whose text says why, and at which address.
    """

    def __init__(
        self,
        reactor: Any,
        resolver: LooksUp,
        host: str,
        port: int,
        options: IOpenSSLClientConnectionCreator | None,
        *,
        timeout_s: float,
    ) -> None:
        self._reactor = reactor
        self._resolver = resolver
        self._host, self._port = host, port
        self._options = options
        self._timeout_s = timeout_s

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Fires with the protocol; fails within the timeout."""
        attempt = _Once(self._reactor, protocolFactory, self._options is not None)
        attempt.begin(
            HostConnector(
                self._host,
                self._port,
                attempt,
                self._options,
                timeout=self._timeout_s,
                reactor=self._reactor,
                resolver=self._resolver,
            )
        )
        return attempt.connected


class _Once(ClientFactory):
    """Factory for one attempt to connect; its result fires ``connected``."""

    noisy = False

    def __init__(self, reactor: Any, factory: IProtocolFactory, is_secure: bool) -> None:
        self._reactor = reactor
        self._factory = factory
        self._is_secure = is_secure
        self._timer: IDelayedCall | None = None
        self._protocol: Any = None
        self._peer = ""
        self.connected: Deferred[IProtocol] = Deferred(self._cancelled)

    def begin(self, connector: HostConnector) -> None:
        """Connect. The connector's timeout covers TCP and TLS together."""
        self._connector = connector
        self._timer = self._reactor.callLater(connector.timeout + 0.001, self._too_late)
        connector.connect()

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """TCP is up."""
        self._peer = str(getattr(addr, "host", ""))
        if self._is_secure:
            self._protocol = _Handshake(self, addr)
            return self._protocol
        self._protocol = self.build(addr)
        # The caller connects the protocol to its transport once this has returned.
        self._reactor.callLater(0, self.succeed, self._protocol)
        return self._protocol

    def build(self, addr: Any) -> Any:
        """Build the protocol of the application."""
        return self._factory.buildProtocol(addr)

    def succeed(self, protocol: Any) -> None:
        """Fire with the connected protocol."""
        self._stop_timer()
        if not self.connected.called:
            self.connected.callback(protocol)

    def fail(self, error: BaseException) -> None:
        """Fail, with the place as part of the error's text."""
        self._stop_timer()
        if self.connected.called:
            return
        if isinstance(error, ConnectFailed) and self._peer:
            error.args = (f"{self.place()}: {error}",)
        self.connected.errback(Failure(error))

    def place(self) -> str:
        """Host, port and address for a sentence."""
        return place(self._connector.host, self._connector.port, self._peer)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        """No address took a connection."""
        self.fail(reason.value or ConnectionAbortedError())

    def _too_late(self) -> None:
        self._timer = None
        seconds = self._connector.timeout
        self.fail(HandshakeTimeout(f"the TLS handshake was not finished in {seconds:g} s"))
        self._cancelled(self.connected)

    def _cancelled(self, _: Deferred[IProtocol]) -> None:
        self._stop_timer()
        if self._connector.state == "connecting":
            self._connector.stopConnecting()
        elif self._protocol is not None and self._protocol.transport is not None:
            self._protocol.transport.abortConnection()

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()


@implementer(IHandshakeListener)
class _Handshake(Protocol):
    """Protocol on the TLS transport until the handshake is complete."""

    def __init__(self, attempt: _Once, addr: Any) -> None:
        self._attempt = attempt
        self._addr = addr

    def handshakeCompleted(self) -> None:
        """Put the application's protocol in place of this one: the certificate is verified."""
        transport: Any = self.transport
        protocol = self._attempt.build(self._addr)
        if protocol is None:
            transport.abortConnection()
            return
        # Replaced on the transport itself, so that later data costs no further call.
        transport.wrappedProtocol = protocol
        protocol.makeConnection(transport)
        if IHandshakeListener.providedBy(protocol):
            protocol.handshakeCompleted()
        self._attempt.succeed(protocol)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Fail the attempt: the connection ended during the handshake."""
        self._attempt.fail(handshake_failure(reason.value or ConnectionAbortedError()))
