"""Sizes, catches and names, in the tree and in offenders made up to prove that the rules bite."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.architecture import habits
from tests.architecture.tree import Module, modules, product

Rule = Callable[[Module], Iterator[str]]


def everything() -> list[Module]:
    """The product, its tests and its benchmarks."""
    return [*product(), *modules("tests", "bench")]


RULES: list[tuple[Rule, Callable[[], list[Module]]]] = [
    (habits.oversizes, product),
    (habits.wide_catches, everything),
    (habits.empty_names, everything),
    (habits.sleeps, lambda: modules("tests")),
    (habits.unbounded_tests, lambda: modules("tests")),
    (habits.tests_that_trial_misses, lambda: modules("tests/unit")),
    (habits.writes_to_the_venue, product),
]


@pytest.mark.parametrize(("rule", "where"), RULES, ids=lambda value: value.__name__)
def test_the_tree_keeps_the_rule(rule: Rule, where: Callable[[], list[Module]]) -> None:
    """No file breaks the rule; the message names each that does, with its line."""
    broken = [sentence for module in where() for sentence in rule(module)]
    assert not broken, "\n".join(broken)


CATCH = "try:\n    f()\nexcept {}:\n    {}"
METHODS = "class A:\n" + "\n".join(f"    def m{n}(self): ..." for n in range(16))

OFFENDERS = [
    (habits.oversizes, "x.py", "a = 1\n" * 401, "401 lines"),
    (habits.oversizes, "x.py", "def f():\n" + "    a = 1\n" * 50, "f has 51 lines"),
    (habits.oversizes, "x.py", METHODS + "\n    def one_more(self): ...", "A has 17 public"),
    (habits.wide_catches, "x.py", "try:\n    f()\nexcept:\n    raise", "a bare except"),
    (habits.wide_catches, "x.py", CATCH.format("Exception", "pass"), "x.py:3: `except Exception`"),
    (habits.wide_catches, "x.py", CATCH.format("(OSError, Exception)", "log.info('')"), "isolates"),
    (habits.wide_catches, "x.py", "with suppress(Exception):\n    f()", "hides"),
    (habits.empty_names, "web/utils.py", "", "'utils' in the name of a module"),
    (habits.empty_names, "x.py", "class TickData: ...", "'Data' in the name TickData"),
    (habits.empty_names, "x.py", "class HTTPHandler: ...", "'Handler'"),
    (habits.sleeps, "tests/x.py", "time.sleep(1)", "no sleep"),
    (habits.sleeps, "tests/x.py", "async def f():\n    await sleep(1)", "x.py:2: no sleep"),
    (habits.unbounded_tests, "tests/x.py", "async def test_it(): ...", "no bound"),
    (habits.tests_that_trial_misses, "tests/unit/x.py", "def test_it(): ...", "trial does not"),
    (habits.writes_to_the_venue, "ctrader_twisted/web/x.py", "p.sendString(b'')", "(law 3)"),
]


@pytest.mark.parametrize(("rule", "path", "text", "sentence"), OFFENDERS)
def test_offenders_are_named(rule: Rule, path: str, text: str, sentence: str) -> None:
    """A sentence names the file and the rule."""
    (said,) = rule(Module(path, text))
    assert said.startswith(path)
    assert sentence in said


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (habits.oversizes, "x.py", "a = 1\n" * 400),
        (habits.oversizes, "x.py", 'def f():\n    """Say.\n    """\n' + "    a = 1\n" * 49),
        (habits.oversizes, "x.py", "def f():\n    g(\n" + "        a=1,\n" * 60 + "    )\n"),
        (habits.oversizes, "x.py", METHODS + "\n    def connectionMade(self): ..."),
        (habits.oversizes, "x.py", METHODS + "\n    @property\n    def size(self): ..."),
        (habits.wide_catches, "x.py", CATCH.format("OSError", "pass")),
        (habits.wide_catches, "x.py", CATCH.format("Exception", "log.failure('')")),
        (habits.wide_catches, "x.py", CATCH.format("Exception", "raise Ours from None")),
        (habits.empty_names, "ctrader_twisted/metadata.py", "class Database: ..."),
        (habits.unbounded_tests, "tests/x.py", "@bounded(1)\nasync def test_it(): ..."),
        (habits.writes_to_the_venue, "ctrader_twisted/upstream/protocol.py", "s.sendString(b'')"),
    ],
)
def test_good_habits_pass(rule: Rule, path: str, text: str) -> None:
    """What the rules do not mean, they let through."""
    assert list(rule(Module(path, text))) == []
