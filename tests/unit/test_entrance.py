"""What is refused before anybody can knock: open doors, and certificates that are no use."""

from __future__ import annotations

import os
import socket
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.python.systemd import ListenFDs
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted import entrance
from ctrader_twisted.errors import ConfigurationError
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.settings import WebSettings
from ctrader_twisted.web.doors import Doors
from ctrader_twisted.web.keys import add_key

NOW = datetime(2026, 6, 1, tzinfo=UTC)


class EntranceCase(SynchronousTestCase):
    """A folder, and doors made of settings."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.key_file = self.folder / "keys.json"

    def doors(self, inherited: ListenFDs | None = None, **settings: Any) -> Doors:
        """The doors of these settings."""
        return entrance.make_doors(
            WebSettings(**settings), clock=Clock(), metrics=Metrics(), inherited=inherited
        )

    def refusal(self, call: Any, *arguments: Any, **named: Any) -> str:
        """The one sentence of the ConfigurationError that must come."""
        said = str(self.assertRaises(ConfigurationError, call, *arguments, **named))
        self.assertTrue(said.endswith((".", "?")), said)
        self.assertNotIn("\n", said)
        return said


class OpenDoorTest(EntranceCase):
    """Nobody listens to strangers without a key."""

    everywhere = (
        "tcp:8080",
        "tcp:port=8080",
        "tcp:8080:interface=0.0.0.0",
        "tcp:8080:interface=192.0.2.1",
        "tcp6:8080",
        r"tcp6:8080:interface=\:\:",
        "TCP:8080",
    )
    here = (
        "tcp:8080:interface=127.0.0.1",
        "tcp:port=0:interface=127.9.9.9",
        "tcp:8080:interface=localhost",
        r"tcp6:8080:interface=\:\:1",
        "unix:here.sock",
        "unix:address=here.sock:mode=660",
    )

    def test_refused_without(self) -> None:
        """The sentence names the endpoint, and says what to do."""
        for listen in self.everywhere:
            said = self.refusal(self.doors, listen=listen)
            self.assertIn(repr(listen), said)
            self.assertIn("ctrader-stream keys add", said)
            self.assertIn("keys_file", said)

    def test_an_empty_file_is_no_key(self) -> None:
        """A key file with nothing in it opens nothing."""
        self.key_file.write_text('{"keys": []}')
        self.key_file.chmod(0o600)
        said = self.refusal(self.doors, listen="tcp:8080", keys_file=self.key_file)
        self.assertIn("there is no API key", said)

    def test_with_a_key(self) -> None:
        """With a key anywhere will do, and the key is needed."""
        add_key(self.key_file, "a", ["read"], "now")
        for listen in self.everywhere:
            doors = self.doors(listen=listen, keys_file=self.key_file)
            self.assertFalse(doors.policy.is_local, listen)

    def test_bad_file(self) -> None:
        """A key file that is missing or open to others ends the start, on loopback too."""
        self.assertIn("cannot be read", self.refusal(self.doors, keys_file=self.key_file))
        add_key(self.key_file, "a", ["read"], "now")
        self.key_file.chmod(0o604)
        self.assertIn("open to others", self.refusal(self.doors, keys_file=self.key_file))

    def test_loopback(self) -> None:
        """This machine and socket files need none."""
        for listen in self.here:
            self.assertTrue(self.doors(listen=listen).policy.is_local, listen)

    def test_strangers_by_other_ways(self) -> None:
        """A trusted proxy brings strangers, and require_key wants a key."""
        said = self.refusal(self.doors, trusted_proxies=("127.0.0.1/32",))
        self.assertIn("trusted_proxies", said)
        self.assertIn("require_key", self.refusal(self.doors, require_key=True))

    def test_policy(self) -> None:
        """Networks and the socket file's word are told apart."""
        add_key(self.key_file, "a", ["read"], "now")
        proxies = ("10.0.0.0/8", "unix")
        policy = self.doors(trusted_proxies=proxies, keys_file=self.key_file).policy
        self.assertTrue(policy.proxies.unix)
        self.assertTrue(policy.proxies.trusts("10.1.2.3"))
        self.assertFalse(policy.proxies.trusts("192.0.2.1"))


