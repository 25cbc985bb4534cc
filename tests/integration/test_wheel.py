"""What the built wheel carries."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ["ctrader_twisted", "twisted", "tests", "pyproject.toml", "setup.cfg", "README.md"]
BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names in a wheel that is built from a copy of the sources, with no network."""
    copy = tmp_path_factory.mktemp("sources")
    for name in [*SOURCES, "LICENSE"]:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, copy)
    built = subprocess.run(
        [sys.executable, "-c", BUILD, str(copy)],
        cwd=copy,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (path,) = copy.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def files_of(folder: str, *suffixes: str) -> set[str]:
    """What the checkout has below this folder, as the wheel would name it."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix in suffixes and "__pycache__" not in path.parts
    }


def test_it_carries_every_module(wheel: list[str]) -> None:
    """Modules, generated protobuf code with its types, the plugin, and the mark of typed code."""
    expected = files_of("ctrader_twisted", ".py", ".pyi") | files_of("twisted", ".py")
    expected.add("ctrader_twisted/py.typed")
    assert any(name.startswith("ctrader_twisted/pb/") for name in expected)
    assert expected - set(wheel) == set()


def test_it_carries_the_page(wheel: list[str]) -> None:
    """Every file below web/static is served from an installation too."""
    page = files_of("ctrader_twisted/web/static", ".html", ".css", ".js", ".mjs", ".svg", ".ico")
    assert page - set(wheel) == set()


def test_it_carries_nothing_else(wheel: list[str]) -> None:
    """No tests, and no __init__.py that would hide Twisted or the plugin."""
    tops = {name.split("/")[0] for name in wheel if ".dist-info/" not in name}
    assert tops <= {"ctrader_twisted", "twisted"}
    assert not {"twisted/__init__.py", "twisted/plugins/__init__.py"} & set(wheel)
