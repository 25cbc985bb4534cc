"""The install as docs/operations.md describes it, command by command, as root and as the daemon's
user, in a folder of its own.

The commands are taken from the page. Programs that would change this machine (useradd, systemctl,
pip) are only recorded; `install` and our own commands are run, with the three folders of the page
moved below a temporary one, and with a made-up user id for the user that the page makes.
"""

from __future__ import annotations

import codecs
import configparser
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted import cli, entrance, tap
from ctrader_twisted.metrics import Metrics
from tests.unit.test_config_files import needs_root

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/operations.md").read_text("utf-8")
UNIT = ROOT / "contrib/systemd/ctrader-stream.service"
USER, UID = "ctrader-stream", 54321
FOLDERS = ("/opt/ctrader-stream", "/etc/ctrader-stream", "/var/lib/ctrader-stream")
PYTHON, TWISTD = "/opt/ctrader-stream/bin/python", "/opt/ctrader-stream/bin/twistd"
RECORDED = {"umask", "python3", PYTHON, TWISTD, "useradd", "systemctl"}
OURS = "/opt/ctrader-stream/bin/ctrader-stream"


def commands(heading: str, text: str = PAGE) -> list[str]:
    """The command lines of one section of the page."""
    section = re.split(r"^#{1,3} ", text.partition(f"\n{heading}\n")[2], flags=re.MULTILINE)[0]
    return re.findall(r"^    (\S.*)$", section, re.MULTILINE)


# An interpreter in root's home is out of the other user's reach: what is loaded late is loaded now.
codecs.lookup("utf-8-sig")


class Walk:
    """One machine, below a folder, and what was done to it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.recorded: list[list[str]] = []

    def moved(self, word: str) -> str:
        """A path of the page, below our folder."""
        is_ours = word.startswith(FOLDERS) or word.startswith("/etc/systemd/")
        return f"{self.root}{word}" if is_ours else word

    def run(self, line: str) -> tuple[int, str, str]:
        """One line of the page, as root stands in the checkout."""
        folder, rest = ROOT, line
        match = re.fullmatch(r"cd (\S+) && (.+)", line)
        if match is not None:
            folder, rest = Path(self.moved(match[1])), match[2]
        words = shlex.split(rest)
        uid = 0
        if words[:3] == ["runuser", "-u", USER]:
            uid, words = UID, words[words.index("--") + 1 :]
        if words[0] == OURS:
            given = [self.moved(word) if word != USER else str(UID) for word in words[1:]]
            return self.as_user(uid, lambda: cli.main(given), folder)
        if words[0] == "install":
            ids = [str(UID) if word == USER else self.moved(word) for word in words]
            subprocess.run(ids, cwd=folder, check=True, capture_output=True)
            return 0, "", ""
        assert words[0] in RECORDED, f"the test does not know how to run: {line}"
        self.recorded.append(words)
        return 0, "", ""

    def as_user(
        self, uid: int, act: Callable[[], int], folder: Path | None = None
    ) -> tuple[int, str, str]:
        """Status and output of something in a process with the rights of this user."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            status, out, err = 97, io.StringIO(), io.StringIO()
            try:
                for name in [name for name in os.environ if name.startswith("CTRADER_")]:
                    del os.environ[name]
                os.chdir(folder or self.root)
                if uid:
                    os.setgroups([])
                    os.setgid(uid)
                    os.setuid(uid)
                with redirect_stdout(out), redirect_stderr(err):
                    status = act()
            finally:
                if sys.exc_info()[0] is not None:
                    err.write(traceback.format_exc())
                os.write(writing, f"{out.getvalue()}\0{err.getvalue()}".encode()[:60_000])
                os._exit(status)
        os.close(writing)
        with os.fdopen(reading, "rb") as stream:
            out_text, _, err_text = stream.read().decode().partition("\0")
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), out_text, err_text

    def start(self) -> int:
        """What the daemon reads of files at its start, in the folder that the unit names."""
        options = tap.Options()
        options.parseOptions([])
        entrance.make_doors(options.settings.web, clock=Clock(), metrics=Metrics())
        return 0


