"""Trust: the chain and the host name are always verified, and a refusal is named in plain words."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from OpenSSL import SSL, crypto
from twisted.internet.defer import Deferred
from twisted.internet.error import (
    ConnectBindError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
    TCPTimedOutError,
    TimeoutError,
)
from twisted.internet.ssl import Certificate

from ctrader_twisted.errors import ConfigurationError
from ctrader_twisted.tls.policy import ClientOptions

# Runs a blocking call off the reactor's thread (twisted.internet.threads.deferToThread).
InThread = Callable[..., "Deferred[str]"]

_WORDS: tuple[tuple[type[BaseException], str], ...] = (
    (DNSLookupError, "the name could not be resolved"),
    (ConnectionRefusedError, "nobody listens there (connection refused)"),
    (TCPTimedOutError, "no answer to the connection attempt (timed out)"),
    (TimeoutError, "no answer to the connection attempt (timed out)"),
    (ConnectBindError, "no local port could be had"),
    (ConnectionAborted, "the connection was aborted"),
    (ConnectionDone, "the venue closed the connection"),
    (ConnectionLost, "the connection broke"),
)


def read_authorities(path: Path) -> bytes:
    """The PEM text of ``path``; ConfigurationError when there is no certificate in it."""
    try:
        pem = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"the CA file {path} cannot be read ({error.strerror}): set CTRADER_CA_FILE to a file "
            "of PEM certificates, or leave it out to trust the system's authorities"
        ) from error
    if not _certificates(pem):
        raise ConfigurationError(
            f"the CA file {path} holds no PEM certificate: set CTRADER_CA_FILE to one that does, "
            "or leave it out to trust the system's authorities"
        )
    return pem


def _certificates(pem: bytes) -> list[Certificate]:
    end = b"-----END CERTIFICATE-----"
    blocks = [part + end for part in pem.split(end) if b"-----BEGIN CERTIFICATE-----" in part]
    try:
        return [Certificate.loadPEM(block) for block in blocks]
    except (SSL.Error, crypto.Error, ValueError):
        return []


class Authorities:
    """Whom a file says that we trust. It is looked at before every attempt: an authority may be
    renewed, and a simulator makes a new one at each start, while we run for months.
    """

    def __init__(self, path: Path) -> None:
        """ConfigurationError when there is no certificate in ``path``."""
        self._path = path
        self._pem = read_authorities(path)

    def __call__(self) -> bytes:
        """The PEM text; that of the last time while the file cannot be read, or is half written."""
        with suppress(ConfigurationError):
            self._pem = read_authorities(self._path)
        return self._pem


#: Authorities that stay, those of a file, or the system's.
Trusted = bytes | Authorities | None


def _pem(trusted: Trusted) -> bytes | None:
    return trusted() if isinstance(trusted, Authorities) else trusted


def verifying_options(host: str, ca_pem: Trusted) -> ClientOptions:
    """TLS for ``host``: SNI, chain and name verified.

    With ``ca_pem`` only those authorities are trusted, otherwise the system's.
    """

    def authorities() -> list[crypto.X509] | None:
        pem = _pem(ca_pem)
        return None if pem is None else [one.original for one in _certificates(pem)]

    return ClientOptions(host, authorities)


def in_plain_words(cause: BaseException) -> str:
    """Why a connection ended, for a log line that is read at three in the morning."""
    if isinstance(cause, SSL.Error):
        return _tls_words(cause)
    for kind, words in _WORDS:
        if isinstance(cause, kind):
            return words
    return str(cause) or type(cause).__name__


# What OpenSSL finds wrong with an answer that is no TLS at all.
_NO_TLS = ("wrong version number", "http request", "packet length too long", "record layer failure")


def _tls_words(cause: SSL.Error) -> str:
    entries = cause.args[0] if cause.args and isinstance(cause.args[0], list) else []
    reason = "; ".join(str(entry[-1]) for entry in entries if entry)
    if not reason:
        return "the TLS connection was cut"
    if any(words in reason for words in _NO_TLS):
        return f"this is no TLS server, or not its TLS port ({reason})"
    return f"TLS failed: {reason}"


def is_about_the_certificate(cause: BaseException) -> bool:
    """True when the handshake failed because the chain was not accepted."""
    return isinstance(cause, SSL.Error) and "certificate verify failed" in str(cause)


def why_not_trusted(host: str, port: int, trusted: Trusted, timeout_s: float) -> str:
    """Ask again with the standard library, whose error says what is wrong with a certificate.

    Blocking, so it is called in a thread: OpenSSL as Twisted shows it tells "verify failed" for an
    expired certificate and an unknown authority alike.
    """
    # Bundles carry comments in many languages; the certificates themselves are ASCII.
    ca_pem = _pem(trusted)
    authorities = ca_pem.decode("ascii", "ignore") if ca_pem else None
    context = ssl.create_default_context(cadata=authorities)
    try:
        with (
            socket.create_connection((host, port), timeout=timeout_s) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            return "a second look found nothing wrong with the certificate"
    except ssl.SSLCertVerificationError as error:
        return f"the certificate was refused: {error.verify_message}"
    except OSError as error:
        return f"the certificate was refused, and a second look failed: {error}"


# OpenSSL's numbers: what is wrong with a certificate, and what to do about it.
_CERTIFICATE_WORDS: dict[int, tuple[str, str]] = {
    9: ("is not valid yet", "Check the time of this machine."),
    10: ("has expired", "Check the time of this machine; else the venue has to renew it."),
    18: (
        "was signed by itself",
        "If this is your own venue, name its certificate in CTRADER_CA_FILE.",
    ),
    19: (
        "comes from an authority that is not trusted here",
        "Name that authority in CTRADER_CA_FILE, "
        "if you trust it; a proxy in between that looks into TLS does this, too.",
    ),
    20: (
        "comes from an authority that is not trusted here",
        "Name that authority in CTRADER_CA_FILE, "
        "if you trust it; a proxy in between that looks into TLS does this, too.",
    ),
    62: ("is for another host name", "Check CTRADER_OPENAPI_HOST."),
    64: ("is for another address", "Check CTRADER_OPENAPI_HOST; a name usually works."),
}


def certificate_words(error: ssl.SSLCertVerificationError, host: str) -> tuple[str, str]:
    """Why the certificate of ``host`` is refused, in plain words; and what to do."""
    known = _CERTIFICATE_WORDS.get(error.verify_code)
    if known is None:
        return f"the certificate of {host} is refused: {error.verify_message}", "Ask the venue."
    words, advice = known
    return f"the certificate of {host} {words} ({error.verify_message})", advice
