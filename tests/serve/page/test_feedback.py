"""Thumbs below an answer: what they tell the server, what the page says of it, and the undo."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from ruvllm import LLM
from ruvllm.serve import ServerSettings, create_app
from tests.serve.conftest import TINY
from tests.serve.page.conftest import Watch
from tests.serve.page.scripted_server import Answer, Refusal, Script
from tests.serve.running import running

Ask = Callable[[str], None]
LEARNED = {
    "applied": True,
    "reason": None,
    "log_prob_change": 0.4123,
    "drift": 0.0449,
    "generation": 7,
    "model": "tiny-1b",
}


def button(page: Page, name: str) -> object:
    return page.get_by_role("button", name=name, exact=True)


def test_a_thumb_says_what_was_learned_and_can_be_undone(page: Page, script: Script, ask: Ask) -> None:
    script.answers = [Answer(["Paris."], completion_id="chatcmpl-7")]
    script.taught = [LEARNED, {"generation": 8}]
    ask("The capital of France?")
    note, up, down = page.locator(".feedback-note"), button(page, "Good answer"), button(page, "Bad answer")
    expect(note).to_be_hidden()
    expect(up).to_have_attribute("aria-pressed", "false")
    up.click()
    expect(note).to_have_text("Learned: log-probability +0.41 a token, drift 0.04. Undo")
    expect(up).to_have_attribute("aria-pressed", "true")
    expect(down).to_have_attribute("aria-pressed", "false")
    assert script.said == [("/v1/feedback", {"completion_id": "chatcmpl-7", "feedback": 1})]
    button(page, "Undo").click()
    expect(note).to_have_text("Undone: the model answers as before.")
    expect(up).to_have_attribute("aria-pressed", "false")
    assert script.said[1] == ("/v1/feedback/rollback", {"model": "tiny-1b", "generation": 7})
    expect(button(page, "Undo")).to_have_count(0)


def test_a_thumb_down_is_minus_one_and_is_kept(
    page: Page, script: Script, ask: Ask, reload_once_kept: Callable[[], None]
) -> None:
    script.answers = [Answer(["Rome."], completion_id="chatcmpl-8")]
    script.taught = [{**LEARNED, "log_prob_change": -0.25}]
    ask("The capital of France?")
    button(page, "Bad answer").click()
    told = "Learned: log-probability \u22120.25 a token, drift 0.04. Undo"
    expect(page.locator(".feedback-note")).to_have_text(told)
    assert script.said[0][1]["feedback"] == -1
    reload_once_kept()
    expect(page.locator(".feedback-note")).to_have_text(told)
    expect(button(page, "Bad answer")).to_have_attribute("aria-pressed", "true")


def test_what_changed_nothing_or_failed_is_said(page: Page, script: Script, ask: Ask, watch: Watch) -> None:
    watch.expected += ["404", "409"]
    script.answers = [Answer(["Rome."], completion_id="chatcmpl-9")]
    script.taught = [
        {**LEARNED, "applied": False, "reason": "the quality is what was expected"},
        Refusal.of(404, "there is no answer 'chatcmpl-9' to give feedback on", "completion_not_found"),
        LEARNED,
        Refusal.of(409, "generation 7 is not the present one any more", "cannot_undo"),
    ]
    ask("The capital of France?")
    note = page.locator(".feedback-note")
    button(page, "Good answer").click()
    expect(note).to_have_text("Nothing changed: the quality is what was expected.")
    expect(button(page, "Undo")).to_have_count(0)
    button(page, "Good answer").click()
    expect(note).to_have_text("That did not work: there is no answer 'chatcmpl-9' to give feedback on")
    button(page, "Good answer").click()
    expect(note).to_contain_text("Learned")
    button(page, "Undo").click()
    expect(note).to_have_text("That did not work: generation 7 is not the present one any more")


def test_without_learning_there_are_no_thumbs(page: Page, script: Script, ask: Ask) -> None:
    script.answers = [Answer(["Paris."])]
    ask("The capital of France?")
    expect(button(page, "Copy the answer")).to_have_count(1)
    expect(page.locator(".thumbs")).to_have_count(0)


@pytest.fixture
def learning_page(browser: Browser, tiny_chat_path: Path) -> Iterator[tuple[Page, LLM]]:
    with LLM(tiny_chat_path, max_context=512) as llm:
        app = create_app({TINY: llm}, ServerSettings(learn=True))
        context = browser.new_context(viewport={"width": 1200, "height": 800})
        with running(app) as server:
            opened, watch = context.new_page(), Watch(server.url)
            watch.attach(opened)
            opened.goto(server.url)
            expect(opened.locator("#model-name")).to_have_text(TINY)
            yield opened, llm
            context.close()
        assert watch.unexpected() == []


def test_a_real_server_learns_from_it(learning_page: tuple[Page, LLM]) -> None:
    page, llm = learning_page
    untaught = llm.logits([5, 17, 42], tenant="default")
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Max tokens").fill("8")
    page.keyboard.press("Escape")
    page.get_by_label("Your message", exact=True).fill("the cat")
    page.keyboard.press("Enter")
    button(page, "Good answer").click()
    note = page.locator(".feedback-note")
    expect(note).to_have_text(
        re.compile(r"^Learned: log-probability \+\d\.\d\d a token, drift \d\.\d\d\. Undo$")
    )
    assert (llm.logits([5, 17, 42], tenant="default") != untaught).any()
    button(page, "Undo").click()
    expect(note).to_have_text("Undone: the model answers as before.")
    assert (llm.logits([5, 17, 42], tenant="default") == untaught).all()
