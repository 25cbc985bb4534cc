"""What a test must not leave behind in the reactor, nor put into the log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.logger import ILogObserver, LogEvent, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer


@implementer(ILogObserver)
class LoggedFailures:
    """Collects log events that carry a failure; an observer for `globalLogPublisher`.

    A test that provokes failures says so, and may look at what came::

        async def test_wrong_host(expected_failures):
            expected_failures.expect(VerificationError)
            ...
            assert expected_failures.seen(VerificationError)
    """

    def __init__(self) -> None:
        self._events: list[tuple[Failure, LogEvent]] = []
        self._expected: tuple[type[BaseException], ...] = ()

    def __call__(self, event: LogEvent) -> None:
        """Take one log event; those without a failure are let go."""
        if (failure := event.get("log_failure")) is not None:
            self._events.append((failure, event))

    def expect(self, *types: type[BaseException]) -> None:
        """Failures of these types do not fail the test; they need not come either."""
        self._expected += types

    def seen(self, *types: type[BaseException]) -> list[Failure]:
        """The failures of these types so far, in order."""
        return [failure for failure, _ in self._events if failure.check(*types)]

    def unexpected(self) -> list[str]:
        """One sentence with traceback for each failure that nobody expected."""
        return [
            f"logged a failure: {formatEvent(event) or event.get('log_namespace')}\n"
            f"{failure.getTraceback()}"
            for failure, event in self._events
            if not failure.check(*self._expected)
        ]


class ReactorContents:
    """What the reactor holds now: timers, and what it reads from (sockets, ports, pipes)."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._timers = list(reactor.getDelayedCalls())
        self._readers = self._foreign_readers()

    def added(self) -> list[str]:
        """A sentence for everything that is there now and was not then."""
        timers = (timer for timer in self._reactor.getDelayedCalls() if timer.active())
        return [
            *(f"left a timer: {timer}" for timer in _without(timers, self._timers)),
            *(
                f"left open: {reader!r} ({type(reader).__qualname__})"
                for reader in _without(self._foreign_readers(), self._readers)
            ),
        ]

    def _foreign_readers(self) -> list[Any]:
        # The waker, and the pipe that hears of signals, belong to the reactor itself.
        return _without(self._reactor.getReaders(), getattr(self._reactor, "_internalReaders", ()))


def _without(things: Iterable[Any], others: Iterable[Any]) -> list[Any]:
    """By identity: a port may compare equal to another."""
    known = {id(other) for other in others}
    return [thing for thing in things if id(thing) not in known]
