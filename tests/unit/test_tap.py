"""The composition file: the clock of the timers, and threads of one's own."""

from __future__ import annotations

import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted import config_files, tap
from ctrader_twisted.tap import in_own_thread, steady_time


class Reactor:
    """The part of a reactor that holds timers; its time of day is `seconds`."""

    def __init__(self, now: float) -> None:
        self.seconds = lambda: now
        self.timers: list[DelayedCall] = []

    def getDelayedCalls(self) -> list[DelayedCall]:
        """The timers that wait."""
        return self.timers

    def timer(self, delay: float) -> DelayedCall:
        """A timer that waits already."""
        when, nothing = self.seconds() + delay, lambda _: None
        one = DelayedCall(when, int, (), {}, nothing, nothing, seconds=self.seconds)
        self.timers.append(one)
        return one


class LaterUserTest(SynchronousTestCase):
    """`twistd --uid`: root's rights are given up after the settings were read."""

    def test_its_files_are_ours(self) -> None:
        """What belongs to that user is accepted from then on."""
        users: set[int] = set()
        self.patch(config_files, "_later_users", users)
        with tempfile.TemporaryDirectory() as folder:
            words = []
            for option, name in (("--config", "conf"), ("--env-file", "env")):
                Path(folder, name).touch(0o600)
                words += [option, f"{folder}/{name}"]
            for parent in (None, {"uid": None}, {"uid": 54321}):
                options = tap.Options()
                options.parent = parent
                options.parseOptions(words)
        self.assertEqual(users, {54321})


class SteadyTimeTest(SynchronousTestCase):
    """`steady_time`."""

    def test_the_reactor_follows_the_steady_clock(self) -> None:
        """Its seconds are those of the clock that nobody can set."""
        reactor = Reactor(now=1e9)
        steady_time(reactor)
        self.assertIs(reactor.seconds, time.monotonic)

    def test_timers_that_wait_keep_what_they_have_left(self) -> None:
        """A timer of before fires when it would have, not in thirty years."""
        reactor = Reactor(now=1e9)
        soon, later = reactor.timer(5), reactor.timer(60)
        later.delay(10)
        before = time.monotonic()
        steady_time(reactor)
        elapsed = time.monotonic() - before
        self.assertApproximates(soon.getTime() - before, 5, elapsed + 0.001)
        self.assertApproximates(later.getTime() - before, 70, elapsed + 0.001)

    def test_such_a_timer_can_still_be_reset(self) -> None:
        """It measures with the steady clock as well."""
        reactor = Reactor(now=1e9)
        timer = reactor.timer(5)
        steady_time(reactor)
        before = time.monotonic()
        timer.reset(7)
        self.assertApproximates(timer.getTime() - before, 7, 1)

    def test_twice_is_as_good_as_once(self) -> None:
        """Nothing moves the second time."""
        reactor = Reactor(now=1e9)
        timer = reactor.timer(5)
        steady_time(reactor)
        first = timer.getTime()
        steady_time(reactor)
        self.assertApproximates(timer.getTime(), first, 0.001)


class OwnThreadTest(SynchronousTestCase):
    """`in_own_thread`."""

    def call(self, function: Any, *arguments: Any) -> Any:
        """The Deferred of a call, once its thread has told the reactor, which then told us."""
        told = threading.Event()
        news: list[Any] = []

        class FromThread:
            @staticmethod
            def callFromThread(function: Any, *arguments: Any) -> None:
                news.append(partial(function, *arguments))
                told.set()

        deferred = in_own_thread(FromThread(), function, *arguments)
        self.assertNoResult(deferred)
        self.assertTrue(told.wait(5))
        news[0]()
        return deferred

    def test_what_it_returns(self) -> None:
        """The result arrives by way of the reactor."""
        self.assertEqual(self.successResultOf(self.call(divmod, 7, 2)), (3, 1))

    def test_what_it_raises(self) -> None:
        """A failure arrives as one."""
        self.failureResultOf(self.call(divmod, 7, 0), ZeroDivisionError)

    def test_nobody_waits_for_it(self) -> None:
        """It does not keep the process alive."""
        thread = self.successResultOf(self.call(threading.current_thread))
        self.assertTrue(thread.daemon)
