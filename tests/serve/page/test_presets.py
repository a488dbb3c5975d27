"""Presets of the settings, the gauge of the context, boxes of tasks, and the wait for a first word."""

import threading
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from tests.serve.page.scripted_server import Answer, Script

Ask = Callable[[str], None]


def test_our_presets_set_the_sampling_and_nothing_else(page: Page, script: Script, ask: Ask) -> None:
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("System prompt").fill("Be brief.")
    page.get_by_label("Seed", exact=True).fill("5")
    preset = page.get_by_label("Preset", exact=True)
    temperature = page.get_by_label("Temperature", exact=True)
    use = page.get_by_role("button", name="Use", exact=True)
    expect(use).to_be_disabled()
    # By keyboard each that is gone over is chosen; only the button makes it count.
    preset.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(temperature).to_have_value("0.7")
    expect(page.get_by_label("Seed", exact=True)).to_have_value("5")
    preset.select_option("Exact: always the likeliest word")
    use.click()
    expect(page.get_by_label("Temperature", exact=True)).to_have_value("0")
    expect(page.get_by_label("Seed", exact=True)).to_have_value("")
    expect(page.get_by_label("System prompt")).to_have_value("Be brief.")
    expect(page.get_by_role("button", name="Delete preset")).to_be_hidden()
    page.keyboard.press("Escape")
    ask("Hello?")
    request = script.asked[-1]
    assert request["messages"][0] == {"role": "system", "content": "Be brief."}
    sampling = {"temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed"} & set(request)
    assert {name: request[name] for name in sampling} == {"temperature": 0}


def test_own_presets_are_kept_chosen_replaced_and_deleted(page: Page, script: Script, ask: Ask) -> None:
    page.get_by_role("button", name="Settings").click()
    system, preset = page.get_by_label("System prompt"), page.get_by_label("Preset", exact=True)
    system.fill("You are a pirate.")
    page.get_by_label("Temperature", exact=True).fill("1.5")
    page.get_by_role("button", name="Save as preset…").click()
    page.get_by_label("Name of the preset").fill("Pirate")
    page.keyboard.press("Enter")
    expect(preset.locator("option:checked")).to_have_text("Pirate")
    system.fill("")
    page.keyboard.press("Escape")
    page.reload()
    page.get_by_role("button", name="Settings").click()
    preset.select_option("Pirate")
    page.get_by_role("button", name="Use", exact=True).click()
    expect(system).to_have_value("You are a pirate.")
    page.keyboard.press("Escape")
    ask("Ahoy?")
    assert script.asked[-1]["messages"][0]["content"] == "You are a pirate."
    assert script.asked[-1]["temperature"] == 1.5
    page.get_by_role("button", name="Settings").click()
    preset.select_option("Pirate")
    system.fill("You are an old pirate.")
    page.get_by_role("button", name="Save as preset…").click()
    expect(page.get_by_label("Name of the preset")).to_have_value("Pirate")
    page.keyboard.press("Enter")
    # What it has goes only where that is meant.
    page.get_by_role("dialog").last.get_by_role("button", name="Cancel").click()
    assert "old pirate" not in page.evaluate("localStorage.getItem('ruvllm.presets')")
    page.get_by_role("button", name="Save as preset…").click()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Replace", exact=True).click()
    expect(preset.locator("option", has_text="Pirate")).to_have_count(1)
    page.wait_for_function("localStorage.getItem('ruvllm.presets').includes('old pirate')")
    page.get_by_role("button", name="Delete preset").click()
    expect(preset.locator("option", has_text="Pirate")).to_have_count(0)
    expect(system).to_have_value("You are an old pirate.")


@pytest.mark.parametrize(
    "stored", ["{", "5", '[{"name": 1}, {"name": "x", "settings": {"temperature": "hot"}}]']
)
def test_presets_that_were_spoiled_do_no_harm(page: Page, stored: str) -> None:
    page.evaluate("(stored) => localStorage.setItem('ruvllm.presets', stored)", stored)
    page.get_by_role("button", name="Settings").click()
    expect(page.get_by_label("Preset", exact=True)).to_be_visible()


def test_the_context_that_a_conversation_fills(page: Page, script: Script, ask: Ask) -> None:
    gauge = page.locator("#context-gauge")
    ask("Hello?")
    expect(gauge).to_be_hidden()
    # A server says how much fits once it has loaded the model.
    script.max_model_len = 1040
    page.reload()
    expect(gauge).to_have_text("Context: 104 of 1,040 tokens, 10 %")
    expect(gauge).not_to_have_class("nearly-full")
    page.keyboard.press("Control+k")
    expect(gauge).to_be_hidden()
    script.max_model_len = 110
    page.reload()
    ask("Hello?")
    expect(gauge).to_have_text("Context: 104 of 110 tokens, 95 %")
    assert "nearly-full" in (gauge.get_attribute("class") or "")


def test_the_context_of_a_model_that_the_first_message_had_loaded(
    page: Page, script: Script, ask: Ask
) -> None:
    """The list of models said nothing of it yet when the page came; it is asked for again, and waited for."""

    def late(route: Route) -> None:
        time.sleep(0.5)
        route.continue_()

    page.route("**/v1/models", late)
    script.max_model_len = 1040
    ask("Hello?")
    expect(page.locator("#context-gauge")).to_have_text("Context: 104 of 1,040 tokens, 10 %")


def test_tasks_have_boxes(page: Page, script: Script, ask: Ask) -> None:
    script.answers = [
        Answer(["- [x] **Buy** milk\n- [ ] Boil it\n- [y] no box\n- [x](https://e.org/) none either"])
    ]
    ask("What is to do?")
    boxes = page.locator(".answer li input")
    expect(boxes).to_have_count(2)
    assert boxes.evaluate_all(
        "(all) => all.map((one) => [one.checked, one.disabled, one.getAttribute('aria-label')])"
    ) == [
        [True, True, "Done"],
        [False, True, "To do"],
    ]
    items = page.locator(".answer li")
    expect(items.nth(0)).to_have_text("Buy milk")
    expect(items.nth(2)).to_have_text("[y] no box")
    expect(items.nth(0).locator("strong")).to_have_text("Buy")


def test_a_long_wait_for_the_first_word_is_counted(page: Page, script: Script, send: Ask) -> None:
    release = threading.Event()
    script.answers = [Answer(held=release)]
    send("Hello?")
    waiting = page.locator(".waiting")
    expect(waiting).to_have_text("No word yet after 3 s")
    page.keyboard.press("Escape")
    expect(waiting).to_be_hidden()
    release.set()


def test_the_tools_below_the_list_have_words(page: Page) -> None:
    tools = page.locator(".tool-button")
    expect(tools).to_have_text(["Theme", "Export", "Import", "Keys", "API"])
    # Who says the word to a program that listens gets the button: its name begins with it.
    for tool in tools.all():
        assert (tool.get_attribute("aria-label") or "").startswith(tool.inner_text())
