"""What an installation must have, apart from our own code."""

from __future__ import annotations

import io
import re
import tomllib
from importlib.metadata import entry_points, requires, version
from pathlib import Path

from autobahn.websocket import USES_NVX
from google.protobuf.internal import api_implementation
from packaging.requirements import Requirement
from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parents[2]


def needed(wanted: list[Requirement]) -> set[str]:
    """The names of all that these need, as it is installed here."""
    found: set[str] = set()
    rest = [(one.name, tuple(one.extras)) for one in wanted]
    seen = set()
    while rest:
        name, extras = rest.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found.add(re.sub(r"[-_.]+", "-", name).lower())
        for line in requires(name) or ():
            one = Requirement(line)
            if one.marker is None or any(
                one.marker.evaluate({"extra": extra}) for extra in (*extras, "")
            ):
                rest.append((one.name, tuple(one.extras)))
    return found


class TestInstallation(SynchronousTestCase):
    """The fast implementations are in use, and the names that people type are there."""

    def test_protobuf_runs_on_its_c_core(self) -> None:
        """The pure Python implementation is thirty times slower on a spot event."""
        self.assertEqual(api_implementation.Type(), "upb")

    def test_autobahn_runs_its_native_code(self) -> None:
        """UTF-8 checks and unmasking cost ten to thirty times more without."""
        self.assertTrue(USES_NVX)

    def test_the_console_script_is_declared(self) -> None:
        """`ctrader-stream` leads to the command line."""
        (script,) = entry_points(group="console_scripts", name="ctrader-stream")
        self.assertEqual(script.value, "ctrader_twisted.cli:main")


class TestRequirements(SynchronousTestCase):
    """pyproject.toml and constraints.txt agree with each other and with what is installed."""

    def setUp(self) -> None:
        """Read both files."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        extras = project["optional-dependencies"].values()
        self.required = [Requirement(line) for line in project["dependencies"]]
        self.wanted = [
            one
            for one in [*self.required, *(Requirement(line) for e in extras for line in e)]
            if one.name != project["name"]
        ]
        lines = io.StringIO((ROOT / "constraints.txt").read_text())
        pins = (Requirement(line.strip()) for line in lines)
        self.pinned = {pin.name: str(pin.specifier).removeprefix("==") for pin in pins}

    def test_no_release_with_known_advisories(self) -> None:
        """Floors that keep out what was published about these two."""
        for name, bad in (("pyopenssl", "25.3.0"), ("werkzeug", "3.1.5")):
            (required,) = [one for one in self.required if one.name == name]
            self.assertFalse(required.specifier.contains(bad), name)

    def test_hashes_agree_with_the_constraints(self) -> None:
        """requirements.txt: the same versions for the same platforms, each with hashes, and all
        that an installed daemon needs (`make lock` makes it).
        """
        text = (ROOT / "requirements.txt").read_text().replace("\\\n", " ")
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        pins = (ROOT / "constraints.txt").read_text().splitlines()
        locked = {}
        for line in lines:
            pin, *hashes = re.split(r"\s+--hash=", line.strip())
            self.assertIn(pin, pins)
            self.assertTrue(hashes, pin)
            self.assertTrue(all(re.fullmatch("sha256:[0-9a-f]{64}", one) for one in hashes), pin)
            locked[Requirement(pin).name] = pin
        self.assertEqual(needed(self.required) - set(locked), set())
        self.assertIn("setuptools", locked, "it builds us, without a network")

    def test_every_requirement_has_a_floor(self) -> None:
        """A requirement without a floor lets a resolver choose its first release."""
        floorless = [one.name for one in self.wanted if ">=" not in str(one.specifier)]
        self.assertEqual(floorless, [])

    def test_every_requirement_is_pinned_inside_its_range(self) -> None:
        """The exact versions of development are ones that users may have."""
        odd = [
            f"{one} against {self.pinned.get(one.name)}"
            for one in self.wanted
            if not one.specifier.contains(self.pinned.get(one.name, "0"))
        ]
        self.assertEqual(odd, [])

    def test_what_is_installed_satisfies_what_is_declared(self) -> None:
        """Nothing here passes by the grace of a version that nobody else gets."""
        odd = [
            f"{one} against {version(one.name)}"
            for one in self.required
            if not one.specifier.contains(version(one.name))
        ]
        self.assertEqual(odd, [])
