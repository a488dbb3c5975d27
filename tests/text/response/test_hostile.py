"""Answers that no model should write: their cost grows with their length, and what they mean can be told."""

import gc
import json
import time
from collections.abc import Iterable
from typing import Any

import pytest

from ruvllm.text.response import KNOWN_FORMATS, object_in
from ruvllm.text.response.schemas import kinds_of
from ruvllm.tools import ToolDefinition
from tests.text.response.reading import read, seen

LENGTH = 240_000
TOOLS = [
    ToolDefinition(name="f", parameters={"properties": {"s": {"type": "string"}, "n": {"type": "number"}}})
]
STRING = '<tool_call>{"name": "f", "arguments": {"s": "'
LONG = [
    ("qwen-3", "a", " "),
    ("qwen-3", "a", "\n\t"),
    ("qwen-3", "<think>", " \n"),
    ("qwen-3", "", "<tool_cal"),
    ("qwen-3", "", "<tool_call>{}"),
    ("qwen-3", STRING, "x"),
    ("qwen-3", '<tool_call>{"x": "', "x"),
    ("qwen-3", '<tool_call>{"x": [', "[1],"),
    ("qwen-3-coder", "<function=f><parameter=s>", "x\n"),
    ("qwen-3-coder", "<function=f><parameter=n>", "1"),
    ("llama-3", '{"name": ', " "),
    ("mistral", "[TOOL_CALLS][", '{"name": "f", "arguments": {}},'),
    ("gpt-oss", "<|channel|>", "analysis "),
]


def seconds(name: str, text: str, size: int) -> float:
    """Of this thread alone, and without looking through what other tests have left in memory."""
    gc.collect()
    gc.disable()
    try:
        begin = time.thread_time()
        read(KNOWN_FORMATS[name], pieces(text, size), tools=TOOLS)
        return time.thread_time() - begin
    finally:
        gc.enable()


def pieces(text: str, size: int) -> Iterable[str]:
    return (text[begin : begin + size] for begin in range(0, len(text), size))


@pytest.mark.parametrize(("name", "begin", "more"), LONG)
def test_six_times_the_text_costs_six_times_the_time(name: str, begin: str, more: str) -> None:
    short, long = (begin + more * (length // len(more)) for length in (LENGTH // 6, LENGTH))
    for size in (8, LENGTH):
        # Were it the square, it would be 36 times.
        assert seconds(name, long, size) < 15 * seconds(name, short, size) + 0.02, size


@pytest.mark.parametrize("nested", ['{"function": ', '{"name": "f", "arguments": ', '{"x": ', "["])
def test_nesting_is_no_recursion(nested: str) -> None:
    for name in ("hermes", "llama-3", "mistral"):
        text = f"{''.join(KNOWN_FORMATS[name].calls.section)}<tool_call>{nested * 5000}"
        assert read(KNOWN_FORMATS[name], [text], tools=TOOLS)


@pytest.mark.parametrize("name", ['"\\ud800"', '"f\\udfff"'])
def test_half_a_character_names_no_tool(name: str) -> None:
    text = f'<tool_call>{{"name": {name}, "arguments": {{}}}}</tool_call>'
    assert seen(read(KNOWN_FORMATS["hermes"], [text], tools=TOOLS)) == [text]
    numbered = f'<tool_call>{{"id": {name}, "name": "f", "arguments": {{}}}}</tool_call>'
    assert seen(read(KNOWN_FORMATS["hermes"], [numbered], tools=TOOLS)) == [("call", "f", {})]


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999", "9" * 5000, "[" * 200 + "]" * 200])
def test_a_value_that_json_does_not_have_is_a_text(value: str) -> None:
    text = f"<function=f><parameter=n>{value}</parameter></function>"
    assert seen(read(KNOWN_FORMATS["qwen-3-coder"], [text], tools=TOOLS)) == [("call", "f", {"n": value})]
    assert object_in(f'{{"n": {value}}}') is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, 2.5, null, "\\u00e9"]}', {"a": [1, 2.5, None, "é"]}),
        ('{"a": ' + "[" * 60 + "]" * 60 + "}", ...),
        ("[1]", None),
        ('{"a": "\\ud83d"}', None),
        ('{"\\ud83d": 1}', None),
        ('{"a": "\\ud83d\\ude00"}', {"a": "😀"}),
    ],
)
def test_objects_are_read_as_requests_are(text: str, value: Any) -> None:
    assert object_in(text) == (json.loads(text) if value is ... else value)


def test_references_in_circles_are_followed_once() -> None:
    circle = [{"$ref": "#/$defs/x"}] * 500
    chain = {f"c{index}": {"$ref": f"#/$defs/c{index + 1}"} for index in range(5000)}
    schema = {
        "properties": {"a": {"$ref": "#/$defs/x"}, "b": {"$ref": "#/$defs/c0"}, "c": {"anyOf": 3}},
        "$defs": {"x": {"anyOf": [*circle, {"type": "string"}]}, **chain, "c5000": {"type": "integer"}},
    }
    assert kinds_of(schema, "a") == {"string"}
    assert kinds_of(schema, "b") == {"integer"}
    assert not kinds_of(schema, "c")
