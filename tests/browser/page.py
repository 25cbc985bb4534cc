"""The page as somebody sees it who cannot see the code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]

#: Remembers when the first price was on the screen, in ms after the navigation.
_FIRST_TICK = """
const look = () => {
  const price = document.querySelector('.price');
  if (price && /\\d/.test(price.textContent)) window.firstTickAt = performance.now();
  else requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""


def make_driver(profile: Path) -> webdriver.Chrome:
    """A Chromium without a window, and with nothing to do but this."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in [*FLAGS, f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _FIRST_TICK})
    return driver


class Page:
    """The page in a browser. Whatever is asked for is waited for, with a bound."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver
        self.size(1440, 900)

    def size(self, width: int, height: int, *, phone: bool = False, dark: bool = False) -> None:
        """The screen, and what its owner prefers."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone},
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def before(self, script: str) -> None:
        """Run this before the scripts of every page that is opened from now on."""
        self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})

    def open(self, address: str) -> None:
        """Go there, and wait until it is live."""
        self.driver.get(address)
        self.until(lambda: self.title.startswith("Live"), "the page to be live")

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 20.0) -> Any:
        """Wait for something."""
        return WebDriverWait(self.driver, seconds, 0.05).until(
            lambda _: condition(), f"waited {seconds:g} s for {what}; the page says {self.title!r}"
        )

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a script's `return`."""
        return self.driver.execute_script(script, *arguments)

    def one(self, selector: str) -> Any:
        """The element."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """What it says; empty when it is not there or hidden."""
        return str(
            self.run(
                "const e = document.querySelector(arguments[0]);"
                "return e && e.checkVisibility() ? e.textContent.trim() : ''",
                selector,
            )
        )

    @property
    def title(self) -> str:
        """The state in one line."""
        return self.text("#glance-title")

    def prices(self) -> list[str]:
        """Bid and ask of every row."""
        found: list[str] = self.run(
            "return [...document.querySelectorAll('.price')].map((e) => e.textContent)"
        )
        return found

    def rows(self) -> list[str]:
        """The symbols on the board."""
        found: list[str] = self.run(
            "return [...document.querySelectorAll('#board tr')].map((e) => e.dataset.symbol)"
        )
        return found

    def events(self) -> list[str]:
        """The log, newest first."""
        found: list[str] = self.run(
            "return [...document.querySelectorAll('#log li p')].map((e) => e.textContent)"
        )
        return found

    def prices_move(self) -> None:
        """Wait until a price is another."""
        before = self.prices()
        self.until(lambda: self.prices() not in (before, []), "a price to change")

    def complaints(self) -> list[str]:
        """What the console holds against the page."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] in ("SEVERE", "WARNING")
        ]
