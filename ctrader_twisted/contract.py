"""The JSON that we speak with clients, as types: what comes in is validated by them, what goes out
is encoded from them.

Tick stream: camelCase, one object per text message, ``type`` decides. Unknown fields are ignored.
Times are milliseconds since the epoch unless a name says otherwise; prices are JSON numbers
rounded to the symbol's digits.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

PROTOCOL = 1

Id = str | int | float | None

# Before the catalogue is known any name may be wanted, and is kept.
Name = Annotated[str, Meta(max_length=256)]

# -- what clients send


class Tag(Struct):
    """``id`` is repeated in the reply, whatever else is wrong with the request."""

    id: Id = None


class Header(Tag, kw_only=True):
    """What every request has."""

    type: str


class Connect(Struct):
    """``connect``: asks for the status. ``protocol`` must be 1 when it is given."""

    protocol: int | None = None
    features: list[str] = []


class Presented(Struct):
    """What is read of the first message of a client that needs a key: ``token`` is the key."""

    type: str = ""
    token: str | None = None


class Subscribe(Struct):
    """``subscribe`` and ``unsubscribe``: names in any case; a lone ``symbol`` is accepted too.

    ``snapshot``: send the last known tick of each symbol at once.
    """

    symbols: list[Name] | None = None
    symbol: Name | None = None
    snapshot: bool = True

    def names(self) -> list[str] | None:
        """The names asked for, each once, in the order and spelling in which they first stand;
        None when the request has neither field.
        """
        if self.symbols is None and self.symbol is None:
            return None
        asked = [*(self.symbols or ()), *([self.symbol] if self.symbol is not None else ())]
        if len(set(map(str.upper, asked))) == len(asked):
            return asked
        first: dict[str, str] = {}
        for name in asked:
            first.setdefault(name.upper(), name)
        return list(first.values())


class Nothing(Struct):
    """``ping``, ``getSubscriptions``: nothing but the header."""


# -- what we send


class Outgoing(Struct, rename="camel", omit_defaults=True, tag_field="type", kw_only=True):
    """The base of all that we send."""

    id: Id | UnsetType = UNSET


class Limits(Struct, rename="camel"):
    """What a client may do, and how long silence lasts: ``heartbeat_ms`` is the longest pause
    between two messages of ours.
    """

    symbols: int
    bytes: int
    messages_per_second: float
    heartbeat_ms: int


Word = Literal[
    "disconnected",
    "ctrader-connecting",
    "connected",
    "error",
    "reconnecting",
    "stale",
    "tick_resumed",
]


class Status(Outgoing, tag="status", omit_defaults=False):
    """One word for the whole back end. ``available_symbols`` is the full list, every time.
    ``source`` names the source of prices that `stale` and `tick_resumed` are about; ``trouble`` is
    the first broken link on the way to the account, with what to do about it.
    """

    status: Word
    available_symbols: tuple[str, ...]
    protocol: int
    server_time: int
    env: str
    limits: Limits
    epoch: str | UnsetType = UNSET
    message: str | UnsetType = UNSET
    attempt: int | UnsetType = UNSET
    delay_ms: int | UnsetType = UNSET
    code: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    source: str | UnsetType = UNSET
    trouble: Link | UnsetType = UNSET


class Notice(Outgoing, tag="warning"):
    """News for clients with the feature ``health``. ``code``: STALE (no tick although the market
    is open) or RESUMED, for ``symbols`` of ``source``.
    """

    code: str
    message: str
    source: str
    symbols: tuple[str, ...]


class TickMessage(Struct, rename="camel", tag_field="type", tag="tick", omit_defaults=True):
    """A whole price. ``timestamp`` is the venue's time, ``received_at`` ours; ``seq`` rises by one
    for each tick of the symbol within one epoch; ``conflated`` earlier ticks were replaced by this
    one because the client did not read fast enough.
    """

    # It documents and checks; on the way out ticks are written by web/frames.
    symbol: str
    symbol_id: int
    bid: float
    ask: float
    spread: float
    timestamp: int
    seq: int
    received_at: int
    snapshot: bool = False
    conflated: int = 0


class Result(Struct, rename="camel", omit_defaults=True):
    """What became of one symbol of a request."""

    symbol: str
    status: Literal["subscribed", "unsubscribed", "error"]
    message: str | UnsetType = UNSET
    code: str | UnsetType = UNSET
    pending: bool = False


class SubscribeResponse(Outgoing, tag="subscribeResponse", omit_defaults=True):
    """The answer to ``subscribe``; ``symbols`` is the resulting set. Also sent unasked when a
    pending symbol turned out to be impossible.
    """

    results: list[Result]
    symbols: list[str]


class UnsubscribeResponse(Outgoing, tag="unsubscribeResponse"):
    """The answer to ``unsubscribe``; ``symbols`` is the resulting set."""

    results: list[Result]
    symbols: list[str]


class Pong(Outgoing, tag="pong"):
    """The answer to ``ping``."""

    timestamp: int


class Subscriptions(Outgoing, tag="subscriptions"):
    """The answer to ``getSubscriptions``."""

    symbols: list[str]
    timestamp: int


class Heartbeat(Outgoing, tag="heartbeat"):
    """Sent when nothing else was for the announced period."""

    timestamp: int


class RequestError(Outgoing, tag="requestError", omit_defaults=False):
    """A request that changed nothing. ``temporary``: asking again may help."""

    code: str
    message: str
    temporary: bool
    retry_after_ms: int | UnsetType = UNSET


# -- REST


class Health(Struct):
    """``/healthz``."""

    status: Literal["ok"]


class Readiness(Struct, omit_defaults=True):
    """``/readyz``: 200 when ready, else 503 with the reasons."""

    ready: bool
    status: str
    env: str
    reasons: list[str] = []
    details: dict[str, Any] = {}


class Version(Struct):
    """``/version``. ``protocol``: of the tick stream."""

    version: str
    protocol: int
    python: str
    twisted: str
    env: str


class Link(Struct, omit_defaults=True):
    """One link of the chain from the process to a client. ``since``, and ``opens`` of a closed
    market, in ms since the epoch.
    """

    name: str
    holds: Literal["ok", "no", "unknown"]
    since: int | None = None
    cause: str = ""
    advice: str = ""
    code: str | None = None
    opens: int | None = None


class Diagnosis(Struct):
    """``/ctrader/diagnose?symbol=``: why there are no ticks, or that there should be.

    ``ok``: no link is broken, like the exit status 0 of ``doctor``. ``verdict``: "ok" if every link
    holds, "unknown" if none is broken but some are not known yet, else "broken".
    """

    symbol: str
    ok: bool
    verdict: Literal["ok", "unknown", "broken"]
    first_broken: str | None
    cause: str
    advice: str
    links: list[Link]


class Problem(Struct, omit_defaults=True):
    """RFC 9457, ``application/problem+json``. ``code`` is stable; by ``correlation_id`` the request
    is found in the log; ``retry_after`` in seconds.
    """

    title: str
    status: int
    detail: str
    code: str
    correlation_id: str = ""
    retry_after: int | None = None
    type: str = "about:blank"
