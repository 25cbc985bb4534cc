"""Settings: sources and their order, what is refused and how it is said, and the example files."""

from __future__ import annotations

import dataclasses
import os
import re
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.endpoints import serverFromString
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.errors import ConfigurationError
from ctrader_twisted.logs import Secret
from ctrader_twisted.settings import (
    Settings,
    SimulatorSettings,
    VenueSettings,
    WebSettings,
    describe,
    load,
)
from ctrader_twisted.settings.keys import Key

ROOT = Path(__file__).parents[2]

BROKER = {
    "CTRADER_ENV": "demo",
    "CTRADER_CLIENT_ID": "id-1",
    "CTRADER_CLIENT_SECRET": "s3cr3t-of-app",
    "CTRADER_ACCESS_TOKEN": "t0ken-of-trader",
    "CTRADER_ACCOUNT_ID": "42",
}

# A good value for each kind that differs from every default.
OTHER = {
    "environment": "simulator",
    "host": "venue.example.com",
    "port": "5036",
    "client_id": "other-client",
    "client_secret": "other-secret",
    "access_token": "other-token",
    "heartbeat_s": "7.5",
    "listen": "tcp:port=9999",
    "compression": "yes",
    "require_key": "yes",
    "keys_file": "keys.json",
    "hosts": "ticks.example.com",
    "origins": "https://app.example.com, http://localhost:3000",
    "trusted_proxies": "10.0.0.0/8 unix",
    "body_bytes": "70000",
    "history_per_s": "3",
    "frame_limit_bytes": "70000",
    "frame_timeout_s": "90",
    "outbox_bytes": "70000",
    "frame_bytes": "70000",
    "silence_s": "61",
    "backoff_max_s": "61",
}


class SettingsTestCase(SynchronousTestCase):
    """Files in a fresh folder, and `load` with what is not given left out."""

    def setUp(self) -> None:
        # Not mktemp, which makes its folders where pytest was started.
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def file(self, name: str, content: str | bytes, mode: int = 0o600) -> Path:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        return path

    def load(
        self,
        environ: Mapping[str, str] | None = None,
        *,
        conf: str | bytes | None = None,
        dotenv: str | bytes | None = None,
        options: Mapping[str, str | None] | None = None,
    ) -> Settings:
        return load(
            options=options or {},
            environ=environ or {},
            tap_conf=None if conf is None else self.file("tap.conf", conf),
            dotenv=None if dotenv is None else self.file(".env", dotenv),
        )

    def refusal(
        self,
        environ: Mapping[str, str] | None = None,
        *,
        conf: str | bytes | None = None,
        dotenv: str | bytes | None = None,
        options: Mapping[str, str | None] | None = None,
    ) -> str:
        """The sentence of the ConfigurationError that must come."""
        error = self.assertRaises(
            ConfigurationError, self.load, environ, conf=conf, dotenv=dotenv, options=options
        )
        self.assertEqual(len(error.args), 1)
        sentence = str(error)
        self.assertTrue(sentence.endswith("."), sentence)
        self.assertNotIn("\n", sentence)
        return sentence.replace(f"{self.folder}/", "")

    def assert_says(self, sentence: str, *words: str) -> None:
        for word in words:
            self.assertIn(word, sentence)


def value_of(loaded: Settings, key: Key) -> object:
    return getattr(getattr(loaded, key.section), key.name)


class DefaultsTests(SettingsTestCase):
    """Nothing given at all."""

    def test_simulator_in_process(self) -> None:
        """Without any configuration the daemon runs a venue of its own, with its credentials."""
        venue = self.load().venue
        self.assertEqual(
            (venue.environment, venue.host, venue.port, venue.embedded),
            ("simulator", "127.0.0.1", 0, True),
        )
        self.assertEqual((venue.client_id, venue.account_id), ("simulator-client", 1000001))
        self.assertEqual(venue.client_secret, Secret("simulator-secret"))
        self.assertEqual(venue.access_token, Secret("simulator-token"))
        self.assertIsNone(venue.ca_file)

    def test_listens_on_loopback(self) -> None:
        """The default door is on 127.0.0.1 only."""
        self.assertEqual(self.load().web.listen, "tcp:port=8080:interface=127.0.0.1")

    def test_nothing_to_say(self) -> None:
        """There is no note without a decision."""
        self.assertEqual(self.load().notes, ())

    def test_classes_and_table_agree(self) -> None:
        """The defaults of the classes are those of the table."""
        loaded = self.load()
        self.assertEqual(loaded.web, WebSettings())
        self.assertEqual(loaded.simulator, SimulatorSettings())
        for field in dataclasses.fields(VenueSettings):
            if field.default is not dataclasses.MISSING:
                self.assertEqual(getattr(loaded.venue, field.name), field.default, field.name)

    def test_types(self) -> None:
        """Values have the types that the classes promise."""
        loaded = self.load()
        for section in (loaded.venue, loaded.web, loaded.simulator):
            for field in dataclasses.fields(section):
                value = getattr(section, field.name)
                name = type(value).__name__.removeprefix("Posix")
                self.assertIn(name, field.type.replace("None", "NoneType"), field.name)

    def test_every_field_has_a_row(self) -> None:
        """Each field but the derived one is a row of the table, and the reverse."""
        rows = {(key.section, key.name) for key in describe()}
        fields = {
            (name, field.name)
            for name, cls in {
                "venue": VenueSettings,
                "web": WebSettings,
                "simulator": SimulatorSettings,
            }.items()
            for field in dataclasses.fields(cls)
        }
        self.assertEqual(fields - rows, {("venue", "embedded")})
        self.assertEqual(rows - fields, {("web", "ws_port")})

    def test_names_are_unique(self) -> None:
        """No two rows share an environment name or an option."""
        for names in (
            [key.environment_name for key in describe()],
            [key.option for key in describe()],
            [key.title for key in describe()],
        ):
            self.assertEqual(len(names), len(set(names)))

    def test_is_frozen(self) -> None:
        """Nobody changes settings on the way."""
        loaded = self.load()
        for part in (loaded, loaded.venue, loaded.web, loaded.simulator):
            name = dataclasses.fields(part)[0].name
            self.assertRaises(dataclasses.FrozenInstanceError, setattr, part, name, 1)


