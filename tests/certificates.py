"""Server certificates made at run time, good and bad, with the verdict that a client must reach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID
from OpenSSL import SSL, crypto

HOST = "venue.example"
ADDRESS = "127.0.0.1"
DAY = timedelta(days=1)

SEQUENCE, OTHER, EMAIL, DNS, URI, IP, REGISTERED = 0x30, 0xA0, 0x81, 0x82, 0x86, 0x87, 0x88


def der(tag: int, value: bytes) -> bytes:
    """One value as ASN.1 has it."""
    size = len(value)
    length = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + length + value


def general(*names: tuple[int, bytes]) -> x509.UnrecognizedExtension:
    """Subject alternative names, octet by octet: also those that cryptography would not encode."""
    octets = der(SEQUENCE, b"".join(der(tag, value) for tag, value in names))
    return x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, octets)


@cache
def key(number: int) -> Any:
    """An EC key, the same one for the same number."""
    return ec.generate_private_key(ec.SECP256R1())


@cache
def rsa_key() -> Any:
    """An RSA key of 2048 bits."""
    return rsa.generate_private_key(65537, 2048)


@cache
def short_key() -> Any:
    """An RSA key of 1024 bits, which OpenSSL refuses."""
    return rsa.generate_private_key(65537, 1024)


def pem(certificate: x509.Certificate) -> bytes:
    """PEM text."""
    return certificate.public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True)
class Authority:
    """One that signs."""

    certificate: x509.Certificate
    key: Any


@cache
def authority(name: str) -> Authority:
    """An authority of that name, signed by itself; "intermediate" is signed by "authority"."""
    own = ec.generate_private_key(ec.SECP256R1())
    above = authority("authority") if name == "intermediate" else None
    issuer = above.certificate.subject if above else _named(name)
    built = (
        _builder(_named(name), issuer, own.public_key(), datetime.now(UTC) - DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(signs=True), critical=True)
    )
    return Authority(built.sign(above.key if above else own, hashes.SHA256()), own)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, public: Any, begins: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + 30 * DAY)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    unused = dict.fromkeys((*others, "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(digital_signature=not signs, key_cert_sign=signs, crl_sign=signs, **unused)


@dataclass(frozen=True)
class Case:
    """A certificate as a server shows it. ``refused``: words of the refusal; "" when accepted."""

    name: str
    refused: str = ""
    names: Sequence[tuple[int, bytes]] | None = ((DNS, HOST.encode()),)
    host: str = HOST
    common_name: str = "some server"
    begins: timedelta = -DAY
    signer: str = "authority"
    chain: Sequence[str] = ()
    trusted: Sequence[str] = ("authority",)
    usages: Sequence[Any] = (ExtendedKeyUsageOID.SERVER_AUTH,)
    signs: bool = False
    has_usage: bool = True
    self_signed: bool = False
    trusts_leaf: bool = False
    leaf_key: Callable[[], Any] = field(default=lambda: key(0))
    digest: Callable[[], Any] = hashes.SHA256
    forged: bool = False

    @property
    def certificate(self) -> x509.Certificate:
        """The server's own certificate."""
        own = self.leaf_key()
        above = authority(self.signer)
        subject = _named(self.common_name)
        issuer, signing = (subject, own) if self.self_signed else (above.certificate.subject, None)
        signing = signing or (key(9) if self.forged else above.key)
        begins = datetime.now(UTC) + self.begins
        built = _builder(subject, issuer, own.public_key(), begins)
        built = built.add_extension(x509.BasicConstraints(self.signs, None), critical=True)
        if self.has_usage:
            built = built.add_extension(_usage(signs=self.signs), critical=True)
        if self.usages:
            built = built.add_extension(x509.ExtendedKeyUsage(list(self.usages)), critical=False)
        if self.names is not None:
            built = built.add_extension(general(*self.names), critical=False)
        return built.sign(signing, self.digest())

    def identity(self) -> tuple[bytes, bytes, bytes]:
        """PEM texts: the server's chain, its key, and the authorities that the client trusts."""
        leaf = self.certificate
        chain = [leaf, *(authority(name).certificate for name in self.chain)]
        trusted = [authority(name).certificate for name in self.trusted]
        trusted += [leaf] if self.trusts_leaf else []
        key_pem = self.leaf_key().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return b"".join(map(pem, chain)), key_pem, b"".join(map(pem, trusted))


