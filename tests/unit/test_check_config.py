"""`ctrader-stream check-config`: how it looks, how it ends, and as whom it looks at files."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
from pathlib import Path

from ctrader_twisted import check_config, chores, cli, config_files, doctor, tap
from ctrader_twisted.asking import Answer
from ctrader_twisted.insight import our_version
from ctrader_twisted.market.links import CHAIN, Holds, Link
from ctrader_twisted.terminal import Paint
from tests.certificates import authority, pem
from tests.unit.test_chores import ChoreCase
from tests.unit.test_config_files import OTHER, needs_root

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Terminal(io.StringIO):
    """A terminal, as far as anybody asks."""

    def isatty(self) -> bool:
        return True


class Closed(io.StringIO):
    """A pipe whose reader is gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


class OutputCase(ChoreCase):
    """Commands with other outputs than a pipe that is read."""

    def run_into(self, out: io.StringIO, *words: str, **environ: str) -> tuple[int, str]:
        """Exit status and standard error; what was printed is in ``out``."""
        for name, value in {"TERM": "xterm", **environ}.items():
            before = os.environ.get(name)
            os.environ[name] = value
            self.addCleanup(
                os.environ.pop if before is None else os.environ.__setitem__,
                *((name, None) if before is None else (name, before)),
            )
        err = io.StringIO()
        self.patch(sys, "stdout", out)
        self.patch(sys, "stderr", err)
        try:
            status = cli.main(words)
        finally:
            sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        return status, err.getvalue()


class LooksTest(OutputCase):
    """Columns, colours and the verdict."""

    def test_columns_on_a_terminal(self) -> None:
        """Names, values and sources begin below each other, under the names of the sections."""
        Path("tap.conf").write_text("[web]\nclients = 77\nhosts =\n")
        out = Terminal()
        status, _ = self.run_into(out, "check-config")
        self.assertEqual(status, 0)
        lines = COLOUR.sub("", out.getvalue()).splitlines()
        self.assertEqual(
            [line for line in lines if line.startswith("[")],
            [
                "[venue]",
                "[web]",
                "[simulator]",
            ],
        )
        rows = [line for line in lines if line.startswith("  ")]
        starts = {re.match(r"  (\S+ +)\S", line).end(1) for line in rows}  # type: ignore[union-attr]
        self.assertEqual(len(starts), 1)
        (clients,) = [line for line in rows if line.startswith("  clients ")]
        self.assertEqual(clients.split(), ["clients", "77", "[web]", "clients", "in", "tap.conf"])
        self.assertNotIn("\t", out.getvalue())

    def test_colours(self) -> None:
        """Only on a terminal that has them, and not against NO_COLOR."""
        for out, environ, has in (
            (Terminal(), {}, True),
            (Terminal(), {"NO_COLOR": "1"}, False),
            (Terminal(), {"TERM": "dumb"}, False),
            (io.StringIO(), {}, False),
        ):
            self.run_into(out, "check-config", **{"NO_COLOR": "", **environ})
            self.assertEqual("\x1b[" in out.getvalue(), has, environ)

    def test_empty_value(self) -> None:
        """A setting without a value says so, and is not taken for the word of its source."""
        _, out, _ = self.run_command("check-config")
        rows = {line.split("\t")[0]: line.split("\t")[1:] for line in out.splitlines()}
        self.assertEqual(rows["[venue] ca_file"], ["(empty)", "default"])
        self.assertEqual(rows["[web] hosts"], ["(empty)", "default"])
        self.assertTrue(all(value for value, _ in rows.values()))

    def test_ca_file_in_part(self) -> None:
        """A block of the CA file that is skipped is a warning, and no mistake."""
        good = pem(authority("authority").certificate)
        Path("ca.pem").write_bytes(good.replace(b"CERTIFICATE", b"TRUSTED CERTIFICATE") + good)
        Path("tap.conf").write_text("[venue]\nca_file = ca.pem\n")
        status, _, err = self.run_command("check-config")
        self.assertEqual(status, 0)
        self.assertIn("ca.pem is not used in full: block 1 (line 1) is a TRUSTED CERTIFICATE", err)
        Path("ca.pem").write_text("nothing")
        status, _, err = self.run_command("check-config")
        self.assertEqual(status, 1)
        self.assertIn("ca.pem holds no PEM certificate", err)

    def test_verdict(self) -> None:
        """The last line, on standard error; a mistake is the last line otherwise."""
        _, out, err = self.run_command("check-config")
        last = err.splitlines()[-1]
        self.assertTrue(last.startswith("The daemon can start with these settings (checked as "))
        self.assertNotIn("can start", out)
        Path("tap.conf").write_text("[venue]\nclient_id = 'abcdef'\n")
        _, _, err = self.run_command("check-config")
        self.assertIn("settings, with 1 warning (", err.splitlines()[-1])
        good = pem(authority("authority").certificate)
        Path("ca.pem").write_bytes(good.replace(b"CERTIFICATE", b"TRUSTED CERTIFICATE") + good)
        Path("tap.conf").write_text("[venue]\nclient_id = 'abcdef'\nca_file = ca.pem\n")
        _, _, err = self.run_command("check-config")
        self.assertEqual(err.count("warning: "), 2)
        self.assertIn("settings, with 2 warnings (", err.splitlines()[-1])
        Path("tap.conf").write_text("[web]\nclients = many\n")
        status, _, err = self.run_command("check-config")
        self.assertEqual(status, 1)
        self.assertNotIn("can start", err)


