"""Text files that go along with a message, and what is no text."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.serve.page.scripted_server import Answer, Script

Ask = Callable[[str], None]
# Drops files on the page, as a file manager does. Runs in the browser.
DROP = """
(files) => {
  const dataTransfer = new DataTransfer();
  for (const [name, text, type] of files) dataTransfer.items.add(new File([text], name, { type }));
  for (const kind of ['dragover', 'drop']) {
    const event = new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer });
    document.querySelector('#scroller').dispatchEvent(event);
  }
}
"""
PASTE = """
([name, text]) => {
  const clipboardData = new DataTransfer();
  clipboardData.items.add(new File([text], name, { type: 'text/plain' }));
  const event = new ClipboardEvent('paste', { bubbles: true, cancelable: true, clipboardData });
  document.querySelector('#message').dispatchEvent(event);
}
"""


def chips(page: Page):
    return page.locator(".attachment")


def test_files_are_chosen_dropped_and_pasted_and_sent_fenced(
    page: Page, script: Script, ask: Ask, reload_once_kept: Callable[[], None]
) -> None:
    # A file with a fence in it is fenced with a longer one; TypeScript's type is a film's, for a browser.
    script.answers = [Answer(["Read."]), Answer(["Again."])]
    page.locator("#attach-files").set_input_files(
        [{"name": "a.py", "mimeType": "text/x-python", "buffer": b"x = 1\n"}]
    )
    expect(chips(page)).to_have_text(["a.py"])
    expect(page.get_by_label("Your message", exact=True)).to_be_focused()
    page.evaluate(
        DROP, [["b.md", "```\ncode\n```", "text/markdown"], ["c.ts", "let c: number", "video/mp2t"]]
    )
    page.evaluate(PASTE, ["d.txt", "größe"])
    expect(chips(page)).to_have_text(["a.py", "b.md", "c.ts", "d.txt"])
    page.get_by_role("button", name="Remove c.ts").click()
    ask("What is in them?")
    expect(chips(page)).to_have_count(0)
    wanted = (
        "a.py:\n```\nx = 1\n```\n\nb.md:\n````\n```\ncode\n```\n````\n\n"
        "d.txt:\n```\ngröße\n```\n\nWhat is in them?"
    )
    assert script.asked[-1]["messages"] == [{"role": "user", "content": wanted}]
    summaries = page.locator(".question .file summary")
    expect(summaries).to_have_text(["a.py (6 characters)", "b.md (12 characters)", "d.txt (5 characters)"])
    reload_once_kept()
    summaries.first.click()
    expect(page.locator(".question .file pre").first).to_have_text("x = 1\n")
    page.locator(".question").hover()
    page.get_by_role("button", name="Edit the message").click()
    page.get_by_label("Your message, edited").fill("And now?")
    page.keyboard.press("Enter")
    expect(page.locator(".answer .markdown")).to_have_text("Again.")
    assert script.asked[-1]["messages"][0]["content"] == wanted.replace("What is in them?", "And now?")


def test_a_file_can_be_sent_by_itself_and_names_the_conversation(page: Page, script: Script) -> None:
    expect(page.get_by_role("button", name="Send")).to_be_disabled()
    page.evaluate(DROP, [["notes.txt", "Buy milk.", "text/plain"]])
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".answer .markdown")).to_have_text("Hello.")
    assert script.asked[-1]["messages"][0]["content"] == "notes.txt:\n```\nBuy milk.\n```"
    expect(page.locator("#title")).to_have_text("notes.txt")
    page.get_by_label("Find in titles and messages").fill("milk")
    expect(page.locator(".conversation-link")).to_have_count(1)


@pytest.mark.parametrize(
    ("name", "kind", "content", "reason"),
    [
        (
            "paper.pdf",
            "application/pdf",
            b"%PDF-1.7 text",
            "is a PDF, which this page cannot read: attach its text",
        ),
        ("photo.png", "image/png", b"\x89PNG\x00", "is a picture: the model reads text only"),
        ("photo.png", "image/png", b"\x89" * 1_000_001, "is a picture: the model reads text only"),
        ("data.bin", "", b"\xff\xfe\x00a", "is no text in UTF-8"),
        ("zero.txt", "text/plain", b"a\x00b", "is no text in UTF-8"),
        ("long.txt", "text/plain", b"a" * 1_200_000, "has 1.2 MB, and a file may have 1 MB"),
    ],
)
def test_what_is_no_text_is_refused_in_a_sentence(
    page: Page, name: str, kind: str, content: bytes, reason: str
) -> None:
    good = {"name": "good.txt", "mimeType": "text/plain", "buffer": b"good"}
    page.locator("#attach-files").set_input_files([{"name": name, "mimeType": kind, "buffer": content}, good])
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"“{name}” {reason}")
    page.keyboard.press("Escape")
    expect(chips(page)).to_have_text(["good.txt"])


def test_files_come_back_from_an_export(page: Page, script: Script, ask: Ask, tmp_path: Path) -> None:
    page.evaluate(DROP, [["notes.txt", "Buy milk.", "text/plain"]])
    expect(chips(page)).to_have_text(["notes.txt"])
    ask("What is to do?")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export all conversations").click()
    exported = tmp_path / "export.json"
    download.value.save_as(exported)
    message = json.loads(exported.read_text(encoding="utf-8"))["conversations"][0]["messages"][0]
    assert message["files"] == [{"name": "notes.txt", "text": "Buy milk."}]
    page.get_by_role("button", name="Delete “What is to do?”").dispatch_event("click")
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator(".conversation-link")).to_have_count(0)
    page.locator("#import-file").set_input_files(exported)
    page.locator(".conversation-link").click()
    expect(page.locator(".question .file summary")).to_have_text("notes.txt (9 characters)")


def test_nothing_is_dropped_behind_a_dialog(page: Page) -> None:
    page.get_by_role("button", name="Settings").click()
    page.evaluate(DROP, [["notes.txt", "Buy milk.", "text/plain"]])
    page.keyboard.press("Escape")
    page.wait_for_timeout(200)
    expect(chips(page)).to_have_count(0)


def test_a_long_message_is_folded(page: Page, script: Script, ask: Ask) -> None:
    text = "A line of a long paste.\n" * 400
    ask(text)
    bubble = page.locator(".bubble")
    assert bubble.evaluate("(node) => node.getBoundingClientRect().height") < 300
    fold = bubble.get_by_role("button")
    expect(fold).to_have_text("Show all 9,599 characters")
    expect(fold).to_have_attribute("aria-expanded", "false")
    fold.click()
    expect(fold).to_have_text("Show less")
    expect(fold).to_have_attribute("aria-expanded", "true")
    assert bubble.evaluate("(node) => node.getBoundingClientRect().height") > 5000
    assert script.asked[-1]["messages"][0]["content"] == text.strip()
    fold.press("Enter")
    assert bubble.evaluate("(node) => node.getBoundingClientRect().height") < 300


def test_a_short_message_is_not_folded(page: Page, ask: Ask) -> None:
    ask("Short.\nStill short.")
    expect(page.locator(".bubble button")).to_have_count(0)


def test_a_file_with_more_backticks_than_a_function_takes_arguments(
    page: Page, script: Script, ask: Ask
) -> None:
    text = "`a" * 300_000
    page.evaluate(DROP, [["ticks.txt", text, "text/plain"]])
    expect(chips(page)).to_have_text(["ticks.txt"])
    ask("What is it?")
    assert script.asked[-1]["messages"][0]["content"] == f"ticks.txt:\n```\n{text}\n```\n\nWhat is it?"


def test_files_are_bounded_in_number_and_in_sum(page: Page) -> None:
    page.evaluate(DROP, [[f"{number}.txt", "a", "text/plain"] for number in range(22)])
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(
        "“20.txt” and 1 more do not go along, as a message may have 20 files, and 2 MB in all"
    )
    page.keyboard.press("Escape")
    expect(chips(page)).to_have_count(20)
    page.reload()
    page.evaluate(DROP, [[f"{name}.txt", "a" * 900_000, "text/plain"] for name in "abc"])
    expect(dialog).to_contain_text("“c.txt” does not go along")
    page.keyboard.press("Escape")
    expect(chips(page)).to_have_text(["a.txt", "b.txt"])
    # Taken away, they make room.
    page.get_by_role("button", name="Remove a.txt").click()
    page.evaluate(DROP, [["c.txt", "a" * 900_000, "text/plain"]])
    expect(chips(page)).to_have_text(["b.txt", "c.txt"])


def test_nothing_is_sent_while_a_file_is_being_read(page: Page, script: Script, send: Ask, ask: Ask) -> None:
    page.evaluate("""() => {
      const read = File.prototype.arrayBuffer;
      const held = new Promise((resolve) => (window.letGo = resolve));
      File.prototype.arrayBuffer = async function () {
        await held;
        return read.call(this);
      };
    }""")
    page.evaluate(DROP, [["slow.txt", "late", "text/plain"]])
    expect(chips(page)).to_have_text(["slow.txt (being read…)"])
    send("What is it?")
    expect(page.locator("#announcements")).to_contain_text("still being read")
    expect(page.get_by_role("button", name="Send")).to_be_disabled()
    expect(page.get_by_label("Your message", exact=True)).to_have_value("What is it?")
    assert script.asked == []
    page.evaluate("window.letGo()")
    expect(chips(page)).to_have_text(["slow.txt"])
    ask("What is it?")
    assert script.asked[-1]["messages"][0]["content"] == "slow.txt:\n```\nlate\n```\n\nWhat is it?"


def test_copying_a_message_that_is_only_files_gives_these(page: Page) -> None:
    page.evaluate(DROP, [["notes.txt", "Buy milk.", "text/plain"]])
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".answer .markdown")).to_have_text("Hello.")
    page.get_by_role("button", name="Copy the message").click()
    expect(page.locator("#announcements")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == "notes.txt:\n```\nBuy milk.\n```"
