"""Faults on demand: wrong lists and details of symbols, and false confirmations.

Every public method is a switch, as in `faults`; ``times`` 0 means until cleared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from ctrader_twisted.simulator.answers import PRETENDED
from ctrader_twisted.simulator.faults import Count
from ctrader_twisted.simulator.rules import Rule
from ctrader_twisted.simulator.venue import Venue
from ctrader_twisted.wire.codec import REGISTRY

_LIST, _DETAILS = "ProtoOASymbolsListReq", "ProtoOASymbolByIdReq"


class SymbolFaults:
    """Switches for incomplete or wrong symbol data, and for false or lost subscriptions."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def list_short(self, kept: Count = 0, times: Count = 1) -> int:
        """List only the first ``kept`` symbols."""

        def edit(reply: Any) -> None:
            del reply.symbol[kept:]

        return self._edit(_LIST, edit, times)

    def list_without(self, symbols: tuple[str, ...] = ("EURUSD",), times: Count = 1) -> int:
        """Leave these symbols out of the list."""
        return self._edit(_LIST, self._leave_out(symbols), times)

    def list_disabled(self, symbols: tuple[str, ...] = (), times: Count = 1) -> int:
        """List these symbols (all, if none is named) as not enabled."""
        ids = self._ids(symbols)

        def edit(reply: Any) -> None:
            for light in reply.symbol:
                light.enabled = light.enabled and light.symbolId not in ids

        return self._edit(_LIST, edit, times)

    def list_renamed(
        self, symbols: tuple[str, ...] = ("EURUSD",), suffix: str = ".x", times: Count = 1
    ) -> int:
        """List these symbols under other names."""
        ids = self._ids(symbols)

        def edit(reply: Any) -> None:
            for light in reply.symbol:
                if light.symbolId in ids:
                    light.symbolName += suffix

        return self._edit(_LIST, edit, times)

    def list_twice(self, how: Literal["ids", "names"] = "ids", times: Count = 1) -> int:
        """List each symbol twice: its id under two names, or its name for two ids. The false entry
        comes first.
        """

        def edit(reply: Any) -> None:
            truth = list(reply.symbol)
            del reply.symbol[:]
            for light in truth:
                false = reply.symbol.add()
                false.CopyFrom(light)
                if how == "ids":
                    false.symbolName += ".twin"
                else:
                    false.symbolId += 1_000_000
            reply.symbol.extend(truth)

        return self._edit(_LIST, edit, times)

    def details_without(self, symbols: tuple[str, ...] = (), times: Count = 1) -> int:
        """Leave these symbols (all, if none is named) out of the details."""
        return self._edit(_DETAILS, self._leave_out(symbols), times)

    def details_short(self, kept: Count = 1, times: Count = 1) -> int:
        """Describe only the first ``kept`` of the symbols that were asked for."""

        def edit(reply: Any) -> None:
            del reply.symbol[kept:]

        return self._edit(_DETAILS, edit, times)

    def pretend(self, request: str = "ProtoOASubscribeSpotsReq", times: Count = 1) -> int:
        """Confirm a request to subscribe or unsubscribe without doing it."""
        name = REGISTRY.find(request).class_name
        if name not in PRETENDED:
            raise LookupError(f"{name} cannot be pretended; there are: {', '.join(PRETENDED)}")
        self._venue.rules.add(Rule(name=name, pretended=True, times=times))
        return 0

    def forget_spots(self, symbols: tuple[str, ...] = ()) -> int:
        """End subscriptions to these symbols (all, if none is named) without an event."""
        ids, number = self._ids(symbols), 0
        for connection in self._venue.connections:
            for account_id in connection.accounts:
                seat = (connection, account_id)
                ended = self._venue.feed.subscribed(seat) & ids
                self._venue.feed.unsubscribe(seat, ended)
                number += bool(ended)
        return number

    def clear(self) -> None:
        """Do nothing: these rules are cleared together with all others."""

    # -- inside

    def _ids(self, symbols: tuple[str, ...]) -> set[int]:
        catalogue = self._venue.catalogue
        return {catalogue.named(each).symbol_id for each in symbols} or set(catalogue.by_id)

    def _leave_out(self, symbols: tuple[str, ...]) -> Callable[[Any], None]:
        ids = self._ids(symbols)

        def edit(reply: Any) -> None:
            left = [one for one in reply.symbol if one.symbolId not in ids]
            del reply.symbol[:]
            reply.symbol.extend(left)

        return edit

    def _edit(self, request: str, edit: Callable[[Any], None], times: int) -> int:
        self._venue.rules.add(Rule(name=request, edit=edit, times=times))
        return 0
