"""Every test here ends with the reactor as it found it, and with nothing unexpected in the log.

Autobahn batches its timers in buckets, and a bucket goes when its last timer is cancelled, so a
WebSocket that was closed leaves nothing. An HTTP client must not keep connections
(`HTTPConnectionPool(reactor, persistent=False)`). The thread pool reads from no socket and is
not counted. Services with timers belong in fixtures of function scope; a process that several
tests talk to may live in a fixture of module scope.
"""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.logger import globalLogPublisher

from tests.leaks import LoggedFailures, ReactorContents

#: How long goodbyes may take that are already on their way: a close reaches both ends, a process
#: is reaped.
SETTLING_S = 2.0


@pytest.fixture
def expected_failures() -> Iterator[LoggedFailures]:
    """The failures that this test logs; see `LoggedFailures` for how to expect some."""
    failures = LoggedFailures()
    globalLogPublisher.addObserver(failures)
    yield failures
    globalLogPublisher.removeObserver(failures)


@pytest_twisted.async_yield_fixture(autouse=True)
async def leaves_nothing_behind(expected_failures: LoggedFailures) -> AsyncIterator[None]:
    """Fail the test that leaves timers, sockets or ports, or logs what it did not expect.

    It is set up before the other fixtures of the test and therefore looks after they are gone.
    """
    before = ReactorContents(reactor)
    yield
    deadline = reactor.seconds() + SETTLING_S
    while before.added() and reactor.seconds() < deadline:
        await deferLater(reactor, 0.005)
    gc.collect()  # A Deferred reports an error that nobody took when it is collected.
    complaints = before.added() + expected_failures.unexpected()
    if complaints:
        pytest.fail("This test " + "\nThis test ".join(complaints), pytrace=False)
