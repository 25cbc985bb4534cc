"""The values that the market is made of. Made once, replaced, never edited.

Prices are integers in points (1/100000 of a price, for every symbol) until they are written out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Literal

from msgspec import Struct

from ctrader_twisted.market.hours import ALWAYS_OPEN, Hours


class SpotUpdate(Struct, frozen=True, gc=False):
    """One push of the venue (ProtoOASpotEvent); an absent side is unchanged, and 0 here.

    ``account_id`` whose subscription brought it; ``bid``, ``ask`` in points; ``timestamp_ms`` the
    venue's time (0: it said none); ``received_ms`` when our socket read it. Both times in ms since
    the epoch.
    """

    account_id: int
    symbol_id: int
    bid: int
    ask: int
    timestamp_ms: int
    received_ms: int


@dataclass(frozen=True, slots=True)
class Symbol:
    """One line of the catalogue (ProtoOALightSymbol). ``key`` is the name as it is compared."""

    symbol_id: int
    name: str
    enabled: bool = True
    description: str = ""
    base_asset_id: int | None = None
    quote_asset_id: int | None = None
    category_id: int | None = None
    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.name.upper())


@dataclass(frozen=True, slots=True)
class SymbolDetails:
    """What prices need to know of a symbol (ProtoOASymbol).

    ``digits``: decimals a price may have; one pip is 10^-``pip_position``; ``hours``: when it
    trades.
    """

    symbol_id: int
    digits: int
    pip_position: int
    hours: Hours = ALWAYS_OPEN


class Tick(Struct, frozen=True, gc=False):
    """A whole price: both sides known, in points rounded to the symbol's digits.

    ``seq`` rises by one for each tick of the symbol within one epoch.
    """

    symbol: Symbol
    digits: int
    bid: int
    ask: int
    timestamp_ms: int
    received_ms: int
    seq: int


@dataclass(frozen=True, slots=True)
class Trader:
    """What the broker says about an account (ProtoOATrader). ``balance`` in its own currency.

    ``access``: "full", "close only", "no trading", "no login", or "unknown" when the broker says
    nothing or something newer than our definitions.
    """

    login: int
    broker: str
    balance: Decimal
    access: str


@dataclass(frozen=True, slots=True)
class FeedNews:
    """One source of prices as a whole: ``source`` is its name, ``message`` names it, too.

    "quiet" ends an alarm because the market closed, "unwatched" because the source is down, which
    is told by others.
    """

    source: str
    word: Literal["stale", "tick_resumed", "quiet", "unwatched"]
    message: str


@dataclass(frozen=True, slots=True)
class SymbolNews:
    """Some symbols of a source, by name. ``code``: STALE or RESUMED."""

    source: str
    code: str
    message: str
    symbols: tuple[str, ...]


class Phase(Enum):
    """Where an account stands, as one word."""

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class AccountState:
    """What an account announces each time that it changes.

    ``code`` and ``reason`` say why when it is not connected; ``attempt`` and ``delay_ms`` are set
    while RECONNECTING and are the ones really used; ``epoch`` names the life of the session
    whose ticks follow, and ``symbols`` are the names that can be subscribed (None: not yet known).
    """

    phase: Phase
    code: str | None = None
    reason: str | None = None
    attempt: int | None = None
    delay_ms: int | None = None
    epoch: str | None = None
    symbols: tuple[str, ...] | None = None
