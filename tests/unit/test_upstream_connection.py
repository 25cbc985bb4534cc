"""The life of the socket: connect, notice its end, wait, connect again; and stop, in any state."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from OpenSSL import SSL
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.errors import VenueRefusal
from ctrader_twisted.metrics import Metrics
from ctrader_twisted.pb import common_pb2
from ctrader_twisted.tls.authorities import system_authorities
from ctrader_twisted.upstream.connection import Connection
from tests.unit.fakes import Connector, Network, Recorder, TlsWire
from tests.unit.joined_daemon import POLICY as USUAL

POLICY = replace(USUAL, frame_limit_bytes=1000)
REFUSED = ConnectionRefusedError("nobody")
UNTRUSTED = SSL.Error([("SSL routines", "", "certificate verify failed")])


class Dice(random.Random):
    """Falls as the test says: ``at`` 0 is the shortest delay, 1 the longest."""

    at = 1.0

    def uniform(self, a: float, b: float) -> float:
        """A number between ``a`` and ``b``."""
        return a + (b - a) * self.at


class ConnectionCase(SynchronousTestCase):
    """A connection over a network in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = Network(self.clock)
        self.ready_at: float | None = None
        self.told = Recorder(ready_s=self.ready_s)
        self.metrics = Metrics()
        self.dice = Dice()
        self.connection = Connection(
            host="localhost",
            port=lambda: 5035,
            authorities=system_authorities,
            connect=self.network.connect,
            clock=self.clock,
            policy=POLICY,
            listener=self.told,
            metrics=self.metrics,
            rng=self.dice,
            now_ms=lambda: 5,
        )

    def start(self) -> Connector:
        """The first attempt begins."""
        self.connection.startService()
        return self.network.connector

    def ready_s(self) -> float:
        """For how long an account is open."""
        return 0.0 if self.ready_at is None else self.clock.seconds() - self.ready_at

    def settle(self, wire: TlsWire, *, is_open: bool = True) -> None:
        """Authentication is through, and perhaps an account is open."""
        self.ready_at = self.clock.seconds() if is_open else None
        wire.protocol.settled()

    def beat(self, wire: TlsWire, seconds: int) -> None:
        """The venue is there, and says nothing else."""
        for _ in range(seconds):
            wire.say(common_pb2.ProtoHeartbeatEvent())
            self.clock.advance(1)

    def retry(self) -> float:
        """The announced delay; checks that it is the one that is used, and lets it pass."""
        attempts = self.network.connector.attempts
        delay_s: float = self.told.last("retrying")[1]
        self.clock.advance(delay_s - 0.001)
        self.assertEqual(self.network.connector.attempts, attempts)
        self.clock.advance(0.001001)
        self.assertEqual(self.network.connector.attempts, attempts + 1)
        return delay_s

    def over(self) -> None:
        """Stop; nothing is left, and nothing more happens."""
        stopped = self.connection.stopService()
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])


