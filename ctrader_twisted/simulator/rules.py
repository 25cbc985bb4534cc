"""What shall go wrong with the next requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ctrader_twisted.simulator.frames import Refusal


@dataclass(slots=True)
class Rule:
    """One thing that goes wrong with ``times`` requests called ``name`` (0: until cleared).

    The defaults are an ordinary answer.
    """

    name: str = ""
    times: int = 1
    delay_s: float = 0.0
    ignored: bool = False
    unanswered: bool = False
    copies: int = 1
    careless: bool = False
    refusal: Refusal | None = None
    # Confirm the request without doing it; change the answer before it is sent.
    pretended: bool = False
    edit: Callable[[Any], None] | None = None


_ORDINARY = Rule()


class Rules:
    """The rules in force; the oldest that fits a request is used, and used up."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self.delay_s = 0.0
        self.maintenance_end_ms: int | None = None
        self.back_end_down = False

    def add(self, rule: Rule) -> None:
        """One more."""
        self._rules.append(rule)

    def take(self, name: str) -> Rule:
        """The rule for a request of that class name."""
        for rule in self._rules:
            if rule.name == name:
                if rule.times:
                    rule.times -= 1
                    if not rule.times:
                        self._rules.remove(rule)
                return rule
        return _ORDINARY

    def clear(self) -> None:
        """All is well again."""
        self._rules.clear()
        self.delay_s = 0.0
        self.maintenance_end_ms = None
        self.back_end_down = False
