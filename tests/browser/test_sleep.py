"""Sleep, frozen tabs, and clocks that are set, in a real browser with the product's own clocks."""

from __future__ import annotations

import re
from time import monotonic

import pytest

from tests.browser.house import House
from tests.browser.page import Page

#: In Chromium on Linux and macOS `performance.now()` and the timers stand still while the machine
#: sleeps, and the time of day goes on. Here no script runs for a while, and the steady clock is
#: set back by as much. `deaf`: the connections of before the sleep are dead.
_SUSPEND = """
const steady = performance.now.bind(performance);
let lostMs = 0;
performance.now = () => steady() - lostMs;
const dead = new WeakSet();
const open = [];
const Real = WebSocket;
window.WebSocket = class extends Real {
  constructor(...args) { super(...args); open.push(this); }
  set onmessage(listener) {
    super.onmessage = (event) => { if (!dead.has(this)) listener(event); };
  }
};
window.suspend = (ms, isDeaf) => {
  const until = Date.now() + ms;
  while (Date.now() < until) { /* nothing of the page runs */ }
  lostMs += ms;
  if (isDeaf) for (const socket of open) dead.add(socket);
};
window.seen = [];
new MutationObserver(() => {
  const [title, detail] = ['glance-title', 'glance-detail'].map(
    (id) => document.getElementById(id)?.textContent ?? '');
  const line = [title, detail, String(document.querySelectorAll('#board tr[data-old]').length)];
  if (line.join() !== seen.at(-1)?.join()) seen.push(line);
}).observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
"""


def _suspend(page: Page, seconds: float, *, deaf: bool) -> None:
    """Put the machine to sleep; afterwards `window.seen` holds what the page showed since."""
    page.run(
        "window.seen.length = 0; window.suspend(arguments[0], arguments[1])", seconds * 1e3, deaf
    )


def test_after_sleep_it_says_so_and_reconnects(house: House, page: Page) -> None:
    """A machine that slept, its connection dead: old prices are marked at once, a new connection is
    there within seconds, and no clock is called wrong."""
    page.before(_SUSPEND)
    page.open(f"{house.address}?symbols=EURUSD,GBPUSD")
    page.prices_move()
    _suspend(page, 8, deaf=True)
    page.until(lambda: page.title == "This device slept", "the sleep", 3)
    assert re.search(r"^For [789] s, ", page.text("#glance-detail"))
    assert page.run("return document.querySelectorAll('#board tr[data-old]').length") == 2
    assert "slept" in page.events()[0].lower()
    page.until(lambda: page.title.startswith("Live"), "a new connection", 8)
    page.prices_move()
    page.until(lambda: not page.run("return document.querySelector('tr[data-old]')"), "new prices")
    assert page.text("#hint") == ""
    page.until(lambda: re.match(r"[0-2]\.", page.text("#meter-fresh dd")), "a new tick")
    seen = page.run("return window.seen")
    assert not [line for line in seen if "clock of this device is" in " ".join(line)]
    found = re.search(r"Connected again after (\d+)", page.events()[0])
    assert found, page.events()[:3]
    assert 8 <= int(found[1]) < 17, page.events()[0]
    assert page.complaints() == []


def test_after_sleep_a_connection_that_held_goes_on(house: House, page: Page) -> None:
    """It is checked, not thrown away; nothing is called a reconnect."""
    page.before(_SUSPEND)
    page.open(f"{house.address}?symbols=EURUSD,GBPUSD")
    page.prices_move()
    _suspend(page, 4, deaf=False)
    page.until(
        lambda: any(line[0] == "This device slept" for line in page.run("return window.seen")),
        "the sleep",
        3,
    )
    page.until(lambda: page.title.startswith("Live"), "the check", 3)
    page.until(lambda: not page.run("return document.querySelector('tr[data-old]')"), "trust")
    page.prices_move()
    events = page.events()
    assert events[0].startswith("This device slept"), events
    assert not any("Connected again" in one for one in events)
    assert page.text("#hint") == ""


@pytest.mark.parametrize("seconds", [1800, -1800])
def test_a_clock_that_is_set_is_no_sleep(house: House, page: Page, seconds: int) -> None:
    """Set forward or back while the page is open: the connection stays, the hint is true."""
    page.before(
        "const now = Date.now.bind(Date); window.setMs = 0; Date.now = () => now() + window.setMs;"
    )
    page.open(f"{house.address}?symbols=EURUSD")
    page.prices_move()
    page.run("window.setMs = arguments[0]", seconds * 1000)
    side = "ahead of" if seconds > 0 else "behind"
    # The clocks are read at different moments: 29 min 59 s is as good.
    page.until(
        lambda: re.search(rf"is (30 min 0|29 min 59) s {side} the daemon's", page.text("#hint")),
        "the hint",
    )
    page.until(lambda: page.title.startswith("Live"), "the check", 3)
    page.prices_move()
    events = page.events()
    assert not any("Connected again" in one or "slept" in one for one in events), events
    way = "forward" if seconds > 0 else "back"
    assert f"clock of this device was set {way} by " in events[0]
    latency = page.until(
        lambda: re.match(r"([\d.]+) (ms|s)", page.text("#meter-latency dd")), "a latency"
    )
    assert latency[2] == "ms"


def test_a_frozen_tab_is_live_again(house: House, page: Page) -> None:
    """Frozen by the browser, as tabs in the background are, and thawed. Chromium cuts the
    connection meanwhile: a new one is there at once, and the log counts from when prices ended."""
    page.open(f"{house.address}?symbols=EURUSD,GBPUSD")
    page.prices_move()
    began = monotonic()
    page.driver.execute_cdp_cmd("Page.setWebLifecycleState", {"state": "frozen"})
    page.until(lambda: monotonic() - began > 6, "a while")
    page.driver.execute_cdp_cmd("Page.setWebLifecycleState", {"state": "active"})
    # The page stays hidden, and paints nothing; this number is written all the same.
    page.until(lambda: re.search("[1-9]", page.text("#meter-rate dd")), "ticks", 8)
    page.until(lambda: page.title.startswith("Live"), "it to be live", 8)
    found = re.match(r"Connected again after (\d+)\.", page.events()[0])
    assert found, page.events()
    assert 6 <= int(found[1]) <= 9, page.events()
    assert page.text("#hint") == ""


def test_back_and_forward(house: House, page: Page) -> None:
    """Left for another page and come back to, by the browser's own button."""
    page.open(f"{house.address}?symbols=EURUSD,GBPUSD")
    page.prices_move()
    page.driver.get(f"{house.address}healthz")
    page.driver.back()
    page.until(lambda: page.title.startswith("Live"), "it to be live", 8)
    page.prices_move()
    assert page.rows() == ["EURUSD", "GBPUSD"]


def test_offline_and_online(house: House, page: Page) -> None:
    """The network of the device goes and comes: told once, then live again."""
    page.open(f"{house.address}?symbols=EURUSD,GBPUSD")
    page.prices_move()
    off = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.driver.execute_cdp_cmd("Network.enable", {})
    page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", off)
    page.until(lambda: any("is offline" in one for one in page.events()), "the news")
    page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {**off, "offline": False})
    page.until(lambda: any("online again" in one for one in page.events()), "the news")
    page.until(lambda: page.title.startswith("Live"), "it to be live", 10)
    page.prices_move()
