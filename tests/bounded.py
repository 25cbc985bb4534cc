"""A bound for tests that run in the reactor, so that a hang is a failure with a name.

pytest-timeout cannot end such a test gently: the reactor's loop swallows what it raises.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

P = ParamSpec("P")
Test = Callable[P, Coroutine[Any, Any, None]]


def bounded(
    seconds: float = 10.0, clock: IReactorTime | None = None
) -> Callable[[Test[P]], Callable[P, Deferred[None]]]:
    """Decorate `async def test_...`: it fails after `seconds`, saying where it was waiting.

    `clock` is the running reactor unless another is handed in.
    """

    def decorate(test: Test[P]) -> Callable[P, Deferred[None]]:
        @wraps(test)
        def run(*args: P.args, **kwargs: P.kwargs) -> Deferred[None]:
            return _run(test.__qualname__, test(*args, **kwargs), seconds, clock or _reactor())

        return run

    return decorate


def _reactor() -> IReactorTime:
    from twisted.internet import reactor

    return IReactorTime(reactor)


def _run(
    name: str, coroutine: Coroutine[Any, Any, None], seconds: float, clock: IReactorTime
) -> Deferred[None]:
    expired: list[str] = []

    def expire() -> None:
        expired.append(f"{name} was still waiting after {seconds:g} s, at {_where(coroutine)}")
        running.cancel()

    alarm = clock.callLater(seconds, expire)
    running = Deferred.fromCoroutine(coroutine)

    def ended(result: Failure | None) -> Failure | None:
        if alarm.active():
            alarm.cancel()
        if expired:
            raise TimeoutError(expired[0])
        return result

    return running.addBoth(ended)


def _where(coroutine: Any) -> str:
    """File and line of every await between the test and what it waits for, outermost first."""
    places = []
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        places.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        coroutine = coroutine.cr_await
    return " -> ".join(places) or "an unknown place"