class OrderTests(SettingsTestCase):
    """tap.conf < .env < environment < command line."""

    def test_rising_order(self) -> None:
        """Each source wins over the one before."""
        conf, dotenv = "[web]\nping_s = 1\n", "CTRADER_STREAM_WEB_PING_S=2\n"
        environ, options = {"CTRADER_STREAM_WEB_PING_S": "3"}, {"ping-s": "4"}
        self.assertEqual(self.load(conf=conf).web.ping_s, 1)
        self.assertEqual(self.load(conf=conf, dotenv=dotenv).web.ping_s, 2)
        self.assertEqual(self.load(environ, conf=conf, dotenv=dotenv).web.ping_s, 3)
        loaded = self.load(environ, conf=conf, dotenv=dotenv, options=options)
        self.assertEqual(loaded.web.ping_s, 4)

    def test_every_key_from_every_source(self) -> None:
        """Each key is read from each source that may hold it."""
        ca = str(self.file("ca.pem", "x"))
        default = self.load()
        for key in describe():
            text = {**OTHER, "ca_file": ca}.get(key.name, "9")
            name = key.environment_name
            sources = [self.load({name: text}), self.load(dotenv=f"{name}={text}")]
            if not key.secret:
                sources.append(self.load(conf=f"[{key.section}]\n{key.name} = {text}"))
                sources.append(self.load(options={key.option: text}))
            for loaded in sources:
                if key.name == "ws_port":
                    self.assertEqual(loaded.web.listen, "tcp:port=9:interface=127.0.0.1")
                else:
                    self.assertEqual(value_of(loaded, key), key.kind.parse(text), key.title)
                if key.name not in {"environment", "ws_port"}:
                    self.assertNotEqual(value_of(loaded, key), value_of(default, key), key.title)

    def test_environ_is_left_alone(self) -> None:
        """.env does not leak into os.environ, and is not filled in from it."""
        self.patch(os, "environ", {**os.environ, "PLANTED": "planted"})
        before = dict(os.environ)
        loaded = self.load(dotenv="CTRADER_CLIENT_SECRET='a${PLANTED}$b'\nWS_PORT=8181\n")
        self.assertEqual(dict(os.environ), before)
        self.assertEqual(loaded.venue.client_secret.reveal(), "a${PLANTED}$b")

    def test_empty_is_not_given(self) -> None:
        """An empty name in .env or the environment leaves the lower source its word."""
        loaded = self.load({"WS_PORT": " "}, dotenv="WS_PORT=\nCTRADER_ENV=\nHOST=\nPORT=\n")
        self.assertEqual(loaded, self.load())
        loaded = self.load({"WS_PORT": ""}, dotenv="WS_PORT=8181")
        self.assertEqual(loaded.web.listen, "tcp:port=8181:interface=127.0.0.1")

    def test_listen_wins_over_ports(self) -> None:
        """`listen`, from whichever source, wins over WS_PORT and PORT."""
        loaded = self.load(
            {"WS_PORT": "1", "PORT": "2"}, conf="[web]\nlisten = unix:/run/x.sock:mode=660"
        )
        self.assertEqual(loaded.web.listen, "unix:/run/x.sock:mode=660")
        self.assertIn("but [web] listen in", loaded.notes[0])

    def test_option_not_given(self) -> None:
        """None stands for an option that was not typed."""
        self.assertEqual(self.load(options={"listen": None, "ws-port": None}), self.load())

    def test_option_spelling(self) -> None:
        """An underscore in an option is as good as a dash."""
        self.assertEqual(self.load(options={"ping_s": "3"}).web.ping_s, 3)


class VenueTests(SettingsTestCase):
    """Which venue, who we are, and what follows."""

    def test_hosts(self) -> None:
        """The environment brings its host, its port, and is read in any case."""
        for word, host in (("DEMO", "demo.ctraderapi.com"), ("Live", "live.ctraderapi.com")):
            venue = self.load({**BROKER, "CTRADER_ENV": word}).venue
            self.assertEqual((venue.host, venue.port, venue.embedded), (host, 5035, False))
            self.assertEqual(venue.environment, word.lower())

    def test_explicit_host(self) -> None:
        """Host and port by their explicit names."""
        venue = self.load(
            {**BROKER, "CTRADER_OPENAPI_HOST": "Proxy.Example.com", "CTRADER_OPENAPI_PORT": "5036"}
        ).venue
        self.assertEqual((venue.host, venue.port), ("proxy.example.com", 5036))

    def test_external_simulator(self) -> None:
        """A host makes the simulator an external one; its printed credentials apply."""
        venue = self.load({"CTRADER_OPENAPI_HOST": "127.0.0.1"}).venue
        self.assertEqual((venue.embedded, venue.port), (False, 5035))
        self.assertEqual(venue.access_token.reveal(), "simulator-token")

    def test_given_credentials_for_simulator(self) -> None:
        """Credentials that are given hold for a simulator too, each by itself."""
        venue = self.load({"CTRADER_OPENAPI_HOST": "::1", "CTRADER_CLIENT_SECRET": "mine"}).venue
        self.assertEqual(venue.client_secret.reveal(), "mine")
        self.assertEqual((venue.client_id, venue.host), ("simulator-client", "::1"))

    def test_credentials_without_environment(self) -> None:
        """Who gives credentials but no environment is told where they do not go."""
        loaded = self.load({key: BROKER[key] for key in BROKER if key != "CTRADER_ENV"})
        self.assertTrue(loaded.venue.embedded)
        self.assertIn("set CTRADER_ENV to demo or live", loaded.notes[0])

    def test_missing_credentials(self) -> None:
        """All that is missing is named in one sentence, with the places for it."""
        sentence = self.refusal({"CTRADER_ENV": "live"})
        self.assert_says(
            sentence,
            "environment live needs CTRADER_CLIENT_ID, CTRADER_CLIENT_SECRET, CTRADER_ACCESS_TOKEN "
            "and CTRADER_ACCOUNT_ID as well",
            ".env",
            "environment",
        )

    def test_one_missing_credential(self) -> None:
        """Each credential is missed; an empty one is a missing one."""
        for name in BROKER:
            if name != "CTRADER_ENV":
                sentence = self.refusal({**BROKER, name: ""})
                self.assert_says(sentence, f"demo needs {name} as well", "gives it:")

    def test_environment_of_a_host(self) -> None:
        """The broker's hosts say which environment they are."""
        environ = {**BROKER, "CTRADER_OPENAPI_HOST": "live.ctraderapi.com"}
        del environ["CTRADER_ENV"]
        loaded = self.load(environ)
        self.assertEqual(loaded.venue.environment, "live")
        self.assertIn("so the environment is live", loaded.notes[0])

    def test_contradiction(self) -> None:
        """One environment on the other's host is refused: it is about money."""
        for word in ("demo", "simulator"):
            sentence = self.refusal(
                {**BROKER, "CTRADER_ENV": word, "CTRADER_OPENAPI_HOST": "LIVE.ctraderapi.com"}
            )
            self.assert_says(
                sentence, f"CTRADER_ENV in the environment is {word}", "live.ctraderapi.com"
            )

    def test_port_zero(self) -> None:
        """Any free port is for the simulator in-process only."""
        self.assertEqual(self.load({"CTRADER_OPENAPI_PORT": "0"}).venue.port, 0)
        sentence = self.refusal({**BROKER, "CTRADER_OPENAPI_PORT": "0"})
        self.assert_says(sentence, "CTRADER_OPENAPI_PORT in the environment is 0", "5035")

    def test_certificate_file(self) -> None:
        """The CA file must be readable, and its name becomes absolute."""
        path = self.file("ca.pem", "x")
        relative = os.path.relpath(path)
        loaded = self.load({**BROKER, "CTRADER_CA_FILE": relative})
        self.assertEqual(loaded.venue.ca_file, Path(relative).absolute())
        for wrong in (str(path) + "x", str(self.folder)):
            self.assert_says(
                self.refusal({"CTRADER_CA_FILE": wrong}), "CTRADER_CA_FILE", "can be read"
            )

    def test_certificate_file_without_use(self) -> None:
        """For the simulator in-process it is not used, and that is said."""
        loaded = self.load({"CTRADER_CA_FILE": str(self.file("ca.pem", "x"))})
        self.assertIn("is not used", loaded.notes[0])