class WideProxiesTest(EntranceCase):
    """A network of trusted proxies with everybody in it."""

    def test_warning(self) -> None:
        """Each wide network is a warning at start that names it; others are none."""
        add_key(self.key_file, "a", ["read"], "now")
        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        for networks, wide in (
            (("0.0.0.0/0", "::/0"), ["0.0.0.0/0", "::/0"]),
            (("10.0.0.0/8", "0.0.0.0/2", "unix"), ["0.0.0.0/2"]),
            (("10.0.0.0/8", "127.0.0.1/32", "unix"), []),
            ((), []),
        ):
            del events[:]
            self.doors(trusted_proxies=networks, keys_file=self.key_file)
            said = [event["reason"].split()[0] for event in events if "reason" in event]
            self.assertEqual(said, wide)


class InheritedTest(EntranceCase):
    """A socket that systemd has opened tells itself where it listens."""

    def test_where(self) -> None:
        """Loopback and socket files are here; everything else is not."""
        for family, address, is_here in (
            (socket.AF_INET, ("127.0.0.1", 0), True),
            (socket.AF_INET6, ("::1", 0), True),
            (socket.AF_UNIX, str(self.folder / "s"), True),
            (socket.AF_INET, ("", 0), False),
        ):
            with socket.socket(family) as sock:
                sock.bind(address)
                inherited = ListenFDs([sock.fileno()], ["http"])
                for listen in ("systemd:domain=INET:index=0", "systemd:domain=INET:name=http"):
                    if is_here:
                        self.assertTrue(self.doors(inherited, listen=listen).policy.is_local)
                    else:
                        said = self.refusal(self.doors, inherited, listen=listen)
                        self.assertIn("no API key", said)

    def test_none_there(self) -> None:
        """Started without its socket unit, or with fewer sockets: one sentence."""
        for inherited in (None, ListenFDs([], []), ListenFDs([3], ["https"])):
            for which in ("index=1", "name=http", "index=x"):
                said = self.refusal(self.doors, inherited, listen=f"systemd:domain=INET:{which}")
                self.assertIn("socket unit", said)

    def test_no_socket(self) -> None:
        """A descriptor that is no socket: one sentence."""
        descriptor = os.open(os.devnull, os.O_RDONLY)
        self.addCleanup(os.close, descriptor)
        inherited = ListenFDs([descriptor], [""])
        said = self.refusal(self.doors, inherited, listen="systemd:index=0")
        self.assertIn("cannot be used", said)


