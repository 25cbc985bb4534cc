"""docs/operations.md and the code: every line of level warn and above has its row."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import ctrader_twisted

PACKAGE = Path(ctrader_twisted.__file__).parent
DOCUMENT = PACKAGE.parent / "docs/operations.md"
LEVELS = {"warn", "error", "critical", "failure"}
#: Programs of their own, with documents of their own.
ELSEWHERE = {"simulator", "tail"}


def logged() -> Iterator[str]:
    """The format of everything that the daemon logs at these levels."""
    for path in PACKAGE.rglob("*.py"):
        if not ELSEWHERE & set(path.relative_to(PACKAGE).parts):
            for node in ast.walk(ast.parse(path.read_text())):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in LEVELS
                    and "log" in ast.unparse(node.func.value)
                    and isinstance(node.args[0], ast.Constant)
                ):
                    yield node.args[0].value


class LogLinesTest(SynchronousTestCase):
    """What an operator looks up."""

    def setUp(self) -> None:
        table = DOCUMENT.read_text().partition("## What the log says")[2]
        self.rows = re.findall(r"^\| `(.+?)` \| (.+) \|$", table, re.MULTILINE)

    def test_each_has_a_row(self) -> None:
        """A line that is not in the table is one that nobody can look up."""
        beginnings = [row for row, _ in self.rows if row != "{error}"]
        for text in logged():
            if text != "{error}":
                found = any(text.startswith(beginning) for beginning in beginnings)
                self.assertTrue(found, f"docs/operations.md has no row for: {text}")

    def test_no_row_is_left(self) -> None:
        """A row that no line begins with is one of yesterday."""
        texts = set(logged())
        for row, meaning in self.rows:
            self.assertTrue(any(text.startswith(row) for text in texts), row)
            self.assertTrue(meaning.endswith("."), row)
        self.assertGreater(len(self.rows), 20)


class LogrotateTest(SynchronousTestCase):
    """contrib/logrotate/ctrader-stream."""

    def test_one_rotation(self) -> None:
        """The tool moves the file and tells the daemon, which makes the new one with mode 600."""
        text = (PACKAGE.parent / "contrib/logrotate/ctrader-stream").read_text()
        words = [line.split() for line in text.splitlines() if not line.lstrip().startswith("#")]
        first = {line[0] for line in words if line}
        self.assertLessEqual({"daily", "maxsize", "rotate", "nocreate", "postrotate"}, first)
        self.assertFalse({"copytruncate", "create", "copy"} & first)
        self.assertIn("systemctl kill --signal=HUP --kill-whom=main ctrader-stream.service", text)
        self.assertIn("contrib/logrotate/ctrader-stream", DOCUMENT.read_text())
