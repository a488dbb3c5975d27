"""The browser that the page's tests drive: Debian's Chromium, or Chrome; no browser is downloaded."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = f"no browser: the page's tests drive one of {', '.join(NAMES)}; on Debian, apt install chromium"


def browser_path() -> str:
    """Where it is. Its absence is a failure: a skipped test would look like one that holds."""
    for name in NAMES:
        if path := shutil.which(name):
            return path
    pytest.fail(MISSING, pytrace=False)


@contextmanager
def running_browser() -> Iterator[Browser]:
    """A browser that shows nothing on the screen."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