class ClosedPipeTest(OutputCase):
    """A reader that is gone does not change how a command ends."""

    def test_check_config(self) -> None:
        """A mistake that is found after the settings were printed is still one."""
        self.assertEqual(self.run_into(Closed(), "check-config")[0], 0)
        Path("tap.conf").write_text("[web]\nkeys_file = none.json\n")
        status, err = self.run_into(Closed(), "check-config")
        self.assertEqual(status, 1)
        self.assertIn("none.json cannot be read", err)

    def test_status(self) -> None:
        """0 when it is ready, 1 when it is not."""
        for ready, status in ((True, 0), (False, 1)):
            body = (
                f'{{"ready": {str(ready).lower()}, "status": "connected", "env": "demo", '
                '"reasons": []}'
            )
            answers = {"/readyz": Answer(200, "", body.encode()), "/metrics": Answer(200, "", b"")}
            self.patch(chores, "_get", lambda url, path, key, answers=answers: answers[path])
            self.assertEqual(self.run_into(Closed(), "status")[0], status)
            out = Terminal()
            self.assertEqual(self.run_into(out, "status", NO_COLOR="")[0], status)
            self.assertIn(f"\x1b[{32 if ready else 31}mconnected", out.getvalue())

    def test_doctor(self) -> None:
        """1 when a link is broken: no daemon can run at that port."""
        nowhere = ("--url", "http://127.0.0.1:1")
        self.assertEqual(self.run_into(Closed(), "doctor", *nowhere)[0], 1)
        self.assertEqual(self.run_into(Closed(), "doctor", "--json", *nowhere)[0], 1)


class VersionTest(OutputCase):
    """``--version``."""

    def test_of_the_command(self) -> None:
        """One line, status 0."""
        out = io.StringIO()
        with self.assertRaises(SystemExit) as end:
            self.run_into(out, "--version")
        self.assertEqual(end.exception.code, 0)
        self.assertEqual(out.getvalue(), f"ctrader-stream {our_version()}\n")

    def test_of_the_plugins(self) -> None:
        """`twistd ctrader-stream --version` and `twistd ctrader-simulator --version` say ours."""
        from ctrader_twisted.simulator.tap import Options as SimulatorOptions
        from ctrader_twisted.tap import Options

        for options, name in ((Options, "ctrader-stream"), (SimulatorOptions, "ctrader-simulator")):
            out = io.StringIO()
            self.patch(sys, "stdout", out)
            with self.assertRaises(SystemExit) as end:
                options().parseOptions(["--version"])
            sys.stdout = sys.__stdout__
            self.assertEqual(end.exception.code, 0)
            self.assertEqual(out.getvalue(), f"{name} {our_version()}\n")


