"""The chain that a price walks along, link by link: which one is broken, why, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal


class Holds(Enum):
    """Whether a link holds."""

    OK = "ok"
    NO = "no"
    UNKNOWN = "unknown"


#: The names of all links, in order.
CHAIN = (
    "process",
    "socket",
    "tls",
    "application",
    "account",
    "symbol",
    "market",
    "subscription",
    "tick",
    "outbox",
)


@dataclass(frozen=True, slots=True)
class Link:
    """One link. ``since_ms`` (ms since the epoch) where it is known; ``cause`` describes its state,
    ``code`` is the code for that, ``advice`` what a person can do about a broken link;
    ``opens_ms``: when a closed market opens.
    """

    name: str
    holds: Holds
    since_ms: int | None = None
    cause: str = ""
    advice: str = ""
    code: str | None = None
    opens_ms: int | None = None


def first_broken(links: Sequence[Link]) -> Link | None:
    """The first link that does not hold; what comes after it cannot hold either."""
    return next((link for link in links if link.holds is Holds.NO), None)


Verdict = Literal["ok", "unknown", "broken"]


def verdict(links: Sequence[Link]) -> Verdict:
    """ "broken" when a link does not hold, "ok" when all of them hold, else "unknown"."""
    if first_broken(links) is not None:
        return "broken"
    return "ok" if all(link.holds is Holds.OK for link in links) else "unknown"
