"""A headless Chromium in front of a page of ours, and how the tests wait and look."""

import os
import pathlib
import shutil
import time

from selenium import webdriver
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    JavascriptException,
    NoSuchElementException,
    StaleElementReferenceException,
    WebDriverException,
)
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webdriver import WebDriver

DESKTOP = (1280, 800)
PHONE = (390, 844)

# Seconds that only what never happens takes, however loaded the machine is.
PATIENCE = 600

# A page that draws itself anew while it is looked at or clicked.
REDRAWN = (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    JavascriptException,
    NoSuchElementException,
    StaleElementReferenceException,
)


def wait_until(what, is_so, bound=PATIENCE):
    """Waits for a state of the page or of another process; gives up when the bound (seconds) has passed.

    Returns what `is_so` returned. A page that draws itself anew meanwhile is looked at again, and what was done to a
    part of it that is gone is done again: so nothing outside of here holds a part of a page.
    """
    deadline = time.monotonic() + bound
    while True:
        try:
            if found := is_so():
                return found
        except REDRAWN:
            pass
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {bound} s: {what}")
        time.sleep(0.05)


def open_browser(size=DESKTOP, language="en", is_dark=False, zone=None) -> WebDriver:
    """A Chromium whose view has a size, whose reader has a language, and whose console is kept."""
    options = Options()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--hide-scrollbars", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.add_argument(f"--lang={language}")
    options.add_argument(f"--accept-lang={language}")
    if os.geteuid() == 0:
        # Chromium's sandbox refuses to work for root.
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = _started(options)
    # By themselves the driver gives a page 300 s to load and a script 30 s to run.
    driver.set_page_load_timeout(PATIENCE)
    driver.set_script_timeout(PATIENCE)
    resize(driver, size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    driver.execute_cdp_cmd("Emulation.setLocaleOverride", {"locale": language})
    if zone:
        driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": zone})
    return driver


def _started(options, attempts=5) -> WebDriver:
    """A driver has half a minute to start and a browser a whole one, which a loaded machine may take longer for."""
    for attempt in range(1, attempts + 1):
        try:
            return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        except WebDriverException as error:
            if attempt == attempts:
                raise
            print(f"\nChromium did not start, attempt {attempt}: {error.msg}")


def resize(driver: WebDriver, size) -> None:
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] <= 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def page_text(driver: WebDriver) -> str:
    """What the page shows, in one go as it draws itself anew all the time."""
    return driver.execute_script("return document.querySelector('.stApp')?.innerText ?? ''")


def errors(driver: WebDriver) -> list[str]:
    """What the browser's console complains of since the last look."""
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]


def overflow(driver: WebDriver) -> int:
    """By how many pixels the page is wider than its view: none, or it scrolls sideways."""
    return driver.execute_script(
        "const page = document.scrollingElement, main = document.querySelector('[data-testid=\"stMain\"]');"
        "return Math.max(page.scrollWidth - innerWidth, main ? main.scrollWidth - main.clientWidth : 0)"
    )


def is_drawn(driver: WebDriver) -> bool:
    """Whether nothing on the page is being loaded, and all figures are there and as wide as their places."""
    return driver.execute_script(
        """
        const within = (selector) => [...document.querySelectorAll(`[data-testid="stMain"] ${selector}`)];
        if (within('[data-testid="stSkeleton"], [data-testid="stSpinner"]').length) return false;
        const figures = within('[data-testid="stPlotlyChart"]');
        return figures.length > 0 && figures.every((figure) => {
            const drawing = figure.querySelector('.main-svg');
            return drawing && Math.abs(drawing.getBoundingClientRect().width - figure.clientWidth) <= 1;
        });
        """
    )


def layout(driver: WebDriver):
    """Where all parts of the page are, to see whether they still move."""
    return driver.execute_script(
        """
        return [...document.querySelectorAll('[data-testid="stMain"] [data-testid="stElementContainer"]')]
            .map((part) => { const box = part.getBoundingClientRect(); return [box.top, box.width, box.height]; });
        """
    )


def picture(driver: WebDriver, path, size=DESKTOP) -> None:
    """Keeps a picture of the whole page."""
    height = driver.execute_script(
        "const main = document.querySelector('[data-testid=\"stMain\"]');"
        "return Math.ceil(Math.max(innerHeight, (main?.scrollHeight ?? 0) + (main?.getBoundingClientRect().top ?? 0)))"
    )
    resize(driver, (size[0], min(height, 8000)))
    # Figures follow the new size some frames later.
    before = None

    def is_still():
        nonlocal before
        now, before = layout(driver), before
        is_so, before = now == before and is_drawn(driver), now
        return is_so

    wait_until("the page stands still", is_still)
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    driver.save_screenshot(str(path))
    resize(driver, size)
