"""Addresses of a host: both families, each once, without blocking."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.tls import addresses
from ctrader_twisted.tls.addresses import MOST_THREADS, Resolver, after, is_address
from ctrader_twisted.tls.failures import NameNotResolved


def entry(address: str, family: int = socket.AF_INET) -> Any:
    """One answer of getaddrinfo."""
    return family, socket.SOCK_STREAM, 6, "", (address, 0)


class ResolverTest(SynchronousTestCase):
    """What the system says of a name."""

    def look_up(self, name: str, found: Any) -> Deferred[list[str]]:
        """What becomes of it when getaddrinfo answers that."""

        def getaddrinfo(host: str, *_: Any, **__: Any) -> Any:
            self.assertEqual(host, name)
            if isinstance(found, Exception):
                raise found
            return found

        self.patch(addresses.socket, "getaddrinfo", getaddrinfo)
        return Resolver(maybeDeferred).addresses(name)

    def test_both_families(self) -> None:
        """In the order of the system, each once, and nothing that is no address."""
        found = [
            entry("2001:db8::1", socket.AF_INET6),
            entry("192.0.2.1"),
            entry("192.0.2.1"),
            entry("/run/socket", socket.AF_UNIX),
        ]
        result = self.successResultOf(self.look_up("venue.example", found))
        self.assertEqual(result, ["2001:db8::1", "192.0.2.1"])

    def test_not_found(self) -> None:
        """Whatever the system finds wrong with a name, it is a failed look-up that names it."""
        for found in (
            socket.gaierror(-2, "Name or service not known"),
            UnicodeError("label empty"),
            OSError(24, "Too many open files"),
            [],
        ):
            failure = self.failureResultOf(self.look_up("no..where", found), NameNotResolved)
            self.assertIn("the name no..where could not be resolved (", str(failure.value))

    def test_unforeseen(self) -> None:
        """A fault of ours is not taken for one of the name server."""
        self.failureResultOf(self.look_up("here", ZeroDivisionError()), ZeroDivisionError)

    def test_addresses_need_nobody(self) -> None:
        """An address is its own, and no thread is used for it."""
        resolver = Resolver(lambda *_: self.fail("no thread"))
        for address in ("127.0.0.1", "::1", "fe80::1%lo", "2001:db8::1"):
            self.assertTrue(is_address(address))
            self.assertEqual(self.successResultOf(resolver.addresses(address)), [address])
        for name in ("localhost", "127.1", "1.2.3.4.5", ""):
            self.assertFalse(is_address(name))

    def test_a_name_server_that_never_answers(self) -> None:
        """Attempts over months do not pile up threads; when answers come it goes on."""
        self.patch(addresses.socket, "getaddrinfo", lambda *_, **__: [entry("192.0.2.1")])
        hanging: list[Callable[[], Any]] = []

        def in_thread(call: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
            hanging.append(partial(call, *arguments))
            return Deferred()

        resolver = Resolver(in_thread)
        for _ in range(1000):
            resolver.addresses("venue.example").addErrback(lambda _: None)
        self.assertEqual(len(hanging), MOST_THREADS)
        failure = self.failureResultOf(resolver.addresses("venue.example"), NameNotResolved)
        self.assertIn("has not answered 16 earlier questions", str(failure.value))
        hanging.pop()()
        self.assertNoResult(resolver.addresses("venue.example"))
        self.assertEqual(len(hanging), MOST_THREADS)

    def test_no_thread(self) -> None:
        """One that cannot be had is not counted."""

        def in_thread(*_: Any) -> Deferred[Any]:
            raise RuntimeError("can't start new thread")

        resolver = Resolver(in_thread)
        for _ in range(100):
            self.assertRaises(RuntimeError, resolver.addresses, "venue.example")

    def test_turns(self) -> None:
        """The next attempt begins with the next address."""
        self.assertEqual(after(["a", "b", "c"], ""), ["a", "b", "c"])
        self.assertEqual(after(["a", "b", "c"], "a"), ["b", "c", "a"])
        self.assertEqual(after(["a", "b", "c"], "c"), ["a", "b", "c"])
        self.assertEqual(after(["a"], "a"), ["a"])
        self.assertEqual(after(["a", "b"], "gone"), ["a", "b"])