class OlderNamesTests(SettingsTestCase):
    """HOST and PORT."""

    def test_both_name_the_venue(self) -> None:
        """HOST and PORT together are the venue's, also by .env."""
        pair = {"HOST": "venue.example.com", "PORT": "3000"}
        for loaded in (
            self.load({**BROKER, **pair}),
            self.load(BROKER, dotenv="HOST=venue.example.com\nPORT=3000"),
        ):
            self.assertEqual((loaded.venue.host, loaded.venue.port), ("venue.example.com", 3000))
            self.assertEqual(loaded.web.listen, WebSettings().listen)
            self.assertEqual(len(loaded.notes), 2)
            self.assertIn("(3000) is understood as the venue's port.", loaded.notes[1])

    def test_host_alone(self) -> None:
        """HOST alone is the venue's host."""
        venue = self.load({**BROKER, "HOST": "venue.example.com"}).venue
        self.assertEqual((venue.host, venue.port), ("venue.example.com", 5035))

    def test_well_known_ports(self) -> None:
        """5035 and 5036 are the venue's, even alone."""
        for port in (5035, 5036):
            loaded = self.load({**BROKER, "PORT": str(port)})
            self.assertEqual(loaded.venue.port, port)
            self.assertEqual(loaded.web.listen, WebSettings().listen)

    def test_port_alone(self) -> None:
        """Any other PORT alone is where we listen, and it wins over WS_PORT."""
        loaded = self.load({"PORT": "3000", "WS_PORT": "8081"})
        self.assertEqual(loaded.web.listen, "tcp:port=3000:interface=127.0.0.1")
        self.assertEqual(loaded.venue.port, 0)
        self.assertEqual(
            loaded.notes, ("PORT in the environment (3000) is understood as our port.",)
        )

    def test_option_wins(self) -> None:
        """The command line wins over PORT."""
        loaded = self.load({"PORT": "3000"}, options={"ws-port": "1"})
        self.assertEqual(loaded.web.listen, "tcp:port=1:interface=127.0.0.1")
        self.assertIn("but --ws-port on the command line wins", loaded.notes[0])

    def test_platform_and_file(self) -> None:
        """A platform's PORT is ours even when .env has HOST and PORT for the venue."""
        loaded = self.load(
            {"PORT": "3000"},
            dotenv="CTRADER_ENV=simulator\nHOST=localhost\nPORT=5036\nWS_PORT=8081",
        )
        self.assertEqual((loaded.venue.host, loaded.venue.port), ("localhost", 5036))
        self.assertEqual(loaded.web.listen, "tcp:port=3000:interface=127.0.0.1")

    def test_explicit_names_win(self) -> None:
        """The explicit names win from every source, tap.conf included, and the note says so."""
        older = {"HOST": "old.example.com", "PORT": "1"}
        explicit = {"CTRADER_OPENAPI_HOST": "new.example.com", "CTRADER_OPENAPI_PORT": "2"}
        lines = "\n".join(f"{name}={value}" for name, value in explicit.items())
        for loaded in (
            self.load({**older, **explicit}),
            self.load(older, dotenv=lines),
            self.load(older, conf="[venue]\nhost=new.example.com\nport=2"),
            self.load(older, options={"host": "new.example.com", "port": "2"}),
        ):
            self.assertEqual((loaded.venue.host, loaded.venue.port), ("new.example.com", 2))
            self.assertEqual(len([note for note in loaded.notes if "wins." in note]), 2)

    def test_environment_over_file(self) -> None:
        """Between two HOSTs the environment's wins."""
        loaded = self.load({"HOST": "a.example.com"}, dotenv="HOST=b")
        self.assertEqual(loaded.venue.host, "a.example.com")
        self.assertIn("but HOST in the environment wins", loaded.notes[0])

    def test_host_of_the_shell(self) -> None:
        """A bare machine name in the process environment is ignored, and PORT judged without it."""
        loaded = self.load({"HOST": "buildbox7", "PORT": "3000"})
        self.assertTrue(loaded.venue.embedded)
        self.assertEqual(loaded.web.listen, "tcp:port=3000:interface=127.0.0.1")
        self.assertIn("machine's name: ignored", loaded.notes[0])
        self.assertEqual(self.load(dotenv="HOST=buildbox7").venue.host, "buildbox7")
        self.assertEqual(self.load({"HOST": "localhost"}).venue.host, "localhost")

    def test_host_of_a_platform(self) -> None:
        """An address that only listeners have is nobody's host."""
        loaded = self.load({"HOST": "::", "PORT": "3000"})
        self.assertTrue(loaded.venue.embedded)
        self.assertIn("no venue's host", loaded.notes[0])
        self.assertTrue(self.load(dotenv="HOST=0.0.0.0").venue.embedded)
        self.assertEqual(loaded.web.listen, "tcp:port=3000:interface=127.0.0.1")

    def test_harmless_notes(self) -> None:
        """What was not parsed, because it did not count, is still noted without its controls."""
        loaded = self.load({"HOST": "a.b\x1b[1m", "CTRADER_OPENAPI_HOST": "c.example.com"})
        self.assertIn(r"(a.b\x1b[1m) is understood", loaded.notes[0])

    def test_specification_example(self) -> None:
        """The names of the older service work as they stand."""
        loaded = self.load(
            dotenv="CTRADER_CLIENT_ID=a\nCTRADER_CLIENT_SECRET=b\nCTRADER_ACCESS_TOKEN=c\n"
            "CTRADER_ACCOUNT_ID=7\nHOST=live.ctraderapi.com\nPORT=5035\nWS_PORT=8080\n"
        )
        venue = loaded.venue
        self.assertEqual(
            (venue.environment, venue.host, venue.port, venue.account_id),
            ("live", "live.ctraderapi.com", 5035, 7),
        )

    def test_bad_values(self) -> None:
        """They are refused by the name that they came by."""
        self.assert_says(self.refusal({"PORT": "tcp://x"}), "PORT in the environment is 'tcp://x'")
        self.assert_says(
            self.refusal(dotenv="HOST=https://x.example.com"), "HOST in .env", "without scheme"
        )


