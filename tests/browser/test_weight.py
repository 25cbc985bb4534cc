"""What the page costs: bytes, time to the first tick, the main thread under load."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.browser.house import House
from tests.browser.page import Page

#: All files together, compressed, the chart library's 59 kB included (114,700 in November 2026).
TRANSFERRED_BYTES = 120_000
#: On loopback, from the navigation to a price on the screen. Generous: the machine may be busy.
FIRST_TICK_MS = 3000
#: The share of a processor that the main thread may use at 50 symbols, 1000 ticks a second. Without
#: a GPU, as here, most of it is painting; our own script is a tenth of it.
MAIN_THREAD_SHARE = 0.8
SCRIPT_SHARE = 0.15
#: How much of the time may lie between frames more than this far apart.
LATE_FRAME_MS = 100
LATE_SHARE = 0.05

SECONDS = 6
FIFTY = [f"SYM{number:03}" for number in range(50)]

_COUNT_FRAMES = """
window.frames_ = [];
const next = (at) => { window.frames_.push(at); requestAnimationFrame(next); };
requestAnimationFrame(next);
"""


@pytest.fixture(scope="module")
def fifty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A venue in which fifty synthetic symbols bring a thousand ticks a second on their own."""
    running = House(tmp_path_factory.mktemp("fifty"), rate=1000, symbols=50)
    yield running
    running.stop()


def test_few_bytes_and_a_quick_first_tick(house: House, page: Page) -> None:
    """All files together are small, come from one origin, and a price is soon on the screen."""
    page.open(f"{house.address}?symbols=EURUSD,GBPUSD")
    first_ms = page.until(lambda: page.run("return window.firstTickAt"), "the first tick")
    sizes: list[list[object]] = page.run(
        "return [...performance.getEntriesByType('navigation'),"
        " ...performance.getEntriesByType('resource')]"
        ".map((e) => [e.name, e.transferSize])"
    )
    total = sum(int(str(size)) for _, size in sizes)
    print(f"\n{len(sizes)} files, {total} bytes; first tick after {first_ms:.0f} ms")  # noqa: T201
    assert all(str(name).startswith(house.address) for name, _ in sizes)
    assert 50_000 < total < TRANSFERRED_BYTES
    assert first_ms < FIRST_TICK_MS


def test_fifty_symbols_at_a_thousand_ticks_a_second(fifty: House, page: Page) -> None:
    """The main thread stays free for most of the time, and frames come regularly."""
    page.driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
    page.before(
        "localStorage.setItem('ctrader-stream.board',"
        f" JSON.stringify({FIFTY}));"  # A list of plain names is the same in both languages.
    )
    fifty.switch("rate", ticks_per_s=4000)
    page.open(fifty.address)
    page.until(lambda: len(page.rows()) == 50, "fifty rows")
    page.until(lambda: _rate(page) > 900, "a thousand ticks a second", 30)
    page.run(_COUNT_FRAMES)
    before, began_ms = _metrics(page), page.run("return performance.now()")
    page.until(
        lambda: page.run("return performance.now()") - began_ms > SECONDS * 1000, "some seconds"
    )
    after, rate = _metrics(page), _rate(page)
    seconds = (page.run("return performance.now()") - began_ms) / 1000
    share, script = (
        (after[name] - before[name]) / seconds for name in ("TaskDuration", "ScriptDuration")
    )
    frames: list[float] = page.run("return window.frames_")
    gaps = [later - earlier for earlier, later in pairwise(frames)]
    late = sum(gap for gap in gaps if gap > LATE_FRAME_MS) / sum(gaps)
    print(  # noqa: T201
        f"\n{rate:.0f} ticks/s: main thread {share:.0%}, script {script:.0%}, "
        f"{len(gaps) / seconds:.0f} frames/s, longest gap {max(gaps):.0f} ms, late {late:.1%}"
    )
    assert share < MAIN_THREAD_SHARE
    assert script < SCRIPT_SHARE
    assert late < LATE_SHARE
    assert page.complaints() == []


def _metrics(page: Page) -> dict[str, float]:
    told = page.driver.execute_cdp_cmd("Performance.getMetrics", {})
    return {one["name"]: one["value"] for one in told["metrics"]}


def _rate(page: Page) -> float:
    text = page.text("#meter-rate dd").removesuffix(" /s").replace(",", "")
    return float(text) if text.replace(".", "").isdigit() else 0.0
