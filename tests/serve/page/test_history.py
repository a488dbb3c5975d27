"""What the user does with conversations that there are: finds words in them, keeps one, mends an answer."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.serve.page.conftest import Watch
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


def test_an_answer_that_grows_has_only_itself_searched_again(
    page: Page, script: Script, ask: Ask, send: Ask
) -> None:
    ask("Tea?")
    page.evaluate("""() => {
      window.numWholeReads = 0;
      const open = IDBObjectStore.prototype.openCursor;
      IDBObjectStore.prototype.openCursor = function (...wanted) {
        window.numWholeReads += 1;
        return open.apply(this, wanted);
      };
    }""")
    field = page.get_by_label("Find in titles and messages")
    links = page.locator(".conversation-link")
    field.fill("needle")
    expect(page.locator("#conversation-list")).to_have_text("Nothing found.")
    script.answers = [Answer(["hay ", "and a needle"], piece_seconds=1.2)]
    send("And coffee?")
    expect(page.locator(".answer[aria-busy]")).to_have_count(0)
    expect(links).to_have_count(1)
    expect(links.locator(".excerpt")).to_have_text("hay and a needle")
    page.keyboard.press("Control+k")
    expect(links).to_have_count(1)
    assert page.evaluate("window.numWholeReads") == 1
    field.fill("nowhere")
    expect(links).to_have_count(0)
    assert page.evaluate("window.numWholeReads") == 2


def test_an_older_search_stops(bare_page: Page) -> None:
    visited = """async () => {
      const { Conversations } = await import('/page/conversations.js');
      const store = await Conversations.open();
      const read = (number) => ({ id: `n${number}`, title: 't', updated: 1, messages: [{ content: 'hay' }] });
      for (let number = 0; number < 20; number += 1) await store.save(read(number));
      const stop = new AbortController();
      let numRead = 0;
      const next = IDBCursor.prototype.continue;
      IDBCursor.prototype.continue = function () {
        numRead += 1;
        if (numRead === 3) stop.abort();
        next.call(this);
      };
      await store.find('hay', { signal: stop.signal });
      for (let number = 0; number < 20; number += 1) await store.remove(`n${number}`);
      IDBCursor.prototype.continue = next;
      return numRead;
    }"""
    assert bare_page.evaluate(visited) == 3


def test_an_excerpt_after_letters_that_change_their_length(bare_page: Page) -> None:
    """The small form of İ is two signs."""
    excerpt = """(text) => import('/page/search.js').then(({ excerptOf }) =>
      excerptOf({ title: '', messages: [{ content: text }] }, 'NEEDLE'))"""
    assert bare_page.evaluate(excerpt, "İ" * 40 + " a needle here") == "…" + "İ" * 9 + " a needle here"


def test_an_edit_outlives_the_end_of_an_answer(page: Page, script: Script, ask: Ask, send: Ask) -> None:
    ask("First?")
    release = threading.Event()
    script.answers = [Answer(["Slow"], held=release)]
    send("Second?")
    expect(page.locator(".answer .markdown").last).to_have_text("Slow")
    page.get_by_role("button", name="Edit the message").first.click()
    question = page.get_by_label("Your message, edited")
    question.fill("First, changed")
    page.get_by_role("button", name="Edit the answer").first.click()
    answer = page.get_by_label("The answer, edited")
    answer.fill("Hello, changed")
    page.keyboard.press("ArrowLeft")
    release.set()
    expect(page.locator(".answer[aria-busy]")).to_have_count(0)
    expect(question).to_have_value("First, changed")
    expect(answer).to_have_value("Hello, changed")
    expect(answer).to_be_focused()
    assert answer.evaluate("(field) => field.selectionStart") == len("Hello, changed") - 1
    page.keyboard.press("Escape")
    expect(page.locator(".answer .markdown").first).to_have_text("Hello.")
    expect(page.get_by_role("button", name="Edit the answer").first).to_be_focused()
    question.press("Enter")
    expect(page.locator(".bubble")).to_have_text(["First, changed"])
    assert script.asked[-1]["messages"] == [{"role": "user", "content": "First, changed"}]


def test_an_edit_outlives_a_look_at_another_conversation(page: Page, script: Script, ask: Ask) -> None:
    ask("First?")
    page.get_by_role("button", name="Edit the message").click()
    question = page.get_by_label("Your message, edited")
    question.fill("First, changed")
    page.get_by_role("button", name="Edit the answer").click()
    answer = page.get_by_label("The answer, edited")
    answer.fill("Hello, changed")
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator(".message")).to_have_count(0)
    ask("Another.")
    page.get_by_role("link", name="First?").click()
    expect(question).to_have_value("First, changed")
    expect(answer).to_have_value("Hello, changed")
    answer.press("Escape")
    expect(page.locator(".answer .markdown")).to_have_text("Hello.")
    # What was taken back does not come again.
    page.get_by_role("link", name="Another.").click()
    page.get_by_role("link", name="First?").click()
    expect(page.locator(".answer .markdown")).to_have_text("Hello.")
    question.press("Enter")
    expect(page.locator(".bubble")).to_have_text(["First, changed"])
    assert script.asked[-1]["messages"] == [{"role": "user", "content": "First, changed"}]


def test_an_edit_is_of_one_copy_of_a_conversation(page: Page, ask: Ask, tmp_path: Path) -> None:
    ask("First?")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export all conversations").click()
    exported = tmp_path / "export.json"
    download.value.save_as(exported)
    page.get_by_role("button", name="Edit the message").click()
    question = page.get_by_label("Your message, edited")
    question.fill("First, changed")
    page.locator("#import-file").set_input_files(exported)
    links = page.get_by_role("link", name="First?")
    expect(links).to_have_count(2)
    page.locator(".conversation-link:not([aria-current])").click()
    expect(page.locator(".bubble")).to_have_text(["First?"])
    expect(question).to_have_count(0)
    page.locator(".conversation-link:not([aria-current])").click()
    expect(question).to_have_value("First, changed")


def test_a_conversation_that_is_written_in_is_renamed(
    page: Page, script: Script, send: Ask, reload_once_kept: Callable[[], None]
) -> None:
    release = threading.Event()
    script.answers = [Answer(["Slow"], held=release)]
    send("Tea?")
    expect(page.locator(".answer .markdown")).to_have_text("Slow")
    page.keyboard.press("Control+k")
    page.get_by_role("button", name="Rename “Tea?”").dispatch_event("click")
    page.get_by_label("Title", exact=True).fill("About tea")
    page.keyboard.press("Enter")
    links = page.locator(".conversation-link")
    expect(links).to_have_text(["About tea"])
    release.set()
    expect(page.locator(".busy")).to_have_count(0)
    links.click()
    expect(page.locator(".answer[aria-busy]")).to_have_count(0)
    reload_once_kept()
    expect(links).to_have_text(["About tea"])


@pytest.mark.parametrize("what", ["Save “Tea?” as Markdown", "Rename “Tea?”"])
def test_a_conversation_that_another_tab_deleted(page: Page, ask: Ask, what: str) -> None:
    ask("Tea?")
    page.keyboard.press("Control+k")
    expect(page.locator(".conversation-link")).to_have_count(1)
    page.evaluate("""async () => {
      const { Conversations } = await import('/page/conversations.js');
      const store = await Conversations.open();
      for (const { id } of await store.heads()) await store.remove(id);
    }""")
    page.get_by_role("button", name=what).dispatch_event("click")
    if what.startswith("Rename"):
        page.get_by_label("Title", exact=True).fill("Coffee?")
        page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("The conversation is gone")


def test_an_import_that_breaks_off_says_how_much_came(page: Page, tmp_path: Path) -> None:
    one = {"title": "One", "messages": []}
    archive = tmp_path / "export.json"
    whole = {"format": "ruvllm-conversations", "version": 1, "conversations": [one, one, one]}
    archive.write_text(json.dumps(whole), encoding="utf-8")
    page.evaluate("""() => {
      const put = IDBObjectStore.prototype.put;
      let numPut = 0;
      IDBObjectStore.prototype.put = function (...wanted) {
        numPut += 1;
        // Each conversation is two: its head and its body.
        if (numPut > 4) throw new DOMException("No room is left.", "QuotaExceededError");
        return put.apply(this, wanted);
      };
    }""")
    page.locator("#import-file").set_input_files(archive)
    dialog = page.get_by_role("dialog", name="Only 2 of 3 conversations were imported")
    expect(dialog).to_contain_text("No room is left.")


def test_a_request_that_cannot_be_made_is_a_trouble(
    page: Page, watch: Watch, ask: Ask, send: Ask, reload_once_kept: Callable[[], None]
) -> None:
    watch.expected.append("console: TypeError")
    ask("Hello?")
    reload_once_kept()
    page.evaluate("""async () => {
      const { Conversations } = await import('/page/conversations.js');
      const store = await Conversations.open();
      const spoiled = await store.load(location.hash.slice(1));
      spoiled.settings.system = 5;
      await store.save(spoiled);
    }""")
    page.reload()
    expect(page.locator(".answer .markdown")).to_have_text("Hello.")
    send("Again?")
    expect(page.get_by_role("alert")).to_contain_text("This page made a mistake")
    expect(page.locator(".bubble").last).to_have_text("Again?")
