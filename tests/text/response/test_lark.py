"""What a format's grammar allows is what its parser reads and its writer writes.

The grammars are compiled and walked by llguidance's own wheel, not by the engine.
"""

import json
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from ruvllm.errors import ConfigError
from ruvllm.text.response import KNOWN_FORMATS, ResponseFormat
from ruvllm.text.response.writing import write_calls
from ruvllm.tools import ToolCall, ToolChoice, ToolDefinition
from tests.text.response.reading import read, seen
from tests.text.response.walking import Walk, numbered

WEATHER = ToolDefinition(
    name="get_weather",
    description="The weather.",
    parameters={
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer"},
            "unit": {"type": "string", "enum": ["C", "F"]},
            "place": {"$ref": "#/$defs/place"},
        },
        "required": ["city"],
        "$defs": {"place": {"type": "object", "properties": {"x": {"type": "boolean"}}, "required": ["x"]}},
    },
)
NOW = ToolDefinition(name="now")
TOOLS = [WEATHER, NOW]
SCHEMAS = {tool.name: tool.schema for tool in TOOLS}
# Marks that are control tokens in the families' vocabularies, or could be in somebody's.
CONTROL = {
    "llama-3": ("<|python_tag|>",),
    "mistral": ("[TOOL_CALLS]",),
    "mistral-v11": ("[TOOL_CALLS]", "[CALL_ID]", "[ARGS]", "[THINK]", "[/THINK]"),
    "phi-4-mini": ("<|tool_call|>", "<|/tool_call|>"),
    "gpt-oss": ("<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>", "<|call|>"),
    "hermes": ("<tool_call>", "</tool_call>"),
    "qwen-3": ("<think>", "</think>"),
}
# Channels have always control tokens around them.
WITH_TOKENS = [*((name, ()) for name in KNOWN_FORMATS if name != "gpt-oss"), *CONTROL.items()]


def made(name: str, marks: tuple[str, ...]) -> ResponseFormat:
    return replace(KNOWN_FORMATS[name], special=numbered(marks))


def walk(found: ResponseFormat, choice: str, **options: Any) -> Walk:
    words = tuple(text for mark in found.marks for text in (mark, f"\n{mark}\n"))
    return Walk(found.lark(TOOLS, ToolChoice.of(choice), **options), found.special, words)


def check_call(call: Any) -> None:
    kind, name, values = call
    assert kind == "call", call
    jsonschema.validate(values, SCHEMAS[name])


@pytest.mark.parametrize(("name", "marks"), WITH_TOKENS)
@pytest.mark.parametrize("seed", range(12))
def test_what_is_drawn_from_a_grammar_of_calls_is_calls(name: str, marks: tuple[str, ...], seed: int) -> None:
    found = made(name, marks)
    text = walk(found, "required").text(seed)
    calls = [one for one in seen(read(found, text, tools=TOOLS)) if one[0] != "thought"]
    assert calls, text
    for call in calls:
        check_call(call)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "marks"), WITH_TOKENS)
def test_a_thousand_of_them(name: str, marks: tuple[str, ...]) -> None:
    found = made(name, marks)
    walker = walk(found, "required")
    # Some walks open one call after the other.
    texts = [text for seed in range(1100) if (text := walker.ended(seed)) is not None]
    assert len(texts) >= 1000
    for text in texts[:1000]:
        for call in seen(read(found, [text], tools=TOOLS)):
            if call[0] != "thought":
                check_call(call)


@pytest.mark.parametrize(("name", "marks"), WITH_TOKENS)
@pytest.mark.parametrize("choice", ["auto", "required"])
def test_what_the_family_writes_is_allowed(name: str, marks: tuple[str, ...], choice: str) -> None:
    found = made(name, marks)
    walker = walk(found, choice)
    values = {"city": "Oslo \u00e9", "days": 2, "unit": "C", "place": {"x": True}}
    arguments = json.dumps(values, ensure_ascii=False)
    calls = [
        ToolCall(id="", name="get_weather", arguments=arguments),
        ToolCall(id="", name="now", arguments="{}"),
    ]
    end = "<|call|>"  # it ends the answer as well, and is no part of the grammar
    assert walker.accepts(write_calls(found.calls, calls[:1]).removesuffix(end))
    if found.parallel:
        assert walker.accepts(write_calls(found.calls, calls))