class UnnamedSymbolTest(OutputCase):
    """`doctor` without a symbol, on a daemon from which nobody has asked for anything."""

    def report(self, **broken: Link) -> doctor.contract.Diagnosis:
        """All links are well but these."""
        links = [broken.get(name, Link(name, Holds.OK)) for name in CHAIN]
        return doctor.without_a_name(doctor.summary("EURUSD", links))

    def test_nobody_wants_it(self) -> None:
        """That is no broken link."""
        unwanted = {
            "subscription": Link("subscription", Holds.NO, cause="no client has subscribed to it"),
            "outbox": Link("outbox", Holds.UNKNOWN, cause="no client wants it"),
        }
        report = self.report(**unwanted)
        self.assertIsNone(report.first_broken)
        said = list(doctor.lines(report, 0))
        self.assertIn("No link is broken; not known yet: subscription, outbox.", said)
        self.assertIn("ctrader-stream doctor EURUSD", said[-1])

    def test_not_there(self) -> None:
        """A broker may call it otherwise."""
        report = self.report(symbol=Link("symbol", Holds.NO, cause="no such symbol"))
        self.assertIsNone(report.first_broken)

    def test_what_is_broken_all_the_same(self) -> None:
        """A subscription that somebody waits for, a refused one, and every other link."""
        for link in (
            Link("subscription", Holds.NO, cause="asked for, and not confirmed yet"),
            Link("subscription", Holds.NO, cause="refused", code="SYMBOL_NOT_FOUND"),
            *(Link(name, Holds.NO, cause="x") for name in ("account", "market", "tick")),
        ):
            self.assertEqual(self.report(**{link.name: link}).first_broken, link.name)

    def test_painted(self) -> None:
        """Marks and the verdict in colour; what a venue says cannot bring its own."""
        paint = Paint(Terminal(), {"TERM": "xterm"})
        self.assertEqual(doctor.painted("  ok  tls", paint), "\x1b[32m  ok  \x1b[0mtls")
        self.assertEqual(doctor.painted("  NO  tls", paint), "\x1b[31m  NO  \x1b[0mtls")
        self.assertEqual(doctor.painted("What to do: x", paint), "What to do: x")


