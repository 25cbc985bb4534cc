"""Authorities that a connection trusts: those of a PEM file, or the system's."""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from OpenSSL import SSL, crypto
from twisted.logger import Logger

from ctrader_twisted.config_files import FileRefused, read_file
from ctrader_twisted.errors import ConfigurationError

log = Logger()

#: Returns the authorities to trust for the next connection; None stands for the system's.
Authorities = Callable[[], Sequence[crypto.X509] | None]

LIMIT_BYTES = 16 * 1024 * 1024
SHOWN = 3

_BLOCK = re.compile(
    r"^[ \t]*-----BEGIN (?P<kind>[^-\n]+)-----[ \t]*\n"
    r"(?P<body>(?:(?![ \t]*-----)[^\n]*\n)*)"
    r"(?:[ \t]*-----END (?P=kind)-----)?",
    re.MULTILINE,
)
_CERTIFICATES = frozenset({"CERTIFICATE", "X509 CERTIFICATE"})
_REMEDY = (
    "set CTRADER_CA_FILE to a file of PEM certificates, or leave it out to trust the system's "
    "authorities"
)


@dataclass(frozen=True, slots=True)
class Bundle:
    """The certificates of one PEM file. ``skipped`` has a phrase for each unusable block."""

    certificates: tuple[crypto.X509, ...]
    skipped: tuple[str, ...]

    def skipped_shown(self) -> str:
        """The first few skipped blocks, for a sentence; empty when every block is used."""
        more = len(self.skipped) - SHOWN
        return "; ".join(self.skipped[:SHOWN]) + (f"; and {more} more" if more > 0 else "")


def system_authorities() -> None:
    """The system's authorities, or those of SSL_CERT_FILE and SSL_CERT_DIR."""


def parse(content: bytes) -> Bundle:
    """Parse PEM text. Blocks that are no certificates are skipped, with their number and line."""
    text = _decoded(content)
    certificates: list[crypto.X509] = []
    skipped: list[str] = []
    for number, block in enumerate(_BLOCK.finditer(text), start=1):
        line = text.count("\n", 0, block.start()) + 1
        try:
            certificates.append(_certificate(block))
        except ValueError as error:
            skipped.append(f"block {number} (line {line}) {error}")
    return Bundle(tuple(certificates), tuple(skipped))


def _decoded(content: bytes) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        # PowerShell writes redirected output in UTF-16.
        text = content.decode("utf-16", "replace")
    else:
        # Bundles carry comments in many languages; the certificates themselves are ASCII.
        text = content.removeprefix(codecs.BOM_UTF8).decode("ascii", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n") + "\n"


def _certificate(block: re.Match[str]) -> crypto.X509:
    kind = block["kind"].strip()
    if kind == "TRUSTED CERTIFICATE":
        # Such a block can restrict the trust to other purposes, or reject all of them.
        raise ValueError("is a TRUSTED CERTIFICATE of OpenSSL: convert it with `openssl x509`")
    if kind not in _CERTIFICATES:
        raise ValueError(f"is no certificate but {kind[:40]!r}")
    if not block[0].rstrip().endswith("-----") or "-----END" not in block[0]:
        raise ValueError("has no end")
    try:
        octets = base64.b64decode("".join(block["body"].split()), validate=True)
        return crypto.load_certificate(crypto.FILETYPE_ASN1, octets)
    except (binascii.Error, crypto.Error, SSL.Error, ValueError):
        raise ValueError("cannot be read as a certificate") from None


def read_authorities(path: Path) -> Bundle:
    """Read the certificates of a file. Raises ConfigurationError if none of them is usable."""
    try:
        content = read_file(path, limit_bytes=LIMIT_BYTES)
    except FileRefused as error:
        raise ConfigurationError(f"the CA file {path} {error}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "that is no file name"
        raise ConfigurationError(
            f"the CA file {path} cannot be read ({reason}): {_REMEDY}"
        ) from None
    bundle = parse(content)
    if bundle.certificates:
        return bundle
    if bundle.skipped:
        raise ConfigurationError(
            f"the CA file {path} holds no PEM certificate that can be used: "
            f"{bundle.skipped_shown()}; {_REMEDY}"
        )
    if content[:1] == b"\x30":
        raise ConfigurationError(
            f"the CA file {path} holds no PEM certificate, but perhaps one in DER: convert it with "
            "`openssl x509 -inform der`"
        )
    raise ConfigurationError(f"the CA file {path} holds no PEM certificate: {_REMEDY}")


class AuthorityFile:
    """The authorities of a file, which is read again for every connection.

    A new authority needs no restart of the daemon: authorities are renewed, and a simulator makes
    one at each start. While the file cannot be used, the authorities read before stay in use.
    """

    def __init__(self, path: Path) -> None:
        """Raises ConfigurationError if ``path`` holds no usable certificate."""
        self._path = path
        self._bundle = read_authorities(path)
        self._told = ""
        self._tell(self._remarks())

    def __call__(self) -> Sequence[crypto.X509]:
        """Return the authorities to trust now. A new problem of the file is logged once."""
        try:
            self._bundle = read_authorities(self._path)
            said = self._remarks()
        except ConfigurationError as error:
            said = f"{error}; the {len(self._bundle.certificates)} authorities read before stay"
        self._tell(said)
        return self._bundle.certificates

    def _remarks(self) -> str:
        if not self._bundle.skipped:
            return ""
        return f"{self._path}: {self._bundle.skipped_shown()}"

    def _tell(self, said: str) -> None:
        if said and said != self._told:
            log.warn("the CA file is not used in full: {reason}", reason=said)
        elif self._told and not said:
            log.info("the CA file is used in full again: {path}", path=str(self._path))
        self._told = said
