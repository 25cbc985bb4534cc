"""The catalogue of one account: names, ids and what is known about each symbol."""

from __future__ import annotations

from collections.abc import Iterable

from ctrader_twisted.market.model import Symbol


class Catalogue:
    """The symbols of one account at one venue. Ids must never be carried to another.

    Names are compared upper-case; of two enabled symbols whose names differ in case only, the
    first counts, and ``shadowed`` holds the others.
    """

    def __init__(self, symbols: Iterable[Symbol]) -> None:
        self._by_key: dict[str, Symbol] = {}
        self._by_id: dict[int, Symbol] = {}
        self.shadowed: list[Symbol] = []
        for symbol in symbols:
            self._by_id[symbol.symbol_id] = symbol
            first = self._by_key.get(symbol.key)
            if first is None or (symbol.enabled and not first.enabled):
                self._by_key[symbol.key] = symbol
            elif symbol.enabled:
                self.shadowed.append(symbol)
        self.names = tuple(s.name for s in self._by_key.values() if s.enabled)

    def by_name(self, name: str) -> Symbol | None:
        """The symbol called ``name`` in any case; None when there is none."""
        # Most names come as the keys are: in upper case.
        return self._by_key.get(name) or self._by_key.get(name.upper())

    def by_id(self, symbol_id: int) -> Symbol | None:
        """The symbol with this id; None when there is none."""
        return self._by_id.get(symbol_id)

    def renamed_since(self, before: Catalogue) -> list[tuple[Symbol, Symbol]]:
        """What the symbols whose names are others now were in an earlier list, and are."""
        return [
            (known, symbol)
            for symbol_id, symbol in self._by_id.items()
            if (known := before.by_id(symbol_id)) is not None and known.name != symbol.name
        ]

    def __len__(self) -> int:
        return len(self._by_id)
