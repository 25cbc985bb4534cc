"""Rules for configured files: kind, size, owner and mode of the file and of its folders."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted import config_files
from ctrader_twisted.errors import ConfigurationError
from ctrader_twisted.settings import load
from ctrader_twisted.web.keys import KeyRing, add_key, list_keys

OTHER = 54321
IS_ROOT = os.geteuid() == 0
WRITABLE = (0o602, 0o622, 0o666, 0o620, 0o660, 0o777)
BROKER = {
    "CTRADER_ENV": "demo",
    "CTRADER_CLIENT_ID": "4711_client",
    "CTRADER_CLIENT_SECRET": "s3cr3t-of-app",
    "CTRADER_ACCESS_TOKEN": "t0ken-of-user",
    "CTRADER_ACCOUNT_ID": "42",
}


def needs_root(test: Callable[..., None]) -> Callable[..., None]:
    """A test that changes owners of files, or its own user, as only root can. CI runs as root."""

    def tested(case: Any) -> None:
        if IS_ROOT:
            test(case)
        else:
            sys.stderr.write(f"\nNOT TESTED without root: {test.__name__}: {test.__doc__}\n")

    tested.__doc__ = test.__doc__
    return tested


class FileCase(SynchronousTestCase):
    """A folder, and each kind of configured file in it with what reads it."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.above = Path(folder.name).resolve()
        self.above.chmod(0o755)
        self.folder = self.above / "etc"
        self.folder.mkdir()

    def kinds(self) -> dict[str, Callable[[Path], Any]]:
        """What reads a file, by what it is."""

        def with_environ(**more: str) -> Any:
            environ = {**BROKER, **more}
            for name in more:
                environ.pop(name.removesuffix("_FILE"), None)
            return load(options={}, environ=environ, tap_conf=None, dotenv=None)

        return {
            "tap.conf": lambda p: load(options={}, environ={}, tap_conf=p, dotenv=None),
            ".env": lambda p: load(options={}, environ={}, tap_conf=None, dotenv=p),
            "ca.pem": lambda p: with_environ(CTRADER_CA_FILE=str(p)),
            "secret": lambda p: with_environ(CTRADER_CLIENT_SECRET_FILE=str(p)),
            "token": lambda p: with_environ(CTRADER_ACCESS_TOKEN_FILE=str(p)),
            "keys.json": KeyRing,
        }

    def content(self, kind: str) -> str:
        """Something that is right for this kind of file."""
        return {
            "tap.conf": "[web]\nclients = 7\n",
            ".env": "CTRADER_ENV=simulator\n",
            "keys.json": '{"keys": []}',
        }.get(kind, "abcdef-s3cr3t\n")

    def make(self, kind: str, mode: int = 0o600, folder: Path | None = None) -> Path:
        """A good file of this kind."""
        path = (folder or self.folder) / kind
        path.unlink(missing_ok=True)
        path.write_text(self.content(kind))
        path.chmod(mode)
        return path

    def refusal(self, call: Callable[..., Any], *arguments: Any) -> str:
        """The one sentence that must come; it never repeats the content."""
        said = str(self.assertRaises(ConfigurationError, call, *arguments))
        self.assertTrue(said.endswith("."), said)
        self.assertTrue(said.isprintable(), said)
        self.assertNotIn("abcdef", said)
        return said


