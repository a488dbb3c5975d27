"""What the user does with the page, against a server that says what the test wrote down."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.serve.page.conftest import Watch
from tests.serve.page.scripted_server import TIMINGS, Answer, Refusal, Script, ScriptedServer

Ask = Callable[[str], None]


def last_request(script: Script) -> dict:
    return script.asked[-1]


def test_a_message_is_sent_and_answered(page: Page, script: Script, ask: Ask) -> None:
    script.answers = [Answer(["The **answer", "** is `42`."])]
    ask("What is the answer?")
    answer = page.locator(".answer .markdown")
    expect(answer).to_have_text("The answer is 42.")
    expect(answer.locator("strong")).to_have_text("answer")
    request = last_request(script)
    assert request["messages"] == [{"role": "user", "content": "What is the answer?"}]
    assert request["model"] == "scripted-1b"
    assert request["stream"] is True
    assert request["stream_options"] == {"include_usage": True}
    facts = page.locator(".facts")
    expect(facts).to_contain_text("43 tokens/s")
    expect(facts).to_contain_text("first token after 0.12 s")
    expect(facts).to_contain_text("30 of 40 prompt tokens cached")
    expect(facts).to_contain_text("64 tokens")


def test_fault_7_one_token_has_no_speed(page: Page, script: Script, ask: Ask) -> None:
    timings = {**TIMINGS, "predicted_n": 1, "predicted_ms": 0.0, "predicted_per_second": 0.0}
    script.answers = [Answer(["Yes"], timings=timings)]
    ask("Well?")
    facts = page.locator(".facts")
    expect(facts).to_contain_text("1 tokenfirst token after 0.12 s")
    expect(facts).not_to_contain_text("tokens/s")


def test_text_shows_while_it_comes_and_stop_ends_the_request(page: Page, script: Script, send: Ask) -> None:
    script.answers = [Answer(["Once upon ", "a time"], held=threading.Event())]
    send("Tell me a story.")
    expect(page.locator(".answer .markdown")).to_have_text("Once upon a time")
    expect(page.locator(".answer")).to_have_attribute("aria-busy", "true")
    page.get_by_role("button", name="Stop the answer").click()
    expect(page.locator(".answer .end-note")).to_have_text("You stopped this answer.")
    expect(page.locator(".answer .markdown")).to_have_text("Once upon a time")
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    deadline = time.monotonic() + 10
    while script.num_left == 0 and time.monotonic() < deadline:
        page.wait_for_timeout(20)
    assert script.num_left == 1, "the server makes tokens for nobody"


def test_escape_stops_before_anything_came(page: Page, script: Script, send: Ask) -> None:
    script.answers = [Answer(held=threading.Event()), Answer(["Now."])]
    send("Well?")
    expect(page.get_by_role("button", name="Stop the answer")).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Ask again").click()
    expect(page.locator(".answer .markdown")).to_have_text("Now.")


def test_an_answer_that_ended_early_goes_on(page: Page, script: Script, ask: Ask) -> None:
    script.answers = [Answer(["One, two,"], finish="length"), Answer([" three."])]
    ask("Count.")
    expect(page.locator(".end-note")).to_contain_text("token limit")
    page.get_by_role("button", name="Go on with this answer").click()
    expect(page.locator(".answer .markdown")).to_have_text("One, two, three.")
    assert last_request(script)["messages"][-1] == {"role": "assistant", "content": "One, two,"}
    expect(page.get_by_role("button", name="Go on with this answer")).to_have_count(0)


def test_answering_again_keeps_both_versions(page: Page, script: Script, ask: Ask) -> None:
    script.answers = [Answer(["First."]), Answer(["Second."])]
    ask("Say something.")
    page.get_by_role("button", name="Answer again").click()
    expect(page.locator(".answer .markdown")).to_have_text("Second.")
    expect(page.locator(".version-count")).to_have_text("2 of 2")
    assert [len(request["messages"]) for request in script.asked] == [1, 1]
    page.get_by_role("button", name="Earlier answer").click()
    expect(page.locator(".answer .markdown")).to_have_text("First.")
    expect(page.get_by_role("button", name="Earlier answer")).to_be_disabled()


def test_editing_a_message_begins_a_branch(page: Page, script: Script, ask: Ask) -> None:
    script.answers = [Answer(["Paris."]), Answer(["A city."]), Answer(["Rome."])]
    ask("Capital of France?")
    ask("What is that?")
    page.locator(".question").first.hover()
    page.get_by_role("button", name="Edit the message").first.click()
    field = page.get_by_label("Your message, edited")
    expect(field).to_be_focused()
    field.fill("Capital of Italy?")
    page.keyboard.press("Enter")
    expect(page.locator(".answer .markdown")).to_have_text("Rome.")
    assert last_request(script)["messages"] == [{"role": "user", "content": "Capital of Italy?"}]
    page.get_by_role("button", name="Earlier message").click()
    expect(page.locator(".answer .markdown")).to_have_text(["Paris.", "A city."])


def test_the_conversation_is_sent_whole_with_its_settings(page: Page, script: Script, ask: Ask) -> None:
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("System prompt").fill("Be brief.")
    values = {
        "Temperature": ("temperature", 0.25), "Max tokens": ("max_tokens", 77), "Top p": ("top_p", 0.5),
        "Top k": ("top_k", 12), "Min p": ("min_p", 0.05), "Repetition penalty": ("repetition_penalty", 1.25),
        "Presence penalty": ("presence_penalty", -0.5), "Frequency penalty": ("frequency_penalty", 0.75),
        "Seed": ("seed", 9),
    }  # fmt: skip
    for label, (_, value) in values.items():
        page.get_by_label(label, exact=True).fill(str(value))
    page.get_by_label("Stop sequences").fill("END\n\\n\\n")
    page.keyboard.press("Escape")
    script.answers = [Answer(["Yes."]), Answer(["No."])]
    ask("One?")
    ask("Two?")
    request = last_request(script)
    assert request["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "Two?"},
    ]
    assert {name: request[name] for name, _ in values.values()} == dict(values.values())
    assert request["stop"] == ["END", "\n\n"]


def test_an_empty_field_is_not_sent(page: Page, script: Script, ask: Ask) -> None:
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Temperature", exact=True).fill("")
    page.keyboard.press("Escape")
    ask("Hello?")
    assert "temperature" not in last_request(script)
    assert "seed" not in last_request(script)


@pytest.mark.parametrize(
    ("label", "text", "problem"),
    [
        ("Temperature", "2.5", "at least 0 and at most 2"),
        ("Temperature", "warm", "must be a number"),
        ("Top p", "0", "above 0"),
        ("Top k", "1.5", "whole number"),
    ],
)
def test_a_value_outside_its_range_is_refused_in_words(
    page: Page, script: Script, ask, label, text, problem
) -> None:
    page.get_by_role("button", name="Settings").click()
    field = page.get_by_label(label, exact=True)
    before = field.input_value()
    field.fill(text)
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(page.locator(".problem:visible")).to_contain_text(problem)
    page.keyboard.press("Escape")
    ask("Hello?")
    name = {"Temperature": "temperature", "Top p": "top_p", "Top k": "top_k"}[label]
    assert last_request(script).get(name) == (float(before) if before else None)


def test_conversations_are_kept_renamed_found_and_deleted(
    page: Page, script: Script, ask: Ask, reload_once_kept: Callable[[], None]
) -> None:
    script.answers = [Answer(["About tea."]), Answer(["About coffee."])]
    ask("Tea?")
    page.keyboard.press("Control+k")
    expect(page.locator("#welcome")).to_be_visible()
    ask("Coffee?")
    reload_once_kept()
    expect(page.locator(".answer .markdown")).to_have_text("About coffee.")
    expect(page.locator(".facts")).to_contain_text("43 tokens/s")
    links = page.locator(".conversation-link")
    expect(links).to_have_text(["Coffee?", "Tea?"])
    links.nth(1).click()
    expect(page.locator(".answer .markdown")).to_have_text("About tea.")
    page.go_back()
    expect(page.locator(".answer .markdown")).to_have_text("About coffee.")
    page.get_by_role("link", name="Tea?").hover()
    page.get_by_role("button", name="Rename “Tea?”").click()
    page.get_by_role("textbox", name="Title").fill("Green tea")
    page.keyboard.press("Enter")
    expect(links).to_have_text(["Coffee?", "Green tea"])
    page.get_by_label("Find in titles and messages").fill("green")
    expect(links).to_have_text(["Green tea"])
    page.get_by_label("Find in titles and messages").fill("")
    page.get_by_role("link", name="Coffee?").hover()
    page.get_by_role("button", name="Delete “Coffee?”").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(links).to_have_text(["Green tea"])
    expect(page.locator("#welcome")).to_be_visible()
    page.reload()
    expect(links).to_have_text(["Green tea"])


def test_a_reload_in_the_middle_keeps_what_came(page: Page, script: Script, send: Ask) -> None:
    script.answers = [Answer(["word "] * 200, piece_seconds=0.01, held=threading.Event())]
    send("Go.")
    page.wait_for_timeout(1600)
    page.reload()
    expect(page.locator(".answer .markdown")).to_contain_text("word word")
    expect(page.locator(".end-note")).to_contain_text("closed before this answer was complete")


def test_an_answer_goes_on_while_another_conversation_is_open(page: Page, script: Script, send: Ask) -> None:
    release = threading.Event()
    script.answers = [Answer(["Slow."], held=release), Answer(["Quick."])]
    send("First")
    expect(page.locator(".answer .markdown")).to_have_text("Slow.")
    page.keyboard.press("Control+k")
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    send("Second")
    expect(page.locator(".answer .markdown")).to_have_text("Quick.")
    release.set()
    expect(page.locator(".busy")).to_have_count(0)
    page.get_by_role("link", name="First").click()
    expect(page.locator(".answer .facts")).to_contain_text("tokens/s")


def test_export_and_import(page: Page, script: Script, ask: Ask, tmp_path: Path) -> None:
    script.answers = [Answer(["Kept."]), Answer(["Other."])]
    ask("Keep this.")
    page.get_by_role("button", name="Answer again").click()
    expect(page.locator(".version-count")).to_have_text("2 of 2")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export all conversations").click()
    exported = tmp_path / "export.json"
    download.value.save_as(exported)
    archive = json.loads(exported.read_text(encoding="utf-8"))
    assert archive["format"] == "ruvllm-conversations"
    assert [message["content"] for message in archive["conversations"][0]["messages"]] == [
        "Keep this.",
        "Kept.",
        "Other.",
    ]
    page.get_by_role("link", name="Keep this.").hover()
    page.get_by_role("button", name="Delete “Keep this.”").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator(".conversation-link")).to_have_count(0)
    page.locator("#import-file").set_input_files(exported)
    page.get_by_role("link", name="Keep this.").click()
    expect(page.locator(".answer .markdown")).to_have_text("Other.")
    expect(page.locator(".version-count")).to_have_text("2 of 2")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no json", "no JSON"),
        ('{"format": "other"}', "not an export of this page"),
        ('{"format": "ruvllm-conversations", "version": 9}', "version 9"),
        ('{"format": "ruvllm-conversations", "version": 1, "conversations": '
         '[{"messages": [{"role": "root"}]}]}', "without id, role and content"),
        ('{"format": "ruvllm-conversations", "version": 1, "conversations": [{"messages": '
         '[{"id": "a", "parent": "b", "role": "user", "content": "x"}]}]}', "do not hang together"),
    ],
)  # fmt: skip
def test_a_file_of_another_kind_is_refused(page: Page, tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "conversations.json"
    path.write_text(text, encoding="utf-8")
    page.locator("#import-file").set_input_files(path)
    expect(page.get_by_role("dialog")).to_contain_text(reason)
    page.keyboard.press("Escape")
    expect(page.locator(".conversation-link")).to_have_count(0)


def test_several_models_can_be_chosen(page: Page, script: Script, ask: Ask) -> None:
    script.models = ["small", "large"]
    page.reload()
    page.get_by_label("Model", exact=True).select_option("large")
    ask("Hello?")
    assert last_request(script)["model"] == "large"
    page.reload()
    expect(page.get_by_label("Model", exact=True)).to_have_value("large")


def test_without_adapters_none_is_offered(page: Page, script: Script, ask: Ask) -> None:
    expect(page.get_by_label("Adapter", exact=True)).to_be_hidden()
    ask("Hello")
    assert last_request(script)["model"] == "scripted-1b"


def test_an_adapter_can_be_chosen_and_is_remembered(page: Page, script: Script, ask: Ask) -> None:
    script.adapters = {"tone": "scripted-1b", "scripted-1b:law": "scripted-1b"}
    page.reload()
    adapter = page.get_by_label("Adapter", exact=True)
    expect(adapter.locator("option")).to_have_text(["No adapter", "tone", "law"])
    expect(page.locator("#model-name")).to_have_text("scripted-1b")
    expect(page.get_by_label("Model", exact=True)).to_be_hidden()
    for choice, asked in (("law", "scripted-1b:law"), ("tone", "tone"), ("No adapter", "scripted-1b")):
        adapter.select_option(choice)
        ask("Hello")
        assert last_request(script)["model"] == asked
    adapter.select_option("law")
    page.reload()
    expect(adapter).to_have_value("scripted-1b:law")
    # One that has gone is not asked for any more.
    script.adapters = {"tone": "scripted-1b"}
    page.reload()
    expect(adapter).to_have_value("")
    ask("Hello")
    assert last_request(script)["model"] == "scripted-1b"


def test_adapters_are_those_of_the_chosen_model(page: Page, script: Script, ask: Ask) -> None:
    script.models = ["small", "large"]
    script.adapters = {"tone": "large"}
    page.reload()
    model, adapter = (page.get_by_label(name, exact=True) for name in ("Model", "Adapter"))
    expect(model.locator("option")).to_have_text(["small", "large"])
    expect(adapter).to_be_hidden()
    model.select_option("large")
    adapter.select_option("tone")
    ask("Hello")
    assert last_request(script)["model"] == "tone"
    page.reload()
    expect(model).to_have_value("large")
    expect(adapter).to_have_value("tone")
    model.select_option("small")
    expect(adapter).to_be_hidden()
    ask("Hello")
    assert last_request(script)["model"] == "small"


def test_thoughts_are_folded_away(page: Page, script: Script, ask: Ask) -> None:
    script.answers = [
        Answer(["<think>Hm, ", "let me see.</think>\n\nIt is 4."]),
        Answer(["5."], thinking="Hm again."),
    ]
    ask("2 + 2?")
    expect(page.locator(".answer .markdown")).to_have_text("It is 4.")
    expect(page.locator(".thoughts-text")).to_be_hidden()
    page.get_by_text("Thoughts").click()
    expect(page.locator(".thoughts-text")).to_have_text("Hm, let me see.")
    ask("And 5?")
    expect(page.locator(".thoughts-text").nth(1)).to_have_text("Hm again.")


def test_tools_are_sent_and_calls_are_shown(page: Page, script: Script, ask: Ask) -> None:
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    page.get_by_role("button", name="Settings").click()
    field = page.get_by_label("Tools", exact=True)
    field.fill('{"no": "list"}')
    expect(page.locator("#setting-tools-hint")).to_contain_text("A list is wanted")
    field.fill(json.dumps(tools))
    page.keyboard.press("Escape")
    hostile = "<img src=x onerror=alert(1)>"
    script.answers = [
        Answer(
            ["I look."],
            finish="tool_calls",
            calls=[
                {
                    "index": 0,
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": ""},
                },
                {"index": 0, "function": {"arguments": '{"city": '}},
                {"index": 0, "function": {"arguments": '"Paris"}'}},
                {"index": 1, "id": "call_2", "function": {"name": hostile, "arguments": hostile}},
            ],
        )
    ]
    ask("How is the weather?")
    assert last_request(script)["tools"] == tools
    calls = page.locator(".answer .call")
    expect(calls.locator("summary")).to_have_text(["Called weather", f"Called {hostile}"])
    expect(calls.locator("pre").first).to_have_text('{ "city": "Paris" }')
    expect(calls.locator("pre").nth(1)).to_have_text(hostile)
    expect(page.locator(".end-note")).to_contain_text("runs no tools")
    page.reload()
    expect(calls).to_have_count(2)


def test_copying(page: Page, script: Script, ask: Ask) -> None:
    script.answers = [Answer(["Look:\n\n```python\nprint('a < b')\n\treturn\n```\n"])]
    ask("Code, please.")
    page.get_by_role("button", name="Copy this code").click()
    assert page.evaluate("navigator.clipboard.readText()") == "print('a < b')\n\treturn"
    page.get_by_role("button", name="Copy the answer").click()
    assert page.evaluate("navigator.clipboard.readText()").startswith("Look:\n\n```python")


def test_copying_where_the_browser_has_no_clipboard(
    context: BrowserContext, page: Page, script: Script, ask: Ask
) -> None:
    """Over plain HTTP from another machine there is none; the older way must do."""
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    script.answers = [Answer(["By hand."])]
    ask("Text, please.")
    page.get_by_role("button", name="Copy the answer").click()
    expect(page.locator("#announcements")).to_have_text("Copied.")
    message = page.get_by_label("Your message", exact=True)
    message.focus()
    page.keyboard.press("Control+v")
    expect(message).to_have_value("By hand.")


def test_the_theme_is_kept(page: Page, scripted_server: ScriptedServer) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(ground)
    page.emulate_media(color_scheme="light")
    light = page.evaluate(ground)
    assert light != dark
    page.get_by_role("button", name="Theme: as the system").click()
    page.get_by_role("button", name="Theme: light").click()
    assert page.evaluate(ground) == dark
    page.reload()
    assert page.evaluate(ground) == dark
    page.get_by_role("button", name="Theme: dark").click()
    assert page.evaluate(ground) == light


def test_a_scrolled_reader_is_left_in_peace(page: Page, script: Script, send: Ask) -> None:
    release = threading.Event()
    script.answers = [Answer(["A paragraph.\n\n"] * 150, piece_seconds=0.005, held=release)]
    send("A long one.")
    scroller = page.locator("#scroller")
    page.locator(".answer p").nth(60).wait_for()
    assert scroller.evaluate("(node) => node.scrollTop") > 300
    scroller.evaluate("(node) => { node.scrollTop = 0; }")
    page.wait_for_timeout(400)
    assert scroller.evaluate("(node) => node.scrollTop") == 0
    page.get_by_role("button", name="To the end of the conversation").click()
    release.set()
    expect(page.locator(".answer[aria-busy]")).to_have_count(0)
    assert scroller.evaluate("(node) => node.scrollHeight - node.scrollTop - node.clientHeight") < 5


SCHEMA = {"type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}}, "required": ["city"]}


def test_a_schema_is_sent_with_messages_and_kept(page: Page, script: Script, ask: Ask) -> None:
    page.get_by_role("button", name="Settings").click()
    field, hint = page.get_by_label("JSON schema", exact=True), page.locator("#setting-schema-hint")
    for wrong, words in (("{", "This is no JSON"), ("[1]", "A schema is an object")):
        field.fill(wrong)
        expect(hint).to_contain_text(words)
        expect(field).to_have_attribute("aria-invalid", "true")
    field.fill(json.dumps(SCHEMA))
    expect(hint).to_contain_text("Answers are JSON that it allows")
    expect(field).to_have_attribute("aria-invalid", "false")
    page.get_by_role("button", name="Sampling as at first").click()
    assert json.loads(field.input_value()) == SCHEMA
    page.keyboard.press("Escape")
    ask("Which city?")
    asked = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
    assert last_request(script)["response_format"] == asked
    assert "schema" not in last_request(script)
    page.get_by_role("button", name="Settings").click()
    field.fill("")
    page.keyboard.press("Escape")
    ask("And now?")
    assert "response_format" not in last_request(script)


def test_what_the_server_says_of_a_schema_stands_at_its_field(
    page: Page, script: Script, watch: Watch
) -> None:
    watch.expected += ["status of 400"]
    script.against_schema = Refusal.of(400, "<b>not</b> is not done (at /not)", "invalid_json_schema")
    page.get_by_role("button", name="Settings").click()
    field, hint = page.get_by_label("JSON schema", exact=True), page.locator("#setting-schema-hint")
    field.fill('{"not": {}}')
    expect(hint).to_have_text("<b>not</b> is not done (at /not)")
    expect(field).to_have_attribute("aria-invalid", "true")
    # It is said again when the settings are opened again, and no more once another one is taken.
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Settings").click()
    expect(hint).to_have_text("<b>not</b> is not done (at /not)")
    script.against_schema = None
    field.fill(json.dumps(SCHEMA))
    expect(field).to_have_attribute("aria-invalid", "false")
    # Other trouble is none of the schema's.
    script.against_schema = Refusal.of(503, "the model is loading", "loading")
    watch.expected += ["status of 503"]
    asked = script.num_schemas
    field.fill('{"type": "integer"}')
    deadline = time.monotonic() + 5
    while script.num_schemas == asked and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    assert script.num_schemas > asked
    expect(field).to_have_attribute("aria-invalid", "false")
