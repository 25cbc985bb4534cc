"""Whose request is being served: the correlation id that follows it to the venue and back.

The id goes along as a context variable, so that no function between a client and the venue has to
hand on what it does not use. Twisted's Deferreds do not carry context (its coroutines do), and
with the asyncio reactor a timer carries that of whoever happened to set it. So nothing here relies
on inheritance: whoever keeps a request for later keeps its id as well and says `on_behalf_of`
again when the time has come, and an errand that is over names nobody, wherever its context is
still about.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import Self

_serving: ContextVar[Errand | None] = ContextVar("serving", default=None)


class Errand:
    """One request while it is served: ``with errand:`` around whatever serves it.

    It is over at the end of the block; one that ``lasts`` is over when `end` says so.
    """

    __slots__ = ("_lasts", "_token", "is_over", "known_as")

    def __init__(self, known_as: str, *, lasts: bool = False) -> None:
        """``known_as``: a harmless word, or several of them with blanks between."""
        self.known_as = known_as
        self.is_over = False
        self._lasts = lasts
        self._token: Token[Errand | None] | None = None

    def __enter__(self) -> Self:
        self._token = _serving.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _serving.reset(self._token)
            self._token = None
        self.is_over = self.is_over or not self._lasts

    def end(self) -> None:
        """It is answered: what is done from now on is done for nobody."""
        self.is_over = True

    def leads_on(self) -> None:
        """It cannot be answered from here alone: the venue has to be asked."""


def serving() -> Errand | None:
    """The errand on which we are."""
    errand = _serving.get()
    return None if errand is None or errand.is_over else errand


def current() -> str:
    """The id, or ids, of whoever caused what is done now; empty when that is the daemon itself."""
    errand = serving()
    return "" if errand is None else errand.known_as


def lead_on() -> None:
    """Whoever is served cannot be answered from here alone (see `Errand.leads_on`)."""
    errand = serving()
    if errand is not None:
        errand.leads_on()


def on_behalf_of(known_as: str) -> Errand:
    """Take up again what these asked for: ``with on_behalf_of(ids):``; "" is for nobody."""
    return Errand(known_as)
