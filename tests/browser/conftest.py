"""A headless Chromium, and the page in it. Without Chromium these tests are skipped, loudly."""

from __future__ import annotations

import json
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.house import House
from tests.browser.page import Page, make_driver

MISSING = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say it aloud when nothing of this folder can run."""
    here = [item for item in items if Path(__file__).parent in Path(item.path).parents]
    if MISSING and here:
        why = f"the browser tests need {' and '.join(MISSING)} (Debian: chromium, chromium-driver)"
        for item in here:
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A quick venue with many symbols, and the daemon."""
    running = House(tmp_path_factory.mktemp("house"), rate=1000, symbols=3000)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def from_npm() -> Path:
    """Where npm put what package.json names: a folder that git ignores."""
    folder = Path(__file__).parent
    npm = shutil.which("npm")
    wanted = json.loads((folder / "package.json").read_text())["devDependencies"]
    modules = folder / "node_modules"
    if npm is not None and not all((modules / name).is_dir() for name in wanted):
        subprocess.run(
            [npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--silent"],
            cwd=folder,
            check=False,
            timeout=180,
        )
    return modules


@pytest.fixture(scope="session")
def axe(from_npm: Path) -> str:
    """The rules of accessibility, as a script."""
    script = from_npm / "axe-core" / "axe.min.js"
    if not script.exists():
        pytest.skip("axe-core could not be had from npm: ACCESSIBILITY WAS NOT CHECKED")
    return script.read_text("utf-8")


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """A browser of this test's own, with nothing in it yet."""
    with warnings.catch_warnings():
        # Selenium leaves the driver's pipes to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        driver = make_driver(tmp_path / "profile")
        yield Page(driver)
        driver.quit()
