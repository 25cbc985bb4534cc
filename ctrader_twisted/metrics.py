"""What is counted. Plain numbers: whoever counts adds one, whoever asks reads."""

from __future__ import annotations

from collections import Counter


class Metrics:
    """One per daemon, handed to everybody who counts something.

    The fields of the hot path are plain attributes; everything rare goes through `count`.
    """

    def __init__(self) -> None:
        self.frames_in = 0
        self.ticks_in = 0
        self.ticks_out = 0
        self.frames_out = 0
        self.conflated = 0
        self.clients = 0
        self._counted: Counter[tuple[str, str]] = Counter()

    def count(self, name: str, label: str = "") -> None:
        """Add one to ``name``; ``label`` is one of a few (never a client, never a symbol)."""
        self._counted[name, label] += 1

    def counted(self, name: str, label: str = "") -> int:
        """How often `count` was called with these two."""
        return self._counted[name, label]

    def all(self) -> dict[tuple[str, str], int]:
        """Everything that was counted, for a report."""
        return dict(self._counted)
