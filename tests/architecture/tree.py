"""The source tree as the architecture tests see it: modules, imports, tracked files."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "ctrader_twisted"


@dataclass(frozen=True)
class Import:
    """One imported name, as far as it is spelled: `from a.b import c` is `a.b.c`."""

    target: str
    line: int
    in_function: bool
    typing_only: bool


@dataclass(frozen=True)
class Module:
    """One source file: its path from the root of the repository, and its text."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.text, self.path)

    @cached_property
    def name(self) -> str:
        """The dotted name; a package's is that of its folder."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @cached_property
    def unit(self) -> str:
        """What the floor plan knows: `web` of `ctrader_twisted/web/site.py`; empty at the root, and
        for what stands outside the package, such as the plugin file."""
        if not f"{self.name}.".startswith(f"{PACKAGE}."):
            return ""
        return self.name.removeprefix(PACKAGE).strip(".").split(".")[0]

    @cached_property
    def lines(self) -> int:
        """How long the file is."""
        return len(self.text.splitlines())

    @cached_property
    def imports(self) -> list[Import]:
        """Every import, wherever it stands, those for type checkers included."""
        return list(_imports(self.tree, self, in_function=False, typing_only=False))

    def at(self, line: int) -> str:
        """The place, for a sentence."""
        return f"{self.path}:{line}"


def _imports(
    node: ast.AST, module: Module, *, in_function: bool, typing_only: bool
) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            for target in _targets(child, module):
                yield Import(target, child.lineno, in_function, typing_only)
        else:
            yield from _imports(
                child,
                module,
                in_function=in_function
                or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda),
                typing_only=typing_only
                or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)),
            )


def _targets(statement: ast.Import | ast.ImportFrom, module: Module) -> list[str]:
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    origin = statement.module or ""
    if statement.level:
        package = module.path.split("/")[:-1]
        above = package[: len(package) - statement.level + 1]
        origin = ".".join([*above, *filter(None, [origin])])
    return [f"{origin}.{alias.name}" for alias in statement.names]


def modules(*folders: str) -> list[Module]:
    """Every hand-written Python file below these folders; a folder may be absent."""
    return [
        Module(path.relative_to(ROOT).as_posix(), path.read_text("utf-8"))
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "pb" not in path.relative_to(ROOT).parts
    ]


def product() -> list[Module]:
    """What is shipped."""
    return modules(PACKAGE, "twisted")


def tracked() -> list[str]:
    """The files that git tracks, as paths from the root."""
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    names = listed.stdout.decode().split("\0")
    return [name for name in names if name and (ROOT / name).is_file()]
