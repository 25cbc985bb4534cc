"""Authorities from a file: usable blocks, skipped blocks, and changes while the daemon runs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.errors import ConfigurationError
from ctrader_twisted.simulator.certificates import Identity, make_identity
from ctrader_twisted.tls.authorities import AuthorityFile, parse, read_authorities
from ctrader_twisted.tls.policy import ClientOptions
from tests.certificates import authority, pem


def agree(options: Any, identity: Identity) -> str:
    """Shake hands in memory: an empty string, or why it came to nothing."""
    server = SSL.Connection(identity.context_factory().getContext(), None)
    server.set_accept_state()
    factory = TLSMemoryBIOFactory(options, True, Factory.forProtocol(Protocol))
    client = options.clientConnectionForTLS(factory.buildProtocol(None))
    client.set_connect_state()
    waiting = {client, server}
    for _ in range(10):
        for end, other in ((client, server), (server, client)):
            try:
                end.do_handshake()
                waiting.discard(end)
            except SSL.WantReadError:
                pass
            except SSL.Error as error:
                return str(error)
            try:
                other.bio_write(end.bio_read(65536))
            except SSL.WantReadError:
                continue
        if not waiting:
            return ""
    return "no end"


GOOD, OTHER = (pem(authority(name).certificate) for name in ("authority", "another authority"))
LINES = GOOD.count(b"\n")
TRUSTED = GOOD.replace(b"BEGIN CERT", b"BEGIN TRUSTED CERT").replace(
    b"END CERT", b"END TRUSTED CERT"
)
OLD = GOOD.replace(b"BEGIN CERT", b"BEGIN X509 CERT").replace(b"END CERT", b"END X509 CERT")
BROKEN = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
NO_BASE64 = b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n"
KEY = b"-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"
UNENDED = b"-----BEGIN CERTIFICATE-----\nMIIB\n"


class ParseTest(SynchronousTestCase):
    """Blocks of PEM."""

    def test_used_and_skipped(self) -> None:
        """How many certificates are used, and what is said of the other blocks."""
        table: list[tuple[str, bytes, int, list[str]]] = [
            ("one", GOOD, 1, []),
            ("two", GOOD + OTHER, 2, []),
            ("twice the same", GOOD + GOOD, 2, []),
            ("with comments", b"# F\xc5\x91\n" + GOOD + b"about it\n" + OTHER, 2, []),
            ("comment in Latin 1", b"# \xe9\n" + GOOD, 1, []),
            ("of Windows", GOOD.replace(b"\n", b"\r\n"), 1, []),
            ("of old Macs", GOOD.replace(b"\n", b"\r"), 1, []),
            ("without the last line end", GOOD.rstrip(), 1, []),
            ("indented", b"  " + GOOD.rstrip().replace(b"\n", b"\n  "), 1, []),
            ("with a byte order mark", b"\xef\xbb\xbf" + GOOD, 1, []),
            ("of PowerShell", GOOD.decode().encode("utf-16"), 1, []),
            ("old name of the block", OLD, 1, []),
            ("broken, good", BROKEN + GOOD, 1, ["block 1 (line 1) cannot be read"]),
            (
                "good, broken",
                GOOD + b"\n" + BROKEN,
                1,
                [f"block 2 (line {LINES + 2}) cannot be read"],
            ),
            ("no base64, good", NO_BASE64 + GOOD, 1, ["block 1 (line 1) cannot be read"]),
            ("without an end, good", UNENDED + GOOD, 1, ["block 1 (line 1) has no end"]),
            ("good, without an end", GOOD + UNENDED, 1, [f"block 2 (line {LINES + 1}) has no end"]),
            ("trusted, good", TRUSTED + GOOD, 1, ["TRUSTED CERTIFICATE of OpenSSL: convert it"]),
            ("key, good", KEY + GOOD, 1, ["is no certificate but 'PRIVATE KEY'"]),
            (
                "three of five",
                BROKEN + GOOD + KEY + OTHER + OLD,
                3,
                ["block 1", f"block 3 (line {LINES + 4})"],
            ),
            ("nothing", b"", 0, []),
            ("no PEM", b"\x00\xff" * 100, 0, []),
        ]
        for name, content, used, skipped in table:
            bundle = parse(content)
            self.assertEqual(len(bundle.certificates), used, name)
            self.assertEqual(len(bundle.skipped), len(skipped), (name, bundle.skipped))
            for words, said in zip(skipped, bundle.skipped, strict=True):
                self.assertIn(words, said, name)

    def test_many_skipped(self) -> None:
        """A sentence does not grow without end."""
        said = parse(BROKEN * 20 + GOOD).skipped_shown()
        self.assertTrue(said.endswith("; and 17 more"), said)


class FileTest(SynchronousTestCase):
    """The file of CTRADER_CA_FILE."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "ca.pem"
        self.lines: list[str] = []

        def observe(event: Any) -> None:
            if event.get("log_namespace") == "ctrader_twisted.tls.authorities":
                self.lines.append(event["log_format"].format(**event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def refusal(self, content: bytes) -> str:
        """Why there is nothing to be had from a file of that content."""
        self.path.write_bytes(content)
        with self.assertRaises(ConfigurationError) as caught:
            read_authorities(self.path)
        return str(caught.exception)

    def test_nothing_left(self) -> None:
        """Only a file without one good certificate is refused, with what is wrong."""
        with self.assertRaises(ConfigurationError) as caught:
            read_authorities(self.path)
        self.assertIn(
            f"the CA file {self.path} cannot be read (No such file", str(caught.exception)
        )
        self.assertIn("holds no PEM certificate: set CTRADER_CA_FILE", self.refusal(b"nothing"))
        self.assertIn("holds no PEM certificate: set CTRADER_CA_FILE", self.refusal(b""))
        self.assertIn(
            "no PEM certificate that can be used: block 1 (line 1) is a TR", self.refusal(TRUSTED)
        )
        self.assertIn(
            "no PEM certificate that can be used: block 1 (line 1) is no c", self.refusal(KEY)
        )
        self.assertIn("block 2 (line 4) cannot be read", self.refusal(BROKEN + BROKEN))
        der = authority("authority").certificate.public_bytes(Encoding.DER)
        self.assertIn("in DER: convert it with `openssl x509 -inform der`", self.refusal(der))
        self.path.write_bytes(GOOD)
        self.path.chmod(0o666)
        with self.assertRaises(ConfigurationError) as caught:
            read_authorities(self.path)
        self.assertIn("can be changed by other users", str(caught.exception))

    def test_told_once_for_each_change(self) -> None:
        """What is wrong with a new file is logged once, and that it is well again."""
        self.path.write_bytes(GOOD)
        file = AuthorityFile(self.path)
        file()
        self.assertEqual(self.lines, [])
        self.path.write_bytes(GOOD + BROKEN)
        for _ in range(3):
            self.assertEqual(len(file()), 1)
        self.assertEqual(len(self.lines), 1)
        self.assertIn(
            f"not used in full: {self.path}: block 2 (line {LINES + 1}) cannot be read",
            self.lines[0],
        )
        self.path.write_bytes(TRUSTED)
        for _ in range(3):
            self.assertEqual(len(file()), 1)
        self.assertEqual(len(self.lines), 2)
        self.assertIn("is a TRUSTED CERTIFICATE", self.lines[1])
        self.assertIn("the 1 authorities read before stay", self.lines[1])
        self.path.unlink()
        for _ in range(3):
            file()
        self.assertEqual(len(self.lines), 3)
        self.path.write_bytes(GOOD + OTHER)
        self.assertEqual(len(file()), 2)
        self.assertEqual(self.lines[3:], [f"the CA file is used in full again: {self.path}"])

    def test_told_at_the_start(self) -> None:
        """A file that is used in part is a line from the first."""
        self.path.write_bytes(BROKEN + GOOD)
        AuthorityFile(self.path)
        self.assertEqual(len(self.lines), 1)

    def test_renewed(self) -> None:
        """Each attempt trusts only the authorities that the file has at that time."""
        first, second = make_identity(), make_identity()
        self.path.write_bytes(first.ca_pem)
        options = ClientOptions("localhost", AuthorityFile(self.path))
        self.assertEqual(agree(options, first), "")
        self.assertIn("certificate verify failed", agree(options, second))
        self.path.write_bytes(second.ca_pem)
        self.assertEqual(agree(options, second), "")
        self.assertIn("certificate verify failed", agree(options, first))

    def test_unreadable_for_now(self) -> None:
        """With a missing or half-written file the authorities read before stay in use."""
        first, second = make_identity(), make_identity()
        self.path.write_bytes(first.ca_pem)
        options = ClientOptions("localhost", AuthorityFile(self.path))
        self.path.write_bytes(second.ca_pem[:100])
        self.assertEqual(agree(options, first), "")
        self.path.unlink()
        self.assertEqual(agree(options, first), "")
        with self.assertRaises(ConfigurationError):
            AuthorityFile(self.path)

    def test_renewed_store_of_the_system(self) -> None:
        """The system's authorities are read for each attempt as well, also if they are one file."""
        first, second = make_identity(), make_identity()
        self.path.write_bytes(first.ca_pem)
        self.patch_environment(SSL_CERT_FILE=str(self.path), SSL_CERT_DIR=str(self.path.parent))
        options = ClientOptions("localhost")
        self.assertEqual(agree(options, first), "")
        self.path.write_bytes(second.ca_pem)
        self.assertEqual(agree(options, second), "")
        self.assertIn("certificate verify failed", agree(options, first))

    def patch_environment(self, **variables: str) -> None:
        """Set variables for this test."""
        import os
        from unittest.mock import patch

        patched = patch.dict(os.environ, variables)
        patched.start()
        self.addCleanup(patched.stop)