class InstallTest(SynchronousTestCase):
    """docs/operations.md, Install and Keys."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name).resolve()
        self.root.chmod(0o755)
        self.walk = Walk(self.root)
        for name in ("/opt/ctrader-stream", "/etc/systemd/system", "/var/lib"):
            Path(f"{self.root}{name}").mkdir(parents=True)
        # The first line of the page; what it does in a shell, it does for all the others.
        before = os.umask(0o022)
        self.addCleanup(os.umask, before)

    def unit(self, name: str) -> str:
        """A value of the service unit."""
        parser = configparser.RawConfigParser(strict=False)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read_string(UNIT.read_text())
        return parser["Service"][name]

    @needs_root
    def test_walk(self) -> None:
        """Every command works, and then the daemon's user can read all that it needs."""
        for line in commands("## Install"):
            status, out, err = self.walk.run(line)
            self.assertEqual(status, 0, f"{line}\n{out}{err}")
            if "check-config" in line:
                self.assertIn(f"(checked as uid {UID})", err)
        conf = self.root / "etc/ctrader-stream/tap.conf"
        text = conf.read_text().replace(
            "#keys_file =", "keys_file = " + self.walk.moved("/var/lib/ctrader-stream/keys.json")
        )
        conf.write_text(text.replace("#listen =", "listen = tcp:0"))
        folder = Path(self.walk.moved(self.unit("WorkingDirectory")))
        self.assertNotEqual(self.walk.as_user(UID, self.walk.start, folder)[0], 0, "no key yet")
        for line in commands("## Keys"):
            status, out, err = self.walk.run(line)
            self.assertEqual(status, 0, f"{line}\n{out}{err}")
        for uid in (0, UID):
            words = ["keys", "list", "--file", self.walk.moved("/var/lib/ctrader-stream/keys.json")]
            status, out, err = self.walk.as_user(uid, lambda words=words: cli.main(words))
            self.assertEqual(status, 0, err)
            self.assertEqual([line.split("\t")[0] for line in out.splitlines()], ["dashboard"])
        status, out, err = self.walk.as_user(UID, self.walk.start, folder)
        self.assertEqual(status, 0, err)
        check = [line for line in commands("## Install") if "check-config" in line]
        self.assertEqual(self.walk.run(check[0])[0], 0)
        self.assertEqual(
            self.modes(),
            {
                "etc/ctrader-stream": (0, UID, "0o750"),
                "etc/ctrader-stream/tap.conf": (0, UID, "0o640"),
                "etc/ctrader-stream/env": (0, 0, "0o600"),
                "var/lib/ctrader-stream": (UID, UID, "0o700"),
                "var/lib/ctrader-stream/keys.json": (UID, UID, "0o600"),
            },
        )

    def modes(self) -> dict[str, tuple[int, int, str]]:
        """Owner, group and mode of what was installed for this service."""
        found = {}
        for top in ("etc/ctrader-stream", "var/lib/ctrader-stream"):
            for path in [self.root / top, *(self.root / top).iterdir()]:
                state = path.stat()
                mode = oct(state.st_mode & 0o777)
                name = str(path.relative_to(self.root))
                found[name] = (state.st_uid, state.st_gid, mode)
        return found

    @needs_root
    def test_the_mistake_of_before(self) -> None:
        """A key file in root's folder: `keys add` says that it is of no use, check-config as the
        user that it cannot be read, and as root what was not looked at.
        """
        for line in commands("## Install"):
            self.walk.run(line)
        file = self.walk.moved("/etc/ctrader-stream/keys.json")
        add = ["keys", "add", "a", "--scope", "read", "--file", file]
        status, _, err = self.walk.as_user(0, lambda: cli.main(add))
        self.assertEqual(status, 0)
        self.assertIn("belongs to root", err)
        conf = self.root / "etc/ctrader-stream/tap.conf"
        conf.write_text(f"[web]\nkeys_file = {file}\n")
        (check,) = [line for line in commands("## Install") if "check-config" in line]
        status, _, err = self.walk.run(check)
        self.assertEqual(status, 1)
        self.assertIn("keys.json cannot be read (Permission denied)", err)
        self.assertIn(f"it must belong to uid {UID}, and lie in a folder", err)
        self.assertNotIn("keys add", err)
        status, _, err = self.walk.run(check.replace(f" --user {USER}", ""))
        self.assertIn(f"only root can read {file}", err)
        status, _, err = self.walk.as_user(UID, lambda: cli.main(add), Path("/"))
        self.assertEqual(status, 1)
        self.assertIn("Permission denied", err)

    def test_what_is_recorded(self) -> None:
        """The lines that a test does not run are these: installed with hashes, readable for others,
        with the list of plugins written, a user without a shell, a unit that is started.
        """
        lines = commands("## Install")
        recorded = [line for line in lines if shlex.split(line)[0] in RECORDED]
        self.assertEqual(
            [shlex.split(line)[0] for line in recorded],
            [
                "umask",
                "python3",
                PYTHON,
                PYTHON,
                TWISTD,
                "useradd",
                "systemctl",
                "systemctl",
            ],
        )
        self.assertIn("--require-hashes --only-binary :all: -r requirements.txt", recorded[2])
        self.assertTrue((ROOT / "requirements.txt").exists())
        self.assertIn(f"--home-dir {FOLDERS[2]}", recorded[5])
        self.assertTrue(recorded[5].endswith(f" {USER}"))

    def test_the_unit_agrees(self) -> None:
        """Its user and folders are those of the page."""
        self.assertEqual((self.unit("User"), self.unit("Group")), (USER, USER))
        self.assertEqual(f"/var/lib/{self.unit('StateDirectory')}", FOLDERS[2])
        self.assertEqual(self.unit("WorkingDirectory"), FOLDERS[1])
        self.assertEqual(self.unit("EnvironmentFile"), f"-{FOLDERS[1]}/env")
        self.assertTrue(self.unit("ExecStart").startswith(f"{FOLDERS[0]}/bin/twistd "))
        nginx = (ROOT / "contrib/nginx/ctrader-stream.conf").read_text()
        for text in (nginx, PAGE):
            for file in re.findall(r"\S+/keys\.json", text):
                self.assertIn(f"{FOLDERS[2]}/keys.json", file)


