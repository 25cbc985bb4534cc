"""What the venue can be made to say wrongly of its symbols and subscriptions.

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
    """Lists and details that are not whole, and subscriptions that are none."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def list_short(self, kept: Count = 0, times: Count = 1) -> int:
        """Only the first ``kept`` symbols are in the list."""

        def edit(reply: Any) -> None:
            del reply.symbol[kept:]

        return self._edit(_LIST, edit, times)

    def list_without(self, symbols: tuple[str, ...] = ("EURUSD",), times: Count = 1) -> int:
        """These symbols are not in the list."""
        return self._edit(_LIST, self._leave_out(symbols), times)

    def list_disabled(self, symbols: tuple[str, ...] = (), times: Count = 1) -> int:
        """The list says of these symbols (of none named: of all) that they are not enabled."""
        ids = self._ids(symbols)

        def edit(reply: Any) -> None:
            for light in reply.symbol:
                light.enabled = light.enabled and light.symbolId not in ids

        return self._edit(_LIST, edit, times)

    def list_renamed(
        self, symbols: tuple[str, ...] = ("EURUSD",), suffix: str = ".x", times: Count = 1
    ) -> int:
        """These symbols have other names in the list."""
        ids = self._ids(symbols)

        def edit(reply: Any) -> None:
            for light in reply.symbol:
                if light.symbolId in ids:
                    light.symbolName += suffix

        return self._edit(_LIST, edit, times)

    def list_twice(self, how: Literal["ids", "names"] = "ids", times: Count = 1) -> int:
        """Each symbol is in the list twice: the same id under two names, or the name for two ids.
        The false entry comes first.
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
        """The details leave out these symbols (of none named: all)."""
        return self._edit(_DETAILS, self._leave_out(symbols), times)

    def details_short(self, kept: Count = 1, times: Count = 1) -> int:
        """Only the first ``kept`` symbols that were asked for are described."""

        def edit(reply: Any) -> None:
            del reply.symbol[kept:]

        return self._edit(_DETAILS, edit, times)

    def pretend(self, request: str = "ProtoOASubscribeSpotsReq", times: Count = 1) -> int:
        """Answer that a subscription was begun or ended (nothing else), and do nothing."""
        name = REGISTRY.find(request).class_name
        if name not in PRETENDED:
            raise LookupError(f"{name} cannot be pretended; there are: {', '.join(PRETENDED)}")
        self._venue.rules.add(Rule(name=name, pretended=True, times=times))
        return 0

    def forget_spots(self, symbols: tuple[str, ...] = ()) -> int:
        """End subscriptions to these symbols (of none named: to all), and tell nobody."""
        ids, number = self._ids(symbols), 0
        for connection in self._venue.connections:
            for account_id in connection.accounts:
                seat = (connection, account_id)
                ended = self._venue.feed.subscribed(seat) & ids
                self._venue.feed.unsubscribe(seat, ended)
                number += bool(ended)
        return number

    def clear(self) -> None:
        """Say the truth again: the rules are cleared with those of all other replies."""

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