def server_context(chain_pem: bytes, key_pem: bytes, ciphers: bytes = b"DEFAULT@SECLEVEL=0") -> Any:
    """TLS of a server that shows this chain, whatever it is worth."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_cipher_list(ciphers)
    first, *others = x509.load_pem_x509_certificates(chain_pem)
    context.use_certificate(crypto.X509.from_cryptography(first))
    for one in others:
        context.add_extra_chain_cert(crypto.X509.from_cryptography(one))
    context.use_privatekey(crypto.load_privatekey(crypto.FILETYPE_PEM, key_pem))
    return context


def _dns(*names: bytes | str) -> list[tuple[int, bytes]]:
    return [(DNS, name.encode() if isinstance(name, str) else name) for name in names]


GOOD, FOREIGN = (DNS, HOST.encode()), (DNS, b"elsewhere.example")
OTHER_HOST, NO_HOST, NOT_VALID = "is for another host name", "names no host", "is not valid"
MALFORMED: dict[str, tuple[int, bytes]] = {
    "star": (DNS, b"*"),
    "star of a top level": (DNS, b"*.example"),
    "two stars": (DNS, b"*.*.example.org"),
    "star within": (DNS, b"www.*.example.org"),
    "star and empty part": (DNS, b"*..example.org"),
    "address as DNS name": (DNS, b"10.0.0.1"),
    "number as DNS name": (DNS, b"12345"),
    "URI with a port": (URI, b"https://venue.example:8443/"),
    "URI without a scheme": (URI, b"venue.example"),
    "URI of an address": (URI, b"https:10.0.0.1"),
    "empty DNS name": (DNS, b""),
    "blank DNS name": (DNS, b" "),
    "NUL in a DNS name": (DNS, b"venue.example\0.elsewhere.example"),
    "not ASCII": (DNS, "vénue.example".encode()),
    "not UTF-8": (DNS, b"\xff\xfe"),
    "address of three octets": (IP, b"\x7f\0\0"),
    "empty address": (IP, b""),
    "empty registered id": (REGISTERED, b""),
    "broken service name": (OTHER, der(0x06, b"\x2b\x06\x01\x05\x05\x07\x08\x07") + der(0xA0, b"")),
}

NAMES = [
    Case("good"),
    Case("good in capitals", names=_dns("VENUE.Example")),
    Case("good among others", names=_dns("a.example.org", HOST, "*.example.org")),
    Case("good beside an e-mail address", names=[(EMAIL, b"a@b.example"), GOOD]),
    Case("good beside a registered id", names=[(REGISTERED, b"\x2a\x03\x04"), GOOD]),
    Case("good beside a URI", names=[(URI, b"https:venue.example"), GOOD]),
    Case("wildcard", names=_dns("*.venue.example"), host="www.venue.example"),
    Case("host with a final dot", host=f"{HOST}."),
    Case("international", names=_dns("xn--bcher-kva.example"), host="bücher.example"),
    Case("address", names=[(IP, b"\x7f\0\0\1")], host=ADDRESS),
    Case("address of IPv6", names=[(IP, bytes(15) + b"\1")], host="::1"),
    Case("address with a zone", names=[(IP, bytes(15) + b"\1")], host="::1%lo"),
    Case("wrong name", OTHER_HOST, names=[FOREIGN]),
    Case("part of the name", OTHER_HOST, names=_dns("example", "xvenue.example", "venue.exampl")),
    Case("child of the name", OTHER_HOST, names=_dns("www.venue.example")),
    Case("common name only", NO_HOST, names=None, common_name=HOST),
    Case("common name beside a foreign name", OTHER_HOST, names=[FOREIGN], common_name=HOST),
    Case("no name at all", NO_HOST, names=()),
    Case("e-mail address only", NO_HOST, names=[(EMAIL, b"root@venue.example")]),
    Case("registered id only", NO_HOST, names=[(REGISTERED, b"\x2a\x03\x04")]),
    Case("e-mail address, common name", NO_HOST, names=[(EMAIL, b"a@b.c")], common_name=HOST),
    Case("address only", OTHER_HOST, names=[(IP, b"\x7f\0\0\1")]),
    Case("URI only", OTHER_HOST, names=[(URI, b"https:venue.example")]),
    Case("another address", OTHER_HOST, names=[(IP, b"\x7f\0\0\2")], host=ADDRESS),
    Case("name for an address", OTHER_HOST, names=[GOOD], host=ADDRESS),
    Case("address as a DNS name", NOT_VALID, names=_dns(ADDRESS), host=ADDRESS),
    Case("wildcard for the parent", OTHER_HOST, names=_dns("*.venue.example")),
    Case("wildcard for two labels", OTHER_HOST, names=_dns("*.venue.example"), host=f"a.b.{HOST}"),
    Case("wildcard in a part", OTHER_HOST, names=_dns("w*.venue.example"), host=f"www.{HOST}"),
    Case("wildcard at an end", OTHER_HOST, names=_dns("*w.venue.example"), host=f"www.{HOST}"),
    Case(
        "wildcard of an encoded name", OTHER_HOST, names=_dns("*.venue.example"), host=f"ü.{HOST}"
    ),
    Case("wildcard of a top level", NOT_VALID, names=_dns("*.example")),
    Case("wildcard of everything", NOT_VALID, names=_dns("*")),
    Case("two wildcards", NOT_VALID, names=_dns("*.*.example"), host=f"www.{HOST}"),
    Case("host that is no name", NOT_VALID, host="venue!example"),
    Case("host that is a number", NOT_VALID, host="2130706433"),
    *(Case(f"{name} alone", "certificate", names=[bad]) for name, bad in MALFORMED.items()),
    *(Case(f"{name}, good", "certificate", names=[GOOD, bad]) for name, bad in MALFORMED.items()),
    *(Case(f"{n}, foreign", "certificate", names=[bad, FOREIGN]) for n, bad in MALFORMED.items()),
]

CHAINS = [
    Case("with an intermediate", signer="intermediate", chain=["intermediate"]),
    Case("own certificate is trusted", self_signed=True, trusted=(), trusts_leaf=True),
    # As `openssl req -x509` makes it.
    Case(
        "own authority without a usage",
        signs=True,
        has_usage=False,
        usages=(),
        self_signed=True,
        trusted=(),
        trusts_leaf=True,
    ),
    Case("no extended usage", usages=()),
    Case(
        "server and client",
        usages=[ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH],
    ),
    Case("expired", "has expired", begins=-60 * DAY),
    Case("not yet valid", "is not valid yet", begins=DAY),
    Case("self-signed", "was signed by itself", self_signed=True),
    Case("unknown authority", "not trusted here", trusted=("another authority",)),
    Case(
        "unknown authority in the chain",
        "not trusted here",
        chain=["authority"],
        trusted=("another authority",),
    ),
    Case("no authority is trusted", "not trusted here", trusted=()),
    Case("chain incomplete", "not trusted here", signer="intermediate"),
    Case("for clients only", "is not meant for servers", usages=[ExtendedKeyUsageOID.CLIENT_AUTH]),
    Case(
        "for e-mail only", "is not meant for servers", usages=[ExtendedKeyUsageOID.EMAIL_PROTECTION]
    ),
    Case("authority as a server", "is not meant for servers", signs=True),
    Case("short key", "too weak", leaf_key=short_key),
    Case("signature of another", "does not match", forged=True),
    Case("expired and foreign", "has expired", begins=-60 * DAY, names=[FOREIGN]),
]

CASES = {case.name: case for case in (*NAMES, *CHAINS)}
