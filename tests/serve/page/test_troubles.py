"""What goes wrong is said in the conversation, with what can be done about it, and can be tried again."""

import re
import threading
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.serve.page.conftest import Watch
from tests.serve.page.scripted_server import Answer, Refusal, Script

Ask = Callable[[str], None]


@pytest.fixture(autouse=True)
def provoked(watch: Watch) -> None:
    """The browser writes on its console of every answer that is an error."""
    watch.expected += [
        "status of (400|401|404|429|500|503)",
        "ERR_INCOMPLETE_CHUNKED",
        "ERR_FAILED",
        "ERR_ABORTED",
    ]


def test_the_servers_words_are_shown_and_trying_again_works(page: Page, script: Script, send: Ask) -> None:
    script.answers = [Refusal.of(500, "the engine fell over", "internal_error"), Answer(["There."])]
    send("Hello?")
    card = page.get_by_role("alert")
    expect(card).to_contain_text("the engine fell over")
    expect(page.locator(".question")).to_have_count(1)
    card.get_by_role("button", name="Try again").click()
    expect(page.locator(".answer .markdown")).to_have_text("There.")
    expect(card).to_have_count(0)
    assert script.asked[0] == script.asked[1]


def test_a_busy_server_says_how_long_to_wait(page: Page, script: Script, send: Ask) -> None:
    script.answers = [Refusal.of(429, "the queue is full", "overloaded", retry_after="2"), Answer(["There."])]
    send("Hello?")
    card = page.get_by_role("alert")
    expect(card).to_contain_text("the queue is full")
    retry = card.get_by_role("button", name="Try again")
    expect(retry).to_be_disabled()
    expect(retry).to_have_text("Try again in 1 s")
    retry.click()
    expect(page.locator(".answer .markdown")).to_have_text("There.")


def test_too_long_a_conversation_says_what_to_do(page: Page, script: Script, send: Ask) -> None:
    script.answers = [Refusal.of(400, "9000 tokens do not fit into 8192", "context_length_exceeded")]
    send("Hello?")
    card = page.get_by_role("alert")
    expect(card).to_contain_text("9000 tokens do not fit into 8192")
    expect(card).to_contain_text("shorten an earlier message")
    card.get_by_role("button", name="New conversation").click()
    expect(page.locator("#welcome")).to_be_visible()


def test_an_error_in_the_middle_keeps_what_came(page: Page, script: Script, send: Ask) -> None:
    script.answers = [
        Answer(["Half an "], error={"message": "memory ran out", "code": "insufficient_memory"})
    ]
    send("Hello?")
    expect(page.get_by_role("alert")).to_contain_text("memory ran out")
    expect(page.locator(".answer .markdown")).to_have_text("Half an")
    expect(page.locator(".end-note")).to_have_text("This answer broke off.")


def test_a_stream_without_an_end_is_no_answer(page: Page, script: Script, send: Ask) -> None:
    script.answers = [Answer(["Half an "], finish=None)]
    send("Hello?")
    expect(page.get_by_role("alert")).to_contain_text("closed before the answer was complete")


def test_a_server_that_is_gone(page: Page, script: Script, send: Ask) -> None:
    page.route("**/v1/chat/completions", lambda route: route.abort())
    send("Hello?")
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer")
    page.unroute("**/v1/chat/completions")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".answer .markdown")).to_have_text("Hello.")


def test_a_key_is_asked_for_kept_for_the_tab_and_sent(page: Page, script: Script, send: Ask) -> None:
    script.key = "sk-secret-1"
    page.reload()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("answers only those who have its key")
    dialog.get_by_label("Key", exact=True).fill("sk-wrong")
    page.keyboard.press("Enter")
    expect(dialog).to_be_visible()
    dialog.get_by_label("Key", exact=True).fill("sk-secret-1")
    page.keyboard.press("Enter")
    expect(page.locator("#model-name")).to_have_text("scripted-1b")
    send("Hello?")
    expect(page.locator(".answer .markdown")).to_have_text("Hello.")
    kept = "[sessionStorage.getItem('ruvllm.key'), localStorage.getItem('ruvllm.key')]"
    assert page.evaluate(kept) == ["sk-secret-1", None]


def test_a_key_that_is_refused_while_talking_is_asked_for_and_the_message_sent(
    page: Page, script: Script, send: Ask
) -> None:
    script.key = "sk-secret-2"
    send("Hello?")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Key", exact=True).fill("sk-secret-2")
    dialog.get_by_label("Remember it in this browser").check()
    page.keyboard.press("Enter")
    expect(page.locator(".answer .markdown")).to_have_text("Hello.")
    assert page.evaluate("localStorage.getItem('ruvllm.key')") == "sk-secret-2"


def test_a_model_that_loads_is_awaited(page: Page, script: Script, send: Ask) -> None:
    script.is_loading = True
    page.reload()
    expect(page.locator("#model-name")).to_have_text(re.compile(r"^The model is loading… \d+ s$"))
    send("Hello?")
    expect(page.get_by_role("alert")).to_contain_text("as soon as the model is ready")
    script.is_loading = False
    expect(page.locator(".answer .markdown")).to_have_text("Hello.")
    expect(page.locator("#model-name")).to_have_text("scripted-1b")


HALF = {"value": "loading", "progress": {"stages": ["text_model"], "current": "text_model", "value": 0.4567}}


