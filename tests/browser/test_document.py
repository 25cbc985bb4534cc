"""Every example of docs/tick-stream.md, replayed against the daemon in the order of the page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
from websockets.sync.client import ClientConnection, connect

from ctrader_twisted import contract
from ctrader_twisted.web import asyncapi
from tests.browser.house import House

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tick-stream.md"
DROP = "<!-- the venue drops the connection -->"
STEP = re.compile(rf"```json (send|receive)\n(.*?)```|({re.escape(DROP)})", re.DOTALL)

#: What an example means by its value, and not only by its shape.
MEANT = ("type", "id", "status", "code", "env", "protocol", "temporary", "symbol")

Message = dict[str, Any]


def steps() -> list[tuple[str, Message]]:
    """What the page tells to do and to expect, in order."""
    return [
        ("drop", {}) if drop else (kind, json.loads(text))
        for kind, text, drop in STEP.findall(PAGE.read_text("utf-8"))
    ]


def test_every_message_has_an_example() -> None:
    """Whatever can be sent or received stands in the page, as a message that our own types read."""
    sent = {message["type"] for kind, message in steps() if kind == "send"}
    received = {message["type"] for kind, message in steps() if kind == "receive"}
    assert sent - {"fly"} == set(asyncapi.INCOMING)
    told = asyncapi.outgoing()
    assert received <= set(told)
    text = PAGE.read_text("utf-8")
    assert [name for name in told if f"`{name}`" not in text and name not in received] == []
    for kind, message in steps():
        if kind == "receive":
            msgspec.convert(message, told[message["type"]])
        elif message.get("type") in asyncapi.INCOMING:
            msgspec.convert(message, contract.Header)
            msgspec.convert(message, asyncapi.INCOMING[message["type"]])


def test_every_example_is_true(house: House) -> None:
    """What the page says one gets, one gets: each message with these fields, of these types."""
    with connect(f"ws://127.0.0.1:{house.port}/ws") as daemon:
        for kind, message in steps():
            if kind == "send":
                daemon.send(json.dumps(message))
            elif kind == "drop":
                house.switch("drop")
            else:
                _expect(daemon, message)


def test_the_python_example_runs(house: House, tmp_path: Path) -> None:
    """The lines for Python, with another port and an end."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    code = code.replace(":8080", f":{house.port}").replace("print(message)", "seen.append(message)")
    seen: list[str] = []
    script = tmp_path / "example.py"
    script.write_text(code + "        if len(seen) > 3: break\n")
    exec(compile(script.read_text(), script, "exec"), {"seen": seen})  # noqa: S102
    assert any(json.loads(one)["type"] == "tick" for one in seen)


def _expect(daemon: ClientConnection, example: Message, seconds: float = 25.0) -> None:
    ends = monotonic() + seconds
    misses = []
    while monotonic() < ends:
        told = json.loads(daemon.recv(timeout=ends - monotonic()))
        if told["type"] != example["type"]:
            continue
        problem = _differs(example, told)
        if not problem:
            return
        misses.append(problem)
    raise AssertionError(f"nothing like {example} came in {seconds:g} s: {misses[:3]}")


def _differs(example: Any, told: Any) -> str:
    if isinstance(example, dict) and isinstance(told, dict):
        return next(filter(None, (_field(name, example, told) for name in example)), "")
    if isinstance(example, list) and isinstance(told, list) and len(told) >= len(example):
        pairs = zip(example, told, strict=False)
        return next(filter(None, (_differs(one, other) for one, other in pairs)), "")
    kinds = [float if type(one) is int else type(one) for one in (example, told)]
    same = kinds[0] is kinds[1] and not isinstance(example, list)
    return "" if same else f"{told!r} is not like {example!r}"


def _field(name: str, example: Message, told: Message) -> str:
    if name == "pending":
        return ""  # True only the first time that anybody wants the symbol.
    if name not in told:
        return f"{name!r} is missing in {told}"
    if name in MEANT and told[name] != example[name]:
        return f"{name} is {told[name]!r}, not {example[name]!r}"
    problem = _differs(example[name], told[name])
    return f"{name}: {problem}" if problem else ""
