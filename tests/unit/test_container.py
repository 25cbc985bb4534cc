"""The container's files, as far as they can be read without an engine."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.logs import Secret
from ctrader_twisted.settings import describe, load
from ctrader_twisted.web.keys import KeyRing, read_keys

DOCKER = Path(__file__).parents[2] / "contrib/docker"
ROOT = DOCKER.parents[1]


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile, one instruction after the other."""
    text = re.sub(r"\\\n\s*", " ", (DOCKER / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1].strip()) for line in lines]


def environment() -> dict[str, str]:
    """What ENV sets."""
    words = [word for name, rest in instructions() if name == "ENV" for word in shlex.split(rest)]
    return dict(word.split("=", 1) for word in words)


class DockerfileTest(SynchronousTestCase):
    """contrib/docker/Dockerfile."""

    def test_every_instruction_is_known(self) -> None:
        """Nothing but what Docker understands."""
        known = "FROM WORKDIR COPY RUN ENV USER VOLUME EXPOSE STOPSIGNAL HEALTHCHECK ENTRYPOINT"
        self.assertLessEqual({name for name, _ in instructions()}, set(known.split()))

    def test_not_root(self) -> None:
        """The last USER is a number, and not root's, so that Kubernetes can tell."""
        users = [rest for name, rest in instructions() if name == "USER"]
        self.assertTrue(users[-1].isdecimal())
        self.assertNotEqual(users[-1], "0")

    def test_base(self) -> None:
        """A glibc base in both stages."""
        bases = [rest.split()[0] for name, rest in instructions() if name == "FROM"]
        self.assertTrue(all(re.fullmatch(r"python:3\.1[1-9]-slim", base) for base in bases), bases)

    def test_what_is_copied_exists(self) -> None:
        """Every file that is copied is in the repository and passes the ignore file."""
        let_in = set((DOCKER / "Dockerfile.dockerignore").read_text().split())
        for name, rest in instructions():
            if name == "COPY" and not rest.startswith("--from"):
                for word in rest.split()[:-1]:
                    self.assertTrue((ROOT / word).exists(), word)
                    self.assertIn(f"!{word.removeprefix('./')}", let_in)

    def test_settings(self) -> None:
        """The daemon understands the environment, listens for all, and wants a key."""
        ours = {name: value for name, value in environment().items() if name.startswith("CTRADER")}
        self.assertLessEqual(set(ours), {key.environment_name for key in describe()})
        web = load(options={}, environ=ours, tap_conf=None, dotenv=None).web
        self.assertEqual(web.listen, "tcp:port=8080")
        self.assertEqual(str(web.keys_file), "/var/lib/ctrader-stream/keys.json")


class HealthcheckTest(SynchronousTestCase):
    """HEALTHCHECK, run as it stands, with the port of a stand-in."""

    def check(self, answer: bytes) -> int:
        """Its exit status when the daemon answers this (nothing: it takes nobody in)."""
        (given,) = [rest for name, rest in instructions() if name == "HEALTHCHECK"]
        words = json.loads(given.partition("CMD ")[2])
        self.assertEqual(words[0], "python")
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def serve() -> None:
                with contextlib.suppress(OSError):
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(4096)
                        connection.sendall(answer)

            thread = threading.Thread(target=serve)
            thread.start()
            port = str(listener.getsockname()[1])
            # Docker puts its users' proxies into every container.
            proxy = dict.fromkeys(("http_proxy", "HTTP_PROXY"), "http://127.0.0.1:1")
            ended = subprocess.run(
                [sys.executable, *[word.replace("8080", port) for word in words[1:]]],
                env={**os.environ, **proxy},
                capture_output=True,
                timeout=30,
                check=False,
            )
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
        return ended.returncode

    def test_healthy(self) -> None:
        """200, past any proxy of the environment."""
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
        self.assertEqual(self.check(head), 0)

    def test_ill(self) -> None:
        """Any other answer, or none, is status 1, which is what Docker understands."""
        head = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        for answer in (head, b""):
            self.assertEqual(self.check(answer), 1)