class BadValueTests(SettingsTestCase):
    """What is refused, and that the sentence names place, value and what is allowed."""

    def test_every_number(self) -> None:
        """No number takes a word, NaN, an infinity, a negative or an overlong one."""
        wrong = (
            "abc",
            "nan",
            "inf",
            "-inf",
            "-1",
            "1e999",
            "9" * 19 + "9",
            "0x10",
            "1_0",
            "\u0661",
            "",
        )
        for key in describe():
            if key.kind.wordy or key.secret or " or " in key.kind.allowed:
                continue
            for text in wrong:
                self.assertRaises(ValueError, key.kind.parse, text)

    def test_whole_numbers(self) -> None:
        """A whole number has no fraction; a number may have one."""
        self.assert_says(
            self.refusal({"WS_PORT": "80.5"}), "WS_PORT in the environment is '80.5'", "0 to 65535"
        )
        self.assertEqual(self.load({"CTRADER_STREAM_WEB_PING_S": ".25"}).web.ping_s, 0.25)
        self.assertEqual(self.load({"CTRADER_STREAM_WEB_PING_S": "2e1"}).web.ping_s, 20)

    def test_sentence(self) -> None:
        """File, section, key, value, range, default: all in the sentence."""
        self.assertEqual(
            self.refusal(conf="[venue]\nheartbeat_s = 26"),
            "[venue] heartbeat_s in tap.conf is '26', but must be a number from 0.001 to 25: "
            "correct it, or leave it out for the default 10.",
        )
        self.assertEqual(
            self.refusal(options={"seed": "x"}),
            "--seed on the command line is 'x', but must be a whole number from 0 to "
            "9223372036854775807: correct it, or leave it out for the default 1.",
        )
        self.assertEqual(
            self.refusal(dotenv="CTRADER_ENV=prod"),
            "CTRADER_ENV in .env is 'prod', but must be simulator, demo or live: "
            "correct it, or leave it out for the default simulator.",
        )

    def test_bounds(self) -> None:
        """Bounds that are allowed are allowed, and zero only where it means something."""
        self.load(conf="[venue]\nheartbeat_s = 25\nstable_after_s = 0\nunsubscribe_grace_s = 0")
        self.load(conf="[web]\nws_port = 65535\n[simulator]\nrate = 0\nseed = 0")
        for name in ("heartbeat_s", "requests_per_s", "backoff_initial_s", "connect_timeout_s"):
            self.assert_says(self.refusal(conf=f"[venue]\n{name} = 0"), f"[venue] {name}", "'0'")
        self.assert_says(self.refusal(conf="[venue]\nrequests_per_s = 51"), "0.001 to 50")
        self.assert_says(self.refusal(conf="[web]\nws_port = 65536"), "'65536'")

    def test_next_to_nothing(self) -> None:
        """A number that is too small for any use is refused, also one that is 0 as a float only."""
        small = ("0.0009", "1e-300", "4e-324", "1e-9999", "-0.001")
        for key in describe():
            if " number from 0.001 " not in f" {key.kind.allowed} ":
                continue
            for text in small:
                with self.subTest(key=key.title, text=text):
                    self.assertRaises(ValueError, key.kind.parse, text)
            self.assertEqual(key.kind.parse("0.001"), 0.001)
            if "and 0" in key.kind.allowed:
                self.assertEqual([key.kind.parse(text) for text in ("0", "0.0", "0e9")], [0] * 3)

    def test_flags(self) -> None:
        """A flag takes the usual words in any case."""
        for word, meaning in (("TRUE", True), ("on", True), ("0", False), ("No", False)):
            loaded = self.load({"CTRADER_STREAM_WEB_COMPRESSION": word})
            self.assertIs(loaded.web.compression, meaning)
        self.assert_says(
            self.refusal({"CTRADER_STREAM_WEB_COMPRESSION": "maybe"}), "true or false", "'maybe'"
        )

    def test_hosts(self) -> None:
        """A host is a bare name or address."""
        for host in ("x y", "https://x", "x:5035", "a/b", "-x", "x\x00y", "a" * 254, "ä.example"):
            self.assert_says(self.refusal({"CTRADER_OPENAPI_HOST": host}), "CTRADER_OPENAPI_HOST")

    def test_silence_and_heartbeat(self) -> None:
        """The silence alarm is slower than the heartbeat, whoever of the two was given."""
        sentence = self.refusal(conf="[venue]\nsilence_s = 10")
        self.assert_says(
            sentence, "silence_s in tap.conf is 10", "more than 10", "heartbeat_s (by default)"
        )

    def test_backoff(self) -> None:
        """The first wait is not longer than the longest."""
        sentence = self.refusal({"CTRADER_STREAM_VENUE_BACKOFF_INITIAL_S": "61"})
        self.assert_says(
            sentence, "backoff_max_s (by default) is 60", "at least 61", "BACKOFF_INITIAL_S in the"
        )
        self.load({"CTRADER_STREAM_VENUE_BACKOFF_INITIAL_S": "60"})

    def test_endpoints(self) -> None:
        """What we accept as an endpoint, Twisted accepts too."""
        for text in (
            "tcp:8080",
            "tcp:port=0:interface=0.0.0.0:backlog=10",
            r"tcp6:port=8080:interface=\:\:1",
            "unix:/run/stream.sock:mode=660",
            "unix:/run/stream.sock:mode=0600:lockfile=0",
            "unix:address=/run/stream.sock",
        ):
            self.assertEqual(self.load(options={"listen": text}).web.listen, text)
            serverFromString(MemoryReactorClock(), text)
        for text in ("systemd:domain=INET:name=http", "ssl:port=443:privateKey=/k.pem:certKey=/c"):
            self.assertEqual(self.load(options={"listen": text}).web.listen, text)

    def test_bad_endpoints(self) -> None:
        """Others are refused before anything starts."""
        for text in (
            "8080",
            "0.0.0.0:8080",
            "http:8080",
            "tcp",
            "tcp:",
            "tcp:http",
            "tcp:65536",
            "tcp:8080:port=8081",
            "tcp:port=8080:interfce=127.0.0.1",
            "tcp:port=8080:127.0.0.1",
            "tcp:interface=127.0.0.1",
            "tcp:port=",
            "unix:",
            "systemd:domain=INET",
            "TCP:8080",
            "tcp:8080:backlog=abc",
            "tcp:8080:backlog=-1",
            "tcp:8080:backlog=99999999999",
            "ssl:8443:backlog=many",
            "unix:/run/stream.sock:mode=999",
            "unix:/run/stream.sock:mode=77777",
            "unix:/run/stream.sock:mode=0o660",
            "unix:/run/stream.sock:lockfile=yes",
            "systemd:domain=INET:index=first",
            "systemd:domain=FOO:index=0",
        ):
            self.assert_says(self.refusal(options={"listen": text}), "--listen", repr(text), "tcp6")

    def test_long_values(self) -> None:
        """What is far too long for its key may be a secret in the wrong place: it is not shown."""
        sentence = self.refusal({**BROKER, "CTRADER_ACCOUNT_ID": "Zx81" * 10})
        self.assert_says(sentence, "CTRADER_ACCOUNT_ID", "a text of 40 characters")
        self.assertNotIn("Zx81", sentence)

    def test_a_malformed_client_id(self) -> None:
        """It may be the client secret, so it is not shown, however short."""
        sentence = self.refusal({**BROKER, "CTRADER_CLIENT_ID": "pa55 word"})
        self.assert_says(sentence, "CTRADER_CLIENT_ID in the environment must be printable")
        self.assertNotIn("pa55", sentence)

    def test_what_looks_like_a_secret(self) -> None:
        """A long stretch of mixed letters and digits is not shown; names and paths are."""
        for name in ("CTRADER_OPENAPI_HOST", "CTRADER_CA_FILE"):
            sentence = self.refusal({name: "kD83hfKJh2kf9s8dKJHFkj=="})
            self.assert_says(sentence, f"{name} in the environment is a text of 24 characters")
        for name, value in {
            "CTRADER_OPENAPI_HOST": "https://demo.ctraderapi.com:5035/some-path",
            "CTRADER_CA_FILE": "/etc/ctrader-stream/authorities-2026.pem",
        }.items():
            self.assert_says(self.refusal({name: value}), repr(value))

    def test_a_secret_in_the_wrong_place(self) -> None:
        """Wherever it was put, the sentence names the place, and does not repeat it."""
        secret, broken = "kD83hfKJh2kf9s8dKJHFkjhsd7263kjhdkfKJHsd8f7", "kD83hfKJh2 dKJHFkjh"
        for line in (
            f"CTRADER_CLIENT_ID='{broken}'",
            f"CTRADER_CLIENT_ID='{secret} '\nCTRADER_CLIENT_ID={secret}",
            f"CTRADER_OPENAPI_HOST={secret}==",
            f"CTRADER_ENV={secret}",
            f"CTRADER_ACCOUNT_ID={secret}",
            f"CTRADER_CLIENT_SECRET_FILE={secret}",
            "CTRADER_CLIENT_SECRET_FILE=kD83hfKJh2",
            f"CTRADER_CLIENT_SECRET_FILE={secret * 10}",
            f"CTRADER_CA_FILE={secret}",
            f"CTRADER_STREAM_WEB_ORIGINS={secret}",
            f"CTRADER_STREAM_WEB_LISTEN={secret}",
            f"CTRADER_STREAM_WEB_PING_S={secret}",
            f"CTRADER_{secret}",
            f"CTRADER_CLIENT_SECRET {secret}",
            f"CTRADER_ENV=demo\n'{secret}",
        ):
            sentence = self.refusal(dotenv=line)
            self.assertNotIn("kD83hfKJh2", sentence)
            self.assertRegex(sentence, r"CTRADER_[A-Z_]+|a line \d")
        for line in (
            f"client_id = {broken}",
            secret,
            f"{secret}: x y",
            f"client_secret = {secret}",
        ):
            self.assertNotIn("kD83hfKJh2", self.refusal(conf=f"[venue]\n{line}"))

    def test_unspeakable(self) -> None:
        """Secrets, and a client id that is long enough to be one; a repr shows none of them."""
        venue = self.load({**BROKER, "CTRADER_CLIENT_ID": "long-enough-7"}).venue
        told = [secret.reveal() for secret in venue.unspeakable()]
        self.assertEqual(told[2:], ["long-enough-7"])
        self.assertFalse([one for one in told if one in repr(venue)], repr(venue))
        venue = self.load({**BROKER, "CTRADER_CLIENT_ID": "a"}).venue
        self.assertEqual(len(venue.unspeakable()), 2)

    def test_control_characters(self) -> None:
        """They are shown as escapes, never as they are."""
        self.assert_says(self.refusal({"WS_PORT": "8\x1b[1m"}), r"'8\x1b[1m'")