class CertificateTest(EntranceCase):
    """A certificate that is no use is one sentence at start."""

    def setUp(self) -> None:
        super().setUp()
        self.key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = self.private_key("key.pem")

    def private_key(self, name: str) -> ec.EllipticCurvePrivateKey:
        """A new key in a file."""
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (self.folder / name).write_bytes(pem)
        return key

    def certificate(self, begins: timedelta, ends: timedelta) -> None:
        """A certificate for the key, in force between these times."""
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        made = (
            x509.CertificateBuilder(name, name, self.key.public_key(), 1)
            .not_valid_before(NOW + begins)
            .not_valid_after(NOW + ends)
            .sign(self.key, hashes.SHA256())
        )
        (self.folder / "cert.pem").write_bytes(made.public_bytes(Encoding.PEM))

    def check(self, key: str = "key.pem", certificate: str = "cert.pem", more: str = "") -> None:
        """As at start."""
        files = f"privateKey={self.folder}/{key}:certKey={self.folder}/{certificate}"
        listen = f"ssl:8443:{files}{more}"
        entrance.check_certificate(entrance.endpoint_arguments(listen), NOW)

    def test_good(self) -> None:
        """One that is in force and belongs to the key says nothing."""
        self.certificate(timedelta(days=-1), timedelta(days=90))
        self.check()

    def test_files_of_others(self) -> None:
        """Each file must be a regular one that nobody else can change; the sentence names it."""
        self.certificate(timedelta(days=-1), timedelta(days=90))
        pipe, mine = self.folder / "pipe", self.folder / "mine.pem"
        os.mkfifo(pipe, 0o600)
        mine.write_bytes((self.folder / "cert.pem").read_bytes())
        for path, words in ((pipe, "is a named pipe"), (mine, "chmod go-w")):
            mine.chmod(0o666)
            for given in (
                {"key": path.name},
                {"certificate": path.name},
                {"more": f":extraCertChain={path}"},
                {"more": f":dhParameters={path}"},
            ):
                with self.subTest(given=given):
                    said = self.refusal(self.check, **given)
                    self.assertIn(str(path), said)
                    self.assertIn(words, said)

    def test_soon(self) -> None:
        """Two weeks before its end there is a warning."""
        seen: list[Any] = []
        globalLogPublisher.addObserver(seen.append)
        self.addCleanup(globalLogPublisher.removeObserver, seen.append)
        self.certificate(timedelta(days=-80), timedelta(days=10))
        self.check()
        self.assertEqual([event["day"] for event in seen], ["2026-06-11"])

    def test_expired_or_early(self) -> None:
        """Neither one that is over, nor one that has not begun."""
        self.certificate(timedelta(days=-90), timedelta(days=-1))
        self.assertIn("expired on 2026-05-31", self.refusal(self.check))
        self.certificate(timedelta(days=1), timedelta(days=90))
        self.assertIn("valid only from 2026-06-02", self.refusal(self.check))

    def test_of_another_key(self) -> None:
        """A certificate of another key."""
        self.certificate(timedelta(days=-1), timedelta(days=90))
        self.private_key("other.pem")
        self.assertIn("does not belong", self.refusal(self.check, key="other.pem"))

    def test_too_weak(self) -> None:
        """One that OpenSSL refuses is refused now, and not at every connection."""
        key = rsa.generate_private_key(65537, 1024)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (self.folder / "key.pem").write_bytes(pem)
        self.key = key
        self.certificate(timedelta(days=-1), timedelta(days=90))
        self.assertIn("key too small", self.refusal(self.check))

    def test_other_arguments(self) -> None:
        """Parameters that are none, and methods that there are not."""
        self.certificate(timedelta(days=-1), timedelta(days=90))
        for more, words in (
            (f"dhParameters={self.folder}/none.pem", "none.pem (no such file)"),
            (f"extraCertChain={self.folder}/none.pem", "none.pem cannot be used (No such file"),
            (f"extraCertChain={self.folder}/key.pem", "there is no usable chain in it"),
            (f"dhParameters={self.folder}/key.pem", "TLS cannot be set up"),
            ("sslmethod=FOO_METHOD", "there is no sslmethod FOO_METHOD"),
            ("sslmethod=Context", "there is no sslmethod Context"),
            ("sslmethod=OP_ALL", "there is no sslmethod OP_ALL"),
            ("sslmethod=TLSv1_METHOD", "TLSv1_METHOD for a server of TLS 1.2 or later"),
            ("sslmethod=TLS_CLIENT_METHOD", "there is no sslmethod TLS_CLIENT_METHOD"),
        ):
            self.assertIn(words, self.refusal(self.check, more=f":{more}"))
        for method in entrance.METHODS:
            self.check(more=f":sslmethod={method}")
        # Twisted would rather have it said otherwise.
        self.flushWarnings()

    def test_another_key_beside_the_certificate(self) -> None:
        """The private key is that of privateKey, whatever else the file of certKey holds."""
        self.certificate(timedelta(days=-1), timedelta(days=90))
        self.private_key("other.pem")
        for first, second in (("other", "cert"), ("cert", "other")):
            pem = [(self.folder / f"{name}.pem").read_bytes() for name in (first, second)]
            (self.folder / "both.pem").write_bytes(b"".join(pem))
            self.check(certificate="both.pem")

    def test_no_files(self) -> None:
        """Files that are missing, empty or something else."""
        self.certificate(timedelta(days=-1), timedelta(days=90))
        (self.folder / "empty").write_bytes(b"")
        for given in (
            {"key": "none.pem"},
            {"certificate": "none.pem"},
            {"key": "empty"},
            {"certificate": "empty"},
            {"key": "cert.pem"},
            {"certificate": "key.pem"},
        ):
            self.assertIn("cannot be used", self.refusal(self.check, **given))
