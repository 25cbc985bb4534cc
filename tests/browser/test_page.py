"""The page in a real browser, against a real daemon and a venue that can misbehave."""

from __future__ import annotations

import re

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.house import House
from tests.browser.page import Page

HOSTILE = [
    '<img src=x onerror="window.hacked=1">',
    '"><script>window.hacked=1</script>',
    "'; alert(1) //",
    "__proto__",
    "\u202etxet\u202c \u0000 \u2028",
    "Ω≈ç√∫ 株価 🚀",
    "A" * 250,
]

#: Between the page and the daemon: the page sees hostile names for ordinary ones.
_MASQUERADE = """
const NAMES = %s;
const Real = WebSocket;
const swap = (text, from, to) => text.split(from).join(to);
window.WebSocket = class extends Real {
  send(text) {
    super.send(NAMES.reduce((t, [plain, hostile]) => swap(t, hostile, plain), text));
  }
  set onmessage(listener) {
    super.onmessage = (event) => listener({
      data: NAMES.reduce((t, [plain, hostile]) => swap(t, plain, hostile), event.data),
    });
  }
};
"""


def test_connects_and_shows_ticks(house: House, page: Page) -> None:
    """It opens live, says that this is a simulator, and prices move; the console stays empty."""
    page.open(house.address)
    assert page.text("#env") == "simulator"
    page.until(lambda: len(page.rows()) >= 10, "a first board")
    page.prices_move()
    page.until(lambda: re.search(r"\d ms", page.text("#meter-latency dd")), "a latency")
    page.until(
        lambda: page.run("return document.querySelectorAll('#chart canvas').length"), "chart"
    )
    assert page.complaints() == []


def test_finds_a_symbol_by_typing(house: House, page: Page) -> None:
    """Slash, a few letters, Enter: the symbol is on the board, ticks, and stays after a reload."""
    page.open(f"{house.address}?symbols=EURUSD")
    page.one("body").send_keys("/")
    page.one("#search").send_keys("sym29", Keys.ENTER)
    page.until(lambda: "SYM029" in page.rows() or "SYM290" in page.rows(), "the new row")
    name = page.rows()[-1]
    page.until(lambda: page.text("#chart-title") == name, "its chart")
    page.open(house.address)
    assert name in page.rows()
    page.prices_move()


def test_the_list_is_virtual_and_walks_by_keys(house: House, page: Page) -> None:
    """Of three thousand symbols only those in sight exist; arrows, F and Enter work in the list."""
    page.open(f"{house.address}?symbols=EURUSD")
    assert page.text("#symbols-count").startswith("3,0")
    assert page.run("return document.querySelectorAll('#symbol-rows li').length") < 60
    page.one("#search").send_keys(Keys.ARROW_DOWN)
    for _ in range(30):
        page.driver.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    name = page.driver.switch_to.active_element.text
    at = page.run("return Number(document.activeElement.closest('li').ariaPosInSet)")
    assert at == 31
    page.driver.switch_to.active_element.send_keys("f")
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    page.until(lambda: name in page.rows(), "the row")
    page.one("#filter-favourites").click()
    assert page.text("#symbols-count") == "1 symbol"
    page.driver.switch_to.active_element.send_keys(Keys.TAB)
    page.one("#search").send_keys("no such thing")
    assert "No symbol" in page.text("#symbols-empty")
    assert page.complaints() == []


def test_a_lost_venue_is_told_with_a_true_countdown(house: House, page: Page) -> None:
    """Drop: the attempt, a countdown that ends when the attempt comes, old prices marked; then all
    is well again, and the log tells the story."""
    page.open(f"{house.address}?symbols=EURUSD,GBPUSD")
    page.prices_move()
    try:
        house.switch("refuse", how="port")
        house.switch("drop")
        page.until(lambda: "is lost" in page.title, "the loss")
        shown = page.until(
            lambda: page.run(
                "const c = document.getElementById('countdown');"
                "return c.hidden ? null : [performance.now(), Number(c.textContent),"
                " document.getElementById('glance-detail').textContent]"
            ),
            "a countdown",
        )
        assert re.search(r"Attempt \d+ follows", shown[2])
        page.until(
            lambda: page.text("#glance-detail") != shown[2],
            "the announced attempt",
        )
        took_s = (page.run("return performance.now()") - shown[0]) / 1000
        assert abs(took_s - shown[1]) < 1.5, f"announced {shown[1]} s, it took {took_s:.1f} s"
        assert page.run("return document.querySelectorAll('#board tr[data-old]').length") == 2
    finally:
        house.switch("clear")
    page.until(lambda: page.title.startswith("Live"), "recovery", 40)
    page.prices_move()
    page.until(lambda: not page.run("return document.querySelector('tr[data-old]')"), "new prices")
    assert any("Connected again" in one for one in page.events())
    assert page.complaints() == []


