"""Accessibility, by the rules of axe-core; and the pictures of the documentation."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.browser.house import House
from tests.browser.page import Page

_RUN_AXE = """
const done = arguments[arguments.length - 1];
axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa',
  'best-practice']}).then((found) => done(found.violations.map((v) =>
  `${v.id}: ${v.help}: ${v.nodes.slice(0, 4).map((n) => n.html + ' ' + n.failureSummary)}`)));
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_no_violations(house: House, page: Page, axe: str, scheme: str, width: int) -> None:
    """No rule of WCAG 2.2 AA is broken: live, with the log, with the tools, and disconnected."""
    page.size(width, 900, phone=width < 700, dark=scheme == "dark")
    page.open(house.address)
    page.prices_move()
    page.driver.set_script_timeout(60)
    assert _violations(page, axe) == []
    if width < 700:
        for view in ("symbols", "side"):
            page.one(f".views [data-view={view}]").click()
            assert _violations(page, axe) == []
    page.one("#tab-code").click()
    assert _violations(page, axe) == []
    house.daemon.stop()
    try:
        page.until(lambda: "lost" in page.title, "the loss")
        assert _violations(page, axe) == []
    finally:
        house.start()


def _violations(page: Page, axe: str) -> list[str]:
    page.run(axe)
    found: list[str] = page.driver.execute_async_script(_RUN_AXE)
    return found


def test_pictures(tmp_path: Path, page: Page) -> None:
    """Light, dark, phone, disconnected: PICTURES=docs/images make test-browser."""
    folder = Path(os.environ["PICTURES"])
    house = House(tmp_path, rate=60, symbols=0)
    try:
        looks = {"light": (1440, 900, False), "dark": (1440, 900, True), "phone": (390, 844, True)}
        page.open(house.address)
        # Enough candles for a picture.
        page.until(lambda: page.run("return performance.now()") > 150_000, "some minutes", 200)
        for name, (width, height, dark) in looks.items():
            page.size(width, height, phone=width < 700, dark=dark)
            page.prices_move()
            page.prices_move()
            page.driver.save_screenshot(str(folder / f"page-{name}.png"))
        page.size(1440, 900)
        house.switch("refuse", how="port")
        house.switch("drop")
        page.until(lambda: page.text("#countdown"), "the countdown")
        page.driver.save_screenshot(str(folder / "page-disconnected.png"))
    finally:
        house.stop()
    assert (folder / "page-disconnected.png").stat().st_size > 10_000


# No test of the product: it draws pictures for the documents, and only when asked to.
vars(test_pictures)["__test__"] = "PICTURES" in os.environ
