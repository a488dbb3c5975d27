"""How much of a long prompt is read, until the first word comes."""

import threading
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.serve.page.scripted_server import Answer, Script

Ask = Callable[[str], None]


def test_a_long_prompt_has_a_bar_until_the_first_word(page: Page, script: Script, send: Ask) -> None:
    read, held = threading.Event(), threading.Event()
    script.answers = [Answer(["One"], reading=[10, 120, 250, 431, 439], read=read, held=held)]
    send("A long one.")
    bar = page.get_by_role("progressbar", name="Reading the prompt")
    expect(bar).to_have_attribute("aria-valuenow", "43")
    expect(bar).to_have_text("Reading the prompt, 43 %")
    assert bar.locator("rect").get_attribute("width") == "43"
    assert script.asked[-1]["return_progress"] is True
    # It stands in the place of the seconds, of which there are some by now.
    page.wait_for_timeout(3000)
    expect(page.locator(".waiting")).to_be_hidden()
    read.set()
    expect(page.locator(".answer .markdown")).to_have_text("One")
    expect(bar).to_have_count(0)
    held.set()
    expect(page.locator(".answer[aria-busy]")).to_have_count(0)
    expect(bar).to_have_count(0)


def test_thoughts_are_a_first_word_and_a_stop_ends_it(page: Page, script: Script, send: Ask) -> None:
    read, held = threading.Event(), threading.Event()
    script.answers = [
        Answer([], thinking="Hm.", reading=[500], read=read, held=held),
        Answer([], reading=[999], read=threading.Event()),
    ]
    bar = page.get_by_role("progressbar")
    send("Think.")
    expect(bar).to_have_text("Reading the prompt, 50 %")
    read.set()
    expect(page.locator(".thoughts")).to_be_visible()
    expect(bar).to_have_count(0)
    page.keyboard.press("Escape")
    expect(page.locator(".answer[aria-busy]")).to_have_count(0)
    send("Again.")
    expect(bar).to_have_text("Reading the prompt, 99 %")
    page.keyboard.press("Escape")
    expect(bar).to_have_count(0)


def test_a_prompt_that_is_soon_read_has_no_bar(page: Page, script: Script, send: Ask) -> None:
    page.evaluate(
        """() => {
          window.bars = 0;
          const look = () => { window.bars += document.querySelectorAll('.progress:not([hidden])').length; };
          new MutationObserver(look).observe(document.getElementById('transcript'),
            { attributes: true, childList: true, subtree: true });
          const { now } = performance;
          const from = now.call(performance);
          performance.now = () => from + (now.call(performance) - from) / 100;  // however busy the machine is
        }"""
    )
    read = threading.Event()
    script.answers = [Answer(["Yes."], reading=[100, 900], read=read)]
    send("Short?")
    page.wait_for_timeout(400)
    read.set()
    expect(page.locator(".answer .markdown")).to_have_text("Yes.")
    assert page.evaluate("window.bars") == 0


@pytest.mark.parametrize(
    "told", ["null", "{}", '{"total": 0, "processed": 0}', '{"total": 1, "processed": "<b>"}']
)
def test_nonsense_is_passed_over(bare_page: Page, told: str) -> None:
    """Another server may say anything under that name."""
    found = bare_page.evaluate(
        """async (told) => {
          const { streamAnswer } = await import('/page/completion.js');
          const events = [{ prompt_progress: JSON.parse(told) },
            { choices: [{ delta: { content: 'x' }, finish_reason: 'stop' }] }];
          const body = events.map((one) => `data: ${JSON.stringify(one)}\\n\\n`).join('');
          window.fetch = async () => new Response(body);
          const start = performance.now;
          let time = 0;
          performance.now = () => (time += 1000);
          const shares = [];
          await streamAnswer({}, { onPiece: () => undefined, onReading: (share) => shares.push(share) });
          performance.now = start;
          return shares;
        }""",
        told,
    )
    assert found == []