def test_a_refused_account_is_told_with_what_helps(house: House, page: Page) -> None:
    """The link that is broken, since when, and the advice: in sight, on a phone too, and for a
    screen reader; gone when all is well."""
    page.open(f"{house.address}?symbols=EURUSD")
    assert not page.one("#trouble").is_displayed()
    try:
        house.switch("auth_refused", what="account", code="CH_SERVER_NOT_REACHABLE")
        house.switch("account_disconnect")
        page.until(lambda: page.one("#trouble").is_displayed(), "the trouble")
        told = page.text("#trouble-text")
        assert re.match(r"The account is refused or closed since \d+:\d+:\d+.*\. \S.*", told), told
        assert page.run("return document.getElementById('trouble').parentElement.role") == "status"
        page.size(390, 844, phone=True)
        assert page.run("return document.documentElement.scrollWidth") <= 390
        assert page.one("#trouble-text").is_displayed()
    finally:
        house.switch("clear")
        page.size(1440, 900)
    page.until(lambda: not page.one("#trouble").is_displayed(), "the end of it", 90)


def test_a_restart_of_the_daemon_is_survived(house: House, page: Page) -> None:
    """The daemon goes and comes back: said in words, then everything is as before."""
    page.open(f"{house.address}?symbols=EURUSD,GBPUSD")
    page.prices_move()
    house.daemon.stop()
    page.until(lambda: page.title == "The daemon is lost", "the loss")
    assert page.text("#retry") == "Try now"
    house.start()
    # By now the page may have tried by itself, and hidden the button.
    page.run("document.getElementById('retry').click()")
    page.until(lambda: page.title.startswith("Live"), "recovery", 40)
    page.prices_move()
    assert page.rows() == ["EURUSD", "GBPUSD"]


def test_names_never_become_html(house: House, page: Page) -> None:
    """Whatever a symbol is called, it is text, wherever it is shown."""
    import json

    plain = ["EURUSD", "GBPUSD", "USDJPY", "AUDUSD", "XAUUSD", "US500", "BTCUSD"]
    pairs = [[json.dumps(a), json.dumps(b)] for a, b in zip(plain, HOSTILE, strict=True)]
    page.before(_MASQUERADE % json.dumps(pairs))
    page.open(house.address)
    page.one("#search").send_keys("<img")
    page.until(lambda: page.text("#symbol-rows li .list-name") == HOSTILE[0], "the hostile name")
    page.one("#search").send_keys(Keys.ENTER)
    page.one("#search").clear()
    for name in HOSTILE[1:]:
        page.run(
            "const input = document.getElementById('search'); input.value = arguments[0];"
            "input.dispatchEvent(new Event('input'));",
            name[:60],
        )
        page.one("#search").send_keys(Keys.ENTER)
    page.one("#tab-code").click()
    page.until(lambda: page.text("#wire"), "raw messages")
    page.until(lambda: set(HOSTILE) <= set(page.rows()), "all of them on the board")
    page.prices_move()
    assert page.text("#chart-title") in HOSTILE
    assert page.run("return window.hacked") is None
    assert page.run("return document.querySelectorAll('main img, main script').length") == 0
    assert page.complaints() == []


def test_a_wrong_clock_is_hinted_at(house: House, page: Page) -> None:
    """A device that is an hour behind: latency is corrected, and the page says so."""
    page.before("const now = Date.now.bind(Date); Date.now = () => now() - 369e4;")
    page.open(f"{house.address}?symbols=EURUSD")
    page.until(lambda: "1 h 1 min behind" in page.text("#hint"), "the hint")
    latency = page.until(
        lambda: re.match(r"([\d.]+) ms", page.text("#meter-latency dd")), "a latency"
    )
    assert 0 <= float(latency[1]) < 1000


