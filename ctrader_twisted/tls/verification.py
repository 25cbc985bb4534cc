"""Verification of a server's certificate: the chain by OpenSSL, the name by service-identity.

Twisted's own check of the name (`twisted.internet._sslverify._verifyCB`, Twisted 26.4 to 26.10)
refuses a certificate on `VerificationError` only. Any other exception, such as
`service_identity.CertificateError` for a certificate without a usable name or `ValueError` for a
malformed one, is logged, and the connection goes on. `Verifier` takes its place and refuses on
every exception. docs/upstream-reports/twisted-verify.md is the report for the Twisted project.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from typing import Any

from cryptography import x509
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import extract_patterns
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from twisted.logger import Logger

from ctrader_twisted.tls.failures import CertificateRefused, ConnectFailed

log = Logger()

NAMES_SHOWN = 4

_RENEW = "The owner of the server has to renew it."
_UNTRUSTED = (
    "comes from an authority that is not trusted here",
    "Name that authority in CTRADER_CA_FILE, if you trust it. A proxy in between that inspects TLS "
    "causes this, too, and so does a machine without certificates (the package ca-certificates).",
)
_BROKEN = (
    "has a signature that does not match",
    "Somebody in between may have replaced it: do not go on before this is explained.",
)
_USAGE = ("is not meant for servers", "The owner of the server has to install another one.")
_WEAK = (
    "uses a key or a digest that is too weak",
    "The owner of the server has to install a stronger one.",
)
_AUTHORITY = (
    "comes through a certificate that is no authority",
    "The owner of the server has to correct the chain.",
)

#: OpenSSL's numbers (X509_V_ERR_*): OpenSSL's own text, what is wrong, and what to do about it.
_CHAIN_ERRORS: dict[int, tuple[str, tuple[str, str]]] = {
    2: ("unable to get issuer certificate", _UNTRUSTED),
    7: ("certificate signature failure", _BROKEN),
    9: (
        "certificate is not yet valid",
        ("is not valid yet", "Check the time of this machine."),
    ),
    10: (
        "certificate has expired",
        ("has expired", f"Check the time of this machine. {_RENEW}"),
    ),
    18: (
        "self-signed certificate",
        (
            "was signed by itself",
            "If it is your own server's, name its certificate in CTRADER_CA_FILE.",
        ),
    ),
    19: ("self-signed certificate in certificate chain", _UNTRUSTED),
    20: ("unable to get local issuer certificate", _UNTRUSTED),
    21: ("unable to verify the first certificate", _UNTRUSTED),
    22: ("certificate chain too long", _AUTHORITY),
    24: ("invalid CA certificate", _AUTHORITY),
    25: ("path length constraint exceeded", _AUTHORITY),
    26: ("unsuitable certificate purpose", _USAGE),
    27: ("certificate not trusted", _UNTRUSTED),
    28: ("certificate rejected", _UNTRUSTED),
    32: ("key usage does not include certificate signing", _AUTHORITY),
    34: (
        "unhandled critical extension",
        ("has a critical extension that is not understood here", "Ask the owner of the server."),
    ),
    47: ("permitted subtree violation", _AUTHORITY),
    48: ("excluded subtree violation", _AUTHORITY),
    66: ("EE certificate key too weak", _WEAK),
    67: ("CA certificate key too weak", _WEAK),
    68: ("CA signature digest algorithm too weak", _WEAK),
    79: ("invalid CA certificate", _AUTHORITY),
}


class Verifier:
    """Verify callback for one `SSL.Connection`, which refuses on every exception.

    ``refused`` is called once, with the reason, before the handshake fails. If ``because`` is
    given, every certificate is refused for that reason.
    """

    def __init__(
        self,
        host: str,
        refused: Callable[[ConnectFailed], None],
        because: ConnectFailed | None = None,
    ) -> None:
        self._host = host
        self._because = because
        self._refused: Callable[[ConnectFailed], None] | None = refused

    def __call__(
        self, connection: SSL.Connection, certificate: crypto.X509, number: int, depth: int, ok: int
    ) -> bool:
        """Return True to accept the certificate at this depth of the chain (0: the server's)."""
        refusal: ConnectFailed
        try:
            if self._because is not None:
                raise self._because
            if not ok:
                raise chain_refusal(self._host, number, certificate.to_cryptography(), depth)
            if depth == 0:
                check_name(self._host, certificate.to_cryptography())
            return True
        except ConnectFailed as error:
            refusal = error
        except BaseException:
            # An exception that leaves an OpenSSL callback is lost: log it here.
            log.failure("the check of a certificate failed: {host}", host=self._host)
            refusal = CertificateRefused(
                self._host, "could not be checked", advice="The log has the reason; report it."
            )
        # Breaks a reference cycle: OpenSSL holds this object, and ``refused`` the transport.
        refused, self._refused = self._refused, None
        if refused is not None:
            refused(refusal)
        return False


def chain_refusal(
    host: str, number: int, certificate: x509.Certificate, depth: int
) -> CertificateRefused:
    """Make the refusal for an error that OpenSSL found at ``depth`` of the chain."""
    text, (words, advice) = _CHAIN_ERRORS.get(
        number, ("", ("is refused", "Ask the owner of the server."))
    )
    details = [text or f"OpenSSL error {number}"]
    if number == 10:
        details.append(f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    elif number == 9:
        details.append(f"from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on")
    if depth > 0:
        details.append(f"certificate {depth + 1} of the chain")
    return CertificateRefused(host, words, ", ".join(details), advice)


def check_name(host: str, certificate: x509.Certificate) -> None:
    """Raise `CertificateRefused` unless the certificate names ``host``, and every name is sound.

    Only subject alternative names count (RFC 9525): the common name does not.
    """
    try:
        patterns = extract_patterns(certificate)
        strange = [name for name in _names(certificate) if not name.isascii()]
        if strange:
            raise ValueError("not ASCII")  # service-identity lets it pass beside a good name
        verify_service_identity(patterns, [service_id(host)], [])
    except VerificationError:
        raise CertificateRefused(
            host,
            "is for another host name",
            f"it names {_listed(certificate)}",
            "Check CTRADER_OPENAPI_HOST, or the address that was given.",
        ) from None
    except (CertificateError, ValueError, x509.DuplicateExtension) as error:
        names = _listed(certificate)
        if not names:
            raise CertificateRefused(
                host,
                "names no host",
                "it has no subject alternative name of a host; a common name does not count",
                "The owner of the server has to install one that names its host.",
            ) from None
        raise CertificateRefused(
            host,
            "holds a name that is not valid",
            f"{error}; it names {names}",
            "The owner of the server has to install one without it.",
        ) from None


def service_id(host: str) -> DNS_ID | IPAddress_ID:
    """Return the identity that a certificate must have. ValueError if ``host`` cannot be one."""
    try:
        # The zone of a link-local address has a meaning here only, so no certificate has it.
        return IPAddress_ID(str(ipaddress.ip_address(host.partition("%")[0])))
    except ValueError:
        return DNS_ID(host.removesuffix("."))


def server_name(host: str) -> bytes | None:
    """Return the name to send as SNI; None for an address, or if ``host`` cannot be a host name."""
    try:
        identity = service_id(host)
    except ValueError:
        return None
    return identity.hostname if isinstance(identity, DNS_ID) else None


def _listed(certificate: x509.Certificate) -> str:
    """The first few names of the certificate, for a sentence; empty if it has none."""
    try:
        names = list(_names(certificate))
    except (ValueError, x509.DuplicateExtension):
        return "something that cannot be read"
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def _names(certificate: x509.Certificate) -> Iterator[str]:
    try:
        extension: Any = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value
    except x509.ExtensionNotFound:
        return
    for kind in (x509.DNSName, x509.IPAddress, x509.UniformResourceIdentifier):
        for value in extension.get_values_for_type(kind):
            yield str(value)
