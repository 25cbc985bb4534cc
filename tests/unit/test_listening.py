"""A port that cannot be had, and the sentence that says what to do."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.daemon import BACKLOG, Door
from ctrader_twisted.errors import ConfigurationError


class Refusing:
    """A reactor on which nothing can be opened."""

    def __init__(self, error: OSError | str) -> None:
        self.error = error

    def listenTCP(self, port: int, *_: Any, **__: Any) -> Any:
        """No."""
        raise CannotListenError("", port, self.error)

    def listenUNIX(self, address: str, *_: Any, **__: Any) -> Any:
        """No; a lock that cannot be made is said by Python itself."""
        if isinstance(self.error, FileNotFoundError):
            raise self.error
        raise CannotListenError(None, address, self.error)


class Recording:
    """A reactor that remembers how it should listen."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def listenUNIX(
        self, address: str, factory: Any, backlog: int, mode: int, wantPID: bool
    ) -> object:
        """On a socket file."""
        self.asked.append((address, mode, backlog))
        return object()

    def listenTCP(self, port: int, factory: Any, backlog: int, interface: str) -> object:
        """On a port."""
        self.asked.append((port, interface, backlog))
        return object()

    def seconds(self) -> float:
        """No time passes."""
        return 0.0


def error(number: int) -> OSError:
    """As the system has it."""
    return OSError(number, os.strerror(number))


class SentenceTest(SynchronousTestCase):
    """Each reason has its own advice."""

    def said(self, listen: str, why: OSError | str) -> str:
        """The sentence."""
        door = Door(reactor=Refusing(why), listen=listen, factory=Factory())
        said = str(self.assertRaises(ConfigurationError, door.open))
        self.assertTrue(said.startswith(f"cannot listen on {listen!r} ("), said)
        self.assertTrue(said.endswith("."), said)
        self.assertNotIn("Errno", said)
        return said

    def test_advice(self) -> None:
        """Only a port that is taken makes us think of another daemon."""
        for listen, why, words in (
            ("tcp:80", error(errno.EADDRINUSE), "is another ctrader-stream running?"),
            ("unix:/run/a.sock", error(errno.EADDRINUSE), "remove it"),
            ("unix:/run/a.sock", "Cannot acquire lock", "(another process listens there)"),
            ("tcp:80", error(errno.EACCES), "choose a port above 1023"),
            ("unix:/a.sock", error(errno.EACCES), "a folder in which the daemon may write"),
            ("tcp:80:interface=192.0.2.1", error(errno.EADDRNOTAVAIL), "correct `listen`"),
            ("tcp:80:interface=x.invalid", socket.gaierror(-2, "unknown"), "correct `listen`"),
            ("unix:/aaa", "AF_UNIX path too long", "(AF_UNIX path too long): correct `listen`"),
        ):
            self.assertIn(words, self.said(listen, why))

    def test_no_folder(self) -> None:
        """What the lock file of a socket is called is nobody's business."""
        why = FileNotFoundError(errno.ENOENT, "No such file or directory", "1234", None, "/a.lock")
        said = self.said("unix:/nope/a.sock", why)
        self.assertIn("(No such file or directory): correct `listen`", said)
        self.assertNotIn("lock", said)


class DefaultsTest(SynchronousTestCase):
    """What is added to the endpoint of the configuration."""

    def asked(self, listen: str) -> tuple[Any, ...]:
        """How the reactor is asked to listen."""
        reactor = Recording()
        Door(reactor=reactor, listen=listen, factory=Factory()).open()
        (asked,) = reactor.asked
        return asked

    def test_mode_of_a_socket_file(self) -> None:
        """Its owner and its group may connect, unless the endpoint says otherwise."""
        for listen, mode in (
            ("unix:/run/a.sock", 0o660),
            ("unix:address=/run/a.sock", 0o660),
            ("unix:/run/a.sock:mode=600", 0o600),
            ("unix:/run/a.sock:mode=0666", 0o666),
            ("unix:/run/a.sock:lockfile=0", 0o660),
            ("unix:/run/a.sock:backlog=5", 0o660),
        ):
            self.assertEqual(self.asked(listen)[:2], ("/run/a.sock", mode), listen)
        self.assertEqual(self.asked(r"unix:address=/run/a\:mode=1")[:2], ("/run/a:mode=1", 0o660))

    def test_backlog(self) -> None:
        """Room for all who come back at once, unless the endpoint says otherwise."""
        self.assertEqual(self.asked("tcp:0"), (0, "", BACKLOG))
        self.assertEqual(self.asked("tcp:0:backlog=5:interface=127.0.0.1"), (0, "127.0.0.1", 5))
        self.assertEqual(self.asked("unix:/run/a.sock:backlog=5")[2], 5)
