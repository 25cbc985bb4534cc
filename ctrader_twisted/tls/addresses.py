"""Look-up of a host's IPv4 and IPv6 addresses without blocking the reactor."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from threading import BoundedSemaphore
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from ctrader_twisted.tls.failures import NameNotResolved

#: Runs a blocking call off the reactor's thread.
InThread = Callable[..., "Deferred[Any]"]
#: A look-up cannot be stopped. So many may be without an answer; then no more begin.
MOST_THREADS = 16


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
        self._threads = BoundedSemaphore(MOST_THREADS)

    def addresses(self, host: str) -> Deferred[list[str]]:
        """Fires with at least one address; fails with NameNotResolved."""
        if is_address(host):
            return succeed([host])
        if not self._threads.acquire(blocking=False):
            detail = f"the name server has not answered {MOST_THREADS} earlier questions"
            return fail(NameNotResolved(host, detail))
        try:
            return self._in_thread(self._look_up, host)
        except BaseException:
            self._threads.release()
            raise

    def _look_up(self, host: str) -> list[str]:
        # In its thread, which may go on long after nobody waits for it any more.
        try:
            return look_up(host)
        finally:
            self._threads.release()


def after(addresses: Sequence[str], last: str) -> list[str]:
    """Rotate the addresses to begin with the one after ``last``, so that each has its turn."""
    start = addresses.index(last) + 1 if last in addresses else 0
    return [*addresses[start:], *addresses[:start]]
