"""How long things may get, how errors are caught, what things are called."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.architecture.tree import Module

#: Sizes above which a module, function or class needs a sentence in EXCEPTIONS.
MODULE_LINES = 400
FUNCTION_LINES = 50
PUBLIC_METHODS = 16

#: Path, or path and name, of what is larger, and why it is one concept all the same.
EXCEPTIONS: dict[str, str] = {}

#: Words that say nothing about what a thing is. Their plurals are banned with them.
EMPTY_WORDS = {"manager", "handler", "processor", "engine", "helper", "util", "data"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def oversizes(module: Module) -> Iterator[str]:
    """Modules, functions and classes that are too long and have no sentence in EXCEPTIONS."""
    if module.lines > MODULE_LINES and module.path not in EXCEPTIONS:
        yield f"{module.at(1)}: {module.lines} lines; a module has at most {MODULE_LINES}"
    for node in ast.walk(module.tree):
        if getattr(node, "name", None) and f"{module.path}:{_name(node)}" in EXCEPTIONS:
            continue
        if isinstance(node, Function):
            length = _lines_of_code(module, node)
            if length > FUNCTION_LINES:
                yield (
                    f"{module.at(node.lineno)}: {node.name} has {length} lines of code; "
                    f"a function has at most {FUNCTION_LINES}"
                )
        elif isinstance(node, ast.ClassDef) and (count := _public_methods(node)) > PUBLIC_METHODS:
            yield (
                f"{module.at(node.lineno)}: {node.name} has {count} public methods; "
                f"a class has at most {PUBLIC_METHODS}"
            )


def _name(node: ast.AST) -> str:
    return str(getattr(node, "name", ""))


def _lines_of_code(module: Module, node: Function) -> int:
    """Lines of a function, without its docstring and without lines of one keyword argument."""
    first = node.body[0]
    start = node.lineno
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        start += (first.end_lineno or first.lineno) - first.lineno + 1
    lines = module.text.splitlines()[node.lineno - 1 : node.end_lineno]
    keywords = sum(1 for line in lines if re.fullmatch(r"\s+\w+=[^=].*,", line))
    return (node.end_lineno or node.lineno) - start + 1 - keywords


def _public_methods(node: ast.ClassDef) -> int:
    """Ours: neither properties, nor the camelCase hooks that a framework calls."""
    return sum(
        1
        for child in node.body
        if isinstance(child, Function)
        and re.fullmatch(r"[a-z][a-z0-9_]*", child.name)
        and not any("property" in ast.unparse(mark) for mark in child.decorator_list)
    )


def wide_catches(module: Module) -> Iterator[str]:
    """Bare excepts, and those that catch everything without logging the failure or raising."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ExceptHandler):
            if node.type is None:
                yield f"{module.at(node.lineno)}: a bare except; name what you expect"
            elif _names_everything(node.type) and not _logs_or_raises(node):
                yield (
                    f"{module.at(node.lineno)}: `except {ast.unparse(node.type)}` isolates an "
                    "outsider, so its body calls log.failure, or raises"
                )
        elif isinstance(node, ast.Call) and _suppresses_everything(node):
            yield f"{module.at(node.lineno)}: suppress(Exception) hides every mistake"


def _suppresses_everything(node: ast.Call) -> bool:
    return _called(node) == "suppress" and any(map(_names_everything, node.args))


def _names_everything(node: ast.expr) -> bool:
    return any(
        isinstance(name, ast.Name) and name.id in {"Exception", "BaseException"}
        for name in ast.walk(node)
    )


def _logs_or_raises(handler: ast.ExceptHandler) -> bool:
    return any(
        isinstance(node, ast.Raise) or (isinstance(node, ast.Call) and _called(node) == "failure")
        for statement in handler.body
        for node in ast.walk(statement)
    )


def _called(node: ast.Call) -> str:
    """`sleep` of `time.sleep(1)` and of `sleep(1)`."""
    return ast.unparse(node.func).split(".")[-1]


def empty_names(module: Module) -> Iterator[str]:
    """Classes and modules with a name that could be anything's."""
    stem = module.name.split(".")[-1]
    if word := _empty_word(stem):
        yield f"{module.at(1)}: {word!r} in the name of a module says nothing"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef) and (word := _empty_word(node.name)):
            yield f"{module.at(node.lineno)}: {word!r} in the name {node.name} says nothing"


def _empty_word(name: str) -> str:
    for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name):
        if {word.lower(), word.lower().removesuffix("s")} & EMPTY_WORDS:
            return str(word)
    return ""


def sleeps(module: Module) -> Iterator[str]:
    """Tests wait for the thing, with a bound, never for time to pass."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and _called(node) == "sleep":
            yield f"{module.at(node.lineno)}: no sleep in tests; wait for the thing, with a bound"


def unbounded_tests(module: Module) -> Iterator[str]:
    """An asynchronous test without a bound hangs instead of failing."""
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.AsyncFunctionDef) or not node.name.startswith("test"):
            continue
        if not any("bounded" in ast.unparse(mark) for mark in node.decorator_list):
            yield (
                f"{module.at(node.lineno)}: {node.name} is asynchronous and has no bound; "
                "decorate it with @bounded(seconds) of tests.bounded"
            )


def tests_that_trial_misses(module: Module) -> Iterator[str]:
    """Trial runs methods of test cases; a test function would be run by pytest alone."""
    for node in module.tree.body:
        if isinstance(node, Function) and node.name.startswith("test"):
            yield (
                f"{module.at(node.lineno)}: {node.name} is a function, which trial does not run; "
                "make it a method of a SynchronousTestCase"
            )


def writes_to_the_venue(module: Module) -> Iterator[str]:
    """Law 3: requests climb one stair, and only the protocol puts frames on the wire."""
    if module.path.endswith("upstream/protocol.py") or module.unit == "simulator":
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and node.attr == "sendString":
            yield (
                f"{module.at(node.lineno)}: only upstream/protocol.py writes frames to the venue "
                "(law 3)"
            )
