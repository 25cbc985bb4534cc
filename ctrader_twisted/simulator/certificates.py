"""A throw-away certificate authority and a server certificate, made in memory at start; or one's
own, read from files."""

from __future__ import annotations

import ipaddress
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL, crypto
from twisted.internet.ssl import CertificateOptions, TLSVersion

from ctrader_twisted.config_files import FileRefused, read_file
from ctrader_twisted.errors import ConfigurationError

Kind = Literal["good", "expired", "wrong-host", "self-signed"]

ALWAYS_NAMED = ("localhost", "127.0.0.1", "::1")
_WRONG_HOST = "elsewhere.invalid"
_AUTHORITY, _SERVER = (
    x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    for name in ("ctrader-simulator throw-away authority", "ctrader-simulator")
)
_LIFE = timedelta(days=365)
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a server shows (certificate chain and key), and what its clients should trust; PEM."""

    ca_pem: bytes
    certificate_pem: bytes
    key_pem: bytes

    def context_factory(self) -> CertificateOptions:
        """For a TLS server; ConfigurationError when certificate and key are no pair."""
        try:
            key = crypto.load_privatekey(crypto.FILETYPE_PEM, self.key_pem)
            chain = x509.load_pem_x509_certificates(self.certificate_pem)
            first, *others = [crypto.X509.from_cryptography(one) for one in chain]
            options = CertificateOptions(
                privateKey=key,
                certificate=first,
                extraCertChain=others,
                raiseMinimumTo=TLSVersion.TLSv1_2,
            )
            options.getContext()
        except (SSL.Error, crypto.Error, ValueError, TypeError) as error:
            raise ConfigurationError("The certificate and the key do not fit together.") from error
        return options


def make_identity(
    host_names: Sequence[str] = (), kind: Kind = "good", now: datetime | None = None
) -> Identity:
    """A new authority and server certificate, valid for a year from now (UTC).

    The other kinds are for tests of clients: ``expired`` ended an hour ago, ``wrong-host`` names
    somebody else, ``self-signed`` has nothing to do with the authority.
    """
    now = now or datetime.now(UTC)
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    start = now - _LIFE - 2 * _HOUR if kind == "expired" else now
    named = (_WRONG_HOST,) if kind == "wrong-host" else (*ALWAYS_NAMED, *host_names)
    alone = kind == "self-signed"
    issuer, signing_key = (_SERVER, key) if alone else (_AUTHORITY, ca_key)
    pem = serialization.Encoding.PEM
    return Identity(
        ca_pem=_authority(ca_key, now).public_bytes(pem),
        certificate_pem=_server(key, issuer, signing_key, named, start).public_bytes(pem),
        key_pem=key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def load_identity(certificate_path: str, key_path: str) -> Identity:
    """One's own certificate (with its chain, if any) and key.

    The last certificate of the chain is what clients are told to trust. Raises
    ConfigurationError, one sentence, when a file is missing or is not what it should be.
    """
    certificate_pem, key_pem = _read(certificate_path), _read(key_path)
    try:
        chain = x509.load_pem_x509_certificates(certificate_pem)
    except ValueError as error:
        raise ConfigurationError(f"{certificate_path} holds no certificate in PEM.") from error
    try:
        serialization.load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"{key_path} holds no unencrypted private key in PEM.") from error
    identity = Identity(
        ca_pem=chain[-1].public_bytes(serialization.Encoding.PEM),
        certificate_pem=certificate_pem,
        key_pem=key_pem,
    )
    try:
        identity.context_factory()
    except ConfigurationError as error:
        raise ConfigurationError(
            f"The key in {key_path} does not fit the certificate in {certificate_path}."
        ) from error
    return identity


def write_ca(ca_pem: bytes, path: str) -> None:
    """Put the authority's certificate into a file, all of it or nothing, readable by everybody.

    Raises ConfigurationError when that cannot be done.
    """
    target = Path(path)
    scratch = ""
    try:
        handle, scratch = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(ca_pem)
            os.fchmod(file.fileno(), 0o644)
        Path(scratch).replace(target)
    except OSError as error:
        if scratch:
            with suppress(OSError):
                Path(scratch).unlink()
        raise ConfigurationError(f"Cannot write {path}: {error.strerror or error}.") from error


def _read(path: str) -> bytes:
    try:
        return read_file(Path(path))
    except FileRefused as refused:
        raise ConfigurationError(f"{path} {refused}.") from None
    except OSError as error:
        raise ConfigurationError(f"Cannot read {path}: {error.strerror or error}.") from error


def _authority(key: ec.EllipticCurvePrivateKey, start: datetime) -> x509.Certificate:
    return (
        _builder(_AUTHORITY, _AUTHORITY, key, start)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _server(
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    signing_key: ec.EllipticCurvePrivateKey,
    names: Sequence[str],
    start: datetime,
) -> x509.Certificate:
    return (
        _builder(_SERVER, issuer, key, start)
        .add_extension(_alternative_names(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        # Strict clients (Python 3.13's default context is one) look for whose key signed it.
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()),
            critical=False,
        )
        .sign(signing_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, start: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # An hour back: the clocks of two machines differ.
        .not_valid_before(start - _HOUR)
        .not_valid_after(start + _LIFE)
    )


def _alternative_names(names: Sequence[str]) -> x509.SubjectAlternativeName:
    alternatives: list[x509.GeneralName] = []
    for name in dict.fromkeys(names):
        try:
            alternatives.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            alternatives.append(x509.DNSName(name))
    return x509.SubjectAlternativeName(alternatives)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
