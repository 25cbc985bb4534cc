"""How many connections an address may have open that have shown no key.

Without a bound one stranger could take up all the file descriptors that there are, by connections
that say nothing, or little. This machine does not count, and neither do the proxies in front of
us: behind their one address are many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import Protocol


class Callers:
    """Open connections without a key, by address."""

    def __init__(self, most: int, is_exempt: Callable[[str], bool]) -> None:
        """``most`` of one address; those that are exempt do not count."""
        self._most = most
        self._is_exempt = is_exempt
        self._open: Counter[str] = Counter()

    def place(self, address: str) -> Place | None:
        """A place for one more connection; None when the address has no more."""
        if self._is_exempt(address):
            return NO_PLACE
        if self._open[address] >= self._most:
            return None
        self._open[address] += 1
        return Place(self._open, address)


class Place:
    """What one connection takes up, until it is given back."""

    __slots__ = ("_address", "_open")

    def __init__(self, open_: Counter[str], address: str) -> None:
        self._open: Counter[str] | None = open_
        self._address = address

    def leave(self) -> None:
        """The connection has ended, or has shown a key. Leaving twice does nothing."""
        if self._open is None:
            return
        self._open[self._address] -= 1
        if not self._open[self._address]:
            del self._open[self._address]
        self._open = None


class _NoPlace(Place):
    """Of a connection that does not count."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(Counter(), "")

    def leave(self) -> None:
        """Nothing was taken up."""


NO_PLACE = _NoPlace()


class NoRoom(Protocol):
    """A connection for which there is no place: it ends at once. (Nothing is said, since with TLS
    already saying it would be work.)
    """

    def connectionMade(self) -> None:
        """Cut."""
        transport: Any = self.transport
        transport.abortConnection()