def test_how_far_a_model_is_loaded_is_shown_where_the_server_says_it(
    page: Page, script: Script, send: Ask
) -> None:
    name = page.locator("#model-name")
    script.statuses = ["loading", HALF, HALF, "ready"]
    page.reload()
    expect(name).to_have_text("scripted-1b (loading)")
    expect(name).to_have_text("scripted-1b (loading, 45 %)")
    expect(name).to_have_text("scripted-1b")
    # And while an answer waits for it.
    script.statuses = [HALF, {"value": "loaded"}]
    script.answers = [Answer(held=threading.Event())]
    send("Hello?")
    waiting = page.locator(".waiting")
    expect(waiting).to_have_text(re.compile(r"^The model scripted-1b is loading, 45 % after \d s$"))
    expect(waiting).to_have_text(re.compile(r"^No word yet after \d s$"))
    page.keyboard.press("Escape")
    expect(waiting).to_have_count(0)


def test_a_model_on_its_way_to_the_server_is_not_offered(page: Page, script: Script) -> None:
    script.statuses = [{"value": "downloading", "progress": {"scripted-1b": {"done": 1, "total": 9}}}]
    with page.expect_response("**/v1/models"):
        page.reload()
    page.wait_for_timeout(300)
    expect(page.locator("#model option")).to_have_count(0)
    expect(page.locator("#model-name")).to_have_text("")


def test_messages_without_an_answer_go_out_as_one(page: Page, script: Script, send: Ask) -> None:
    """Templates of several families refuse two messages of the same side in a row."""
    script.answers = [Refusal.of(500, "no"), Answer(["Yes."])]
    send("One")
    expect(page.get_by_role("alert")).to_be_visible()
    send("Two")
    expect(page.locator(".answer .markdown")).to_have_text("Yes.")
    assert script.asked[-1]["messages"] == [{"role": "user", "content": "One\n\nTwo"}]


def test_nothing_is_sent_while_an_answer_is_being_written(page: Page, script: Script, send: Ask) -> None:
    script.answers = [Answer(["Wait"], held=threading.Event())]
    send("One")
    expect(page.locator(".answer .markdown")).to_have_text("Wait")
    send("Two")
    expect(page.locator("#announcements")).to_contain_text("Escape stops it")
    expect(page.get_by_label("Your message", exact=True)).to_have_value("Two")
    assert len(script.asked) == 1
    page.keyboard.press("Escape")


def test_a_browser_that_keeps_nothing_says_so(page: Page, script: Script, send: Ask) -> None:
    page.add_init_script("Object.defineProperty(window, 'indexedDB', { value: undefined })")
    page.reload()
    expect(page.locator("#keeping-notice")).to_be_visible()
    send("Hello?")
    expect(page.locator(".answer .markdown")).to_have_text("Hello.")
    expect(page.locator(".conversation-link")).to_have_text(["Hello?"])


@pytest.mark.parametrize("way", ["Enter", "click"])
def test_fault_2_keys_typed_after_the_key_dialog_arrive(page: Page, script: Script, way: str) -> None:
    script.key = "sk-secret-3"
    page.reload()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Key", exact=True).fill("sk-secret-3")
    if way == "Enter":
        page.keyboard.press("Enter")
    else:
        dialog.get_by_role("button", name="Use this key").click()
    expect(page.locator("#model-name")).to_have_text("scripted-1b")
    message = page.get_by_label("Your message", exact=True)
    expect(message).to_be_focused()
    page.keyboard.type("Hello?")
    expect(message).to_have_value("Hello?")


def test_fault_3_a_key_that_is_not_known_is_said_to_be_so(page: Page, script: Script, send: Ask) -> None:
    script.key = "sk-secret-4"
    page.reload()
    dialog = page.get_by_role("dialog")
    field = dialog.get_by_label("Key", exact=True)
    expect(field).to_be_visible()
    expect(dialog.get_by_role("alert")).to_have_count(0)
    field.fill("sk-wrong")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("does not know this key")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_be_focused()
    field.fill("sk-secret-4")
    page.keyboard.press("Enter")
    expect(page.locator("#model-name")).to_have_text("scripted-1b")
    # The same where the key stops being known in the middle of a conversation.
    script.key = "sk-secret-5"
    send("Hello?")
    expect(dialog.get_by_role("alert")).to_contain_text("does not know this key")
    field.fill("sk-secret-5")
    page.keyboard.press("Enter")
    expect(page.locator(".answer .markdown")).to_have_text("Hello.")
    # Who looks at a key that is known is not told that it is none.
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name=re.compile("key…")).click()
    expect(page.get_by_label("Key", exact=True)).to_have_attribute("type", "password")
    expect(page.locator(".dialog [role=alert]")).to_have_count(0)


def test_fault_5_icons_stay_when_the_server_is_gone(page: Page, script: Script, ask: Ask, send: Ask) -> None:
    ask("Hello?")
    page.route("**/*", lambda route: route.abort())
    send("Still there?")
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer")
    icons = page.locator(".icon").evaluate_all(
        """(all) => all.filter((one) => one.checkVisibility()).map((one) => {
          const box = one.getBBox();
          return [one.parentElement.textContent, box.width > 3 && box.height > 3];
        })"""
    )
    assert len(icons) > 10
    assert [name for name, is_drawn in icons if not is_drawn] == []
    page.get_by_role("button", name="Copy the answer").click()
    expect(page.locator("#announcements")).to_contain_text(re.compile("Copied|did not allow"))
    drawn = page.get_by_role("button", name="Copy the answer").locator(".icon")
    assert drawn.evaluate("(one) => one.getBBox().width > 3")