class BackOffTest(ConnectionCase):
    """How long until the next attempt."""

    def test_doubling_to_the_cap(self) -> None:
        """Delays double from one second to sixty; there is no last attempt."""
        connector = self.start()
        delays = []
        for _ in range(10):
            connector.fail(REFUSED)
            delays.append(self.retry())
        self.assertEqual(delays, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60])
        attempts = [args[0] for args in self.told.all("retrying")]
        self.assertEqual(attempts, list(range(1, 11)))
        self.assertEqual(len(self.told.all("connecting")), 11)
        self.over()

    def test_never_above_the_cap(self) -> None:
        """Whatever the dice say, a delay is at most the cap, and at least three quarters of it."""
        connector = self.start()
        for at in (0.0, 0.3, 0.9, 1.0) * 25:
            self.dice.at = at
            connector.fail(REFUSED)
            self.assertLessEqual(self.retry(), 60)
        self.dice.at = 0.0
        connector.fail(REFUSED)
        self.assertEqual(self.retry(), 45)
        self.over()

    def test_reset_only_after_a_stable_spell(self) -> None:
        """A connection that was authenticated but short-lived does not reset the delay."""
        connector = self.start()
        delays = []
        for seconds in (0, 1, 59.9, 60):
            wire = connector.open()
            self.settle(wire)
            self.clock.pump([1] * int(seconds) + [seconds - int(seconds)])
            wire.lose()
            delays.append(self.retry())
        self.assertEqual(delays, [1, 2, 4, 1])
        self.over()

    def test_no_reset_while_no_account_is_open(self) -> None:
        """A venue that lets us in, but none of our accounts, meets ever longer delays, too; the
        spell begins when an account is open at last.
        """
        connector = self.start()
        delays = []
        for opens_after_s, more_s in ((200, 0), (200, 0), (100, 59), (100, 60)):
            wire = connector.open()
            self.settle(wire, is_open=False)
            self.beat(wire, opens_after_s)
            if more_s:
                self.ready_at = self.clock.seconds()
                self.beat(wire, more_s)
            wire.lose()
            delays.append(self.retry())
        self.assertEqual(delays, [1, 2, 4, 1])
        self.over()

    def test_no_reset_without_authentication(self) -> None:
        """A venue that accepts sockets and refuses logins meets ever longer delays."""
        connector = self.start()
        delays = []
        for _ in range(4):
            connector.open().protocol.drop(VenueRefusal("UNKNOWN_ERROR"))
            self.clock.advance(0)
            delays.append(self.retry())
        self.assertEqual(delays, [1, 2, 4, 8])
        self.over()

    def test_hopeless_refusal(self) -> None:
        """What only a person can heal goes to the cap at once."""
        connector = self.start()
        connector.open().protocol.drop(VenueRefusal("CH_CLIENT_AUTH_FAILURE", "wrong secret"))
        self.clock.advance(0)
        cause, reason = self.told.last("lost")
        self.assertEqual(cause.code, "CH_CLIENT_AUTH_FAILURE")
        self.assertIn("wrong secret", reason)
        self.assertEqual(self.retry(), 60)
        self.over()

    def test_one_retry_for_each_loss(self) -> None:
        """A connection that ends is told once, and leads to exactly one attempt."""
        connector = self.start()
        wire = connector.open()
        self.settle(wire)
        wire.lose()
        self.assertEqual(self.told.names(), ["connecting", "opened", "lost", "retrying"])
        self.clock.advance(1)
        self.assertEqual((connector.attempts, connector.state), (2, "connecting"))
        self.assertEqual(self.metrics.counted("connections_lost", "ConnectionDone"), 1)
        self.over()


class EvictionsTest(ConnectionCase):
    """A venue that ends connections soon after they were ready."""

    def reasons(self, *ready_s: float, settle: bool = True) -> list[str]:
        """Why each was lost that was ready for so long."""
        connector = self.start()
        for seconds in ready_s:
            wire = connector.open()
            if settle:
                self.settle(wire)
            self.beat(wire, int(seconds))
            wire.lose()
            self.retry()
        self.over()
        return [reason for _, reason in self.told.all("lost")][: len(ready_s)]

    def test_another_program(self) -> None:
        """From the third time in a row on the reason says what it may be."""
        reasons = self.reasons(1, 2, 3, 4)
        self.assertEqual(
            [("another program" in one) for one in reasons], [False, False, True, True]
        )
        self.assertIn("end number 3 soon after it was ready", reasons[2])
        self.assertIn("another program may be using this account or client id", reasons[2])

    def test_after_a_long_time(self) -> None:
        """One that was ready for long begins the row anew."""
        hints = [("another program" in one) for one in self.reasons(1, 2, 301, 1, 1)]
        self.assertEqual(hints, [False, False, False, False, True])

    def test_never_ready(self) -> None:
        """A venue that hangs up before it accepted us says nothing about other programs."""
        reasons = self.reasons(0, 0, 0, 0, settle=False)
        self.assertEqual([one for one in reasons if "another program" in one], [])

    def test_our_own_doing(self) -> None:
        """What we end ourselves, because of silence, is no such case."""
        connector = self.start()
        for _ in range(4):
            wire = connector.open()
            self.settle(wire)
            wire.protocol.drop(TimeoutError("silence"))
            self.clock.advance(0)
            self.retry()
        self.assertIn(": silence", self.told.last("lost")[1])
        self.over()


