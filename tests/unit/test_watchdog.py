"""The watchdog as it is wired: fed while the daemon does its work, and not when it does not."""

from __future__ import annotations

import os
import socket
import tempfile
from collections import Counter
from pathlib import Path

from twisted.internet.error import ConnectionLost
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from ctrader_twisted.insight import make_herald
from ctrader_twisted.settings import load
from tests.unit.joined_daemon import JoinedCase

#: Fed twice in ten seconds.
PERIOD_S = 5


class WiredWatchdogTest(JoinedCase):
    """`make_herald`, with the daemon's whole way to the venue, and a socket in systemd's place."""

    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = str(Path(folder.name, "notify"))
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.addCleanup(self.manager.close)
        self.manager.bind(path)
        for name, value in {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "10000000"}.items():
            os.environ[name] = value
            self.addCleanup(os.environ.pop, name)
        venue = load(options={}, environ={}, tap_conf=None, dotenv=None).venue
        self.patience_s = 2 * (venue.silence_s + venue.connect_timeout_s)
        self.herald = make_herald(venue, self.account, self.connection, self.metrics, self.clock)
        self.herald.startService()

    def tearDown(self) -> None:
        self.herald.stopService()
        super().tearDown()

    def heard(self, seconds: float) -> Counter[str]:
        """What systemd is told in so many seconds."""
        told: Counter[str] = Counter()
        for _ in range(round(seconds)):
            self.run_for(1)
            while True:
                try:
                    told[self.manager.recv(4096).decode()] += 1
                except BlockingIOError:
                    break
        return told

    def test_a_quiet_night(self) -> None:
        """Nothing but heartbeats for an hour: fed all the time, and the status says how it is."""
        self.mischief.quiet()
        self.start("EURUSD")
        told = self.heard(3600)
        self.assertGreaterEqual(told["WATCHDOG=1"], 3600 // PERIOD_S - 1)
        self.assertIn("STATUS=simulator: connected; 0 clients", told)

    def test_a_long_outage(self) -> None:
        """Nobody takes our connections for an hour: attempts are progress, and waits are rest."""
        self.start("EURUSD")
        self.mischief.refuse("port")
        self.mischief.drop()
        told = self.heard(3600)
        self.assertGreaterEqual(told["WATCHDOG=1"], 3600 // PERIOD_S - 1)
        self.assertTrue([status for status in told if "reconnecting" in status], told)

    def test_a_mute_venue(self) -> None:
        """Connections that are taken and then silent are given up and made anew: fed."""
        self.mischief.mute(lasting=True)
        self.start("EURUSD")
        self.assertGreaterEqual(self.heard(3600)["WATCHDOG=1"], 3600 // PERIOD_S - 1)

    def test_nobody_tries(self) -> None:
        """A session that is down, with no attempt and none to come, is stuck: fed no more, and
        that is said, once; when it moves again, it is fed again.
        """
        self.start("EURUSD")
        self.heard(10)
        # As after a fault of ours: the connection ends, and no new attempt is in the calendar.
        self.connection.factory.continueTrying = 0
        self.joint.ends[-1].end(ConnectionLost())
        seen: list[LogEvent] = []
        globalLogPublisher.addObserver(seen.append)
        self.addCleanup(globalLogPublisher.removeObserver, seen.append)
        self.heard(self.patience_s)
        self.assertEqual(self.heard(600)["WATCHDOG=1"], 0)
        stuck = [event for event in seen if "nothing has moved" in formatEvent(event)]
        self.assertEqual([event["log_level"].name for event in stuck], ["error"])
        self.connection.factory.continueTrying = 1
        self.joint.connect()
        self.assertGreater(self.heard(60)["WATCHDOG=1"], 60 // PERIOD_S - 2)
