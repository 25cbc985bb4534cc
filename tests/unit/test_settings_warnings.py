"""Warnings about settings that are allowed but probably wrong, at start and by check-config."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ctrader_twisted.settings import describe
from tests.unit.test_chores import ChoreCase
from tests.unit.test_settings import BROKER, SettingsTestCase

HUSH = "hush-hush-4711"


class OddTextTest(SettingsTestCase):
    """Quotes, comments and blanks that became part of a value."""

    def warning(self, **more: Any) -> str:
        """The one warning; it repeats no value."""
        (said,) = self.load(**more).warnings
        self.assertNotIn(HUSH, said)
        self.assertTrue(said.endswith((".", "?")), said)
        return said

    def test_from_the_environment(self) -> None:
        """As `docker run --env-file` passes them: the value is taken as it is, and that is said."""
        table = {
            f'"{HUSH}"': "in quotes",
            f"'{HUSH}'": "in quotes",
            f"  '{HUSH}'  ": "in quotes",
            f"\u201c{HUSH}\u201d": "in quotes",
            f'"{HUSH}': "a quote at one end",
            f"{HUSH}'": "a quote at one end",
            f"{HUSH} # of the application": "leave the comment out",
            f"{HUSH}\r": "carriage return",
            f" {HUSH}": "blanks around it",
            f"{HUSH}\n": "blanks around it",
            f"CTRADER_ACCESS_TOKEN={HUSH}": "begins with a name and =",
            f"export CLIENT_SECRET = {HUSH}": "begins with a name and =",
            f"Bearer {HUSH}": "begins with the word Bearer",
        }
        for value, words in table.items():
            for name in ("CTRADER_CLIENT_SECRET", "CTRADER_ACCESS_TOKEN"):
                with self.subTest(value=value, name=name):
                    said = self.warning(environ={**BROKER, name: value})
                    self.assert_says(said, f"{name} in the environment", words)
                    loaded = self.load({**BROKER, name: value}).venue
                    stored = getattr(loaded, name.removeprefix("CTRADER_").lower())
                    self.assertEqual(stored.reveal(), value.strip())

    def test_other_settings(self) -> None:
        """Not secrets alone, and not the environment alone."""
        said = self.warning(environ={**BROKER, "CTRADER_CLIENT_ID": f'"{HUSH}"'})
        self.assert_says(said, "CTRADER_CLIENT_ID in the environment", "in quotes")
        said = self.warning(conf=f"[venue]\nclient_id = '{HUSH}'\n")
        self.assert_says(said, "[venue] client_id in ", "tap.conf", "in quotes")
        said = self.warning(options={"keys-file": '"keys.json"'})
        self.assert_says(said, "--keys-file on the command line", "in quotes")

    def test_in_a_file_of_its_own(self) -> None:
        """The content of a secret file is looked at as well."""
        path = self.file("secret", f'"{HUSH}"\n')
        said = self.warning(environ={"CTRADER_CLIENT_SECRET_FILE": str(path)})
        self.assert_says(said, "CTRADER_CLIENT_SECRET_FILE in the environment", "in quotes")
        path = self.file("secret", f"{HUSH}\r\n")
        environ = {"CTRADER_CLIENT_SECRET_FILE": str(path)}
        self.assertEqual(self.load(environ).warnings, ())

    def test_nothing_odd(self) -> None:
        """What readers of .env take away is no part of the value; inner quotes are fine."""
        for dotenv in (
            f'CTRADER_CLIENT_SECRET="{HUSH}"',
            f"CTRADER_CLIENT_SECRET='{HUSH}' # of the application",
            f"CTRADER_CLIENT_SECRET={HUSH} # of the application",
            f"CTRADER_CLIENT_SECRET={HUSH}\r\n",
        ):
            loaded = self.load(dotenv=dotenv)
            self.assertEqual(loaded.warnings, (), dotenv)
            self.assertEqual(loaded.venue.client_secret.reveal(), HUSH)
        for value in (HUSH, 'a"b', "a#b", "it's"):
            self.assertEqual(self.load({"CTRADER_CLIENT_SECRET": value}).warnings, ())


class ForeignHostTest(SettingsTestCase):
    """`demo` and `live` with a host that is not the broker's."""

    def test_foreign(self) -> None:
        """The credentials go there, so it is said, with where the host was given."""
        for host in ("ctraderapi.com.example.org", "xctraderapi.com", "192.0.2.1", "127.0.0.1"):
            for environment in ("demo", "live"):
                environ = {**BROKER, "CTRADER_ENV": environment, "CTRADER_OPENAPI_HOST": host}
                (said,) = self.load(environ).warnings
                self.assert_says(said, "CTRADER_OPENAPI_HOST in the environment", host)
                self.assert_says(said, f"{environment}.ctraderapi.com")
        (said,) = self.load(BROKER, conf="[venue]\nhost = venue.example.com\n").warnings
        self.assert_says(said, "[venue] host in ", "'venue.example.com'")

    def test_the_brokers(self) -> None:
        """Any host of its domain, in any case, and none at all."""
        for host in ("", "DEMO.ctraderapi.com", "demo1.p.ctraderapi.com"):
            environ = {**BROKER, "CTRADER_ENV": "demo", "CTRADER_OPENAPI_HOST": host}
            self.assertEqual(self.load(environ).warnings, (), host)
        environ = {"CTRADER_OPENAPI_HOST": "venue.example.com"}
        self.assertEqual(self.load(environ).warnings, (), "a simulator is anywhere")


