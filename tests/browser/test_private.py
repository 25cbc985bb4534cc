"""The page of a daemon that requires an API key, at a user's first visit."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.browser.house import House
from tests.browser.page import Page


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A venue, and a daemon that requires a key."""
    running = House(tmp_path_factory.mktemp("private"), rate=200, symbols=10, private=True)
    yield running
    running.stop()


_CUT_OFF = """
const detail = document.getElementById('glance-detail');
return detail.scrollWidth > detail.clientWidth;
"""


def _enter(page: Page, key: str) -> None:
    page.one("#key").send_keys(key)
    page.one("#key-form button").click()


def test_the_first_visit_asks_for_a_key(private: House, page: Page) -> None:
    """Calmly: nothing is red, no word is cut off, there is one thing to do; then it is live."""
    page.driver.get(private.address)
    page.until(lambda: page.title == "A key is needed", "the request")
    for width in (390, 1440):
        page.size(width, 844, phone=width < 700)
        assert page.run("return document.getElementById('glance').dataset.mood") == "wait"
        assert page.one("#key").is_displayed()
        assert not page.one("#retry").is_displayed()
        assert not page.run(_CUT_OFF), page.text("#glance-detail")
        assert page.run("return document.documentElement.scrollWidth") <= width
    _enter(page, "cts_wrong")
    page.until(lambda: page.title == "The key was not accepted", "the refusal")
    _enter(page, private.key)
    page.until(lambda: page.title.startswith("Live"), "the page to be live")
    page.prices_move()
    page.until(lambda: not page.one("#key-form").is_displayed(), "the form to go")


def test_why_there_are_no_ticks_with_a_key(private: House, page: Page) -> None:
    """The question mark comes where a key is needed, and while the feed as a whole is stale."""
    page.driver.get(f"{private.address}?symbols=EURUSD,BTCUSD")
    page.until(lambda: page.title == "A key is needed", "the request")
    _enter(page, private.key)
    page.prices_move()
    try:
        private.switch("quiet")
        page.until(lambda: page.text("tr[data-symbol=BTCUSD] .why") == "?", "the offer", 40)
        page.until(lambda: page.title == "Prices are stale", "the whole feed to be stale", 60)
        assert page.text("tr[data-symbol=BTCUSD] .why") == "?"
        page.run("document.querySelector('tr[data-symbol=BTCUSD] .why').click()")
        page.until(lambda: "socket" in page.text("#diagnosis-body"), "the diagnosis")
        page.one("#diagnosis-close").click()
    finally:
        private.switch("clear")
    page.until(lambda: page.title.startswith("Live"), "the end of it")
    events = page.events()
    assert not any("Connected again" in one for one in events), events
    assert events[0].startswith("Prices are fresh again after "), events


def test_lines_to_copy_work_with_a_key(private: House, page: Page) -> None:
    """They show where it goes, not what it is; the one for Python runs as it stands."""
    page.driver.get(f"{private.address}?symbols=EURUSD")
    page.until(lambda: page.title == "A key is needed", "the request")
    _enter(page, private.key)
    page.until(lambda: page.title.startswith("Live"), "the page to be live")
    page.one("#tab-code").click()
    for kind in ("websocat", "JavaScript", "Python"):
        page.run(
            "[...document.querySelectorAll('#snippet-kinds button')]"
            ".find((b) => b.textContent === arguments[0]).click()",
            kind,
        )
        assert "key" in page.text("#snippet").lower()
        assert private.key not in page.run("return document.documentElement.innerHTML")
    code = page.text("#snippet")
    script = f"{code}\n        if '\"tick\"' in message: break\n"
    folder = private.folder
    (folder / "key.txt").write_text(private.key + "\n")
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert json.loads(done.stdout.splitlines()[-1])["symbol"] == "EURUSD"
