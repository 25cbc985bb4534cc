"""The plugin's place, and what no file of the repository contains."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.architecture.tree import ROOT, Module, modules, tracked

#: Spelled in halves, so that this file does not find itself.
FORBIDDEN = {
    "a folder of one machine": re.compile(
        r"(?<![\w.$}~])/(?:ro" + r"ot|wo" + r"rk|Use" + r"rs|home/\w+)\b|"
        r"[A-Z]:\\Use" + r"rs|/tmp/" + r"dev\b|\.\./sha" + r"red\b"
    ),
    "work that is left to do": re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME)\b"),
}


def findings(name: str, text: str) -> list[str]:
    """A sentence for each forbidden thing in this text."""
    return [
        f"{name}:{number}: names {what}: {match.group()!r}"
        for number, line in enumerate(text.splitlines(), 1)
        for what, pattern in FORBIDDEN.items()
        if (match := pattern.search(line))
    ]


def test_tracked_files_are_about_the_product_alone() -> None:
    """No tracked file names a folder of somebody's machine, or puts work off."""
    found = []
    for name in tracked():
        try:
            text = (ROOT / name).read_text("utf-8")
        except UnicodeDecodeError:
            continue  # A picture or a recording.
        found += findings(name, text)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("see /ro" + "ot/.ssh", 1),
        ("cd /wo" + "rk/here", 1),
        ("open('/home/" + "jane/x')", 1),
        ("TO" + "DO: later", 1),
        ("GET /api/wo" + "rk", 0),
        ("/var/lib/ctrader and $HOME/.config", 0),
        ("the autodoc of a method", 0),
    ],
)
def test_forbidden_things_are_found(line: str, count: int) -> None:
    """The patterns find what they are for, and nothing else."""
    assert len(findings("x", line)) == count


def test_constraints_hold_no_addresses() -> None:
    """Exact versions, from wherever one's packages come from."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    odd = [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[\w.+]+( ; .+)?", line)]
    assert lines
    assert not odd, "\n".join(odd)


def test_links_lead_somewhere() -> None:
    """A link of a document to a file, or to a heading, finds it."""
    dead = []
    for name in (name for name in tracked() if name.endswith(".md")):
        text = (ROOT / name).read_text("utf-8")
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            path, _, heading = link.partition("#")
            target = ROOT / name if not path else (ROOT / name).parent / path
            if "://" in link or (target.exists() and not heading):
                continue
            if not target.exists() or heading not in headings(target.read_text("utf-8")):
                dead.append(f"{name}: {link}")
    assert not dead, "\n".join(dead)


def headings(text: str) -> set[str]:
    """The names by which links find the headings of a document."""
    plain = (re.sub(r"[^\w -]", "", line).strip() for line in re.findall(r"^#+ (.*)$", text, re.M))
    return {line.lower().replace(" ", "-") for line in plain}


def test_the_plan_shows_every_module() -> None:
    """docs/architecture.md names each module and package directly below the package."""
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    here = {module.unit for module in modules("ctrader_twisted") if module.unit}
    missing = sorted(unit for unit in here if not re.search(rf"\b{unit}\b", page))
    assert len(here) > 20
    assert not missing, f"docs/architecture.md does not tell what these are for: {missing}"


def test_every_dependency_has_its_reason() -> None:
    """docs/decisions.md has a row for each package that we need."""
    page = (ROOT / "docs" / "decisions.md").read_text("utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    names = [re.match(r"[\w-]+", line)[0] for line in project["dependencies"]]
    missing = [name for name in names if not re.search(rf"^\| `{name}\b", page, re.M)]
    assert names
    assert not missing, f"docs/decisions.md does not say why these are here: {missing}"


@pytest.mark.parametrize("folder", ["twisted", "twisted/plugins"])
def test_the_plugin_folders_are_no_packages(folder: str) -> None:
    """The first __init__.py would hide Twisted itself, the second would hide the plugin."""
    assert not (ROOT / folder / "__init__.py").exists(), f"remove {folder}/__init__.py"


def test_the_plugin_is_a_signpost() -> None:
    """Discovery may come before the choice of the reactor, so the file imports next to nothing."""
    extra = [
        f"{module.at(one.line)}: a plugin file imports only twisted.application.service, "
        f"but here is {one.target}"
        for module in modules("twisted/plugins")
        for one in module.imports
        if not one.target.startswith(("twisted.application.service.", "__future__."))
    ]
    assert not extra, "\n".join(extra)


def test_an_extra_import_of_a_plugin_would_be_seen() -> None:
    """Imports are found in every spelling."""
    module = Module("twisted/plugins/x.py", "import klein\nfrom ctrader_twisted import tap\n")
    assert [one.target for one in module.imports] == ["klein", "ctrader_twisted.tap"]
