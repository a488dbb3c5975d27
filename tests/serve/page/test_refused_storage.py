"""A browser that refuses to keep what the page gives it: what was chosen counts, and the user is told."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.serve.page.conftest import Watch
from tests.serve.page.scripted_server import Script

Ask = Callable[[str], None]

# Full: nothing can be put into it any more, as browsers say it.
FULL = """
Storage.prototype.setItem = () => {
  throw new DOMException("The quota has been exceeded.", "QuotaExceededError");
};
"""
OFF = """
for (const name of ["localStorage", "sessionStorage"]) {
  Object.defineProperty(window, name, {
    get() {
      throw new DOMException("Access is denied for this document.", "SecurityError");
    },
  });
}
"""


@pytest.fixture(params=[FULL, OFF], ids=["full", "off"])
def refusing(page: Page, request: pytest.FixtureRequest) -> Page:
    """The page in such a browser."""
    page.add_init_script(request.param)
    page.reload()
    expect(page.locator("#model-name")).to_have_text("scripted-1b")
    return page


def close_the_notice(page: Page, of: str) -> None:
    dialog = page.get_by_role("dialog", name=f"The browser does not keep {of}")
    expect(dialog).to_contain_text("Its storage refused")
    dialog.get_by_role("button", name="Close").last.click()
    expect(dialog).to_have_count(0)


def test_settings_count_all_the_same(refusing: Page, script: Script, ask: Ask) -> None:
    page = refusing
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Temperature", exact=True).fill("1.5")
    close_the_notice(page, "your choices")
    # It is told once: typing goes on.
    page.get_by_label("System prompt").fill("Be brief.")
    expect(page.get_by_role("dialog")).to_have_count(1)
    page.keyboard.press("Escape")
    ask("Hello?")
    assert script.asked[-1]["temperature"] == 1.5
    assert script.asked[-1]["messages"][0] == {"role": "system", "content": "Be brief."}


def test_new_conversations_begin_with_the_settings(refusing: Page, script: Script, ask: Ask) -> None:
    page = refusing
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Temperature", exact=True).fill("1.5")
    close_the_notice(page, "your choices")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    ask("Hello?")
    assert script.asked[-1]["temperature"] == 1.5


def test_a_preset_is_there_until_the_page_goes_and_that_is_told(refusing: Page) -> None:
    page = refusing
    preset = page.get_by_label("Preset", exact=True)
    page.get_by_role("button", name="Settings").click()
    for name in ("Mine", "Another"):
        page.get_by_role("button", name="Save as preset…").click()
        page.get_by_label("Name of the preset").fill(name)
        page.keyboard.press("Enter")
        close_the_notice(page, "your presets")
        expect(preset.locator("option:checked")).to_have_text(name)
    expect(preset.locator("option", has_text="Mine")).to_have_count(1)


def test_the_theme_and_the_list_change_all_the_same(refusing: Page) -> None:
    page = refusing
    page.get_by_role("button", name="Theme").click()
    close_the_notice(page, "your choices")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    page.get_by_role("button", name="Theme").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.get_by_role("button", name="Conversations", exact=True).click()
    expect(page.locator("body")).to_have_class("sidebar-closed")


def test_the_key_is_used_all_the_same(refusing: Page, watch: Watch, script: Script) -> None:
    page = refusing
    watch.expected.append("401")
    script.key = "sk-secret-6"
    page.get_by_label("Your message", exact=True).fill("Hello?")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Key", exact=True).fill("sk-secret-6")
    dialog.get_by_label("Remember it in this browser").check()
    page.keyboard.press("Enter")
    close_the_notice(page, "the key")
    expect(page.locator(".answer .markdown")).to_have_text("Hello.")
