"""Closed standard input, output and error, and modules that are loaded at start."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

LOOK = """
import os, sys
before = set(sys.modules)
import ctrader_twisted.tap
print(*(os.readlink(f"/proc/self/fd/{number}") for number in range(3)), file=kept, flush=True)
"""
LOADED = """
import sys
from ctrader_twisted import upkeep
upkeep.load_late_modules()
before = set(sys.modules)
"localhost".encode("idna")
b"x".decode("utf-8-sig")
from importlib.resources import files
files("ctrader_twisted.web").joinpath("static", "index.html").read_bytes()
print(sorted(set(sys.modules) - before))
"""


class ClosedDescriptorsTest(SynchronousTestCase):
    """`ctrader_twisted.hold_standard_descriptors`."""

    def test_the_null_device_is_in_their_place(self) -> None:
        """Nothing that a library opens, such as the reactor, gets one of the three numbers."""
        script = 'exec 7>&1; exec "$0" -c "$1" <&- >&- 2>&-'
        said = subprocess.run(
            ["/bin/sh", "-c", script, sys.executable, "kept = open(7, 'w')\n" + LOOK],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        self.assertEqual(said.stdout.split(), ["/dev/null"] * 3)

    def test_open_ones_stay(self) -> None:
        """What is open is left alone."""
        said = subprocess.run(
            [sys.executable, "-c", "import sys\nkept = sys.stdout\n" + LOOK],
            stdin=subprocess.PIPE,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        self.assertNotIn("/dev/null", said.stdout)


class LateModulesTest(SynchronousTestCase):
    """`upkeep.load_late_modules`."""

    def test_nothing_is_left_to_load(self) -> None:
        """Names, files and pages need no further module of Python, whose files may be gone."""
        said = subprocess.run(
            [sys.executable, "-c", LOADED], capture_output=True, text=True, timeout=60, check=True
        )
        self.assertIn(said.stdout, {"[]\n", "['ctrader_twisted.web']\n"})