class ReadmeTest(SynchronousTestCase):
    """The commands of the README that need no daemon, as an ordinary user in a folder of theirs."""

    def test_walk(self) -> None:
        """.env with its mode, a key, and check-config."""
        readme = (ROOT / "README.md").read_text("utf-8")
        lines = re.findall(r"^ *\$ (.+)$", readme, re.MULTILINE)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name).resolve()
            uid = UID if os.geteuid() == 0 else 0
            if uid:
                os.chown(folder, uid, uid)
            shutil.copy(ROOT / ".env.example", folder)
            (folder / ".env.example").chmod(0o644)
            walk, ran = Walk(folder), []
            for line in lines:
                words = shlex.split(line, comments=True)
                if words[:2] == ["cp", ".env.example"]:
                    act = lambda line=line: subprocess.run(line, shell=True).returncode  # noqa: E731, PLW1510
                elif words[0] == ".venv/bin/ctrader-stream" and words[1] in {
                    "keys",
                    "check-config",
                }:
                    act = lambda words=words: cli.main(words[1:])  # noqa: E731
                else:
                    continue
                status, out, err = walk.as_user(uid, act, folder)
                self.assertEqual(status, 0, f"{line}\n{out}{err}")
                ran.append(words[0])
            self.assertEqual(len(ran), 3)
            self.assertEqual((folder / ".env").stat().st_mode & 0o777, 0o600)
            self.assertEqual((folder / "keys.json").stat().st_mode & 0o777, 0o600)
