"""Names are looked up where nobody waits for them."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IResolverSimple
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from ctrader_twisted.upkeep import Names


class NamesTest(SynchronousTestCase):
    """The address of a host."""

    def look_up(self, name: str, found: str | Exception) -> Deferred[str]:
        """What becomes of it when the system finds that."""

        def in_thread(call: Any, *arguments: Any) -> Deferred[Any]:
            self.assertEqual((call, arguments), (socket.gethostbyname, (name,)))

            def find() -> str:
                if isinstance(found, Exception):
                    raise found
                return found

            return maybeDeferred(find)

        names = Names(in_thread)
        verifyObject(IResolverSimple, names)
        return names.getHostByName(name)

    def test_found(self) -> None:
        """The address."""
        self.assertEqual(self.successResultOf(self.look_up("here", "10.0.0.1")), "10.0.0.1")

    def test_not_found(self) -> None:
        """Whatever the system finds wrong with a name, it is a failed look-up."""
        for error in (
            socket.gaierror(-2, "Name or service not known"),
            UnicodeError("label empty"),
        ):
            failure = self.failureResultOf(self.look_up("no..where", error), DNSLookupError)
            self.assertIn("no..where", str(failure.value))

    def test_unforeseen(self) -> None:
        """A fault of ours is not taken for one of the name server."""
        self.failureResultOf(self.look_up("here", ZeroDivisionError()), ZeroDivisionError)
