"""Secrets in files: read again at each use, and never worse than the last good one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted import redaction, tap
from ctrader_twisted.errors import ConfigurationError
from ctrader_twisted.logs import Secret, redact
from ctrader_twisted.settings import load
from ctrader_twisted.settings.files import SecretFile, read_secret
from ctrader_twisted.settings.keys import Given

FIRST, SECOND = "first-t0ken-of-user-4711", "second-t0ken-of-user-4712"


class SecretFileCase(SynchronousTestCase):
    """A file with a secret, what reads it, and what was logged."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "token"
        self.write(FIRST)
        self.concealed: list[str] = []
        given = Given(str(self.path), "CTRADER_ACCESS_TOKEN_FILE in .env", in_file=True)
        self.secret = SecretFile(given, Secret(FIRST), self.conceal)
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self.see)
        self.addCleanup(globalLogPublisher.removeObserver, self.see)

    def write(self, text: str | bytes, mode: int = 0o600) -> None:
        """The file, anew."""
        self.path.write_bytes(text if isinstance(text, bytes) else text.encode())
        self.path.chmod(mode)

    def conceal(self, secret: Secret) -> None:
        """What redaction is told."""
        self.concealed.append(secret.reveal())

    def see(self, event: dict[str, Any]) -> None:
        """A log line of it."""
        if event.get("log_namespace", "").endswith("SecretFile"):
            self.lines.append(f"{event['log_level'].name} {formatEvent(event)}")


class ReadAgainTest(SecretFileCase):
    """`SecretFile`."""

    def test_a_new_value(self) -> None:
        """It is used at the next call; redaction knows it before."""
        self.assertEqual(self.secret.reveal(), FIRST)
        self.assertEqual((self.concealed, self.lines), ([], []))
        self.write(f"{SECOND}\r\n")
        self.assertEqual(self.secret.reveal(), SECOND)
        self.assertEqual(self.concealed, [SECOND])
        self.assertEqual(self.secret.reveal(), SECOND)
        (line,) = self.lines
        self.assertTrue(line.startswith("info a new secret was read: CTRADER_ACCESS_TOKEN_FILE"))
        self.assertNotIn(SECOND, line)

    def test_concealed_before_it_is_used(self) -> None:
        """At the moment at which redaction is told, nothing has had the value yet."""
        held: list[Secret] = []
        given = Given(str(self.path), "X", in_file=True)

        def conceal(_: Secret) -> None:
            held.append(secret._value)

        secret = SecretFile(given, Secret(FIRST), conceal)
        self.write(SECOND)
        secret.reveal()
        self.assertEqual([one.reveal() for one in held], [FIRST])

    def test_the_last_good_one(self) -> None:
        """Missing, empty, blank, unreadable, open, no file: one warning each, and no change."""
        changes = {
            "No such file": self.path.unlink,
            "on one line": lambda: self.write(""),
            "must hold the secret on one line": lambda: self.write(" \n\n"),
            "and nothing else": lambda: self.write(f"{SECOND}\n{SECOND}\n"),
            "UTF-8": lambda: self.write(b"\xff\xfe\xff"),
            "chmod 600": lambda: self.write(SECOND, 0o644),
            "mode 0602": lambda: self.write(SECOND, 0o602),
            "larger than": lambda: self.write("x" * 2**21),
        }
        for words, change in changes.items():
            with self.subTest(words=words):
                self.path.unlink(missing_ok=True)
                self.write(FIRST)
                self.secret.reveal()
                self.lines.clear()
                change()
                for _ in range(3):
                    self.assertEqual(self.secret.reveal(), FIRST)
                (line,) = self.lines
                self.assertIn("warn the last good secret stays in use: ", line)
                self.assertIn(words, line)
                self.assertNotIn(SECOND, line)
        self.path.unlink()
        os.mkfifo(self.path)
        self.assertEqual(self.secret.reveal(), FIRST)
        self.path.unlink()
        self.write(SECOND)
        self.assertEqual(self.secret.reveal(), SECOND)

    def test_half_written(self) -> None:
        """The beginning of the value, or much less than one, is taken only if it stays."""
        for half in (FIRST[:-3], FIRST[:1], SECOND[:5]):
            self.write(half)
            self.assertEqual(self.secret.reveal(), FIRST, half)
        self.assertEqual(self.concealed, [])
        self.write(SECOND)
        self.assertEqual(self.secret.reveal(), SECOND)
        self.write("short")
        self.assertEqual(self.secret.reveal(), SECOND)
        self.assertEqual(self.secret.reveal(), "short")

    def test_another_folder(self) -> None:
        """A relative name is that of the start, wherever the process goes after that."""
        self.addCleanup(os.chdir, Path.cwd())
        os.chdir(self.path.parent)
        secret = SecretFile(Given("token", "X", in_file=True), Secret(FIRST), self.conceal)
        os.chdir("/")
        self.write(SECOND)
        self.assertEqual(secret.reveal(), SECOND)

    def test_replaced_by_a_link(self) -> None:
        """As Kubernetes does it: the link leads to another folder from now on."""
        folder = self.path.parent
        for name, text in (("..1", FIRST), ("..2", SECOND)):
            (folder / name).mkdir()
            (folder / name / "token").write_text(text)
            (folder / name / "token").chmod(0o600)
        self.path.unlink()
        (folder / "..data").symlink_to("..1")
        self.path.symlink_to("..data/token")
        self.assertEqual(self.secret.reveal(), FIRST)
        (folder / "..fresh").symlink_to("..2")
        (folder / "..fresh").replace(folder / "..data")
        self.assertEqual(self.secret.reveal(), SECOND)