class TapConfTests(SettingsTestCase):
    """The INI file."""

    def test_unknown_key(self) -> None:
        """The nearest known key of the section is suggested."""
        self.assertEqual(
            self.refusal(conf="[web]\npings_s = 3"),
            "tap.conf has an unknown key [web] pings_s: did you mean ping_s.",
        )

    def test_unknown_key_like_nothing(self) -> None:
        """Without a near one the example file is named."""
        self.assert_says(self.refusal(conf="[web]\nzzz = 3"), "[web] zzz", "tap.conf.example")

    def test_half_a_name(self) -> None:
        """``port`` of [web] is ws_port, and not the port of the venue."""
        self.assertEqual(
            self.refusal(conf="[web]\nport = 3"),
            "tap.conf has an unknown key [web] port: did you mean ws_port.",
        )
        for more in ({"dotenv": "CTRADER_STREAM_WEB_PORT=3"}, {}):
            environ = {} if more else {"CTRADER_STREAM_WEB_PORT": "3"}
            self.assert_says(self.refusal(environ, **more), "WEB_PORT in", "did you mean WS_PORT.")

    def test_other_section(self) -> None:
        """A key in the wrong section is sent to the right one."""
        self.assert_says(
            self.refusal(conf="[web]\nseed = 3"), "[web] seed", "belongs into the section simulator"
        )

    def test_other_section_or_another_name(self) -> None:
        """`host` is the venue's, and who writes it below [web] may mean `hosts`."""
        self.assertEqual(
            self.refusal(conf="[web]\nhost = 3"),
            "tap.conf has an unknown key [web] host: did you mean hosts, or does it belong into "
            "the section venue.",
        )

    def test_unknown_section(self) -> None:
        """So is a section that nobody knows, DEFAULT included."""
        self.assert_says(self.refusal(conf="[vanue]\n"), "unknown section vanue", "mean venue")
        self.assert_says(self.refusal(conf="[DEFAULT]\nping_s = 3"), "unknown section DEFAULT")

    def test_twice(self) -> None:
        """A key or a section that stands twice is refused, however it is spelled."""
        self.assert_says(
            self.refusal(conf="[web]\nping_s = 3\nPing-S = 4"), "[web] ping_s twice", "line 3"
        )
        self.assert_says(self.refusal(conf="[web]\n[venue]\n[web]\n"), "section web twice")

    def test_syntax(self) -> None:
        """A line that is nothing is named by number, and not repeated."""
        self.assert_says(self.refusal(conf="[web]\n\nPlanted\n"), "line 3", "key = value")
        self.assert_says(self.refusal(conf="ping_s = 3\n"), "line 1", "before any section")
        self.assert_says(self.refusal(conf="[web]\n= 3\n"), "line 2")
        self.assertNotIn("Planted", self.refusal(conf="[web]\nPlanted\n"))

    def test_sections_stand_alone(self) -> None:
        """What stands in the line of a section is not passed over, but refused, by its number."""
        for line in (
            "[web] ws_port = 1",
            "[web]ws_port=1",
            "[web",
            "[]",
            "[[web]]",
            "[web]\u2028a=1",
        ):
            sentence = self.refusal(conf=f"# one\n{line}\n")
            self.assert_says(sentence, "tap.conf has a line 2", "stand alone")
        self.load(conf="[web]  # our door\nws_port = 1\n")

    def test_empty_value(self) -> None:
        """Empty is an error where there is a default, and nothing where there is none."""
        self.assert_says(
            self.refusal(conf="[web]\nping_s =\n"), "[web] ping_s in tap.conf is empty", "20"
        )
        self.assertEqual(self.load(conf="[venue]\nhost =\n[web]\nlisten =\n"), self.load())

    def test_layout(self) -> None:
        """BOM, Windows line ends, indentation, comments, dashes and capitals are all fine."""
        loaded = self.load(
            conf=b"\xef\xbb\xbf; hello\r\n[web]\r\n  Ping-S = 3  # often\r\n\tclients: 4\r\n"
        )
        self.assertEqual((loaded.web.ping_s, loaded.web.clients), (3, 4))

    def test_empty_file(self) -> None:
        """An empty file says nothing."""
        self.assertEqual(self.load(conf=""), self.load())

    def test_no_interpolation(self) -> None:
        """A percent sign is a percent sign."""
        self.assertEqual(self.load(conf="[venue]\nclient_id = 50%(x)s").venue.client_id, "50%(x)s")

    def test_unreadable(self) -> None:
        """A file that is missing, a folder, not UTF-8 or huge is named with the reason."""
        missing = self.folder / "none.conf"
        for path, reason in (
            (missing, "No such file"),
            (self.folder, "directory"),
            (self.file("latin", b"[web]\n# \xe9\n"), "not UTF-8"),
            (self.file("utf16", "[web]".encode("utf-16")), "not UTF-8"),
            (self.file("huge", b"#" * 1_100_000), "larger than 1 MiB"),
            (Path("/no\x00file"), "no file name"),
        ):
            for which in ("tap_conf", "dotenv"):
                paths = {"tap_conf": None, "dotenv": None, which: path}
                error = self.assertRaises(ConfigurationError, load, options={}, environ={}, **paths)
                self.assert_says(str(error), reason, str(path))

    def test_secrets(self) -> None:
        """A secret in this file is refused, wherever it stands, and not repeated."""
        for conf in (
            "[venue]\nclient_secret = s3cr3t-of-app",
            "[venue]\naccess-token: s3cr3t-of-app",
            "[web]\nACCESS_TOKEN = s3cr3t-of-app",
            "[venue]\nclient_secret s3cr3t-of-app = 1",
            "[other]\nclient_secret_file = s3cr3t-of-app",
        ):
            sentence = self.refusal(conf=conf)
            self.assertNotIn("s3cr3t-of-app", sentence)
            if not conf.startswith("[other]"):
                self.assert_says(sentence, "tap.conf", "CTRADER_", "_FILE", ".env")

    def test_indented_secret(self) -> None:
        """A line below another is never taken for its continuation."""
        sentence = self.refusal(conf="[venue]\nhost = a.example\n  client_secret = s3cr3t-of-app")
        self.assert_says(sentence, "client_secret", "CTRADER_CLIENT_SECRET")
        self.assertNotIn("s3cr3t-of-app", sentence)