def test_developers_see_and_pause_the_wire(house: House, page: Page) -> None:
    """Raw messages run, stop when paused, and each language has its line to copy."""
    page.open(f"{house.address}?symbols=EURUSD")
    page.one("#tab-log").send_keys(Keys.ARROW_RIGHT)
    page.until(lambda: '"type":"tick"' in page.text("#wire"), "a tick")
    page.one("#wire-pause").click()
    before = page.text("#wire")
    page.prices_move()
    assert page.text("#wire") == before
    for kind, word in [("websocat", "websocat -n ws://"), ("Python", "daemon.send(")]:
        page.run(
            "[...document.querySelectorAll('#snippet-kinds button')]"
            ".find((b) => b.textContent === arguments[0]).click()",
            kind,
        )
        assert word in page.text("#snippet")
        assert "EURUSD" in page.text("#snippet")
    assert page.complaints() == []


@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1440, 2560])
def test_fits_every_screen(house: House, page: Page, width: int) -> None:
    """Nothing sticks out to the side, from a small phone to a wide screen."""
    page.size(width, 800, phone=width < 700)
    page.open(f"{house.address}?symbols=EURUSD,BTCUSD,SYM0001")
    assert page.run("return document.documentElement.scrollWidth") <= width
    assert page.run("return document.getElementById('board-scroll').clientHeight") > 80


@pytest.mark.parametrize(("width", "height"), [(320, 568), (740, 360), (844, 390), (1280, 420)])
def test_fits_low_screens(house: House, page: Page, width: int, height: int) -> None:
    """A small phone, and one on its side: nothing is covered or cut off; three rows can be seen at
    once, and every view can be reached."""
    page.size(width, height, phone=width < 1000)
    page.open(f"{house.address}?symbols=EURUSD,BTCUSD,XAUUSD,GBPUSD")
    page.prices_move()
    assert page.run("return document.documentElement.scrollWidth") <= width
    assert page.run(_CUT_OFF) == []
    page.run("document.getElementById('board').scrollIntoView({block: 'end'})")
    assert page.run("return document.getElementById('board-scroll').clientHeight") >= 3 * 40
    if width <= 760:
        for view in ("symbols", "side", "quotes"):
            page.one(f".views [data-view={view}]").click()
            assert page.run("return document.documentElement.dataset.view") == view
    page.run("document.getElementById('search').scrollIntoView({block: 'center'})")


#: The words that stick out of what they are in.
_CUT_OFF = """
const cut = (e) => e.checkVisibility() && e.scrollWidth > e.clientWidth;
const inside = (e, box) => e.getBoundingClientRect().right <= box.getBoundingClientRect().right;
const panel = document.querySelector('.chart');
return [
  ...[...document.querySelectorAll('#board .pick, .board thead th:not(:last-child)')].filter(cut),
  ...[...document.querySelectorAll('#periods button')].filter((e) => !inside(e, panel)),
].map((e) => e.textContent);
"""


