"""Every switch in one place: as attributes for Python, by name for the control port."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

import msgspec

from ctrader_twisted.errors import CtraderError
from ctrader_twisted.simulator.faults import LinkFaults, News, OctetFaults, ReplyFaults
from ctrader_twisted.simulator.symbol_faults import SymbolFaults
from ctrader_twisted.simulator.venue import Venue

Switch = Callable[..., int]


class UnknownSwitch(CtraderError, LookupError):
    """There is no such switch, or it does not take these arguments."""


class Mischief:
    """What can go wrong, and ``clear``, which undoes all that lasts.

    A connection that was given half a frame, or a false length, stays spoilt.
    """

    def __init__(self, venue: Venue) -> None:
        self._links = links = LinkFaults(venue)
        octets, replies, news = OctetFaults(venue), ReplyFaults(venue), News(venue)
        symbols = SymbolFaults(venue)
        self._groups = (links, octets, replies, symbols, news)
        self.attach = links.attach

        self.drop = links.drop
        self.refuse = links.refuse
        self.mute = links.mute
        self.stall = links.stall

        self.half_frame = octets.half_frame
        self.garbage = octets.garbage
        self.oversize = octets.oversize
        self.unknown_type = octets.unknown_type
        self.unknown_fields = octets.unknown_fields
        self.missing_field = octets.missing_field

        self.swallow = replies.swallow
        self.late = replies.late
        self.duplicate = replies.duplicate
        self.error = replies.error
        self.auth_refused = replies.auth_refused
        self.slow = replies.slow
        self.maintenance = replies.maintenance
        self.back_end_down = replies.back_end_down

        self.list_short = symbols.list_short
        self.list_without = symbols.list_without
        self.list_disabled = symbols.list_disabled
        self.list_renamed = symbols.list_renamed
        self.list_twice = symbols.list_twice
        self.details_without = symbols.details_without
        self.details_short = symbols.details_short
        self.pretend = symbols.pretend
        self.forget_spots = symbols.forget_spots

        self.client_disconnect = news.client_disconnect
        self.account_disconnect = news.account_disconnect
        self.token_invalidated = news.token_invalidated
        self.token_expired = news.token_expired
        self.symbol_changed = news.symbol_changed
        self.trader_updated = news.trader_updated
        self.newer_values = news.newer_values
        self.quiet = news.quiet
        self.rate = news.rate
        self.tick = news.tick

    def clear(self) -> int:
        """All is well again."""
        for group in self._groups:
            group.clear()
        return 0

    def switches(self) -> dict[str, Switch]:
        """Every switch by its name."""
        found: dict[str, Switch] = {"clear": self.clear}
        for group in self._groups:
            found.update(
                (name, switch)
                for name, switch in inspect.getmembers(group, inspect.ismethod)
                if getattr(self, name, None) == switch and name != "attach"
            )
        return found

    def flip(self, name: str, arguments: Mapping[str, Any]) -> int:
        """Flip a switch by name.

        Raises UnknownSwitch for a name or argument that does not exist or does not fit, and
        whatever the switch itself raises (LookupError for names of messages and symbols).
        """
        switch = self.switches().get(name)
        if switch is None:
            known = ", ".join(sorted(self.switches()))
            raise UnknownSwitch(f"no switch is called {name!r}; there are: {known}")
        try:
            fitting = msgspec.convert(dict(arguments), _shape(switch))
        except msgspec.ValidationError as error:
            raise UnknownSwitch(f"{name}: {error}; it takes {describe(switch)}") from error
        return switch(**msgspec.structs.asdict(fitting))


def describe(switch: Switch) -> str:
    """Its arguments as one would write them, ``(how = 'close')``."""
    parameters = inspect.signature(switch).parameters.values()
    return "({})".format(
        ", ".join(
            one.name if one.default is one.empty else f"{one.name} = {one.default!r}"
            for one in parameters
        )
    )


def _shape(switch: Switch) -> type[msgspec.Struct]:
    """A struct with the switch's parameters: it checks names and types."""
    hints = get_type_hints(switch, include_extras=True)
    fields: list[Any] = [
        (one.name, hints[one.name])
        if one.default is one.empty
        else (one.name, hints[one.name], one.default)
        for one in inspect.signature(switch).parameters.values()
    ]
    return msgspec.defstruct("Arguments", fields, forbid_unknown_fields=True)
