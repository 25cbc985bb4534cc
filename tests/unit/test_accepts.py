"""Accepting connections: few in a turn, and one line when there are no descriptors."""

from __future__ import annotations

import resource
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import Logger, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.accepts import ACCEPTS, PAUSE_S, WARN_S, Accepts


class Port:
    """As much of Twisted's port as is looked after."""

    _logger = Logger()

    def __init__(self, *lines: tuple[str, dict[str, Any]]) -> None:
        self.numberAccepts = 100
        self.lines = lines
        self.accepted: list[int] = []
        self.reading = True

    def doRead(self) -> None:
        """Accept, and say something."""
        self.accepted.append(self.numberAccepts)
        self.numberAccepts += 20
        for line, values in self.lines:
            self._logger.info(line, **values)

    def stopReading(self) -> None:
        """Not now."""
        self.reading = False

    def startReading(self) -> None:
        """Again."""
        self.reading = True


#: What Twisted says of one connection for which its spare descriptor was used.
RECOVERED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("EMFILE encountered; releasing reserved file descriptor.", {}),
    ("EMFILE recovery: Closed socket from {address}", {"address": "192.0.2.1"}),
    ("EMFILE recovery: Closed socket from {address}", {"address": "192.0.2.2"}),
    ("Re-reserving EMFILE recovery file descriptor.", {}),
)


def failed(name: str) -> tuple[str, dict[str, Any]]:
    """What Twisted says when a connection cannot be accepted at all."""
    return "Could not accept new connection ({acceptError})", {"acceptError": name}


class AcceptsTest(SynchronousTestCase):
    """One port, its log, and the time by hand."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.said: list[Any] = []
        globalLogPublisher.addObserver(self.said.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.said.append)

    def tearDown(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def words(self) -> list[str]:
        """Everything in the log."""
        return [str(formatEvent(event)) for event in self.said]

    def test_few_in_a_turn(self) -> None:
        """However many Twisted would accept."""
        port = Port()
        Accepts(port, self.clock)
        for _ in range(3):
            port.doRead()
        self.assertEqual(port.accepted, [ACCEPTS] * 3)

    def test_one_line_a_minute(self) -> None:
        """It names the limit and the setting; then come the connections since, in one number."""
        port = Port(*RECOVERED)
        Accepts(port, self.clock)
        for _ in range(200):
            port.doRead()
        (line,) = self.words()
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.assertIn(f"all {limit} file descriptors are in use", line)
        self.assertIn("LimitNOFILE", line)
        self.clock.advance(WARN_S)
        port.doRead()
        self.assertEqual(len(self.said), 2)
        self.assertIn("(400 attempts since", self.words()[1])
        self.assertTrue(port.reading)

    def test_pause(self) -> None:
        """Where not even the spare one is left there is no try in every turn."""
        port = Port(failed("EMFILE"))
        Accepts(port, self.clock)
        for _ in range(3):
            port.doRead()
        self.assertFalse(port.reading)
        self.clock.advance(PAUSE_S)
        self.assertTrue(port.reading)
        self.assertEqual(len(self.said), 1)

    def test_other_reasons(self) -> None:
        """The whole system may lack something; a client that has gone is nothing to tell."""
        for name in ("ENFILE", "ENOBUFS", "ENOMEM"):
            self.said.clear()
            port = Port(failed(name))
            accepts = Accepts(port, self.clock)
            port.doRead()
            self.assertIn(name, self.words()[0])
            self.assertFalse(port.reading)
            accepts.stop()
        self.said.clear()
        port = Port(failed("ECONNABORTED"))
        Accepts(port, self.clock)
        port.doRead()
        self.assertEqual((self.said, port.reading), ([], True))

    def test_other_lines(self) -> None:
        """Anything else that Twisted has to say goes to the log."""
        port = Port(("something new", {}))
        Accepts(port, self.clock)
        port.doRead()
        self.assertEqual(self.words(), ["something new"])

    def test_no_port_of_twisted(self) -> None:
        """What has nothing to look after is left alone."""
        Accepts(object(), self.clock).stop()
