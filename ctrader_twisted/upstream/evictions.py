"""Detection of a second program that uses the same account or client id.

The venue then ends one side's session or connection whenever the other side opens its own.
"""

from __future__ import annotations

# Seconds after which an end is no sign of another program.
SPELL_S = 300.0
# Fewer ends in a row may be chance, such as a restart of the venue or a network failure.
MANY = 3


class Evictions:
    """Counts how often in a row the venue ended a session or connection soon after it was ready."""

    def __init__(self, what: str) -> None:
        """``what``: the account or client id that another program may use, for `explain`."""
        self._what = what
        self._number = 0

    def count(self, ready_s: float) -> None:
        """Count an end that the venue caused ``ready_s`` seconds after the start."""
        self._number = self._number + 1 if ready_s < SPELL_S else 1

    def explain(self, reason: str) -> str:
        """Return ``reason``, with a hint at another program after `MANY` ends in a row."""
        if self._number < MANY:
            return reason
        return (
            f"{reason}; this was end number {self._number} soon after it was ready: another "
            f"program may be using {self._what}"
        )
