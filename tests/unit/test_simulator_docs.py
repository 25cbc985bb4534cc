"""docs/simulator.md says what is so: its lines work, and nothing is left out."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

from ctrader_twisted.simulator.behaviour import ENVIRONMENT_NAMES, Behaviour
from ctrader_twisted.simulator.control import Controls
from ctrader_twisted.simulator.tap import Options
from tests.unit.joined_client import VenueCase

PAGE = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text()


class Page(VenueCase):
    """The page, beside the code."""

    def test_every_line_for_the_control_port_works(self) -> None:
        """Each example is accepted, and each switch has one."""
        lines = re.findall(r'^\| `(\{"do": .*?\})` \|', PAGE, re.MULTILINE)
        controls = Controls(self.simulator)
        for line in lines:
            self.logged_in()
            answer = controls.answer(line.encode())
            self.assertTrue(answer["ok"], f"{line}: {answer}")
            controls.answer(b'{"do": "clear"}')
        shown = {json.loads(line)["do"] for line in lines}
        self.assertEqual(shown, set(self.mischief.switches()))

    def test_the_answers_are_those_that_come(self) -> None:
        """The conversation of the page, word for word."""
        spoken = re.findall(r"echo '(\{.*\})'.*\n\s+(\{.*\})", PAGE)
        self.assertEqual(len(spoken), 2)
        self.logged_in()
        for line, answer in spoken:
            self.assertEqual(Controls(self.simulator).answer(line.encode()), json.loads(answer))

    def test_every_behaviour_is_listed_with_its_default(self) -> None:
        """A row per field; several fields may share one."""
        rows = [row for row in PAGE.splitlines() if row.startswith("| `")]
        for field in fields(Behaviour):
            (row,) = [one for one in rows if f"`{field.name}`" in one.split(" | ")[0]]
            default = field.default
            told = f"{default:g}" if isinstance(default, float) else str(default)
            self.assertIn(told, row.split(" | ")[1].replace("`", ""))

    def test_every_option_and_name_is_listed(self) -> None:
        """The command line and the environment."""
        for name, short, default, *_ in Options.optParameters:
            self.assertIn(f"`--{name}", PAGE)
            row = next(one for one in PAGE.splitlines() if f"`--{name}" in one and one[0] == "|")
            if short:
                self.assertIn(f"`-{short}`", row)
            if default:
                self.assertIn(f"{default:g}" if isinstance(default, float) else str(default), row)
        for name in ENVIRONMENT_NAMES:
            self.assertIn(f"`{name}`", PAGE)
