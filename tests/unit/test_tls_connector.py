"""One attempt tries all addresses of a host, and says which."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError, NoRouteError
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.tls.connector import STAGGER_S, HostConnector, connect_host
from ctrader_twisted.tls.failures import NameNotResolved, Unreachable
from ctrader_twisted.tls.policy import ClientOptions

V6, V4, LAST = "2001:db8::1", "192.0.2.1", "192.0.2.2"


class Told(ClientFactory):
    """Remembers what it was told."""

    noisy = False

    def __init__(self) -> None:
        self.failures: list[BaseException] = []
        self.built: list[str] = []
        self.lost = 0

    def buildProtocol(self, addr: Any) -> Protocol:
        """TCP is up."""
        self.built.append(addr.host)
        return Protocol()

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """The attempt failed."""
        self.failures.append(reason.value)

    def clientConnectionLost(self, connector: Any, reason: Failure) -> None:
        """The connection is over."""
        self.lost += 1


class ConnectorTest(SynchronousTestCase):
    """A connector over a reactor in memory."""

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.factory = Told()
        self.found: Any = [V6, V4, LAST]

    def addresses(self, host: str) -> Deferred[list[str]]:
        """As the resolver."""
        return succeed(self.found) if isinstance(self.found, list) else self.found

    def connect(self, options: Any = None) -> HostConnector:
        """The first attempt begins."""
        connect: Any = connect_host(self.reactor, self)
        return connect("venue.example", 5035, self.factory, contextFactory=options, timeout=30)

    @property
    def dialled(self) -> list[str]:
        """The addresses that were tried, in order."""
        return [host for host, *_ in self.reactor.tcpClients]

    def fail_address(self, number: int, error: BaseException) -> None:
        """TCP to the address that was dialled as that number fails."""
        factory = self.reactor.tcpClients[number][2]
        factory.clientConnectionFailed(self.reactor.connectors[number], Failure(error))

    def accept(self, number: int) -> Any:
        """TCP to the address is up; its protocol."""
        host, port, factory, *_ = self.reactor.tcpClients[number]
        return factory.buildProtocol(IPv4Address("TCP", host, port))

    def over(self) -> None:
        """Nothing is left in the clock but what Twisted's connectors hold."""
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_next_as_soon_as_one_fails(self) -> None:
        """All addresses in the order of the system, and the failure names each."""
        connector = self.connect()
        self.assertEqual(self.dialled, [V6])
        self.fail_address(0, NoRouteError())
        self.assertEqual(self.dialled, [V6, V4])
        self.fail_address(1, ConnectionRefusedError())
        self.fail_address(2, ConnectionRefusedError())
        (error,) = self.factory.failures
        self.assertIsInstance(error, Unreachable)
        self.assertEqual(
            str(error),
            f"venue.example:5035 ({V6}): there is no way to that network; venue.example:5035 "
            f"({V4}, {LAST}): nothing listens there (connection refused)",
        )
        self.assertEqual(connector.state, "disconnected")
        self.over()

    def test_next_after_a_while(self) -> None:
        """An address that does not answer does not keep the others waiting."""
        self.connect()
        self.reactor.advance(STAGGER_S)
        self.reactor.advance(STAGGER_S)
        self.assertEqual(self.dialled, [V6, V4, LAST])
        self.accept(1)
        self.assertEqual(self.factory.built, [V4])
        stopped = [connector.stoppedConnecting for connector in self.reactor.connectors]
        self.assertEqual(stopped, [True, False, True])
        # The others are heard no more.
        self.fail_address(0, ConnectionRefusedError())
        self.assertEqual(self.factory.failures, [])
        self.assertIsNone(self.accept(2))
        self.over()

    def test_next_attempt_begins_with_the_next_address(self) -> None:
        """One that takes connections and then fails does not keep us from the others."""
        connector = self.connect()
        for number, address in enumerate([V6, V4, LAST, V6]):
            self.assertEqual(self.dialled[number:], [address])
            self.accept(number)
            factory = self.reactor.tcpClients[number][2]
            factory.clientConnectionLost(None, Failure(ConnectionAbortedError()))
            self.assertEqual(self.factory.lost, number + 1)
            connector.connect()
        self.reactor.advance(0)
        connector.stopConnecting()
        self.over()

    def test_looked_up_anew(self) -> None:
        """Each attempt asks for the addresses of that time."""
        connector = self.connect()
        self.accept(0)
        self.reactor.tcpClients[0][2].clientConnectionLost(None, Failure(ConnectionAbortedError()))
        self.found = [LAST]
        connector.connect()
        self.assertEqual(self.dialled, [V6, LAST])
        connector.stopConnecting()
        self.over()

    def test_no_address(self) -> None:
        """A name that cannot be resolved fails the attempt."""
        self.found = fail(NameNotResolved("venue.example", "no"))
        self.connect()
        self.assertEqual(
            [str(error) for error in self.factory.failures],
            ["the name venue.example could not be resolved (no)"],
        )
        self.over()

    def test_no_thread(self) -> None:
        """A look-up that cannot even begin fails the attempt, so another one follows."""

        def refuse(host: str) -> Deferred[list[str]]:
            raise RuntimeError("can't start new thread")

        self.patch(self, "addresses", refuse)
        connector = self.connect()
        self.assertEqual(
            [str(error) for error in self.factory.failures], ["can't start new thread"]
        )
        self.assertEqual(connector.state, "disconnected")
        self.over()

    def test_given_up_while_looking(self) -> None:
        """An attempt that is stopped waits for no name server, whose answer changes nothing."""
        self.found = Deferred()
        connector = self.connect()
        connector.stopConnecting()
        (error,) = self.factory.failures
        self.assertIsInstance(error, NameNotResolved)
        self.found.callback([V4])
        self.assertEqual(self.dialled, [])
        self.over()

    def test_given_up_while_connecting(self) -> None:
        """Whatever is pending is stopped, and named."""
        connector = self.connect()
        self.reactor.advance(STAGGER_S)
        connector.stopConnecting()
        (error,) = self.factory.failures
        self.assertIn(f"venue.example:5035 ({V6}, {V4}): no answer yet", str(error))
        self.assertTrue(all(one.stoppedConnecting for one in self.reactor.connectors))
        self.over()

    def test_time(self) -> None:
        """The time of an attempt is that of all of its addresses together."""
        self.connect()
        self.reactor.pump([STAGGER_S, STAGGER_S, 30])
        (error,) = self.factory.failures
        self.assertIn(f"({V6}, {V4}, {LAST}): no answer to the connection", str(error))
        self.over()

    def test_tls(self) -> None:
        """With options there is TLS, on the address that took the connection."""
        self.connect(ClientOptions("venue.example", list))
        self.assertEqual(type(self.accept(0)).__name__, "BufferingTLSTransport")
        self.over()
