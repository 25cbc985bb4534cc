"""What an installation must have, apart from our own code."""

from __future__ import annotations

import io
import tomllib
from importlib.metadata import entry_points, version
from pathlib import Path

from autobahn.websocket import USES_NVX
from google.protobuf.internal import api_implementation
from packaging.requirements import Requirement
from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parents[2]


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
