"""The directions of imports, in the tree and in offenders made up to prove that the rules bite."""

from __future__ import annotations

import pytest

from tests.architecture.floors import ALLOWED, FLOORS, hard_ties, violations
from tests.architecture.tree import Module, product


def test_imports_go_down_the_stairs() -> None:
    """Every import in the product is one that the table of floors allows."""
    broken = [sentence for module in product() for sentence in violations(module)]
    assert not broken, "\n".join(broken)


def test_parts_are_removable() -> None:
    """Deleting the simulator, the client, the command line or a stream breaks no other import."""
    broken = [sentence for module in product() for sentence in hard_ties(module)]
    assert not broken, "\n".join(broken)


def test_the_table_itself_only_points_down() -> None:
    """What a line allows stands further down; nothing points at those aside."""
    units = [unit for _, unit, _ in FLOORS]
    aside = {unit for floor, unit, _ in FLOORS if floor == "aside"}
    floors = [floor for floor, unit, _ in FLOORS if unit not in aside]
    assert len(set(units)) == len(units)
    assert floors == sorted(floors, reverse=True)
    for row, unit in enumerate(units):
        for entry in ALLOWED[unit]:
            if entry == "*":
                continue
            target = entry.split(".", maxsplit=1)[0]
            assert target not in aside, f"{unit} may not import {entry}, which stands aside"
            assert unit in aside or units.index(target) > row, f"{entry} is not below {unit}"


OFFENDERS = [
    ("web/site.py", "from ctrader_twisted.upstream import session", "web may import of ours only"),
    ("web/site.py", "from ctrader_twisted.market.ticks import Tick", "imports market.ticks.Tick"),
    ("web/site.py", "from ..upstream.session import Session", "imports upstream.session.Session"),
    ("web/site.py", "import ctrader_twisted.pb.api_pb2", "(law 1)"),
    ("tap.py", "from ctrader_twisted.pb import api_pb2", "(law 1)"),
    ("tokens/vault.py", "from ctrader_twisted.logs import redact", "logs.Secret"),
    (
        "accounts.py",
        "if TYPE_CHECKING:\n    from ctrader_twisted.web import site",
        "accounts.py:2: accounts may import",
    ),
    ("simulator/venue.py", "from ctrader_twisted.market.model import Tick", "imports market.model"),
    ("market/model.py", "from twisted.python import log", "nothing of Twisted"),
    ("upstream/protocol.py", "from twisted.internet import defer, reactor", "the reactor is"),
    (
        "upstream/protocol.py",
        "def f():\n    from twisted.internet import reactor",
        "the reactor is",
    ),
    ("tap.py", "from twisted.internet import reactor", "inside functions only"),
    ("novelty.py", "import os", "has no floor"),
    ("novelty/__init__.py", "", "has no floor"),
]


@pytest.mark.parametrize(("path", "text", "sentence"), OFFENDERS)
def test_offending_imports_are_named(path: str, text: str, sentence: str) -> None:
    """A sentence names the file and the rule."""
    module = Module(f"ctrader_twisted/{path}", text)
    (said,) = violations(module)
    assert said.startswith(module.path)
    assert sentence in said


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("web/site.py", "from ctrader_twisted.market.model import Tick"),
        ("web/site.py", "from .outbox import Outbox"),
        ("tokens/vault.py", "from ctrader_twisted.logs import Secret"),
        ("wire/codec.py", "from ctrader_twisted.pb import api_pb2"),
        ("tap.py", "def f():\n    from twisted.internet import reactor"),
        ("simulator/tap.py", "def f():\n    from twisted.internet import reactor"),
        ("upstream/protocol.py", "from ctrader_twisted import __version__"),
        ("__init__.py", "__version__ = '1'"),
    ],
)
def test_good_imports_pass(path: str, text: str) -> None:
    """What the table allows is allowed, however it is spelled."""
    assert list(violations(Module(f"ctrader_twisted/{path}", text))) == []


@pytest.mark.parametrize(
    ("path", "text", "count"),
    [
        ("tap.py", "from ctrader_twisted.simulator.server import Server", 1),
        ("tap.py", "def f():\n    from ctrader_twisted.simulator.server import Server", 0),
        ("cli.py", "def f():\n    from ctrader_twisted import client", 0),
        ("web/site.py", "from .tick_stream import TickStream", 1),
        ("web/site.py", "def f():\n    from .tick_stream import TickStream", 1),
        ("simulator/server.py", "from ctrader_twisted.simulator.venue import Venue", 0),
    ],
)
def test_hard_ties_are_named(path: str, text: str, count: int) -> None:
    """Only tap and cli import a removable part, inside functions; a part may import itself."""
    assert len(list(hard_ties(Module(f"ctrader_twisted/{path}", text)))) == count
