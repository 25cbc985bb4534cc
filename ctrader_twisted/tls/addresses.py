"""Look-up of a host's IPv4 and IPv6 addresses without blocking the reactor."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed

from ctrader_twisted.tls.failures import NameNotResolved

#: Runs a blocking call off the reactor's thread.
InThread = Callable[..., "Deferred[Any]"]


def is_address(host: str) -> bool:
    """True for an IPv4 or IPv6 address, with or without a zone."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def look_up(host: str) -> list[str]:
    """Return the addresses of a host in the system's order. Blocks. Raises NameNotResolved."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        # UnicodeError: the text cannot be a host name, such as one with two dots in a row.
        raise NameNotResolved(host, getattr(error, "strerror", None) or str(error)) from None
    families = (socket.AF_INET, socket.AF_INET6)
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found if one[0] in families))
    if not addresses:
        raise NameNotResolved(host, "it has no address")
    return addresses


class Resolver:
    """Looks up a host in a thread; an address needs no look-up.

    ``in_thread`` must not use the reactor's pool: the end of the process waits for those threads,
    for half a minute and more if a name server does not answer.
    """

    def __init__(self, in_thread: InThread) -> None:
        self._in_thread = in_thread

    def addresses(self, host: str) -> Deferred[list[str]]:
        """Fires with at least one address; fails with NameNotResolved."""
        if is_address(host):
            return succeed([host])
        return self._in_thread(look_up, host)


def after(addresses: Sequence[str], last: str) -> list[str]:
    """Rotate the addresses to begin with the one after ``last``, so that each has its turn."""
    start = addresses.index(last) + 1 if last in addresses else 0
    return [*addresses[start:], *addresses[:start]]
