"""How often in a row the venue ended something soon after it was ready, and what that may mean."""

from __future__ import annotations

# What was ready for so long was not ended because of another program that came.
SPELL_S = 300.0
# The first times may be chance: a restart of the venue, a network that was away.
MANY = 3


class Evictions:
    """The ends in a row of one account's session, or of one connection, that the venue caused."""

    def __init__(self, what: str) -> None:
        """``what`` two programs may be fighting for."""
        self._what = what
        self._number = 0

    def count(self, ready_s: float) -> None:
        """It was ended by the venue, ``ready_s`` seconds after it was ready."""
        self._number = self._number + 1 if ready_s < SPELL_S else 1

    def explain(self, reason: str) -> str:
        """The reason of the last end, with a hint when there were many in a row."""
        if self._number < MANY:
            return reason
        return (
            f"{reason}; this was end number {self._number} soon after it was ready: another "
            f"program may be using {self._what}"
        )