def test_rows_beyond_the_edge_tell_nothing_of_latency(house: House, page: Page) -> None:
    """What nobody sees is written now and then only, and that delay is none of the stream's."""
    names = ",".join(f"SYM{number:03}" for number in range(250))
    page.open(f"{house.address}?symbols={names}")
    page.run(_SAMPLE_LATENCY)
    samples = page.until(
        lambda: (seen := page.run("return window.samples")) and len(seen) >= 24 and seen, "samples"
    )
    assert sorted(samples)[len(samples) // 2] < 250


_SAMPLE_LATENCY = """
window.samples = [];
setInterval(() => {
  const [number, unit] = document.querySelector('#meter-latency dd').textContent.split(' ');
  if (unit) window.samples.push(parseFloat(number) * (unit === 's' ? 1000 : 1));
}, 250);
"""


def test_without_javascript_it_says_so(house: House, page: Page) -> None:
    """And shows nothing that looks as if it were about to come."""
    page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    page.driver.get(house.address)
    assert "need JavaScript" in page.one("noscript p").text
    for part in (".glance", ".meters", ".desk", ".theme"):
        assert not page.one(part).is_displayed()


def test_why_there_are_no_ticks(house: House, page: Page) -> None:
    """A symbol falls silent: the page offers the daemon's own diagnosis, in words."""
    page.open(f"{house.address}?symbols=EURUSD,SYM010")
    page.prices_move()
    try:
        house.switch("quiet", symbols=["SYM010"])
        page.until(lambda: page.text("tr[data-symbol=SYM010] .why") == "?", "the offer", 40)
        page.run("document.querySelector('tr[data-symbol=SYM010] .why').click()")
        page.until(lambda: len(page.text("#diagnosis-body")) > 60, "the diagnosis")
        assert "SYM010" in page.text("#diagnosis-title")
        page.one("#diagnosis-close").click()
    finally:
        house.switch("clear")
    assert page.complaints() == []


#: The daemon's answer as on a Saturday, on which the simulated venue goes on.
_SATURDAY = """
const real = fetch;
window.fetch = async (address, options) => {
  if (!String(address).includes('ctrader/diagnose')) return real(address, options);
  const answer = await (await real(address, options)).json();
  const market = answer.links.find((link) => link.name === 'market');
  Object.assign(market, {holds: 'no', cause: 'closed by its weekly hours', advice: 'Wait.',
    opens: new Date(2025, 5, 22, 21, 5).getTime()});
  Object.assign(answer, {ok: false, verdict: 'broken', first_broken: 'market',
    cause: market.cause, advice: market.advice});
  return new Response(JSON.stringify(answer));
};
"""


def test_a_closed_market_does_not_look_broken(house: House, page: Page) -> None:
    """On a weekend: the rows are grey and say when they open, and no number turns red."""
    page.before(_SATURDAY)
    page.open(f"{house.address}?symbols=SYM011,SYM012")
    page.until(lambda: len(page.prices()) == 4, "two rows")
    try:
        house.switch("quiet")
        page.until(
            lambda: page.run("return document.querySelectorAll('tr[data-closed]').length") == 2,
            "both to be known as closed",
            60,
        )
        said = page.run("return document.querySelector('tr[data-symbol=SYM011] .pick').title")
        assert said == "SYM011: closed by its weekly hours; opens Sun 21:05"
        assert page.text("tr[data-symbol=SYM011] .change") == "closed"
        opens = "return document.querySelector('[data-opens]').dataset.opens"
        assert page.run(opens) == "opens Sun 21:05"
        page.until(
            lambda: page.run("return document.getElementById('meter-fresh').dataset.mood") is None,
            "a calm number",
        )
        page.run("document.querySelector('tr[data-symbol=SYM011] .why').click()")
        page.until(lambda: "The market is closed" in page.text("#diagnosis-body"), "the verdict")
        assert "Broken" not in page.text("#diagnosis-body")
        page.one("#diagnosis-close").click()
    finally:
        house.switch("clear")
    page.until(
        lambda: not page.run("return document.querySelector('tr[data-closed]')"), "ticks again", 40
    )


def test_an_empty_board_is_calm(house: House, page: Page) -> None:
    """Without a symbol there is no last tick to be late."""
    page.open(f"{house.address}?symbols=EURUSD")
    page.prices_move()
    page.one("#board-clear").click()
    page.until(lambda: not re.search(r"\d", page.text("#meter-fresh dd")), "no number")
    assert page.run("return document.getElementById('meter-fresh').dataset.mood") is None


def test_enter_adds_and_never_removes(house: House, page: Page) -> None:
    """A second Enter in the field leaves the symbol that the first one added; a pair is found as
    people write it."""
    page.open(f"{house.address}?symbols=EURUSD")
    page.one("#search").send_keys("gbp/usd", Keys.ENTER, Keys.ENTER)
    page.until(lambda: page.text("#chart-title") == "GBPUSD", "its chart")
    assert page.rows() == ["EURUSD", "GBPUSD"]


def test_a_restart_is_found_without_waiting_for_the_announced_attempt(
    house: House, page: Page
) -> None:
    """As soon as the daemon answers again, whatever the countdown says."""
    page.open(f"{house.address}?symbols=EURUSD,GBPUSD")
    page.prices_move()
    house.daemon.stop()
    try:
        # By now the waits are 8 s and more.
        page.until(lambda: "Attempt 6 follows" in page.text("#glance-detail"), "attempts", 40)
    finally:
        house.start()
    page.until(lambda: page.title.startswith("Live"), "recovery", 4)


#: What can be pressed and is seen, and is lower than a finger needs.
_LOW = """
return [...document.querySelectorAll('button, input, [role=tab]')]
  .filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 44)
  .map((e) => e.outerHTML);
"""


def test_fingers_find_everything(house: House, page: Page) -> None:
    """Where the pointer is a finger, whatever can be pressed is at least 44 pixels high."""
    page.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    for width, height in ((390, 844), (320, 568), (1024, 768)):
        page.size(width, height, phone=True)
        page.open(f"{house.address}?symbols=EURUSD,BTCUSD")
        assert page.run("return matchMedia('(pointer: coarse)').matches")
        for view in ("quotes", "symbols", "side"):
            page.run("document.documentElement.dataset.view = arguments[0]", view)
            assert page.run(_LOW) == []
        assert page.run("return document.documentElement.scrollWidth") <= width
