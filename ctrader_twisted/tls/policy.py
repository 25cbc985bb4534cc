"""How we connect to a TLS server: TLS 1.2 or later, forward-secret AEAD suites, verification."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ctrader_twisted.tls.authorities import Authorities, system_authorities
from ctrader_twisted.tls.failures import AuthoritiesUnusable, ConnectFailed, openssl_reason
from ctrader_twisted.tls.verification import Verifier, server_name

log = Logger()

#: TLS 1.2 suites with ephemeral keys and authenticated encryption; all of TLS 1.3 are so.
CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:!aNULL:!aDSS:!PSK:!SRP"


def make_context(authorities: Sequence[crypto.X509] | None) -> SSL.Context:
    """A context for one connection, so that nothing read earlier is trusted any longer."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(CIPHERS)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    if authorities is None:
        context.set_default_verify_paths()
    else:
        store = context.get_cert_store()
        assert store is not None  # noqa: S101 (only None once the context is freed)
        for one in authorities:
            store.add_cert(one)
    return context


def make_connection(
    host: str, authorities: Authorities, refused: Callable[[ConnectFailed], None]
) -> SSL.Connection:
    """TLS over memory buffers for one connection to ``host``; never raises.

    ``refused`` is called with the reason before the handshake fails for the certificate.
    """
    unusable: AuthoritiesUnusable | None = None
    try:
        context = make_context(authorities())
    except (SSL.Error, OSError) as error:
        # As of a store that is being written at this moment.
        reason = openssl_reason(error) if isinstance(error, SSL.Error) else str(error)
        unusable = AuthoritiesUnusable(
            f"the system's authorities cannot be read ({reason or 'no certificate in them'})"
        )
    except Exception:
        log.failure("the authorities of a connection could not be read: {host}", host=host)
        unusable = AuthoritiesUnusable("the authorities to trust cannot be read (see the log)")
    if unusable is not None:
        context = make_context(())
    connection = SSL.Connection(context, None)
    name = server_name(host)
    if name is not None:
        connection.set_tlsext_host_name(name)
    verifier = Verifier(host, refused, unusable)
    connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verifier)
    return connection


@implementer(IOpenSSLClientConnectionCreator)
class ClientOptions:
    """TLS for ``host`` on a Twisted transport; everything is made anew for each connection.

    A protocol on it gets `CertificateRefused` as the reason of its connectionLost.
    """

    def __init__(
        self,
        host: str,
        authorities: Authorities = system_authorities,
        protocols: Sequence[bytes] = (),
    ) -> None:
        """``protocols``: what to offer by ALPN, the preferred one first."""
        self.host = host
        self._authorities = authorities
        self._protocols = list(protocols)

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """The TLS of one connection."""

        # Whatever is wrong is told by the handshake: an exception here would end all attempts.
        def refused(reason: ConnectFailed) -> None:
            tlsProtocol.failVerification(Failure(reason))

        connection = make_connection(self.host, self._authorities, refused)
        if self._protocols:
            connection.set_alpn_protos(self._protocols)
        return connection