class WritableTest(FileCase):
    """Files that others can change."""

    def test_modes(self) -> None:
        """A file that other users may write is refused, with the command that mends it."""
        self.patch(config_files, "_is_private_group", lambda found: False)
        for kind, read in self.kinds().items():
            for mode in WRITABLE:
                with self.subTest(kind=kind, mode=oct(mode)):
                    path = self.make(kind, mode)
                    said = self.refusal(read, path)
                    self.assertIn(f"mode {mode:04o}", said)
                    self.assertRegex(said, "chmod (go-w|600)")
                    self.assertIn(str(path), said)

    def test_good_modes(self) -> None:
        """The owner's own rights do not matter; settings may be read by all."""
        for kind, read in self.kinds().items():
            for mode in (0o600, 0o400, 0o700):
                read(self.make(kind, mode))
        for kind in ("tap.conf", "ca.pem"):
            for mode in (0o644, 0o444, 0o640, 0o755):
                self.kinds()[kind](self.make(kind, mode))

    def test_folders(self) -> None:
        """A user who may write to the folder, or to one above it, can replace the file."""
        self.patch(config_files, "_is_private_group", lambda found: False)
        for kind, read in self.kinds().items():
            path = self.make(kind)
            for folder in (self.folder, self.above):
                for mode in (0o777, 0o757, 0o775):
                    with self.subTest(kind=kind, folder=str(folder), mode=oct(mode)):
                        folder.chmod(mode)
                        said = self.refusal(read, path)
                        self.assertIn(f"chmod go-w {folder}", said)
                        self.assertIn(f"mode {mode:04o}", said)
                # The sticky bit lets only owners replace their files.
                folder.chmod(0o1777)
                read(path)
                folder.chmod(0o755)

    def test_a_command_that_can_be_pasted(self) -> None:
        """Names with blanks are quoted for the shell; what cannot be printed is not."""
        folder = self.folder / "my files"
        folder.mkdir()
        path = self.make("tap.conf", 0o666, folder=folder)
        self.assertIn(f"`chmod go-w '{path}'`", self.refusal(self.kinds()["tap.conf"], path))
        path = path.rename(folder / "tap\nconf")
        self.refusal(self.kinds()["tap.conf"], path)

    def test_links(self) -> None:
        """The way behind a link is looked at, too."""
        for kind, read in self.kinds().items():
            real = self.above / f"real-{kind}"
            real.mkdir()
            path = self.make(kind, folder=real)
            link = self.folder / f"link-{kind}"
            link.symlink_to(path)
            read(link)
            real.chmod(0o777)
            self.assertIn(f"chmod go-w {real}", self.refusal(read, link))
            real.chmod(0o755)
            path.chmod(0o666)
            self.assertIn("mode 0666", self.refusal(read, link))

    def test_a_ring_of_links(self) -> None:
        """It ends, with a sentence."""
        (self.folder / "a").symlink_to("b")
        (self.folder / "b").symlink_to("a")
        for read in self.kinds().values():
            self.assertIn("a", self.refusal(read, self.folder / "a"))

    def test_private_group(self) -> None:
        """A group of ours in which nobody else is may write, as distributions let it (umask 002)
        and as volumes of Kubernetes are; root's may not, since root needs none.
        """

        def account(name: str, uid: int, gid: int) -> Any:
            return pwd.struct_passwd((name, "", uid, gid, "", "/", ""))

        root, jane, joe = account("root", 0, 0), account("jane", 7, 7), account("joe", 8, 8)
        group, foreign = 7, 9

        def others_can_write(
            accounts: list[Any], members: list[str], *, gid: int = group, uid: int = 7
        ) -> bool:
            self.patch(os, "geteuid", lambda: uid)
            self.patch(os, "getegid", lambda: 7)
            self.patch(os, "getgroups", list)
            self.patch(config_files.pwd, "getpwall", lambda: accounts)
            entry = grp.struct_group(("g", "", gid, members))
            self.patch(config_files.grp, "getgrgid", lambda gid: entry)
            found = os.stat_result((0o100664, 0, 0, 1, 0, gid, 0, 0, 0, 0))
            return config_files._others_can_write(found)

        self.assertFalse(others_can_write([root, jane, joe], []))
        self.assertFalse(others_can_write([root, jane, joe], ["jane", "root"]))
        self.assertFalse(others_can_write([root], []), "a container's user without a name")
        self.assertTrue(others_can_write([root, jane, joe], ["joe"]))
        self.assertTrue(others_can_write([root, jane, account("joe", 8, group)], []))
        self.assertTrue(others_can_write([root, jane, joe], [], gid=foreign))
        self.assertTrue(others_can_write([root, jane, joe], [], uid=0))

    @needs_root
    def test_volume_of_a_container(self) -> None:
        """Kubernetes' fsGroup: a folder of root that the group of our user may write to."""
        for gid, is_ours in ((OTHER, True), (OTHER + 1, False)):
            path = self.make("keys.json")
            os.chown(path, OTHER, OTHER)
            os.chown(self.folder, 0, gid)
            self.folder.chmod(0o2775)
            os.setegid(OTHER)
            os.seteuid(OTHER)
            try:
                if is_ours:
                    KeyRing(path)
                    add_key(path, "a", ["read"], "now")
                    # As every file there is after the next start of the container.
                    path.chmod(0o660)
                    os.chown(path, -1, OTHER)
                    self.assertEqual(len(list_keys(path)), 1)
                    path.chmod(0o664)
                    self.assertIn("mode 0664", self.refusal(KeyRing, path))
                else:
                    self.assertIn("mode 2775", self.refusal(KeyRing, path))
            finally:
                os.seteuid(0)
                os.setegid(0)


