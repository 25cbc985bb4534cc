"""Throw-away certificates, one's own, and the file for those who shall trust them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.errors import ConfigurationError
from ctrader_twisted.simulator.certificates import (
    Identity,
    load_identity,
    make_identity,
    write_ca,
)


def is_trusted(identity: Identity, name: str) -> bool:
    """What a careful client thinks of it, now."""
    authority = x509.load_pem_x509_certificate(identity.ca_pem)
    (server,) = x509.load_pem_x509_certificates(identity.certificate_pem)
    verifier = PolicyBuilder().store(Store([authority])).build_server_verifier(x509.DNSName(name))
    try:
        verifier.verify(server, [])
    except VerificationError:
        return False
    return True


class Made(SynchronousTestCase):
    """In memory."""

    def test_a_good_one(self) -> None:
        """It is trusted by its names, by no other, and by no other authority."""
        identity = make_identity(["venue.example"])
        self.assertTrue(is_trusted(identity, "localhost"))
        self.assertTrue(is_trusted(identity, "venue.example"))
        self.assertFalse(is_trusted(identity, "other.example"))
        stranger = Identity(make_identity().ca_pem, identity.certificate_pem, identity.key_pem)
        self.assertFalse(is_trusted(stranger, "localhost"))

    def test_names_and_addresses(self) -> None:
        """The loopback addresses are addresses; a name given twice stands there once."""
        (certificate,) = x509.load_pem_x509_certificates(
            make_identity(["localhost", "10.0.0.7"]).certificate_pem
        )
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(names.get_values_for_type(x509.DNSName), ["localhost"])
        addresses = [str(one) for one in names.get_values_for_type(x509.IPAddress)]
        self.assertEqual(addresses, ["127.0.0.1", "::1", "10.0.0.7"])

    def test_the_bad_kinds(self) -> None:
        """Each is refused by a careful client, and still makes a TLS server."""
        for kind in ("expired", "wrong-host", "self-signed"):
            identity = make_identity(kind=kind)
            self.assertFalse(is_trusted(identity, "localhost"), kind)
            identity.context_factory().getContext()

    def test_expired_an_hour_ago(self) -> None:
        """Its end is past, its beginning as well."""
        now = datetime(2030, 5, 17, tzinfo=UTC)
        (certificate,) = x509.load_pem_x509_certificates(
            make_identity(kind="expired", now=now).certificate_pem
        )
        self.assertLess(certificate.not_valid_after_utc, now)
        self.assertGreater(certificate.not_valid_after_utc, now - timedelta(hours=3))

    def test_elliptic_keys(self) -> None:
        """P-256, new every time."""
        keys = set()
        for _ in range(2):
            (certificate,) = x509.load_pem_x509_certificates(make_identity().certificate_pem)
            key = certificate.public_key()
            self.assertIsInstance(key, ec.EllipticCurvePublicKey)
            keys.add(key.public_numbers())
        self.assertEqual(len(keys), 2)


class OnDisk(SynchronousTestCase):
    """Files."""

    def setUp(self) -> None:
        self.folder = Path(mkdtemp(dir=Path.cwd()))
        self.addCleanup(self.remove)

    def remove(self) -> None:
        """Nothing stays behind."""
        for path in self.folder.iterdir():
            path.unlink()
        self.folder.rmdir()

    def file(self, name: str, content: bytes) -> str:
        """A file with that in it."""
        (self.folder / name).write_bytes(content)
        return str(self.folder / name)

    def test_the_authority_is_written_whole(self) -> None:
        """It replaces what was there, everybody may read it, and no scratch file stays."""
        path = self.file("ca.pem", b"old")
        identity = make_identity()
        write_ca(identity.ca_pem, path)
        self.assertEqual(Path(path).read_bytes(), identity.ca_pem)
        self.assertEqual(Path(path).stat().st_mode & 0o777, 0o644)
        self.assertEqual([one.name for one in self.folder.iterdir()], ["ca.pem"])

    def test_a_file_that_cannot_be_written(self) -> None:
        """One sentence with its name."""
        for path in (str(self.folder / "no" / "ca.pem"), str(self.folder)):
            with self.assertRaisesRegex(ConfigurationError, "Cannot write .*: .*"):
                write_ca(b"", path)
        self.assertEqual(list(self.folder.parent.glob(f".{self.folder.name}.*")), [])

    def test_ones_own(self) -> None:
        """Read back, it is what it was; the end of the chain is what to trust."""
        made = make_identity()
        chain = made.certificate_pem + made.ca_pem
        loaded = load_identity(self.file("cert", chain), self.file("key", made.key_pem))
        self.assertEqual((loaded.certificate_pem, loaded.ca_pem), (chain, made.ca_pem))
        loaded.context_factory()

    def test_what_is_wrong_with_ones_own(self) -> None:
        """A missing file, no certificate, no key, and no pair: one sentence each, with names."""
        made = make_identity()
        certificate = self.file("cert", made.certificate_pem)
        key = self.file("key", made.key_pem)
        empty = self.file("empty", b"nothing here")
        other = self.file("other", make_identity().key_pem)
        for first, second, complaint in (
            ("/nowhere/cert", key, "Cannot read /nowhere/cert: No such file"),
            (certificate, "/nowhere/key", "Cannot read /nowhere/key: No such file"),
            (empty, key, "empty holds no certificate"),
            (certificate, empty, "empty holds no unencrypted private key"),
            (certificate, other, "other does not fit the certificate in .*cert"),
        ):
            with self.assertRaisesRegex(ConfigurationError, complaint):
                load_identity(first, second)
