"""Whose request is being served, and for how long anybody may say so."""

from __future__ import annotations

from contextvars import copy_context

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted import errands
from ctrader_twisted.accounts.causes import Causes
from ctrader_twisted.errands import Errand, on_behalf_of


class ErrandTest(SynchronousTestCase):
    """One request while it is served."""

    def test_one_within_another(self) -> None:
        """The inner one counts until it is over; nobody is served before and after."""
        self.assertEqual(errands.current(), "")
        with Errand("a.1"):
            self.assertEqual(errands.current(), "a.1")
            with on_behalf_of("b.2 c.3"):
                self.assertEqual(errands.current(), "b.2 c.3")
            with on_behalf_of(""):
                self.assertEqual(errands.current(), "")
            self.assertEqual(errands.current(), "a.1")
        self.assertIsNone(errands.serving())

    def test_a_context_that_is_still_about(self) -> None:
        """A timer or a socket may keep the context (asyncio's do): it names nobody any more."""
        with Errand("a.1"):
            context = copy_context()
            self.assertEqual(context.run(errands.current), "a.1")
        self.assertEqual(context.run(errands.current), "")

    def test_one_that_lasts(self) -> None:
        """A request that is answered later keeps its id in a coroutine, up to its end."""
        told: list[str] = []
        turns: list[Deferred[None]] = [Deferred(), Deferred()]

        async def serve() -> None:
            for turn in turns:
                await turn
                told.append(errands.current())

        errand = Errand("a.1", lasts=True)
        with errand:
            serving = Deferred.fromCoroutine(serve())
        self.assertEqual(errands.current(), "")
        with on_behalf_of("b.2"):
            turns[0].callback(None)
        errand.end()
        turns[1].callback(None)
        self.successResultOf(serving)
        self.assertEqual(told, ["a.1", ""])

    def test_an_exception(self) -> None:
        """What goes wrong ends it like anything else."""
        with self.assertRaises(LookupError), Errand("a.1") as errand:
            raise LookupError
        self.assertTrue(errand.is_over)
        self.assertEqual(errands.current(), "")


class CausesTest(SynchronousTestCase):
    """Whose request made a symbol wanted."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.wanted: set[str] = set()
        self.causes = Causes(self.clock, lambda: self.wanted)

    def ask(self, known_as: str, *keys: str) -> None:
        """One request of a client."""
        with Errand(known_as):
            for key in keys:
                self.causes.note(key)
        self.wanted.update(keys)

    def test_the_first_one_counts(self) -> None:
        """Ten clients want the same: the first of them is its cause, until it is had."""
        for number in range(10):
            self.ask(f"c{number}.1", "EURUSD")
        self.assertEqual(self.causes.of(["EURUSD"]), "c0.1")
        self.causes.drop(["EURUSD", "NOTHING"])
        self.assertEqual(self.causes.of(["EURUSD"]), "")
        self.ask("late.1", "EURUSD")
        self.assertEqual(self.causes.of(["EURUSD"]), "late.1")

    def test_several(self) -> None:
        """A batch has all its causes, each once, in the order of its symbols."""
        self.ask("a.1", "EURUSD", "GBPUSD")
        self.ask("b.1", "XAUUSD", "EURUSD")
        self.assertEqual(self.causes.of(["XAUUSD", "GBPUSD", "EURUSD", "OTHER"]), "b.1 a.1")

    def test_the_daemon_itself(self) -> None:
        """What nobody asked for has no cause."""
        self.causes.note("EURUSD")
        with on_behalf_of(""):
            self.causes.note("EURUSD")
        self.assertEqual(len(self.causes), 0)

    def test_who_has_gone(self) -> None:
        """A note of what is not wanted any more does not hide who wants it next."""
        self.ask("gone.1", "EURUSD")
        self.wanted.clear()
        self.clock.advance(5)
        self.ask("b.1", "EURUSD")
        self.assertEqual(self.causes.of(["EURUSD"]), "b.1")

    def test_it_stays_small(self) -> None:
        """A client that asks for new names for ever, and wants none of them, fills nothing."""
        for number in range(2000):
            self.ask(f"a.{number}", *(f"N{number}-{each}" for each in range(20)))
            self.wanted.clear()
            self.clock.advance(0.1)
        self.assertLessEqual(len(self.causes), 11 * 20)

    def test_a_look_in_the_middle_of_a_request(self) -> None:
        """What a request has noted stays noted while the rest of it is read."""
        with Errand("a.1"):
            self.causes.note("EURUSD")
            self.clock.advance(2)
            self.causes.note("GBPUSD")
        self.assertEqual(self.causes.of(["EURUSD", "GBPUSD"]), "a.1")