class DeadlineTest(ConnectionCase):
    """Thirty seconds from the first packet to ready, wherever it hangs."""

    def late(self, stage: str) -> None:
        """The deadline rings in ``stage``, and another attempt follows."""
        self.clock.advance(29.999)
        self.assertEqual(self.told.all("lost"), [])
        self.clock.advance(0.001)
        self.clock.advance(0)
        cause, reason = self.told.last("lost")
        self.assertIsInstance(cause, TimeoutError)
        where = "localhost:5035" if stage == "TCP" else "localhost:5035 (127.0.0.1)"
        words = f"not ready 30 s after it began (stuck in {stage}), see connect_timeout_s"
        self.assertEqual(reason, f"{where}: {words}")
        self.assertEqual(len(self.told.all("lost")), 1)
        self.retry()
        self.over()

    def test_in_tcp(self) -> None:
        """Nobody answers."""
        self.start()
        self.late("TCP")

    def test_in_tls(self) -> None:
        """Somebody accepts, and never shakes hands."""
        self.start().accept()
        self.late("TLS")

    def test_in_authentication(self) -> None:
        """A venue that beats but does not authenticate."""
        self.start().open()
        self.late("authentication")

    def test_over_once_settled(self) -> None:
        """A connection that settled in time is not late afterwards."""
        wire = self.start().open()
        self.clock.advance(29)
        self.settle(wire)
        self.clock.advance(2)
        self.assertEqual(self.told.all("lost"), [])
        self.over()

    def test_begins_anew_for_each_attempt(self) -> None:
        """A late attempt does not shorten the next one."""
        connector = self.start()
        self.clock.advance(30)
        self.retry()
        connector.open()
        self.clock.advance(29)
        self.assertEqual(len(self.told.all("lost")), 1)
        self.over()


class StopTest(ConnectionCase):
    """Stop, in every state, exactly once, leaving nothing."""

    def test_before_the_start(self) -> None:
        """Nothing to stop."""
        self.over()

    def test_while_connecting(self) -> None:
        """The attempt is given up."""
        connector = self.start()
        self.over()
        self.assertEqual((connector.state, connector.attempts), ("disconnected", 1))

    def test_in_each_stage(self) -> None:
        """An open socket is closed, and only then have we stopped."""
        acts: list[Callable[[Connector], Any]] = [
            lambda connector: connector.accept(),
            lambda connector: connector.open(),
            lambda connector: self.settle(connector.open()),
        ]
        for act in acts:
            self.setUp()
            connector = self.start()
            act(connector)
            stopped = self.connection.stopService()
            self.assertTrue(connector.wires[0].aborted)
            self.assertNoResult(stopped)
            self.clock.advance(0)
            self.successResultOf(stopped)
            self.assertEqual(self.told.all("retrying"), [])
            self.assertEqual(len(self.told.all("lost")), 1)
            self.over()

    def test_while_waiting(self) -> None:
        """The next attempt is called off."""
        connector = self.start()
        connector.fail(REFUSED)
        self.over()
        self.clock.advance(100)
        self.assertEqual(connector.attempts, 1)

    def test_while_being_dropped(self) -> None:
        """A connection that is being dropped for another reason is waited for."""
        wire = self.start().open()
        wire.protocol.drop(ValueError("enough"))
        stopped = self.connection.stopService()
        self.assertNoResult(stopped)
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.assertEqual(self.told.last("lost")[1], "localhost:5035 (127.0.0.1): enough")
        self.over()

    def test_twice(self) -> None:
        """Whoever asks again is told too."""
        self.start().open()
        first, second = self.connection.stopService(), self.connection.stopService()
        self.clock.advance(0)
        self.successResultOf(first)
        self.successResultOf(second)
        self.over()
