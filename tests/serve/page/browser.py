"""The browser that the page's tests drive: Chromium or Chrome of the system, else Playwright's own.

As a program (`make test-py` runs it) it says which one that is, or what to install.
"""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC_APPLICATION = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
MISSING = (
    "no browser for the tests of the server's page: install Chromium or Chrome (on Debian, "
    "apt install chromium), or let Playwright fetch one: "
    ".venv/bin/python -m playwright install --with-deps chromium"
)


def browser_path(playwright: Playwright) -> str | None:
    """Where a browser is; None where there is none."""
    found = [path for name in NAMES if (path := shutil.which(name))]
    own = (MAC_APPLICATION, Path(playwright.chromium.executable_path))
    return next(iter(found + [str(path) for path in own if path.is_file()]), None)


@contextmanager
def running_browser() -> Iterator[Browser]:
    """A browser without a window. Having none is a failure: skipped tests look like tests that hold."""
    with sync_playwright() as playwright:
        path = browser_path(playwright)
        if path is None:
            pytest.fail(MISSING, pytrace=False)
        # Chromium's sandbox does not start as root, which is what containers run as; it sees our pages only.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def main() -> None:
    """Says which browser there is; exits with what to install."""
    with sync_playwright() as playwright:
        path = browser_path(playwright)
    sys.exit(MISSING) if path is None else print(f"the page's tests drive {path}")


if __name__ == "__main__":
    main()
