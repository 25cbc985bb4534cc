"""The guards of this suite are worth something only if they bite."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import Logger

from tests.bounded import bounded
from tests.leaks import LoggedFailures, ReactorContents

ROOT = Path(__file__).resolve().parents[2]
log = Logger()

IMPORTS = """
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from tests.bounded import bounded

"""

OFFENDERS = {
    "timer": ("reactor.callLater(3600, int)", "left a timer: <DelayedCall"),
    "port": ("reactor.listenTCP(0, Factory(), interface='127.0.0.1')", "left open: <"),
    "logged": ("Logger().failure('x', fail(KeyError('a')).result)", "logged a failure: x"),
    "unhandled": ("fail(KeyError('a'))", "logged a failure: twisted.internet.defer"),
    "hang": ("await Deferred()", r"still waiting after 0\.2 s, at .*test_offenders\.py:\d+"),
}


def test_offenders_are_named(pytester: pytest.Pytester) -> None:
    """A leaked timer or port, a logged or unhandled failure and a hang each fail with a name."""
    tests = (
        f"@bounded(0.2)\nasync def test_{name}():\n    {statement}\n"
        for name, (statement, _) in OFFENDERS.items()
    )
    pytester.makeconftest((ROOT / "tests/integration/conftest.py").read_text())
    pytester.makepyfile(test_offenders=IMPORTS + "\n".join(tests))
    pytester.syspathinsert(ROOT)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-rN")
    result.assert_outcomes(passed=4, errors=4, failed=1)
    said = result.stdout.str()
    for name, (_, complaint) in OFFENDERS.items():
        assert re.search(rf"_ (ERROR at teardown of )?test_{name} _[\s\S]*?{complaint}", said), said


def test_asynchronous_trial_cases_are_refused(pytester: pytest.Pytester) -> None:
    """A twisted.trial.unittest.TestCase ends the run before any test, and is named."""
    pytester.makeconftest((ROOT / "tests/conftest.py").read_text())
    pytester.makepyfile(
        "from twisted.trial.unittest import TestCase\n"
        "class Refused(TestCase):\n"
        "    def test_nothing(self):\n"
        "        assert self\n"
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "Refused" in result.stderr.str()


@bounded(5)
async def test_expected_failures_may_be_logged(expected_failures: LoggedFailures) -> None:
    """A test that expects a failure passes, and can look at it."""
    expected_failures.expect(LookupError)
    try:
        raise KeyError("wanted")
    except KeyError:
        log.failure("as intended")
    assert [failure.getErrorMessage() for failure in expected_failures.seen(KeyError)] == [
        "'wanted'"
    ]
    assert expected_failures.unexpected() == []


@bounded(5)
async def test_what_was_there_before_is_no_leak() -> None:
    """Only what was added since is reported, and only while it is there."""
    port = reactor.listenTCP(0, Factory(), interface="127.0.0.1")
    before = ReactorContents(reactor)
    timer = reactor.callLater(60, int)
    assert [sentence.split(":")[0] for sentence in before.added()] == ["left a timer"]
    timer.cancel()
    await port.stopListening()
    await deferLater(reactor, 0)
    assert before.added() == []
