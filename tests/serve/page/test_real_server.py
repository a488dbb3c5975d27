"""The page upon the server and SmolLM2, as a user has them."""

import json
import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.serve.page.conftest import Watch
from tests.serve.running import RunningServer

pytestmark = pytest.mark.real_model
Ask = Callable[[str], None]


@pytest.fixture
def page(browser: Browser, real_server: RunningServer) -> Iterator[Page]:
    """The page of the real server; it fails the test if it writes errors, or asks anybody else."""
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    opened = context.new_page()
    watch = Watch(real_server.url)
    # What a test provokes, by a schema that cannot be held.
    watch.expected += ["status of 400"]
    watch.attach(opened)
    opened.goto(real_server.url)
    expect(opened.locator("#model-name")).to_have_text("smollm2-135m")
    opened.get_by_role("button", name="Settings").click()
    opened.get_by_label("Temperature", exact=True).fill("0")
    opened.get_by_label("Repetition penalty", exact=True).fill("1")
    opened.get_by_label("System prompt").fill("Answer in one sentence.")
    opened.keyboard.press("Escape")
    yield opened
    context.close()
    assert watch.unexpected() == []


def test_a_conversation_and_what_the_server_measured(
    page: Page, ask: Ask, reload_once_kept: Callable[[], None]
) -> None:
    ask("What is the capital of France?")
    expect(page.locator(".answer .markdown")).to_have_text("The capital of France is Paris.")
    facts = page.locator(".facts")
    expect(facts).to_have_text(
        re.compile(r"^\d+(\.\d)? tokens/s7 tokensfirst token after \d+\.\d+ s\d+ of \d+ prompt")
    )
    expect(page.locator("#context-gauge")).to_have_text(re.compile(r"^Context: \d+ of 8,192 tokens, "))
    ask("And of Italy?")
    expect(page.locator(".answer .markdown").nth(1)).to_contain_text("Rome")
    # The second prompt begins as the first went on, and that was computed already.
    cached, prompt = re.search(r"(\d+) of (\d+) prompt tokens cached", facts.nth(1).inner_text()).groups()
    assert 0 < int(cached) < int(prompt)
    reload_once_kept()
    expect(page.locator(".answer .markdown")).to_have_count(2)
    expect(page.locator(".answer .markdown").first).to_have_text("The capital of France is Paris.")


def test_stopping_going_on_and_answering_again(page: Page, send: Ask) -> None:
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Max tokens").fill("200")
    page.keyboard.press("Escape")
    send("Write a long story about a ship.")
    answer = page.locator(".answer .markdown")
    expect(answer).to_contain_text(re.compile(r"\w+ \w+"))
    page.keyboard.press("Escape")
    expect(page.locator(".end-note")).to_have_text("You stopped this answer.")
    stopped = answer.inner_text().rstrip()
    page.get_by_role("button", name="Go on with this answer").click()
    expect(page.locator(".answer[aria-busy]")).to_have_count(0, timeout=50_000)
    assert answer.inner_text().startswith(stopped)
    assert len(answer.inner_text()) > len(stopped)
    page.get_by_role("button", name="Answer again").click()
    page.keyboard.press("Escape")
    expect(page.locator(".answer[aria-busy]")).to_have_count(0)


def test_the_figures_of_the_server(page: Page, ask: Ask) -> None:
    page.get_by_role("button", name="The server now", exact=True).click()
    ask("Count from one to twenty.")
    charts = page.locator(".chart")
    expect(charts).to_have_count(8)
    for name in ("Tokens written", "Requests running", "Key-value cache", "prefix cache"):
        expect(charts.filter(has_text=name).locator(".chart-value")).to_have_text(re.compile(r"^\d"))
    highest = charts.filter(has_text="Tokens written").locator(".chart-highest")
    expect(highest).to_have_text(re.compile(r"^highest (?!0\.0)[\d.]+$"))


def test_the_description_of_the_real_interface(page: Page, real_server: RunningServer) -> None:
    page.goto(f"{real_server.url}/docs")
    chat = page.get_by_role("region", name="POST /v1/chat/completions", exact=True)
    expect(chat.locator("th", has_text=re.compile(r"^temperature$"))).to_have_count(1)
    expect(chat.locator("th", has_text="messages[].role")).to_have_count(1)


def test_answers_follow_a_schema_or_the_server_says_why_not(page: Page, ask: Ask) -> None:
    page.get_by_role("button", name="Settings").click()
    field, hint = page.get_by_label("JSON schema", exact=True), page.locator("#setting-schema-hint")
    field.fill('{"properties": {"a": {"not": {}}}}')
    expect(hint).to_contain_text("(at response_format.json_schema.schema/properties/a/not)")
    city = {"city": {"enum": ["Paris", "Rome"]}}
    field.fill(json.dumps({"type": "object", "properties": city, "required": ["city"]}))
    expect(field).to_have_attribute("aria-invalid", "false")
    page.keyboard.press("Escape")
    ask("What is the capital of Italy? Answer as JSON.")
    said = page.locator(".answer .markdown").inner_text()
    assert json.loads(said) in ({"city": "Paris"}, {"city": "Rome"})