class UserTest(OutputCase):
    """``--user``: with the rights of the daemon's user."""

    def setUp(self) -> None:
        super().setUp()
        self.folder.chmod(0o755)
        self.was = (os.geteuid(), os.getegid(), os.getgroups(), os.environ.get("HOME", "/"))

    def check(self, *words: str) -> tuple[int, str, str]:
        """check-config; then with our own rights again."""
        try:
            return self.run_command("check-config", *words)
        finally:
            user, group, groups, home = self.was
            if user == 0:
                os.seteuid(user)
                os.setegid(group)
                os.setgroups(groups)
            os.environ["HOME"] = home

    def test_unknown(self) -> None:
        """A user that there is not."""
        status, _, err = self.check("--user", "no-such-user")
        self.assertEqual(status, 1)
        self.assertIn("there is no user no-such-user", err)
        for wrong in ("9" * 20, "4294967295", "\u0661"):
            status, _, err = self.run_command("check-config", "--user", wrong)
            self.assertEqual((status, err.count("\n")), (1, 1))
            self.assertIn(f"there is no user {wrong}", err)

    @needs_root
    def test_files_that_it_cannot_read(self) -> None:
        """What root reads without noticing is found."""
        Path("tap.conf").write_text("[web]\nkeys_file = keys.json\n")
        self.run_command("keys", "add", "a", "--scope", "read", "--file", "keys.json")
        status, _, err = self.check("--user", str(OTHER))
        self.assertEqual(status, 1)
        self.assertIn("keys.json cannot be read (Permission denied)", err)
        os.chown("keys.json", OTHER, OTHER)
        os.chown(".", OTHER, OTHER)
        status, _, err = self.check("--user", str(OTHER))
        self.assertEqual(status, 0, err)
        self.assertIn(f"(checked as uid {OTHER})", err.splitlines()[-1])
        Path("tap.conf").chmod(0o600)
        status, _, err = self.check("--user", str(OTHER))
        self.assertEqual(status, 1)
        self.assertIn("tap.conf cannot be read (Permission denied)", err)

    @needs_root
    def test_program_that_it_cannot_read(self) -> None:
        """An install under umask 077, or a Python in root's home, is found: the daemon would not
        start as that user.
        """
        installed = self.folder / "opt"
        program = installed / "bin" / "python"
        program.parent.mkdir(parents=True)
        program.touch()
        self.patch(check_config, "program_files", lambda: iter([program]))
        for path, mode in ((installed, 0o755), (program.parent, 0o755), (program, 0o644)):
            path.chmod(mode)
        status, _, err = self.check("--user", str(OTHER))
        self.assertEqual(status, 0, err)
        self.assertNotIn("warning", err)
        for path, mode in ((installed, 0o700), (program.parent, 0o700), (program, 0o600)):
            before = path.stat().st_mode
            path.chmod(mode)
            _, _, err = self.check("--user", str(OTHER))
            self.assertIn(f"warning: uid {OTHER} cannot read {path}, ", err)
            self.assertIn("umask 022", err)
            self.assertIn("with 1 warning", err.splitlines()[-1])
            path.chmod(before)

    @needs_root
    def test_program_files(self) -> None:
        """The interpreter, our own modules and those of others are looked at."""
        names = {path.name for path in check_config.program_files()}
        self.assertLessEqual({Path(sys.executable).resolve().name, "cli.py", "os.py"}, names)

    @needs_root
    def test_as_root(self) -> None:
        """Without --user root is told what it cannot see."""
        Path("tap.conf").write_text("[web]\nkeys_file = keys.json\n")
        _, _, made = self.run_command("keys", "add", "a", "--scope", "read", "--file", "keys.json")
        self.assertIn("keys.json belongs to root", made)
        status, _, err = self.check()
        self.assertEqual(status, 0)
        self.assertIn("note: this was checked as root", err)
        self.assertRegex(err, r"note: only root can read \S+keys.json")

    @needs_root
    def test_environment_file_of_root(self) -> None:
        """A file that systemd reads as root is read so here."""
        Path("env").write_text("CTRADER_CLIENT_ID=abcdefgh\n")
        Path("env").chmod(0o600)
        status, out, err = self.check("--env-file", "env", "--user", str(OTHER))
        self.assertEqual(status, 0, err)
        self.assertIn("[venue] client_id\tabcd...\tCTRADER_CLIENT_ID in the environment", out)

    @needs_root
    def test_environment_file_that_systemd_reads_otherwise(self) -> None:
        """A comment behind a value and `export` are refused there, where systemd keeps the one and
        passes the other over; a number sign within a value is neither.
        """
        for line, words in (
            (
                "CTRADER_ACCOUNT_ID=1000001  # not the login",
                "comment behind the value of CTRADER_ACC",
            ),
            (
                "CTRADER_CLIENT_ID='abcdefgh' # mine",
                "comment behind the value of CTRADER_CLIENT_ID",
            ),
            ('CTRADER_CLIENT_ID="abcdefgh"# mine', "comment behind the value of CTRADER_CLIENT_ID"),
            ("export CTRADER_CLIENT_ID=abcdefgh", "has `export` before CTRADER_CLIENT_ID"),
        ):
            Path("env").write_text(f"# ours\n\n{line}\nOTHER=1 # theirs\n")
            Path("env").chmod(0o600)
            status, _, err = self.check("--env-file", "env", "--user", str(OTHER))
            self.assertEqual(status, 1, line)
            self.assertIn(words, err)
            self.assertIn("(line 3)", err)
        for value in ("ab#cd", "'ab #cd'", '"ab # cd"', "abcd", ""):
            Path("env").write_text(f"CTRADER_CLIENT_SECRET={value}\n  # a line of its own\n")
            Path("env").chmod(0o600)
            status, _, err = self.check("--env-file", "env", "--user", str(OTHER))
            self.assertNotIn("comment behind", err)


class UnseenFilesTest(ChoreCase):
    """A folder that may not be looked into."""

    def test_no_defaults_instead(self) -> None:
        """What may be there is read, and the refusal said; the defaults are not used for it."""

        def denied(path: object) -> None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        status, _, err = self.run_command("check-config")
        self.assertEqual(status, 0, err)
        self.patch(config_files.os, "lstat", denied)
        for name in ("tap.conf", ".env"):
            self.assertEqual(tap._file(None, name), Path(name))
        status, _, err = self.run_command("check-config")
        self.assertEqual(status, 1)
        self.assertIn("tap.conf cannot be read", err)

    def test_not_there(self) -> None:
        """What is certainly not there is no mistake."""
        Path("file").touch()
        self.assertIsNone(tap._file(None, "tap.conf"))
        self.assertFalse(config_files.may_be_there(Path("file/tap.conf")))
