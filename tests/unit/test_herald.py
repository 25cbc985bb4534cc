"""What the service manager hears, room for sockets, and log files that were moved."""

from __future__ import annotations

import os
import resource
import socket
import tempfile
from collections.abc import Hashable
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted import upkeep
from ctrader_twisted.herald import Herald, watchdog_s


class HeraldTest(SynchronousTestCase):
    """sd_notify, with a socket of the test in systemd's place."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = str(Path(folder.name, "notify"))
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.addCleanup(self.manager.close)
        self.clock = Clock()
        self.status = "simulator: connected; 0 clients"
        self.moved: Hashable = 0

    def herald(self, address: str | None = None, **environ: str) -> Herald:
        """One that speaks to the test."""
        self.manager.bind(address.replace("@", "\0") if address else self.path)
        return Herald(
            clock=self.clock,
            status=lambda: self.status,
            progress=lambda: self.moved,
            patience_s=100.0,
            environ={"NOTIFY_SOCKET": address or self.path, **environ},
            pid=7,
        )

    def heard(self) -> list[str]:
        """What came since, in order."""
        found = []
        while True:
            try:
                found.append(self.manager.recv(4096).decode())
            except BlockingIOError:
                return found

    def test_a_life(self) -> None:
        """READY, the status at once and at each change, STOPPING; no WATCHDOG unasked."""
        herald = self.herald()
        herald.startService()
        self.assertEqual(self.heard(), ["READY=1", f"STATUS={self.status}"])
        self.clock.advance(1)
        self.assertEqual(self.heard(), [])
        self.status = "simulator: reconnecting\n(it went); 0 clients"
        self.clock.advance(1)
        self.assertEqual(self.heard(), ["STATUS=simulator: reconnecting (it went); 0 clients"])
        herald.stopService()
        self.assertEqual(self.heard(), ["STOPPING=1\nSTATUS=saying goodbye"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_abstract(self) -> None:
        """An address that begins with @ is an abstract one."""
        herald = self.herald(f"@ctrader-stream-test-{os.getpid()}")
        herald.startService()
        self.assertEqual(self.heard()[0], "READY=1")
        herald.stopService()

    def test_without(self) -> None:
        """Where no socket is named, nothing happens, and nothing is in the calendar."""
        herald = self.herald()
        herald._address = ""
        herald.startService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        herald.stopService()
        self.assertEqual(self.heard(), [])

    def test_manager_is_gone(self) -> None:
        """A socket that nobody has is a warning, and no more."""
        herald = self.herald()
        self.manager.close()
        seen: list[Any] = []
        globalLogPublisher.addObserver(seen.append)
        self.addCleanup(globalLogPublisher.removeObserver, seen.append)
        herald.startService()
        herald.stopService()
        self.assertTrue(all(event["log_level"].name == "warn" for event in seen))
        self.assertGreaterEqual(len(seen), 2)

    def feeds(self, seconds: int) -> int:
        """How often the watchdog is fed in so many seconds."""
        self.heard()
        fed = 0
        for _ in range(seconds * 4):
            self.clock.advance(0.25)
            # The kernel queues ten messages and no more.
            fed += self.heard().count("WATCHDOG=1")
        return fed

    def test_fed_while_it_moves(self) -> None:
        """Twice in its time, as long as something moves."""
        herald = self.herald(WATCHDOG_USEC="10000000", WATCHDOG_PID="7")
        herald.startService()
        for self.moved in range(10):
            self.assertEqual(self.feeds(50), 10)
        herald.stopService()

    def test_not_fed_when_stuck(self) -> None:
        """When nothing has moved for the time of patience it is not fed; when it moves, again."""
        herald = self.herald(WATCHDOG_USEC="10000000")
        seen: list[Any] = []
        globalLogPublisher.addObserver(seen.append)
        self.addCleanup(globalLogPublisher.removeObserver, seen.append)
        herald.startService()
        self.assertEqual(self.feeds(99), 19)
        self.feeds(1)
        self.assertEqual(self.feeds(600), 0)
        self.assertEqual([event["log_level"].name for event in seen], ["error"])
        self.moved = 1
        self.assertEqual(self.feeds(50), 10)
        herald.stopService()

    def test_rest_is_no_standstill(self) -> None:
        """While the next attempt has its time, however late, it is fed."""
        herald = self.herald(WATCHDOG_USEC="10000000")
        herald.startService()
        self.moved = None
        self.assertEqual(self.feeds(600), 120)
        herald.stopService()

    def test_whose_watchdog(self) -> None:
        """Only the process that is meant feeds it."""
        self.assertEqual(watchdog_s({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "8"}, 7), 0)
        self.assertEqual(watchdog_s({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "7"}, 7), 5)
        self.assertEqual(watchdog_s({"WATCHDOG_USEC": "x"}, 7), 0)
        self.assertEqual(watchdog_s({}, 7), 0)


class RoomTest(SynchronousTestCase):
    """File descriptors."""

    def limits(self, soft: int, hard: int) -> tuple[list[tuple[int, int]], list[Any]]:
        """What is set, and what is said, for a thousand clients."""
        was_set: list[tuple[int, int]] = []
        said: list[Any] = []

        def see(event: dict[str, Any]) -> None:
            if event.get("log_namespace") == "ctrader_twisted.upkeep":
                said.append(event)

        self.patch(resource, "getrlimit", lambda _: (soft, hard))
        self.patch(resource, "setrlimit", lambda _, pair: was_set.append(pair))
        globalLogPublisher.addObserver(see)
        upkeep.make_room(1000)
        globalLogPublisher.removeObserver(see)
        return was_set, said

    def test_enough(self) -> None:
        """Where there is room already nothing is done."""
        self.assertEqual(self.limits(2000, 4000), ([], []))
        self.assertEqual(self.limits(resource.RLIM_INFINITY, resource.RLIM_INFINITY), ([], []))

    def test_raised(self) -> None:
        """The soft limit is raised to what is needed, and not beyond."""
        self.assertEqual(self.limits(256, 4000), ([(1100, 4000)], []))
        unlimited = resource.RLIM_INFINITY
        self.assertEqual(self.limits(256, unlimited), ([(1100, unlimited)], []))

    def test_not_enough(self) -> None:
        """Where the hard limit is too low it is used up, and said."""
        was_set, said = self.limits(256, 600)
        self.assertEqual(was_set, [(600, 600)])
        self.assertEqual((said[0]["allowed"], said[0]["room"], said[0]["needed"]), (600, 500, 1100))
        self.assertEqual(self.limits(600, 600)[0], [])
