"""The command line of the simulated venue, and what it builds."""

from __future__ import annotations

from typing import Any

from twisted.application.service import MultiService
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.errors import ConfigurationError
from ctrader_twisted.simulator.behaviour import Credentials
from ctrader_twisted.simulator.tap import Options, makeService


def options(*arguments: str) -> Options:
    """As if typed."""
    parsed = Options()
    parsed.parseOptions(arguments)
    return parsed


class BusyReactor(MemoryReactorClock):
    """Every port is taken."""

    def listenSSL(self, port: int, *rest: Any, interface: str = "", **more: Any) -> Any:
        """No."""
        raise CannotListenError(interface, port, "Address already in use")


class CommandLine(SynchronousTestCase):
    """Options."""

    def test_defaults(self) -> None:
        """Loopback, the venue's usual port, no control port."""
        parsed = options()
        self.assertEqual((parsed["port"], parsed["interface"]), (5035, "127.0.0.1"))
        self.assertIsNone(parsed["control-port"])
        self.assertEqual((parsed["rate"], parsed["symbols"], parsed["seed"]), (50.0, 0, 1))

    def test_bad_ones_are_named(self) -> None:
        """Each ends with a sentence that says what was expected."""
        for arguments, complaint in (
            (["--port", "x"], "--port: expected a port number.*'x'"),
            (["--port", "70000"], "--port: expected a port number.*'70000'"),
            (["--rate", "-1"], "--rate: expected a number from 0.*'-1'"),
            (["--rate", "nan"], "--rate: expected a number from 0.*'nan'"),
            (["--symbols", "1.5"], "--symbols: expected a number from 0.*'1.5'"),
            (["--burst", "0"], "--burst: expected a number from 1.*'0'"),
            (["--control-port", ""], "--control-port: expected a port number"),
            (["--certificate", "a.pem"], "--certificate and --key go together"),
            (["--certificate", "/no/a", "--key", "/no/b"], "Cannot read /no/a"),
            (["--host-names", "b\u00fccher.example"], "--host-names .*'b\u00fccher.example'"),
            (["--host-names", "a.example,b c"], "--host-names .*'b c'"),
            (["surplus"], "Unexpected argument: surplus"),
        ):
            with self.assertRaisesRegex(UsageError, complaint):
                options(*arguments)

    def test_host_names(self) -> None:
        """Commas, with blanks around them or not, stand between names and addresses."""
        names = options("--host-names", " a.example, 10.0.0.7,::1,")["host-names"]
        self.assertEqual(names, ["a.example", "10.0.0.7", "::1"])

    def test_credentials_from_the_environment(self) -> None:
        """Each name has its field; what is not given has its default; a bad id is refused."""
        given = Credentials.from_environment(
            {"SIMULATOR_CLIENT_ID": "me", "SIMULATOR_ACCOUNT_ID": "7", "SIMULATOR_ACCESS_TOKEN": ""}
        )
        self.assertEqual((given.client_id, given.account_id), ("me", 7))
        self.assertEqual(given.access_token, "simulator-token")
        for bad in ("x", "-1", "0", "1.5", str(2**63), "9" * 5000):
            with self.assertRaisesRegex(ConfigurationError, "SIMULATOR_ACCOUNT_ID.*positive"):
                Credentials.from_environment({"SIMULATOR_ACCOUNT_ID": bad})


class Built(SynchronousTestCase):
    """Services."""

    def service(self, reactor: MemoryReactorClock, *arguments: str) -> MultiService:
        """What is made of a command line."""
        made = makeService(options(*arguments), reactor)
        assert isinstance(made, MultiService)
        return made

    def test_it_listens_with_tls_where_it_is_told(self) -> None:
        """One TLS port, and nothing in plain text."""
        reactor = MemoryReactorClock()
        self.service(reactor, "--port", "1234").startService()
        ((port, _, _, _, interface),) = reactor.sslServers
        self.assertEqual((port, interface, reactor.tcpServers), (1234, "127.0.0.1", []))

    def test_the_control_port_is_on_loopback(self) -> None:
        """Whatever the interface of the venue."""
        reactor = MemoryReactorClock()
        self.service(reactor, "--interface", "192.0.2.1", "--control-port", "99").startService()
        ((port, _, _, interface),) = reactor.tcpServers
        self.assertEqual((port, interface), (99, "127.0.0.1"))
        self.assertEqual(reactor.sslServers[0][4], "192.0.2.1")

    def test_a_busy_port_ends_with_one_sentence(self) -> None:
        """It names the port and says what to do; the exit status is 1."""
        with self.assertRaisesRegex(SystemExit, r"127\.0\.0\.1:1234.*in use.*--port") as caught:
            self.service(BusyReactor(), "--port", "1234")
        self.assertIsInstance(caught.exception.code, str)

    def test_an_authority_that_cannot_be_written(self) -> None:
        """One sentence."""
        with self.assertRaisesRegex(SystemExit, "Cannot write /no/such/ca.pem"):
            self.service(MemoryReactorClock(), "--ca-out", "/no/such/ca.pem")

    def test_no_time_passes_before_it_starts(self) -> None:
        """Building sets no timer, and stopping leaves none."""
        reactor = MemoryReactorClock()
        service = self.service(reactor, "--control-port", "99")
        self.assertEqual(reactor.getDelayedCalls(), [])
        service.startService()
        self.successResultOf(service.stopService())
        self.assertEqual(reactor.getDelayedCalls(), [])
