"""TLS client policy: TLS 1.2 or later, forward-secret AEAD suites, verified certificates."""

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

#: TLS 1.2 suites with ephemeral keys and authenticated encryption, as all suites of TLS 1.3 are.
CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:!aNULL:!aDSS:!PSK:!SRP"


def make_context(authorities: Sequence[crypto.X509] | None) -> SSL.Context:
    """Make the OpenSSL context of one connection.

    Each connection has its own, so that removed authorities are not trusted any longer.
    """
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
    """Make the TLS state, over memory buffers, of one connection to ``host``. Never raises.

    ``refused`` is called with the reason before the handshake fails because of the certificate.
    """
    unusable: AuthoritiesUnusable | None = None
    try:
        context = make_context(authorities())
    except (SSL.Error, OSError) as error:
        # The store may be in the middle of an update, so this is no fault of ours to be logged.
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
    """TLS options for connections of Twisted to ``host``.

    If the certificate is refused, connectionLost of the protocol gets `CertificateRefused`.
    """

    def __init__(
        self,
        host: str,
        authorities: Authorities = system_authorities,
        protocols: Sequence[bytes] = (),
    ) -> None:
        """``protocols``: the ALPN protocols to offer, the preferred one first."""
        self.host = host
        self._authorities = authorities
        self._protocols = list(protocols)

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """Make the TLS state of one connection."""

        # Every problem fails the handshake: an exception here would end all further attempts.
        def refused(reason: ConnectFailed) -> None:
            tlsProtocol.failVerification(Failure(reason))

        connection = make_connection(self.host, self._authorities, refused)
        if self._protocols:
            connection.set_alpn_protos(self._protocols)
        return connection
