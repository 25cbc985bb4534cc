"""What an operator types: keys, check-config, status."""

from __future__ import annotations

import errno
import io
import os
import socket
import sys
import tempfile
from pathlib import Path
from unittest.mock import Mock

from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted import asking, chores, doctor
from ctrader_twisted.cli import main
from ctrader_twisted.errors import ConfigurationError
from ctrader_twisted.logs import Secret
from ctrader_twisted.settings import describe
from ctrader_twisted.web import key_edits
from ctrader_twisted.web.keys import KeyRing, read_keys


class ChoreCase(SynchronousTestCase):
    """Commands in a fresh folder, with what they print."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.addCleanup(os.chdir, Path.cwd())
        os.chdir(self.folder)

    def run_command(self, *words: str) -> tuple[int, str, str]:
        """Exit status, standard output, standard error."""
        out, err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", out)
        self.patch(sys, "stderr", err)
        try:
            status = main(words)
        except SystemExit as end:
            status = int(end.code or 0)
        finally:
            sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        return status, out.getvalue(), err.getvalue()


class KeysTest(ChoreCase):
    """`ctrader-stream keys`."""

    def test_made_and_shown_once(self) -> None:
        """The key, and nothing else, is on standard output; it opens the ring of that file."""
        status, out, err = self.run_command(
            "keys", "add", "ops", "--scope", "read", "--scope", "trade", "--file", "k.json"
        )
        self.assertEqual((status, len(out.splitlines())), (0, 1))
        self.assertNotIn(out.strip(), err)
        key = KeyRing(self.folder / "k.json").find(Secret(out.strip()))
        assert key is not None
        self.assertEqual((key.name, key.scopes), ("ops", ("read", "trade")))
        self.assertRegex(key.made_at, r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        status, out, _ = self.run_command("keys", "list", "--file", "k.json")
        self.assertEqual(out.split("\t")[:2], ["ops", "read,trade"])

    def test_into_a_file(self) -> None:
        """--to keeps the key off the screen, in a file for its owner; an old file is left alone."""
        words = ("keys", "add", "a", "--scope", "read", "--file", "k.json", "--to")
        status, out, _ = self.run_command(*words, "first.key")
        self.assertEqual((status, out), (0, ""))
        self.assertEqual((self.folder / "first.key").stat().st_mode & 0o777, 0o600)
        text = Secret((self.folder / "first.key").read_text().strip())
        self.assertIsNotNone(KeyRing(self.folder / "k.json").find(text))
        self.assertEqual(self.run_command(*words, "first.key")[0], 1)
        status, _, err = self.run_command(
            "keys", "add", "b", "--scope", "read", "--file", "k.json", "--to", "no/where.key"
        )
        self.assertEqual(status, 1)
        self.assertIn("no key was made", err)
        self.assertEqual(self.run_command("keys", "list", "--file", "k.json")[1].count("\n"), 1)

    def test_no_half_key(self) -> None:
        """A --to file that cannot be written whole is not left behind, and no key either."""

        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        words = ("keys", "add", "a", "--scope", "read", "--file", "k.json")
        self.assertEqual(self.run_command(*words)[0], 0)
        self.patch(chores.os, "fsync", full)
        status, _, err = self.run_command(*words[:2], "b", *words[3:], "--to", "b.key")
        self.assertEqual(status, 1)
        self.assertIn("No space left on device", err)
        self.assertEqual([path.name for path in self.folder.iterdir()], ["k.json"])

    def test_stored_last(self) -> None:
        """At each moment a key that is stored is also in the file of --to: a process that is ended
        in between leaves none that nobody has.
        """
        seen = []

        def replace(*_: object, **__: object) -> None:
            seen.append((self.folder / "b.key").read_text())
            raise KeyboardInterrupt

        self.patch(key_edits.os, "replace", replace)
        words = ("keys", "add", "b", "--scope", "read", "--file", "k.json", "--to", "b.key")
        self.assertEqual(self.run_command(*words)[0], 130)
        self.assertRegex(seen[0], r"\Acts_[\w-]{43}\n\Z")
        self.assertFalse((self.folder / "b.key").exists())

    def test_no_key_for_a_closed_output(self) -> None:
        """A closed standard output shows nobody a key, so none is made."""
        self.patch(sys, "__stdout__", None)
        self.patch(sys, "stdout", None)
        error = self.assertRaises(
            ConfigurationError, chores._add_and_print, self.folder / "k.json", "a", ["read"], "now"
        )
        self.assertIn("no key was made", str(error))
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_a_key_that_cannot_be_taken_out_again(self) -> None:
        """When output and disk are both full, the key that is left over is named."""
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        class Full(io.StringIO):
            def flush(this) -> None:
                self.patch(key_edits.os, "fsync", Mock(side_effect=full))
                raise full

        self.patch(sys, "stdout", Full())
        error = self.assertRaises(
            ConfigurationError, chores._add_and_print, self.folder / "k.json", "a", ["read"], "now"
        )
        self.assertIn("the key a, which nobody has seen, cannot be taken out again", str(error))
        self.assertEqual([key.name for key in read_keys(self.folder / "k.json")], ["a"])

    def test_in_a_folder_that_is_gone(self) -> None:
        """A relative name is refused by what is wrong with it."""
        gone = self.folder / "gone"
        gone.mkdir()
        os.chdir(gone)
        gone.rmdir()
        for words in (("list",), ("add", "a", "--scope", "read"), ("revoke", "a")):
            status, _, err = self.run_command("keys", *words, "--file", "k.json")
            self.assertEqual((status, err.count("\n")), (1, 1))
            self.assertIn("does not exist any more", err)
        self.patch(os, "environ", {"CTRADER_STREAM_WEB_KEYS_FILE": "k.json"})
        status, _, err = self.run_command("check-config")
        self.assertEqual(status, 1)
        self.assertIn("does not exist any more", err)

    def test_configured_file(self) -> None:
        """Without --file it is the configured one; without either it is a sentence."""
        status, _, err = self.run_command("keys", "list")
        self.assertEqual(status, 1)
        self.assertIn("keys_file", err)
        self.assertEqual(err.count("\n"), 1)
        Path("tap.conf").write_text("[web]\nkeys_file = here.json\n")
        self.assertEqual(self.run_command("keys", "add", "a", "--scope", "read")[0], 0)
        self.assertTrue(Path("here.json").exists())
        self.assertEqual(self.run_command("keys", "revoke", "a")[0], 0)
        self.assertEqual(self.run_command("keys", "list")[:2], (0, ""))

    def test_mistakes(self) -> None:
        """A missing scope is a mistake in the command line (2); an unknown name a failure (1)."""
        self.assertEqual(self.run_command("keys", "add", "a", "--file", "k.json")[0], 2)
        self.assertEqual(self.run_command("keys", "add", "a", "--scope", "x")[0], 2)
        self.run_command("keys", "add", "a", "--scope", "read", "--file", "k.json")
        status, _, err = self.run_command("keys", "revoke", "b", "--file", "k.json")
        self.assertEqual(status, 1)
        self.assertTrue(err.startswith("ctrader-stream: there is no key 'b'"))


class CheckConfigTest(ChoreCase):
    """`ctrader-stream check-config`."""

    def test_value_and_source(self) -> None:
        """Every key with its value and where that comes from; secrets are stars."""
        Path("tap.conf").write_text("[web]\nclients = 77\n")
        Path(".env").write_text("CTRADER_CLIENT_SECRET=s3cr3t-4711\nCTRADER_ENV=simulator\n")
        Path(".env").chmod(0o600)
        status, out, err = self.run_command("check-config")
        self.assertEqual(status, 0, err)
        rows = {line.split("\t")[0]: line.split("\t")[1:] for line in out.splitlines()}
        self.assertEqual(set(rows), {key.title for key in describe()})
        self.assertEqual(rows["[web] clients"], ["77", "[web] clients in tap.conf"])
        self.assertEqual(rows["[web] ping_s"], ["20.0", "default"])
        self.assertEqual(rows["[web] listen"][0], "tcp:port=8080:interface=127.0.0.1")
        self.assertEqual(rows["[venue] client_secret"][0], "********")
        self.assertNotIn("s3cr3t", out + err)

    def test_first_mistake(self) -> None:
        """What would end the start ends this, with the same sentence and status 1."""
        for conf, words in (
            ("[web]\nclients = many\n", "[web] clients in tap.conf is 'many'"),
            ("[web]\nlisten = tcp:8080\n", "there is no API key"),
            ("[web]\nkeys_file = none.json\n", "--scope read --file /"),
            ("[web]\nlisten = ssl:8443:privateKey=no.pem\n", "no.pem cannot be used"),
        ):
            Path("tap.conf").write_text(conf)
            status, _, err = self.run_command("check-config")
            self.assertEqual(status, 1)
            self.assertIn(words, err)
            self.assertEqual(err.count("ctrader-stream: "), 1)
            self.assertEqual(err.count(" in tap.conf"), 1, err)

    def test_wide_proxies(self) -> None:
        """A network of trusted proxies with everybody in it is a warning, and no mistake."""
        self.run_command("keys", "add", "a", "--scope", "read", "--file", "k.json")
        Path("tap.conf").write_text("[web]\nkeys_file = k.json\ntrusted_proxies = 0.0.0.0/0\n")
        status, _, err = self.run_command("check-config")
        self.assertEqual(status, 0, err)
        self.assertIn("warning: trusted_proxies is too wide: 0.0.0.0/0 ", err)
        Path("tap.conf").write_text("[web]\nkeys_file = k.json\ntrusted_proxies = 10.0.0.1\n")
        self.assertNotIn("warning", self.run_command("check-config")[2])

    def test_where_the_mistake_stands(self) -> None:
        """Each setting that a sentence is about is told with its source, and no other."""
        os.environ["CTRADER_STREAM_WEB_LISTEN"] = "tcp:8080"
        self.addCleanup(os.environ.pop, "CTRADER_STREAM_WEB_LISTEN")
        Path("tap.conf").write_text("[web]\nkeys_file = none.json\nclients = 7\n")
        status, _, err = self.run_command("check-config")
        self.assertEqual(status, 1)
        self.assertTrue(
            err.endswith("runs the daemon. (Given by [web] keys_file in tap.conf.)\n"), err
        )
        Path("tap.conf").unlink()
        _, _, err = self.run_command("check-config")
        self.assertIn("(Given by CTRADER_STREAM_WEB_LISTEN in the environment.)", err)


class StatusTest(ChoreCase):
    """`ctrader-stream status`, without a daemon (with one: tests/integration/test_service.py)."""

    def test_nobody_there(self) -> None:
        """Nobody listens: one sentence and status 1."""
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{sock.getsockname()[1]}"
            status, out, err = self.run_command("status", "--url", url)
        self.assertEqual((status, out), (1, ""))
        self.assertIn("is the daemon up?", err)

    def test_numbers(self) -> None:
        """Summed over labels, or for one value of a label; large ones to the last digit."""
        sums = chores._sums(
            'ctrader_stream_symbols{freshness="stale",source="a \\"b"} 2.0\n'
            'ctrader_stream_symbols{freshness="stale",source="c"} 1.0\n'
            'ctrader_stream_symbols{freshness="fresh",source="c"} 9.0\n'
            "# HELP ctrader_stream_ticks_received_total x\n"
            "ctrader_stream_ticks_received_total 123456789.0\n"
        )
        shown = {label: chores._number(sums, series) for label, series, _ in chores.SHOWN}
        self.assertEqual(shown["symbols silent though open"], "3")
        self.assertEqual(shown["ticks received"], "123456789")
        self.assertEqual(shown["newest tick, seconds ago"], "-")
        self.assertEqual(shown["ticks dropped"], "0")
        sums = chores._sums('ctrader_stream_newest_tick_age_seconds{source="a"} 40.26')
        self.assertEqual(chores._number(sums, chores.AGE), "40.3")

    def test_no_address(self) -> None:
        """Files are no daemon."""
        for command in ("status", "doctor"):
            for url in (
                "file:///etc/passwd",
                "127.0.0.1:8080",
                "http://",
                "http://127.0.0.1:99999",
                "http://me:hush@127.0.0.1:8080",
                "http://127.0.0.1:8080/?symbol=EURUSD",
            ):
                status, _, err = self.run_command(command, "--url", url)
                self.assertEqual(status, 2, url)
                self.assertIn("argument --url: ", err)
                self.assertNotIn("hush", err)

    def test_where_it_listens(self) -> None:
        """Without --url it is where the daemon of this folder listens, or a sentence."""
        for listen, url in (
            ("tcp:1:interface=127.0.0.1", "http://127.0.0.1:1 "),
            ("tcp:port=1", "http://127.0.0.1:1 "),
            (r"tcp6:1:interface=\:\:1", "http://[::1]:1 "),
            ("unix:here.sock", "give it with --url, otherwise use `curl --unix-socket`"),
        ):
            Path("tap.conf").write_text(f"[web]\nlisten = {listen}\n")
            status, _, err = self.run_command("status")
            self.assertEqual(status, 1)
            self.assertIn(url, err)


class KeyFileTest(ChoreCase):
    """``--key-file`` of the commands that ask a daemon."""

    def test_named_where_a_key_is_missing(self) -> None:
        """Where a daemon wants a key, the sentence names the option for it."""
        for code, is_named in ((401, True), (403, False), (429, False)):
            body = b'{"detail": "that is why"}'
            answer = asking.Answer(code, "application/problem+json", body)
            for module, command in ((chores, "status"), (doctor, "doctor")):
                self.patch(module, "ask", lambda *_, answer=answer: answer)
                status, _, err = self.run_command(command, "--url", "http://127.0.0.1:1")
                self.assertEqual(status, 1, command)
                self.assertIn(f"answers {code}: that is why.", err)
                self.assertEqual("--key-file" in err, is_named, err)

    def test_files_without_a_key(self) -> None:
        """Several lines, no text, nothing, too much: one sentence, which repeats nothing of it."""
        for content in (b"cts_hush\nx: y\n", b"\xf5\x00hush", b"", b" \n", b"hush" * 9999):
            Path("k").write_bytes(content)
            for command in ("status", "doctor"):
                with self.subTest(command=command, content=content[:10]):
                    status, out, err = self.run_command(command, "--key-file", "k")
                    self.assertEqual((status, out), (1, ""))
                    self.assertIn("the key file k holds no key", err)
                    self.assertEqual(err.count("\n"), 1)
                    self.assertNotIn("hush", err)

    def test_files_that_cannot_be_read(self) -> None:
        """A folder, and nothing at all, are named with the reason."""
        for name, words in ((".", "Is a directory"), ("no", "No such file")):
            for command in ("status", "doctor"):
                status, _, err = self.run_command(command, "--key-file", name)
                self.assertEqual(status, 1)
                self.assertIn(words, err)