class DotenvTests(SettingsTestCase):
    """The .env file and the names of the environment."""

    def test_unknown_names(self) -> None:
        """Our prefix with an unknown rest is refused with the nearest name."""
        self.assertEqual(
            self.refusal(dotenv="CTRADER_CLIENT_SECRT=x"),
            "CTRADER_CLIENT_SECRT in .env is an unknown name: did you mean CTRADER_CLIENT_SECRET.",
        )
        self.assert_says(self.refusal(dotenv="CTRADER_ZZZZZZZZZZZZZZ=x"), ".env.example")
        self.assert_says(self.refusal(dotenv="ctrader_env=demo"), "did you mean CTRADER_ENV")

    def test_unknown_names_in_the_environment(self) -> None:
        """There, only our longer prefix is our business."""
        sentence = self.refusal({"CTRADER_STREAM_WEB_PINGS": "1"})
        self.assert_says(sentence, "the environment", "CTRADER_STREAM_WEB_PING_S")
        self.assertEqual(self.load({"CTRADER_OTHER": "1", "LANG": "C"}), self.load())

    def test_a_slip_in_the_environment(self) -> None:
        """A name there that is nearly one of ours is not read, and that is said."""
        (note,) = self.load({"CTRADER_OPENAPI_HSOT": "hush.example"}).notes
        self.assert_says(note, "CTRADER_OPENAPI_HSOT", "did you mean CTRADER_OPENAPI_HOST")
        self.assertNotIn("hush", note)

    def test_a_service_of_our_name(self) -> None:
        """What Kubernetes tells of a service called ctrader-stream is no setting."""
        told = {
            "CTRADER_STREAM_SERVICE_HOST": "10.0.0.7",
            "CTRADER_STREAM_SERVICE_PORT": "8080",
            "CTRADER_STREAM_SERVICE_PORT_HTTP": "8080",
            "CTRADER_STREAM_PORT": "tcp://10.0.0.7:8080",
            "CTRADER_STREAM_PORT_8080_TCP": "tcp://10.0.0.7:8080",
            "CTRADER_STREAM_PORT_8080_TCP_PROTO": "tcp",
            "CTRADER_STREAM_PORT_8080_TCP_PORT": "8080",
            "CTRADER_STREAM_PORT_8080_TCP_ADDR": "10.0.0.7",
        }
        self.assertEqual(self.load(told), self.load())
        self.assertEqual(
            self.load({f"CTRADER_STREAM_WEB_{k[15:]}": v for k, v in told.items()}), self.load()
        )

    def test_names_of_others(self) -> None:
        """Names of later features and of other programs are no mistake."""
        loaded = self.load(
            dotenv="CTRADER_REDIRECT_URI=x\nSERVICE_BASE_URL=x\nWS_BASE_URL=x\nRABBITMQ_URL=x\n"
            "COMPOSE_PROJECT_NAME=x\nOTHER=1\nOTHER=2\nlone\nwith.dot=1\n"
        )
        self.assertEqual(loaded, self.load())

    def test_twice(self) -> None:
        """One of our names that stands twice is refused."""
        self.assert_says(
            self.refusal(dotenv="WS_PORT=1\n\n\nWS_PORT=2\n"), "gives WS_PORT twice", "line 4"
        )

    def test_syntax(self) -> None:
        """A line that is no assignment is named by number, and not repeated."""
        for dotenv in (
            "\n\nCTRADER_CLIENT_SECRET s3cr3t-of-app\n",
            "\r\n\r\nCTRADER_CLIENT_SECRET='s3cr3t-of-app\r\n",
            "# one\n# two\nCTRADER_CLIENT_SECRET:s3cr3t-of-app=\n",
            "\n\nCTRADER_CLIENT_SECRET\n",
        ):
            sentence = self.refusal(dotenv=dotenv)
            self.assert_says(sentence, ".env has a line 3")
            self.assertNotIn("s3cr3t-of-app", sentence)

    def test_layout(self) -> None:
        """BOM, Windows line ends, quotes, export and comments are all fine."""
        loaded = self.load(
            dotenv=b'\xef\xbb\xbfexport WS_PORT=1 # here\r\nCTRADER_CLIENT_SECRET="a b"\r\n'
            b"CTRADER_ACCESS_TOKEN='c'\r\n"
        )
        self.assertEqual(loaded.web.listen, "tcp:port=1:interface=127.0.0.1")
        self.assertEqual(loaded.venue.client_secret.reveal(), "a b")
        self.assertEqual(loaded.venue.access_token.reveal(), "c")

    def test_readable_by_others(self) -> None:
        """A .env with secrets that others can read is a warning; without secrets it is fine."""
        for content, mode, noted in (
            ("CTRADER_CLIENT_SECRET=x", 0o644, True),
            ("CTRADER_CLIENT_SECRET=x", 0o640, True),
            ("CTRADER_CLIENT_SECRET=x", 0o600, False),
            ("CTRADER_CLIENT_SECRET=\nWS_PORT=1", 0o644, False),
        ):
            path = self.file(".env", content, mode)
            loaded = load(options={}, environ={}, tap_conf=None, dotenv=path)
            self.assertEqual(any("chmod 600" in note for note in loaded.notes), noted, content)


