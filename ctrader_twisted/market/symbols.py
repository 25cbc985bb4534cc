"""The catalogue of one account: names, ids and what is known about each symbol."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ctrader_twisted.market.model import Symbol

# How many symbols that are not listed any more are remembered; the oldest are dropped first.
FORMER_MOST = 10_000


class Catalogue:
    """The symbols of one account at one venue. Ids must never be carried to another.

    Names are compared upper-case. Of two enabled symbols whose names differ in case only, and of
    two entries with the same id, the one that was used before is kept, else one that was known
    before, else the first; ``shadowed`` holds the others. Symbols of earlier lists stay known: one
    that the newest list lacks is still found by its id and name, but is not in ``names``.
    """

    def __init__(self, symbols: Iterable[Symbol], before: Catalogue | None = None) -> None:
        """``before``: the catalogue that this one replaces."""
        self.listed = tuple(symbols)
        self.shadowed: list[Symbol] = []
        self._by_id: dict[int, Symbol] = {}
        for symbol in self.listed:
            self._choose(self._by_id, symbol.symbol_id, symbol, before)
        self._by_key: dict[str, Symbol] = {}
        for symbol in self._by_id.values():
            self._choose(self._by_key, symbol.key, symbol, before)
        self.names = tuple(s.name for s in self._by_key.values() if s.enabled)
        self._count = len(self._by_id)
        self._former = {} if before is None else self._left_out(before)
        for symbol in self._former.values():
            # A symbol whose id has a new name is found by the new one only.
            if symbol.symbol_id not in self._by_id:
                self._by_id[symbol.symbol_id] = self._by_key[symbol.key] = symbol

    def by_name(self, name: str) -> Symbol | None:
        """The symbol called ``name``, in any case; None if there is none, or if it was renamed (see
        `former`).
        """
        # Most names come as the keys are: in upper case.
        return self._by_key.get(name) or self._by_key.get(name.upper())

    def by_id(self, symbol_id: int) -> Symbol | None:
        """The symbol with this id; None when there is none."""
        return self._by_id.get(symbol_id)

    def former(self, name: str) -> Symbol | None:
        """The symbol that had this name in an earlier list, if this list lacks the name."""
        return self._former.get(name.upper())

    def renamed_since(self, before: Catalogue) -> list[tuple[Symbol, Symbol]]:
        """What the symbols whose names are others now were in an earlier list, and are."""
        return [
            (known, symbol)
            for symbol_id, symbol in self._by_id.items()
            if (known := before.by_id(symbol_id)) is not None and known.name != symbol.name
        ]

    def is_fraction_of(self, before: Catalogue) -> bool:
        """Whether this list lost most of the enabled symbols of an earlier one: it has no enabled
        symbol, or neither the names nor the ids of more than half.
        """
        if not self.names:
            return bool(before.names)
        kept = 0
        for name in before.names:
            known = before.by_name(name)
            same = (self.by_name(name), known and self.by_id(known.symbol_id))
            kept += any(symbol is not None and symbol.enabled for symbol in same)
        return 2 * kept < len(before.names)

    def __len__(self) -> int:
        return self._count

    # -- inside

    def _choose(
        self, table: dict[Any, Symbol], key: int | str, symbol: Symbol, before: Catalogue | None
    ) -> None:
        """Which of two with one name or id is used: an enabled one, the one that was used before,
        one that was known before, the first.
        """
        first = table.setdefault(key, symbol)
        if first is symbol:
            return
        if _rank(symbol, before) > _rank(first, before):
            table[key], symbol = symbol, first
        if symbol.enabled:
            self.shadowed.append(symbol)

    def _left_out(self, before: Catalogue) -> dict[str, Symbol]:
        """The symbols of earlier lists whose names this list lacks, newest last."""
        earlier = {**before._former, **before._by_key}
        former = [symbol for key, symbol in earlier.items() if key not in self._by_key]
        return {symbol.key: symbol for symbol in former[-FORMER_MOST:]}


def _rank(symbol: Symbol, before: Catalogue | None) -> tuple[bool, bool, bool]:
    if before is None:
        return symbol.enabled, False, False
    was, used = before._by_id.get(symbol.symbol_id), before._by_key.get(symbol.key)
    return (
        symbol.enabled,
        # Of a second list that has both entries, both are known.
        used is not None and used.symbol_id == symbol.symbol_id,
        was is not None and was.key == symbol.key,
    )