class StrayNameTest(SettingsTestCase):
    """Names of settings in a form that is not read."""

    def test_every_setting(self) -> None:
        """With a part of our prefix missing: never ignored without a word."""
        for key in describe():
            names = {f"CTRADER_{key.name}", f"CTRADER_{key.section}_{key.name}"}
            names |= {f"{key.section}_{key.name}", f"STREAM_{key.section}_{key.name}"}
            names |= {key.name} if "_" in key.name else set()
            for name in sorted(one.upper() for one in names):
                if name in {"CTRADER_STREAM", key.environment_name, "WS_PORT"}:
                    continue
                if name in {one.environment_name for one in describe()}:
                    continue
                for written in (name, name.lower()):
                    notes = self.load({written: HUSH}).notes
                    told = [note for note in notes if f"{written} in the environment" in note]
                    self.assertEqual(len(told), 1, written)
                    self.assert_says(told[0], "is not read", "did you mean", key.environment_name)
                    self.assertNotIn(HUSH, told[0])

    def test_in_dotenv(self) -> None:
        """There our prefix is refused, with the right name; without it, it is a note."""
        said = self.refusal(dotenv="CTRADER_BACKOFF_MAX_S=5")
        self.assert_says(said, "did you mean CTRADER_STREAM_VENUE_BACKOFF_MAX_S")
        (note,) = self.load(dotenv="BACKOFF_MAX_S=5").notes
        self.assert_says(note, ".env is not read", "CTRADER_STREAM_VENUE_BACKOFF_MAX_S")

    def test_names_of_others(self) -> None:
        """Single words, what Kubernetes tells of a service called ctrader, and unlike names."""
        others = {
            "SEED": "1",
            "HOSTS": "x",
            "CLIENTS": "x",
            "LISTEN_FDS": "1",
            "CTRADER_OTHER": "x",
            "CTRADER_PORT": "tcp://10.0.0.7:8080",
            "CTRADER_SERVICE_HOST": "10.0.0.7",
            "CTRADER_SERVICE_PORT": "8080",
            "CTRADER_PORT_8080_TCP_PORT": "8080",
        }
        self.assertEqual(self.load(others), self.load())
        (note,) = self.load({"CTRADER_PORT": "5035"}).notes
        self.assert_says(note, "CTRADER_PORT in the environment", "CTRADER_OPENAPI_PORT")


class CheckConfigTest(ChoreCase):
    """`ctrader-stream check-config` says the same."""

    def test_warnings(self) -> None:
        """On standard error, after the settings, with status 0."""
        for name, value in {**BROKER, "CTRADER_CLIENT_SECRET": f'"{HUSH}"'}.items():
            os.environ[name] = value
            self.addCleanup(os.environ.pop, name)
        Path("tap.conf").write_text("[venue]\nhost = venue.example.com\n")
        status, out, err = self.run_command("check-config")
        self.assertEqual(status, 0, err)
        self.assertIn("warning: CTRADER_CLIENT_SECRET in the environment is in quotes", err)
        self.assertIn("warning: [venue] host in tap.conf is 'venue.example.com'", err)
        self.assertNotIn(HUSH, out + err)