class ComposeTest(SynchronousTestCase):
    """contrib/docker/compose.yaml."""

    def services(self) -> dict[str, dict[str, Any]]:
        """All services, with what they share merged in."""
        services: dict[str, dict[str, Any]] = yaml.safe_load((DOCKER / "compose.yaml").read_text())[
            "services"
        ]
        return services

    def test_a_profile_each(self) -> None:
        """simulator, demo and live, each only when asked for, with its own environment and data."""
        for name, service in self.services().items():
            self.assertEqual(service["profiles"], [name])
            self.assertEqual(service["environment"]["CTRADER_ENV"], name)
            self.assertEqual(service["volumes"], [f"{name}:/var/lib/ctrader-stream"])
        self.assertEqual(set(self.services()), {"simulator", "demo", "live"})

    def test_restarts(self) -> None:
        """What the page and the file say of an end for want of credentials fits the policy: it
        survives a reboot, and so it repeats.
        """
        for service in self.services().values():
            self.assertEqual(service["restart"], "unless-stopped")
        for name in ("contrib/docker/compose.yaml", "docs/operations.md"):
            text = " ".join((ROOT / name).read_text().replace("#", " ").split())
            self.assertIn("after pauses that grow up to a minute", text, name)

    def test_fenced(self) -> None:
        """No rights, nothing to write to but its own volume, reachable from this machine only."""
        for service in self.services().values():
            self.assertTrue(service["read_only"])
            self.assertEqual(service["cap_drop"], ["ALL"])
            self.assertEqual(service["ports"], ["127.0.0.1:8080:8080"])

    def test_no_credentials_inside(self) -> None:
        """Credentials come from files beside it."""
        self.assertNotRegex((DOCKER / "compose.yaml").read_text(), r"(?i)secret:|token:|password:")
        for name in ("demo", "live"):
            self.assertEqual(
                self.services()[name]["env_file"], [{"path": f"{name}.env", "required": False}]
            )
        # Who writes credentials beside it must not commit them by accident.
        self.assertIn("/contrib/docker/*.env\n", (ROOT / ".gitignore").read_text())

    def test_a_missing_file_of_another_profile(self) -> None:
        """Whoever wants the simulator needs no credentials of anything: by default Compose wants
        the env_file of every service, started or not (docker/compose issue 9924).
        """
        for service in self.services().values():
            for file in service.get("env_file", []):
                self.assertIs(file["required"], False)

    def test_known_words(self) -> None:
        """Nothing but what the Compose Specification has, where it has it."""
        document = yaml.safe_load((DOCKER / "compose.yaml").read_text())
        self.assertEqual(set(document) - {"x-daemon"}, {"services", "volumes"})
        known = (
            "image build restart init read_only cap_drop security_opt tmpfs stop_grace_period "
            "ulimits ports profiles environment volumes env_file"
        )
        for service in self.services().values():
            self.assertLessEqual(set(service), set(known.split()))
            self.assertEqual(set(service["build"]), {"context", "dockerfile"})
            self.assertTrue((DOCKER / service["build"]["context"] / "pyproject.toml").exists())
            for volume in service["volumes"]:
                self.assertIn(volume.partition(":")[0], document["volumes"])


class EntrypointTest(SynchronousTestCase):
    """contrib/docker/entrypoint.sh, with a stand-in for twistd."""

    def test_first_key(self) -> None:
        """The first start makes a key in a file of its own, the second none; then comes twistd."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "twistd").write_text('#!/bin/sh\necho "twistd $*"\n')
            (folder / "twistd").chmod(0o700)
            (folder / "ctrader-stream").write_text(
                f'#!/bin/sh\nexec {sys.executable} -m ctrader_twisted.cli "$@"\n'
            )
            (folder / "ctrader-stream").chmod(0o700)
            keys = folder / "data" / "keys.json"
            keys.parent.mkdir()
            first = keys.parent / "first.key"
            # The second start finds both, the third what a start left that was ended halfway.
            for is_halfway in (False, False, True):
                if is_halfway:
                    keys.unlink()
                    first.write_text("cts_of-no-use\n")
                said = self.start(folder, keys)
                self.assertTrue(said.stdout.endswith("ctrader-stream --rate 5\n"), said.stdout)
                text = first.read_text().strip()
                self.assertEqual([key.name for key in read_keys(keys)], ["first"])
                self.assertIsNotNone(KeyRing(keys).find(Secret(text)))
                self.assertNotIn(text, said.stdout + said.stderr)
            self.assertEqual(first.stat().st_mode & 0o777, 0o600)

    def start(self, folder: Path, keys: Path) -> subprocess.CompletedProcess[str]:
        """The entrypoint, with the commands of this folder."""
        return subprocess.run(
            ["/bin/sh", str(DOCKER / "entrypoint.sh"), "--rate", "5"],
            env={
                **os.environ,
                "PATH": f"{folder}:{os.environ['PATH']}",
                "CTRADER_STREAM_WEB_KEYS_FILE": str(keys),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
