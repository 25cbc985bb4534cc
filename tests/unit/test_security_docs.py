"""docs/security.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`((?:unit|integration|browser|operations)/[a-z_]+\.py)(?:::([A-Za-z_]+))?`")


class SecurityDocsTest(SynchronousTestCase):
    """The page of promises and the tests that show them."""

    def test_every_test_exists(self) -> None:
        """Each named file is there, and has the test or the class that is named."""
        page = (ROOT / "docs" / "security.md").read_text("utf-8")
        named = NAMED.findall(page)
        self.assertGreater(len(named), 50)
        for file, name in named:
            source = (ROOT / "tests" / file).read_text("utf-8")
            self.assertRegex(source, rf"(?:def|class) {name}\b" if name else "def test_", file)

    def test_every_row_names_a_test(self) -> None:
        """A row of a table without a test promises what nothing shows."""
        page = (ROOT / "docs" / "security.md").read_text("utf-8")
        rows = [line for line in page.splitlines() if line.startswith("| ")]
        for row in rows:
            if not row.startswith("| what was wrong"):
                self.assertRegex(row.rsplit("|", 2)[1], NAMED, row)