class OwnerTest(FileCase):
    """Files that belong to another user."""

    @needs_root
    def test_file_of_a_stranger(self) -> None:
        """Its owner can change it at any time."""
        for kind, read in self.kinds().items():
            path = self.make(kind)
            os.chown(path, OTHER, OTHER)
            said = self.refusal(read, path)
            self.assertIn(f"belongs to uid {OTHER}", said)
            self.assertIn(f"chown root {path}", said)

    @needs_root
    def test_folder_of_a_stranger(self) -> None:
        """Its owner can replace the file."""
        for kind, read in self.kinds().items():
            path = self.make(kind)
            os.chown(self.folder, OTHER, OTHER)
            self.assertIn(f"in a folder of uid {OTHER}", self.refusal(read, path))
            os.chown(self.folder, 0, 0)

    @needs_root
    def test_link_of_a_stranger(self) -> None:
        """In a folder such as /tmp anybody can make a link, to a good file of root's as well."""
        for kind, read in self.kinds().items():
            path = self.make(kind)
            self.above.chmod(0o1777)
            link = self.above / f"link-{kind}"
            link.symlink_to(path)
            read(link)
            os.chown(link, OTHER, OTHER, follow_symlinks=False)
            self.assertIn(f"belongs to uid {OTHER}", self.refusal(read, link))

    @needs_root
    def test_later_user(self) -> None:
        """Files of the user that twistd becomes after the start are our own (`twistd --uid`)."""
        self.patch(config_files, "_later_users", {OTHER})
        for kind, read in self.kinds().items():
            path = self.make(kind)
            os.chown(path, OTHER, OTHER)
            read(path)

    @needs_root
    def test_as_another_user(self) -> None:
        """Files of root are accepted, and one's own as well."""
        path = self.make("tap.conf", 0o644)
        own = self.make("secret")
        os.chown(own, OTHER, OTHER)
        os.seteuid(OTHER)
        try:
            self.kinds()["tap.conf"](path)
            self.kinds()["secret"](own)
        finally:
            os.seteuid(0)


class MountedTest(FileCase):
    """What engines mount into containers."""

    @needs_root
    def test_docker_secret(self) -> None:
        """Of root, mode 0444: also for the user of the container."""
        for kind in ("secret", "token", "keys.json", "ca.pem", ".env", "tap.conf"):
            for mode in (0o444, 0o440):
                path = self.make(kind, mode)
                read = self.kinds()[kind]
                read(path)
                os.chown(path, 0, OTHER)
                self._as_other(read, path)

    @needs_root
    def test_kubernetes_volume(self) -> None:
        """Links through ..data, root's files of mode 0644, in a folder like /tmp."""
        volume = self.above / "volume"
        volume.mkdir()
        volume.chmod(0o1777)
        first = volume / "..2026_11_28"
        first.mkdir(0o755)
        (volume / "..data").symlink_to(first.name)
        for kind, read in self.kinds().items():
            self.make(kind, 0o644, folder=first)
            (volume / kind).symlink_to(f"..data/{kind}")
            read(volume / kind)
            self._as_other(read, volume / kind)
            (first / kind).chmod(0o666)
            self.assertIn("mode 0666", self.refusal(read, volume / kind))

    @needs_root
    def test_readable_secret_elsewhere(self) -> None:
        """A file of root with mode 0644 that is no mounted secret is open to every user."""
        for kind in ("secret", "token", "keys.json"):
            said = self.refusal(self.kinds()[kind], self.make(kind, 0o644))
            self.assertIn("chmod 600", said)

    def _as_other(self, read: Callable[[Path], Any], path: Path) -> None:
        os.setegid(OTHER)
        os.seteuid(OTHER)
        try:
            read(path)
        finally:
            os.seteuid(0)
            os.setegid(0)


class NoFileTest(FileCase):
    """A file that is not regular is refused at once, by every reader of files."""

    def test_kinds(self) -> None:
        """Named pipes, sockets, devices and directories."""
        pipe, directory = self.folder / "pipe", self.folder / "directory"
        os.mkfifo(pipe, 0o600)
        directory.mkdir()
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(str(self.folder / "socket"))
        table = {
            pipe: "is a named pipe",
            directory: "is a directory",
            self.folder / "socket": "is a socket",
            Path("/dev/zero"): "is a device",
        }
        for read in self.kinds().values():
            for path, words in table.items():
                said = self.refusal(read, path)
                self.assertIn(words, said)
                self.assertIn("regular file", said)

    def test_huge(self) -> None:
        """A sparse file of a gigabyte is not read to its end."""
        for kind, read in self.kinds().items():
            if kind != "ca.pem":
                path = self.make(kind)
                os.truncate(path, 2**30)
                self.assertIn("larger than 1 MiB", self.refusal(read, path))

    def test_a_start_does_not_hang(self) -> None:
        """The command line as well: each of these ends at once, with one sentence."""
        pipe = self.folder / "pipe"
        os.mkfifo(pipe, 0o600)
        for words in (
            ["check-config", "--config", "pipe"],
            ["check-config", "--env-file", "pipe"],
            ["keys", "list", "--file", "pipe"],
            ["keys", "revoke", "a", "--file", "pipe"],
            ["status", "--key-file", "pipe"],
        ):
            ended = subprocess.run(
                [sys.executable, "-m", "ctrader_twisted.cli", *words],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
            self.assertEqual(ended.returncode, 1)
            self.assertIn("named pipe", ended.stderr)
            self.assertEqual(len(ended.stderr.splitlines()), 1, ended.stderr)