class SecretSourceTests(SettingsTestCase):
    """Where secrets may come from, and where not."""

    def test_file(self) -> None:
        """A *_FILE name, in the environment or .env, names an owner-only file."""
        path = self.file("secret", b"\xef\xbb\xbfs3cr3t-of-app\r\n")
        for loaded in (
            self.load({"CTRADER_CLIENT_SECRET_FILE": str(path)}),
            self.load(dotenv=f"CTRADER_CLIENT_SECRET_FILE={path}"),
        ):
            self.assertEqual(loaded.venue.client_secret, Secret("s3cr3t-of-app"))

    def test_open_file(self) -> None:
        """A file on which others have any right is refused."""
        for mode in (0o640, 0o604, 0o620, 0o644):
            path = self.file("secret", "s3cr3t-of-app", mode)
            sentence = self.refusal({"CTRADER_ACCESS_TOKEN_FILE": str(path)})
            self.assert_says(sentence, "CTRADER_ACCESS_TOKEN_FILE", f"{mode:04o}", "chmod 600")

    def test_bad_files(self) -> None:
        """Missing, empty, or more than one line."""
        self.assert_says(
            self.refusal({"CTRADER_CLIENT_SECRET_FILE": str(self.folder / "none")}), "No such file"
        )
        for content in ("", "\n", "s3cr3t-of-app\nmore"):
            path = self.file("secret", content)
            sentence = self.refusal({"CTRADER_CLIENT_SECRET_FILE": str(path)})
            self.assert_says(sentence, "on one line")
            self.assertNotIn("s3cr3t-of-app", sentence)

    def test_both(self) -> None:
        """The secret and its file in one source contradict; in two, the higher wins unread."""
        both = {"CTRADER_CLIENT_SECRET": "x", "CTRADER_CLIENT_SECRET_FILE": "/none"}
        self.assert_says(self.refusal(both), "both given in the environment")
        loaded = self.load({"CTRADER_CLIENT_SECRET": "x"}, dotenv="CTRADER_CLIENT_SECRET_FILE=/no")
        self.assertEqual(loaded.venue.client_secret, Secret("x"))

    def test_command_line(self) -> None:
        """A secret on the command line is refused, and not repeated."""
        for option in ("client-secret", "access_token"):
            sentence = self.refusal(options={option: "s3cr3t-of-app"})
            self.assert_says(sentence, "can read a command line", "_FILE")
            self.assertNotIn("s3cr3t-of-app", sentence)

    def test_unprintable(self) -> None:
        """A secret with a line break inside is refused, and not repeated."""
        sentence = self.refusal({**BROKER, "CTRADER_CLIENT_SECRET": "s3cr3t-of\napp"})
        self.assert_says(sentence, "CTRADER_CLIENT_SECRET in the environment must be one line")
        self.assertNotIn("s3cr3t", sentence)

    def test_surrounding_blanks(self) -> None:
        """Blanks around a secret are an accident of pasting."""
        self.assertEqual(
            self.load({"CTRADER_CLIENT_SECRET": " x \n"}).venue.client_secret, Secret("x")
        )


class OptionTests(SettingsTestCase):
    """The command line."""

    def test_unknown(self) -> None:
        """An unknown option is refused with the nearest."""
        self.assert_says(self.refusal(options={"lisen": "x"}), "--lisen", "did you mean listen")
        self.assert_says(self.refusal(options={"heartbeat-s": "1"}), "heartbeat-s")

    def test_section_in_name(self) -> None:
        """A key that two sections have carries its section."""
        loaded = self.load(options={"venue-heartbeat-s": "3", "web-heartbeat-s": "4"})
        self.assertEqual((loaded.venue.heartbeat_s, loaded.web.heartbeat_s), (3, 4))

    def test_empty(self) -> None:
        """An empty value on the command line was meant, and is refused."""
        self.assert_says(self.refusal(options={"listen": " "}), "--listen", "is empty")


printable = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S")), min_size=6)