class DaemonTest(SecretFileCase):
    """The daemon's parts are handed what reads the file, not what it held."""

    def settings(self, environment: str) -> Any:
        """Both secrets in the same file."""
        environ = {
            "CTRADER_ENV": environment,
            "CTRADER_CLIENT_ID": "app-1",
            "CTRADER_CLIENT_SECRET_FILE": str(self.path),
            "CTRADER_ACCESS_TOKEN_FILE": str(self.path),
            "CTRADER_ACCOUNT_ID": "7",
        }
        return load(options={}, environ=environ, tap_conf=None, dotenv=None)

    def test_both_secrets(self) -> None:
        """At each call; redaction of the whole process learns of the new one."""
        self.addCleanup(redaction._concealed.discard, Secret(SECOND))
        for name in ("client_secret", "access_token"):
            self.write(FIRST)
            reveal = tap.secret_of(self.settings("demo"), name)
            self.assertEqual(reveal(), FIRST)
            self.write(SECOND)
            self.assertEqual(reveal(), SECOND)
            self.assertNotIn(SECOND, redact(f"it says {SECOND}"))

    def test_composed(self) -> None:
        """The application and the session ask the file."""
        daemon = tap.compose(self.settings("demo"), reactor=MemoryReactorClock(), in_thread=None)
        application = daemon._application
        (session,) = application._sessions.values()
        self.addCleanup(redaction._concealed.discard, Secret(SECOND))
        self.write(SECOND)
        self.assertEqual(application._client_secret(), SECOND)
        self.assertEqual(session._access_token(), SECOND)

    def test_simulator_in_process(self) -> None:
        """It was told the value of the start, so that one stays."""
        reveal = tap.secret_of(self.settings("simulator"), "access_token")
        self.write(SECOND)
        self.assertEqual(reveal(), FIRST)


class DoubtTest(SecretFileCase):
    """A value that looks half written."""

    def test_doubted_anew(self) -> None:
        """After the whole value was seen again, the same half of it is doubted once more."""
        for _ in range(3):
            self.write(FIRST[:9])
            self.assertEqual(self.secret.reveal(), FIRST)
            self.write(FIRST)
            self.assertEqual(self.secret.reveal(), FIRST)


class HomeTest(SynchronousTestCase):
    """Names with ``~``."""

    def test_of_nobody(self) -> None:
        """A user without a home folder is a file that is not there, said in one sentence."""
        given = Given("~no-such-user-4711/token", "CTRADER_ACCESS_TOKEN_FILE in .env", in_file=True)
        error = self.assertRaises(ConfigurationError, read_secret, given)
        self.assertIn("(named by CTRADER_ACCESS_TOKEN_FILE in .env) cannot be read", str(error))
