"""What the names in a client's request mean now.

Most clients show the same page, so most requests bring one of a few lists; in the second after a
restart the same list comes thousands of times. While every name in it is had (the venue has
confirmed and described the symbol) its answer cannot change and asking has no consequence, so
lists of that kind are remembered. All others are looked up name by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from msgspec import Struct
from msgspec.structs import replace

from ctrader_twisted.accounts.causes import Causes
from ctrader_twisted.market.symbols import Catalogue
from ctrader_twisted.upstream.subscriptions import Subscriptions

# Lists that are remembered. Pages come in few kinds; who makes up a new list each time gains
# nothing from being remembered.
REMEMBERED = 64

# Codes that come from the list of symbols, not from a refusal of the venue.
OF_THE_LIST = frozenset({"SYMBOL_DISABLED", "SYMBOL_NOT_LISTED"})


class Wanted(Struct, frozen=True, gc=False):
    """The result for one name of a request to subscribe.

    ``name`` is the catalogue's spelling if the symbol is known; ``pending`` until the venue has
    confirmed. ``code`` and ``message`` say why there are no prices: with ``pending`` the symbol is
    unavailable for now and stays wanted, without it the name is refused.
    """

    name: str
    pending: bool = False
    code: str | None = None
    message: str | None = None

    @property
    def is_refused(self) -> bool:
        """Whether the name was refused, so that it is not wanted any more."""
        return self.code is not None and not self.pending


class Meaning(Struct, frozen=True):
    """The results for a list of names, in order, and the keys (upper-case names) of those that are
    wanted. ``is_had``: the venue has confirmed and described all of them.
    """

    wanted: tuple[Wanted, ...]
    keys: frozenset[str]
    is_had: bool = False


class Known(Struct, frozen=True):
    """A list of names, all of which are had: true as long as ``catalogue`` is the one in force and
    the venue sends and has described all of ``ids``.
    """

    catalogue: Catalogue
    meaning: Meaning
    in_order: list[int]
    ids: frozenset[int]


class Names:
    """Looks names up in the catalogue of the day."""

    def __init__(
        self,
        *,
        causes: Causes,
        relist: Callable[[], None],
        unavailable: Mapping[str, Wanted] = MappingProxyType({}),
    ) -> None:
        """``relist()`` requests a new list of symbols, called for a name that is not in the newest;
        ``unavailable``: by key, what clients were told about symbols that are unavailable.
        """
        self._causes = causes
        self._relist = relist
        self._unavailable = unavailable
        self._known: dict[tuple[str, ...], Known] = {}

    def resolve(
        self, names: Sequence[str], catalogue: Catalogue | None, ours: Subscriptions | None
    ) -> Meaning:
        """What ``names`` mean. Before the catalogue is known every name may mean something;
        ``ours`` is what the venue has confirmed in this life of the session.
        """
        asked = tuple(names)
        if catalogue is None or ours is None:
            return self._look_up_all(asked, catalogue, ours)
        known = self._known.get(asked)
        if known is None or known.catalogue is not catalogue or not _has(ours, known.ids):
            return self._remember(asked, self._look_up_all(asked, catalogue, ours), catalogue, ours)
        return known.meaning

    def ids(self, names: Sequence[str], catalogue: Catalogue) -> list[int]:
        """The ids of those of ``names`` that can be had."""
        known = self._known.get(tuple(names))
        if known is not None and known.catalogue is catalogue:
            return known.in_order
        found = map(catalogue.by_name, names)
        return [s.symbol_id for s in found if s is not None and s.enabled]

    def look_up(self, name: str, catalogue: Catalogue | None, ours: Subscriptions | None) -> Wanted:
        """The result for one name in a request to subscribe."""
        if catalogue is None:
            return Wanted(name, pending=True)
        symbol = catalogue.by_name(name)
        if symbol is None or not symbol.enabled or catalogue.former(name) is not None:
            # It may be new, or listed or enabled again; a new list is announced to all clients.
            self._relist()
        if symbol is None or not symbol.enabled:
            return self.missing(name, catalogue) or Wanted(name, pending=True)
        if ours is not None and not _has(ours, {symbol.symbol_id}):
            # Also when its prices come already: perhaps its description was refused.
            ours.forgive(symbol.symbol_id)
            told = self._unavailable.get(symbol.key)
            if told is not None and told.code not in OF_THE_LIST:
                return told
        return Wanted(symbol.name, ours is None or symbol.symbol_id not in ours.confirmed)

    def missing(self, name: str, catalogue: Catalogue) -> Wanted | None:
        """The result for a name that the list has no enabled symbol for; None if it has one."""
        symbol = catalogue.by_name(name)
        if symbol is None:
            return self._not_listed(name, catalogue)
        if symbol.enabled:
            return None
        why = f"{symbol.name} is not enabled; its prices follow when it is"
        return Wanted(symbol.name, True, "SYMBOL_DISABLED", why)

    def __len__(self) -> int:
        """How many lists are remembered."""
        return len(self._known)

    # -- inside

    def _not_listed(self, name: str, catalogue: Catalogue) -> Wanted:
        former = catalogue.former(name)
        if former is None:
            return Wanted(name, code="UNKNOWN_SYMBOL", message=f"there is no symbol {name!r}")
        now = catalogue.by_id(former.symbol_id)
        called = "" if now is None else f", which calls it {now.name} now"
        why = f"{former.name} is not in the venue's list{called}; its prices follow when it is"
        return Wanted(former.name, True, "SYMBOL_NOT_LISTED", why)

    def _look_up_all(
        self, asked: tuple[str, ...], catalogue: Catalogue | None, ours: Subscriptions | None
    ) -> Meaning:
        wanted = tuple(self.look_up(name, catalogue, ours) for name in asked)
        for one in wanted:
            if one.pending:
                self._causes.note(one.name.upper())
        return Meaning(wanted, frozenset(one.name.upper() for one in wanted if not one.is_refused))

    def _remember(
        self,
        asked: tuple[str, ...],
        meaning: Meaning,
        catalogue: Catalogue,
        ours: Subscriptions,
    ) -> Meaning:
        in_order = self.ids(asked, catalogue)
        ids = frozenset(in_order)
        if len(in_order) == len(asked) and _has(ours, ids):
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            meaning = replace(meaning, is_had=True)
            self._known[asked] = Known(catalogue, meaning, in_order, ids)
        return meaning


def _has(ours: Subscriptions, ids: frozenset[int] | set[int]) -> bool:
    return ids <= ours.confirmed and ids <= ours.described
