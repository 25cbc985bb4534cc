"""Addresses of a host, of both families, looked up without blocking the reactor."""

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
    """True for an IPv4 or IPv6 address, also with a zone."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def look_up(host: str) -> list[str]:
    """The addresses of a host in the order of the system; NameNotResolved. Blocks."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        # UnicodeError: what can be no name of a host, like one with two dots in a row.
        raise NameNotResolved(host, getattr(error, "strerror", None) or str(error)) from None
    families = (socket.AF_INET, socket.AF_INET6)
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found if one[0] in families))
    if not addresses:
        raise NameNotResolved(host, "it has no address")
    return addresses


class Resolver:
    """Looks up addresses by ``in_thread``; addresses are their own.

    The threads of the reactor's pool will not do: the end of the process waits for those, with a
    name server that does not answer for half a minute and more.
    """

    def __init__(self, in_thread: InThread) -> None:
        self._in_thread = in_thread

    def addresses(self, host: str) -> Deferred[list[str]]:
        """Fires with at least one address; fails with NameNotResolved."""
        if is_address(host):
            return succeed([host])
        return self._in_thread(look_up, host)


def after(addresses: Sequence[str], last: str) -> list[str]:
    """The addresses, beginning with the one after ``last``, so that each has its turn."""
    start = addresses.index(last) + 1 if last in addresses else 0
    return [*addresses[start:], *addresses[:start]]
