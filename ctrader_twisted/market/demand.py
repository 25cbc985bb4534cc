"""Who wants which symbol: the reason for every subscription, and the list of every delivery.

Consumers stand in groups of equal wants; a symbol leads to the groups that hold it. So one tick
costs one look-up and one step per *group*, however many consumers there are, and the same table
that told the venue what to send tells us whom to send it to.

A symbol that loses its last consumer stays wanted for a grace period: pages that reload, and
clients that reconnect, should not make the venue stop and start.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Protocol


class Consumer(Protocol):
    """One holder of wants."""

    def join(self, group: Group | None) -> None:
        """The consumer's wants changed: it now stands in ``group`` (None: it wants nothing)."""


class Group:
    """All consumers whose wants are exactly ``keys``.

    ``pending`` collects the frames of one reactor turn; ``ready`` maps the consumers whose way
    out is free to the callable that takes bytes and says how many it took; ``offered`` counts the
    ticks that went to the group, whoever was ready. All three belong to whoever delivers.
    ``listing`` keeps its keys as names, beside the catalogue that they were spelled by.
    """

    __slots__ = ("keys", "listing", "members", "offered", "pending", "ready", "sent_at")

    def __init__(self, keys: frozenset[str]) -> None:
        self.keys = keys
        self.members: set[Consumer] = set()
        self.pending: list[bytes] = []
        self.ready: dict[Any, Callable[[bytes], int]] = {}
        self.sent_at = 0.0
        self.offered = 0
        self.listing: tuple[object, list[str]] | None = None


class Demand:
    """Reference counts by symbol key (the upper-case name), and the groups of equal wants."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._group_of: dict[Consumer, Group] = {}
        self._groups: dict[frozenset[str], Group] = {}
        self._by_key: dict[str, dict[Group, None]] = {}
        # The groups to deliver a symbol to, by its key; None when nobody wants it. Asked for every
        # tick, so it is the table's own look-up and no method around it.
        self.groups: Callable[[str], Collection[Group] | None] = self._by_key.get
        self._lingering: dict[str, float] = {}

    def want(self, consumer: Consumer, keys: Iterable[str]) -> bool:
        """Add wants; wanting twice counts once. True when one of them was nobody's before."""
        wants = self.wants_of(consumer)
        # A frozen set that is handed in stays the same object, with the hash that it remembers.
        return self._move(consumer, wants.union(keys) if wants else frozenset(keys))

    def unwant(self, consumer: Consumer, keys: Iterable[str], now: float) -> bool:
        """Remove wants; the grace period of symbols that nobody wants any more begins. True when
        there is one.
        """
        return self._move(consumer, self.wants_of(consumer).difference(keys), now)

    def leave(self, consumer: Consumer, now: float) -> bool:
        """The consumer is gone, and its wants with it. Leaving twice does nothing. True when one
        of them is nobody's now.
        """
        return self._move(consumer, frozenset(), now)

    def group_of(self, consumer: Consumer) -> Group | None:
        """Where one consumer stands; None when it wants nothing."""
        return self._group_of.get(consumer)

    def wants_of(self, consumer: Consumer) -> frozenset[str]:
        """The keys that one consumer wants."""
        group = self._group_of.get(consumer)
        return frozenset() if group is None else group.keys

    def consumers(self, key: str) -> list[Consumer]:
        """Everyone who wants a symbol."""
        return [member for group in self._by_key.get(key, ()) for member in group.members]

    def wanted(self, now: float) -> set[str]:
        """The keys that should be subscribed: wanted by somebody, or still in their grace."""
        for key in [key for key, until in self._lingering.items() if until <= now]:
            del self._lingering[key]
        return set(self._by_key) | set(self._lingering)

    def next_change(self) -> float | None:
        """When the next grace period ends; None when none is running."""
        return min(self._lingering.values(), default=None)

    def _move(self, consumer: Consumer, keys: frozenset[str], now: float = 0.0) -> bool:
        old = self._group_of.get(consumer)
        if (old.keys if old is not None else frozenset()) == keys:
            return False
        before = len(self._by_key)
        new = self._enter(keys)
        is_changed = len(self._by_key) > before
        # The consumer first: it may have frames of this turn to collect from its old group.
        consumer.join(new)
        if old is not None:
            old.members.discard(consumer)
            if not old.members:
                is_changed = self._dissolve(old, now) or is_changed
        if new is None:
            del self._group_of[consumer]
        else:
            new.members.add(consumer)
            self._group_of[consumer] = new
        return is_changed

    def _enter(self, keys: frozenset[str]) -> Group | None:
        if not keys:
            return None
        group = self._groups.get(keys)
        if group is None:
            group = self._groups[keys] = Group(keys)
            for key in keys:
                self._by_key.setdefault(key, {})[group] = None
                self._lingering.pop(key, None)
        return group

    def _dissolve(self, group: Group, now: float) -> bool:
        before = len(self._by_key)
        del self._groups[group.keys]
        for key in group.keys:
            groups = self._by_key[key]
            del groups[group]
            if not groups:
                del self._by_key[key]
                self._lingering[key] = now + self._grace_s
        return len(self._by_key) < before