class NoSecretTests(SettingsTestCase):
    """Nothing that is printed of settings holds a secret."""

    @settings(deadline=None)
    @given(secret=printable, token=printable)
    def test_repr(self, secret: str, token: str) -> None:
        """Neither repr nor str nor the notes."""
        loaded = load(
            options={},
            environ={
                **BROKER,
                "CTRADER_CLIENT_SECRET": f"<<{secret}>>",
                "CTRADER_ACCESS_TOKEN": f"<<{token}>>",
            },
            tap_conf=None,
            dotenv=None,
        )
        for text in (repr(loaded), str(loaded), f"{loaded}", repr(dataclasses.asdict(loaded))):
            self.assertNotIn("<<", text)
        self.assertEqual(loaded.venue.client_secret.reveal(), f"<<{secret}>>")

    @settings(deadline=None)
    @given(
        secret=printable,
        trouble=st.dictionaries(
            st.sampled_from(sorted(key.environment_name for key in describe() if not key.secret)),
            st.text(st.characters(exclude_categories=("Cs",), exclude_characters="<\x00")),
            min_size=1,
        ),
        broken=st.sampled_from(["", "\n", "\x00", "\x1b[0m"]),
    )
    def test_errors(self, secret: str, trouble: dict[str, str], broken: str) -> None:
        """Nor any error, with its whole traceback, whatever else is wrong."""
        hidden = f"<<{secret}>>{broken}<<"
        environ = {**BROKER, **trouble}
        environ |= {"CTRADER_CLIENT_SECRET": hidden, "CTRADER_ACCESS_TOKEN": hidden}
        try:
            loaded = load(options={}, environ=environ, tap_conf=None, dotenv=None)
        except ConfigurationError as error:
            text = "".join(traceback.format_exception(error))
            self.assertTrue(str(error).isprintable(), str(error))
            self.assertTrue(str(error).endswith("."))
        else:
            text = repr(loaded)
        self.assertNotIn("<<", text)

    @settings(deadline=None)
    @given(line=st.text(st.characters(exclude_categories=("Cs",), exclude_characters="<")))
    def test_any_file(self, line: str) -> None:
        """Any text at all as a file: settings or one sentence, and no secret in either."""
        for name in ("tap_conf", "dotenv"):
            before = "[venue]\n" if name == "tap_conf" else "CTRADER_ACCESS_TOKEN=<<hidden>>\n"
            path = self.file("any", f"{before}{line}\nclient_secret = <<hidden>>\n")
            paths = {"tap_conf": None, "dotenv": None, name: path}
            try:
                text = repr(load(options={}, environ={}, **paths))
            except ConfigurationError as error:
                text = "".join(traceback.format_exception(error))
            self.assertNotIn("<<", text)


class ListTests(SettingsTestCase):
    """Keys that take several values."""

    def test_several(self) -> None:
        """Commas and blanks separate, each value once, in its one spelling."""
        web = self.load(
            conf="[web]\nhosts = Ticks.example.com, b.example\n"
            "origins = https://App.example.com:443/ http://[::1]:3000 capacitor://localhost\n"
            "trusted_proxies = 10.0.0.0/8, 127.0.0.1 UNIX, 127.0.0.1/32"
        ).web
        self.assertEqual(web.hosts, ("ticks.example.com", "b.example"))
        self.assertEqual(
            web.origins,
            ("https://app.example.com", "http://[::1]:3000", "capacitor://localhost"),
        )
        self.assertEqual(web.trusted_proxies, ("10.0.0.0/8", "127.0.0.1/32", "unix"))

    def test_not_one_of_them(self) -> None:
        """One wrong value refuses the whole key."""
        for name, value in (
            ("hosts", "a.example https://b.example"),
            ("hosts", "a.example:80"),
            ("origins", "app.example.com"),
            ("origins", "https://app.example.com/page"),
            ("origins", "https://*.example.com"),
            ("origins", "https://a@b.example"),
            ("origins", "file://localhost"),
            ("origins", "https://b.example:port"),
            ("origins", "https://b\u00fccher.example"),
            ("trusted_proxies", "10.0.0.1/8"),
            ("trusted_proxies", "proxy.example"),
        ):
            said = self.refusal(conf=f"[web]\n{name} = {value}")
            self.assert_says(said, f"[web] {name}", "must be")

    def test_key_file_may_come_later(self) -> None:
        """The file of keys need not exist when settings are read; its name becomes absolute."""
        web = self.load(conf="[web]\nkeys_file = nowhere/keys.json").web
        self.assertEqual(web.keys_file, Path("nowhere/keys.json").absolute())
        self.assert_says(self.refusal(conf="[web]\nkeys_file = a\x00b"), "the name of a file")


class ExampleTests(SettingsTestCase):
    """tap.conf.example and .env.example cannot rot."""

    conf = (ROOT / "tap.conf.example").read_text()
    dotenv = (ROOT / ".env.example").read_text()

    def activated(self, text: str) -> str:
        """The text with every commented assignment in force; prose has a blank after the #."""
        return re.sub(r"^#(?=\w)", "", text, flags=re.MULTILINE)

    def test_load_as_they_are(self) -> None:
        """A copy of each changes nothing."""
        self.assertEqual(self.load(conf=self.conf, dotenv=self.dotenv), self.load())

    def test_load_with_everything_active(self) -> None:
        """Every line in force is what the defaults are."""
        conf, dotenv = self.activated(self.conf), self.activated(self.dotenv)
        self.assertNotEqual(conf, self.conf)
        self.assertEqual(self.load(conf=conf), self.load())
        self.assertEqual(self.load(dotenv=dotenv), self.load())
        self.assertEqual(self.load(conf=conf, dotenv=dotenv), self.load())

    def test_conf_lists_every_key(self) -> None:
        """Every key but the secret ones: in its section, with default, why and range."""
        sections = dict(re.findall(r"^\[(\w+)\]\n(.*?)(?=^\[|\Z)", self.conf, re.DOTALL | re.M))
        self.assertEqual(set(sections), {key.section for key in describe()})
        listed = re.findall(r"^#?(\w+) =", self.conf, re.MULTILINE)
        self.assertEqual(listed, [key.name for key in describe() if not key.secret])
        for key in describe():
            if not key.secret:
                block = f"# {key.why}\n# Allowed: {key.kind.allowed}.\n#{key.name} = {key.default}"
                self.assertIn(block.rstrip() + "\n", sections[key.section])

    def test_dotenv_lists_every_name(self) -> None:
        """Every environment name, with default and why, and nothing that is not read."""
        listed = re.findall(r"^#?(\w+)=", self.dotenv, re.MULTILINE)
        self.assertEqual(len(listed), len(set(listed)))
        names = {key.environment_name for key in describe()}
        names |= {f"{key.environment_name}_FILE" for key in describe() if key.secret}
        others = {"CTRADER_REDIRECT_URI", "SERVICE_BASE_URL", "WS_BASE_URL", "RABBITMQ_URL"}
        self.assertEqual(set(listed), names | others | {"HOST", "PORT"})
        for key in describe():
            self.assertIn(f"# {key.why}\n#{key.environment_name}={key.default}\n", self.dotenv)

    def test_no_secret_inside(self) -> None:
        """Neither file gives a value to a secret."""
        for key in describe():
            if key.secret:
                self.assertNotIn(f"{key.name} =", self.conf)
                self.assertIn(f"{key.environment_name}=\n", self.dotenv)

    def test_why(self) -> None:
        """Every row says why, in one line."""
        for key in describe():
            self.assertTrue(key.why.endswith("."), key.title)
            self.assertLess(len(key.why), 100, key.title)
