"""The command line: its arguments, and where the daemon is looked for."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted import asking, cli
from ctrader_twisted.errors import ConfigurationError


class ArgumentTests(SynchronousTestCase):
    """What may be typed, and what is said of the rest."""

    def refusal(self, *argv: str) -> str:
        """What is said on standard error, with exit status 2."""
        said = io.StringIO()
        with redirect_stderr(said), self.assertRaises(SystemExit) as ended:
            cli.make_parser().parse_args(argv)
        self.assertEqual(ended.exception.code, 2)
        return said.getvalue()

    def test_everything_at_once(self) -> None:
        """Symbols, an address, a count and JSON."""
        given = cli.make_parser().parse_args(
            ["tail", "EURUSD", "Spot Gold", "--url", "wss://x.org/ws", "--count", "3", "--json"]
        )
        self.assertEqual(given.symbols, ["EURUSD", "Spot Gold"])
        self.assertEqual((given.url, given.count, given.json), ("wss://x.org/ws", 3, True))

    def test_only_a_symbol(self) -> None:
        """The address comes from the configuration, and there is no end."""
        given = cli.make_parser().parse_args(["tail", "EURUSD"])
        self.assertEqual((given.url, given.count, given.json), (None, None, False))

    def test_refusals(self) -> None:
        """Each mistake is named, with exit status 2."""
        table = [
            ((), "COMMAND"),
            (("tial",), "invalid choice"),
            (("tail",), "SYMBOL"),
            (("tail", " "), "a symbol needs a name"),
            (("tail", "EUR\x1b[2J"), "a symbol needs a name"),
            (("tail", "EURUSD", "--count", "0"), "'0' is no whole number above 0"),
            (("tail", "EURUSD", "--count", "-1"), "'-1' is no whole number above 0"),
            (("tail", "EURUSD", "--count", "1.5"), "'1.5' is no whole number above 0"),
            (("tail", "EURUSD", "--count", "many"), "'many' is no whole number above 0"),
            (("tail", "EURUSD", "--rate", "1"), "unrecognized arguments"),
        ]
        for argv, sentence in table:
            self.assertIn(sentence, self.refusal(*argv))

    def test_addresses_that_are_none(self) -> None:
        """Another scheme, no host, a wrong port, a fragment, blanks: what it should be is said."""
        for url in [
            "127.0.0.1:8080",
            "http://127.0.0.1:8080/ws",
            "ws://",
            "ws:///ws",
            "ws://127.0.0.1:0/ws",
            "ws://127.0.0.1:70000/ws",
            "ws://127.0.0.1:port/ws",
            "ws://[::1/ws",
            "ws://127.0.0.1:8080/ws#here",
            "ws://127.0.0.1:8080/a b",
            "ws://unix:/run/socket",
            "",
        ]:
            said = self.refusal("tail", "EURUSD", "--url", url)
            self.assertIn("must be like ws://127.0.0.1:8080/ws", said, url)

    def test_secrets_in_an_address(self) -> None:
        """A password has no place on a command line, and is not repeated."""
        said = self.refusal("tail", "EURUSD", "--url", "wss://me:hush@x.org/ws")
        self.assertIn("without a name or a password", said)
        self.assertNotIn("hush", said)

    def test_addresses(self) -> None:
        """Both schemes, names and addresses of both kinds, with and without port and path."""
        for url in ["ws://localhost", "wss://x.org:8443/prices/ws?x=1", "ws://[::1]:8080/ws"]:
            self.assertEqual(asking.websocket_url(url), url)

    def test_help(self) -> None:
        """What the exit status means stands in the help."""
        said = io.StringIO()
        with redirect_stdout(said), self.assertRaises(SystemExit) as ended:
            cli.main(["tail", "--help"])
        self.assertEqual(ended.exception.code, 0)
        self.assertIn("Exit status: 0 after --count ticks", " ".join(said.getvalue().split()))


class AddressTests(SynchronousTestCase):
    """Where a daemon with the same configuration listens."""

    def setUp(self) -> None:
        """A folder to configure."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def url(self, environ: Mapping[str, str] | None = None) -> str:
        """The address that follows from the folder and this environment."""
        return asking.our_address(environ or {}, self.folder)

    def test_endpoints(self) -> None:
        """Every spelling of a `tcp:` endpoint; listening everywhere includes this machine."""
        table = {
            "tcp:port=8080:interface=127.0.0.1": "127.0.0.1:8080",
            "tcp:8081": "127.0.0.1:8081",
            "tcp:port=8082": "127.0.0.1:8082",
            "tcp:8083:interface=0.0.0.0": "127.0.0.1:8083",
            "tcp:8084:interface=10.0.0.7:backlog=5": "10.0.0.7:8084",
            r"tcp:8085:interface=\:\:1": "[::1]:8085",
            r"tcp:interface=\:\::port=8086": "[::1]:8086",
            "tcp6:8087": "[::1]:8087",
        }
        for listen, url in table.items():
            self.assertEqual(asking.address_of(listen), url)

    def test_other_endpoints(self) -> None:
        """What does not tell an address needs --url."""
        for listen in [
            "tcp:0",
            "unix:/run/x",
            "ssl:443:privateKey=x",
            "systemd:domain=INET:name=x",
        ]:
            with self.assertRaisesRegex(ConfigurationError, "give it with --url"):
                asking.address_of(listen)

    def test_nothing_is_configured(self) -> None:
        """The default port on this machine."""
        self.assertEqual(self.url(), "127.0.0.1:8080")

    def test_the_sources_in_their_order(self) -> None:
        """tap.conf, then .env, then the environment; `listen` beats WS_PORT."""
        (self.folder / "tap.conf").write_text("[web]\nws_port = 8181\n")
        self.assertEqual(self.url(), "127.0.0.1:8181")
        (self.folder / ".env").write_text("WS_PORT=8282\n")
        self.assertEqual(self.url(), "127.0.0.1:8282")
        self.assertEqual(self.url({"PORT": "8383"}), "127.0.0.1:8383")
        listen = {"WS_PORT": "8383", "CTRADER_STREAM_WEB_LISTEN": "tcp:8484"}
        self.assertEqual(self.url(listen), "127.0.0.1:8484")

    def test_credentials_are_the_daemons_business(self) -> None:
        """Neither missing credentials nor a secret that only the daemon may read are in the way."""
        (self.folder / "tap.conf").write_text("[venue]\nenvironment = live\n")
        (self.folder / "token").write_text("hush")
        (self.folder / "token").chmod(0o644)
        environ = {"CTRADER_ACCESS_TOKEN_FILE": str(self.folder / "token"), "WS_PORT": "8585"}
        self.assertEqual(self.url(environ), "127.0.0.1:8585")

    def test_a_mistake_in_the_configuration(self) -> None:
        """It ends as the daemon's start would."""
        with self.assertRaisesRegex(ConfigurationError, "WS_PORT in the environment"):
            self.url({"WS_PORT": "eight"})