@pytest.mark.parametrize(("name", "marks"), WITH_TOKENS)
def test_other_tools_and_other_arguments_are_not(name: str, marks: tuple[str, ...]) -> None:
    found = made(name, marks)
    walker = walk(found, "required")
    for tool, arguments in (
        ("later", "{}"),
        ("get_weather", '{"days": 2}'),
        ("get_weather", '{"city": "Oslo", "days": "many"}'),
        ("get_weather", '{"city": "Oslo", "unit": "K"}'),
        ("get_weather", '{"city": "Oslo", "more": 1}'),
    ):
        written = write_calls(found.calls, [ToolCall(id="", name=tool, arguments=arguments)])
        assert not walker.accepts(written.removesuffix("<|call|>")), written


@pytest.mark.parametrize(("name", "marks"), WITH_TOKENS)
def test_under_auto_anything_may_be_said(name: str, marks: tuple[str, ...]) -> None:
    found = made(name, marks)
    said = 'It is {"sunny": true} \u2014 \n\n<b>really</b>.'
    if name == "gpt-oss":
        said = f"<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>{said}"
    assert walk(found, "auto").accepts(said)
    assert not walk(found, "required").accepts(said)


@pytest.mark.parametrize(("name", "marks"), [one for one in WITH_TOKENS if KNOWN_FORMATS[one[0]].reasons])
@pytest.mark.parametrize("choice", ["auto", "required"])
def test_thoughts_come_before_and_are_free(name: str, marks: tuple[str, ...], choice: str) -> None:
    found = made(name, marks)
    assert found.reasons
    call = write_calls(found.calls, [ToolCall(id="", name="now", arguments="{}")])
    # What opens a call opens none within a thought, where it is a text.
    thought = (
        "Shall I? " + ("" if marks else "<tool_call> [TOOL_CALLS] ") + f"Yes.{found.reasons.closing}\n\n"
    )
    assert walk(found, choice).accepts(f"{found.reasons.opening}{thought}{call}")
    opened = walk(found, choice, thinking_open=True)
    assert opened.accepts(f"{thought}{call}")
    assert not opened.accepts("Yes.")


@pytest.mark.parametrize("name", [name for name, one in KNOWN_FORMATS.items() if one.parallel])
def test_one_call_where_there_may_be_no_more(name: str) -> None:
    found = KNOWN_FORMATS[name]
    calls = [ToolCall(id="", name="now", arguments="{}")] * 2
    walker = walk(found, "required", parallel=False)
    assert walker.accepts(write_calls(found.calls, calls[:1]))
    assert not walker.accepts(write_calls(found.calls, calls))


def test_a_named_tool_is_the_only_one() -> None:
    found = KNOWN_FORMATS["hermes"]
    walker = Walk(found.lark(TOOLS, ToolChoice.named("now")), {})
    call = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
    assert not walker.accepts(f"{call}\n{call}")
    assert walker.accepts('<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>')
    assert not walker.accepts(
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "x"}}\n</tool_call>'
    )


def test_a_strict_schema_is_kept_to_the_word() -> None:
    schema = {
        "properties": {"code": {"type": "string", "pattern": "^[A-Z]{2}$"}},
        "additionalProperties": False,
    }
    for strict in (False, True):
        tool = ToolDefinition(name="f", parameters=schema, strict=strict)
        walker = Walk(KNOWN_FORMATS["hermes"].lark([tool], ToolChoice.of("required")), {})
        text = '<tool_call>\n{"name": "f", "arguments": {"code": "abc"}}\n</tool_call>'
        assert walker.accepts(text) is not strict


def test_without_tools_there_is_no_grammar() -> None:
    found = KNOWN_FORMATS["hermes"]
    assert found.grammar([], ToolChoice()) is None
    assert found.grammar(TOOLS, ToolChoice("none")) is None
    with pytest.raises(ConfigError, match="needs tools"):
        found.lark([], ToolChoice())
