"""What the user does with conversations that there are: finds words in them, keeps one, mends an answer."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.serve.page.scripted_server import Answer, Script

Ask = Callable[[str], None]


@pytest.mark.parametrize("is_kept", [True, False])
def test_words_are_found_in_titles_and_in_messages(
    page: Page, script: Script, ask: Ask, is_kept: bool
) -> None:
    if not is_kept:
        page.add_init_script("Object.defineProperty(window, 'indexedDB', { value: undefined })")
        page.reload()
    script.answers = [Answer(["Leaves, and then some <b>water</b> that boils."]), Answer(["Beans."])]
    ask("Tea?")
    page.keyboard.press("Control+k")
    ask("Coffee?")
    field = page.get_by_label("Find in titles and messages")
    links = page.locator(".conversation-link")
    field.fill("WATER")
    expect(links).to_have_count(1)
    expect(links.locator(".excerpt")).to_have_text("…hen some <b>water</b> that boils.")
    field.fill("coff")
    expect(links).to_have_text(["Coffee?"])
    field.fill("nowhere")
    expect(page.locator("#conversation-list")).to_have_text("Nothing found.")
    field.fill("")
    expect(links).to_have_text(["Coffee?", "Tea?"])


def test_an_excerpt_is_what_is_around_the_word(page: Page, script: Script, ask: Ask) -> None:
    script.answers = [Answer(["before " * 40 + "needle" + " after" * 40])]
    ask("Hay?")
    page.get_by_label("Find in titles and messages").fill("needle")
    excerpt = page.locator(".excerpt")
    expect(excerpt).to_contain_text("before needle after")
    text = excerpt.text_content() or ""
    assert text.startswith("…")
    assert text.endswith("…")
    assert len(text) < 120


def test_one_conversation_is_saved_as_markdown(page: Page, script: Script, ask: Ask, tmp_path: Path) -> None:
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("System prompt").fill("Be brief.")
    page.keyboard.press("Escape")
    script.answers = [Answer(["Old."]), Answer(["It is **4**."], thinking="Two and\ntwo.")]
    ask("What is 2 + 2?")
    page.get_by_role("button", name="Answer again").click()
    expect(page.locator(".version-count")).to_have_text("2 of 2")
    page.get_by_role("link", name="What is 2 + 2?").hover()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save “What is 2 + 2?” as Markdown").click()
    assert download.value.suggested_filename == "what-is-2-2.md"
    saved = tmp_path / "saved.md"
    download.value.save_as(saved)
    assert saved.read_text(encoding="utf-8") == (
        "# What is 2 + 2?\n\n## System prompt\n\nBe brief.\n\n## You\n\nWhat is 2 + 2?\n\n"
        "## scripted-1b\n\n> Two and\n> two.\n\nIt is **4**.\n"
    )


def test_an_edited_answer_stands_beside_the_first(
    page: Page, script: Script, ask: Ask, reload_once_kept: Callable[[], None]
) -> None:
    script.answers = [Answer(["Pariss."], thinking="Hm."), Answer(["Yes."])]
    ask("Capital of France?")
    page.get_by_role("button", name="Edit the answer").click()
    field = page.get_by_label("The answer, edited")
    expect(field).to_be_focused()
    expect(field).to_have_value("Pariss.")
    page.keyboard.press("Escape")
    expect(page.locator(".answer .markdown")).to_have_text("Pariss.")
    expect(page.get_by_role("button", name="Edit the answer")).to_be_focused()
    page.keyboard.press("Enter")
    field.fill("Paris.")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".answer .markdown")).to_have_text("Paris.")
    expect(page.locator(".end-note")).to_have_text("You edited this answer.")
    expect(page.locator(".version-count")).to_have_text("2 of 2")
    assert page.locator(".thoughts-text").text_content() == "Hm."
    ask("Sure?")
    assert script.asked[-1]["messages"][1] == {"role": "assistant", "content": "Paris."}
    reload_once_kept()
    page.get_by_role("button", name="Earlier answer").first.click()
    expect(page.locator(".answer .markdown")).to_have_text("Pariss.")


def test_a_deleted_answer_goes_with_what_followed(page: Page, script: Script, ask: Ask) -> None:
    script.answers = [Answer(["One."]), Answer(["Two."]), Answer(["Three."]), Answer(["Four."])]
    ask("First?")
    page.get_by_role("button", name="Answer again").click()
    expect(page.locator(".version-count")).to_have_text("2 of 2")
    ask("Second?")
    page.get_by_role("button", name="Delete the answer").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("what was said after it too")
    dialog.get_by_role("button", name="Cancel").click()
    expect(page.locator(".answer")).to_have_count(2)
    page.get_by_role("button", name="Delete the answer").first.click()
    dialog.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator(".answer .markdown")).to_have_text(["One."])
    expect(page.locator(".versions")).to_have_count(0)
    # What goes for good is not kept out of sight either.
    field = page.get_by_label("Find in titles and messages")
    for gone in ("Two", "Second", "Three"):
        field.fill(gone)
        expect(page.locator("#conversation-list")).to_have_text("Nothing found.")
        field.fill("")
        expect(page.locator(".conversation-link")).to_have_count(1)
    page.get_by_role("button", name="Delete the answer").click()
    expect(dialog).not_to_contain_text("after it")
    dialog.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator(".answer")).to_have_count(0)
    page.get_by_role("button", name="Ask again").click()
    expect(page.locator(".answer .markdown")).to_have_text("Four.")
    assert script.asked[-1]["messages"] == [{"role": "user", "content": "First?"}]
