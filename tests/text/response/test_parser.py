"""Answers of every family are told apart into content, reasoning and calls, however they are cut into pieces."""

# ruff: noqa: E501 - answers stand in one line, as models write them

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ruvllm.text.response import KNOWN_FORMATS, ResponseFormat
from ruvllm.text.response.syntax import JsonCalls, Reasons
from ruvllm.text.response.writing import write_calls
from ruvllm.tools import ToolCall, ToolDefinition
from tests.text.response.reading import read, seen

F = ToolDefinition(
    name="f",
    parameters={"properties": {"a": {"type": "integer"}, "s": {"type": "string"}, "o": {"type": "object"}}},
)
CALL = ("call", "f", {"a": 1})
CALL_2 = ("call", "f", {"a": 2})

# What models of the family write, and what it means.
ANSWERS: list[tuple[str, str, list[Any]]] = [
    ("qwen-3", "Hi there.\n", ["Hi there.\n"]),
    (
        "qwen-3",
        '<think>\nhm <b>\n</think>\n\nSure.\n<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>',
        [("thought", "hm <b>"), "Sure.", CALL],
    ),
    (
        "qwen-3",
        '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call><tool_call>\n'
        '{"name": "f", "arguments": {"a": 2}}\n</tool_call>\n',
        [CALL, CALL_2],
    ),
    (
        "hermes",
        '<tool_call>\n{"arguments": {"s": "}</tool_call>\\""}, "name": "f"}\n</tool_call>',
        [("call", "f", {"s": '}</tool_call>"'})],
    ),
    ("hermes", '<tool_call>{"name": "f", "arguments": "{\\"a\\": 1}"}</tool_call>', [CALL]),
    ("hermes", '<tool_call>{"name": "f"}</tool_call>', [("call", "f", {})]),
    ("hermes", '<tool_call>{"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}', [CALL]),
    ("hermes", '<tool_call>{"name": "f", "arguments": {"a": 1}}}}\n</tool_call> Done.', [CALL, "Done."]),
    ("hermes", 'a <tool_call> b <tool_call>{"x": 1}</tool_call>', ['a <tool_call> b <tool_call>{"x": 1}</tool_call>']),
    # Small models leave the tags out, or know their kind of calls from code.
    ("qwen-2.5", '```json\n{"name": "f", "arguments": {"a": 1}}\n```', [CALL]),
    ("qwen-2.5", '{"name": "f", "arguments": {"a": 1}}', [CALL]),
    ("qwen-3", '<think>\nhm\n</think>\n\n```json\n{"name": "f", "arguments": {"a": 1}}\n```', [("thought", "hm"), CALL]),
    ("qwen-2.5", '```json\n{"name": "Bob", "age": 3}\n```', ['```json\n{"name": "Bob", "age": 3}\n```']),
    ("qwen-2.5", '```json\n{"age": 3}\n```', ['```json\n{"age": 3}\n```']),
    ("qwen-2.5", 'So:\n```json\n{"name": "f", "arguments": {}}\n```', ['So:\n```json\n{"name": "f", "arguments": {}}\n```']),
    ("llama-3", '{"name": "f", "parameters": {"a": 1}}', [CALL]),
    ("llama-3", '<|python_tag|>{"name": "f", "parameters": {"a": 1}}', [CALL]),
    (
        "llama-3",
        '{"name": "f", "parameters": {"a": 1}}; {"type": "function", "name": "f", "parameters": {"a": 2}}',
        [CALL, CALL_2],
    ),
    ("llama-3", '{"name": "Bob", "age": 3}', ['{"name": "Bob", "age": 3}']),
    ("llama-3", 'It is {"name": "f", "parameters": {}}', ['It is {"name": "f", "parameters": {}}']),
    (
        "mistral",
        '[TOOL_CALLS] [{"name": "f", "arguments": {"a": 1}}, {"name": "f", "arguments": {"a": 2}, "id": "abc"}]',
        [CALL, CALL_2],
    ),
    ("mistral-v11", 'Ok.[TOOL_CALLS]f[ARGS]{"a": 1}[TOOL_CALLS]f[CALL_ID]abcdefghi[ARGS]{"a": 2}', ["Ok.", CALL, CALL_2]),
    ("mistral-v11", '[THINK]hm[/THINK][TOOL_CALLS]f[ARGS]{"a": 1}', [("thought", "hm"), CALL]),
    ("phi-4-mini", '<|tool_call|>[{"name": "f", "arguments": {"a": 1}}]<|/tool_call|>', [CALL]),
    (
        "qwen-3-coder",
        'Ok\n<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n<parameter=s>\n2 "\n\n</parameter>\n'
        "</function>\n</tool_call>\n<function=f>\n</function>",
        ["Ok", ("call", "f", {"a": 1, "s": '2 "\n'}), ("call", "f", {})],
    ),
    (
        "gpt-oss",
        "<|channel|>analysis<|message|>need f<|end|><|start|>assistant<|channel|>commentary to=functions.f "
        '<|constrain|>json<|message|>{"a": 1}<|call|>',
        [("thought", "need f"), CALL],
    ),
    (
        "gpt-oss",
        '<|channel|>commentary<|message|>Wait.<|end|><|start|>assistant to=functions.f<|channel|>commentary json'
        '<|message|>{"a": 1}<|call|><|start|>assistant<|channel|>final<|message|>Done.<|return|>',
        ["Wait.", CALL, "Done."],
    ),
    ("gpt-oss", ' to=functions.f<|channel|>commentary json<|message|>{"a": 1}<|call|>', [CALL]),
    (
        "deepseek-r1",
        "<think>hm</think>\n\n<\uff5ctool\u2581calls\u2581begin\uff5c><\uff5ctool\u2581call\u2581begin\uff5c>function"
        '<\uff5ctool\u2581sep\uff5c>f\n```json\n{"a": 1}\n```<\uff5ctool\u2581call\u2581end\uff5c>\n'
        '<\uff5ctool\u2581call\u2581begin\uff5c>function<\uff5ctool\u2581sep\uff5c>f\n```json\n{"a": 2}\n```'
        "<\uff5ctool\u2581call\u2581end\uff5c><\uff5ctool\u2581calls\u2581end\uff5c>",
        [("thought", "hm"), CALL, CALL_2],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "means"), ANSWERS)
def test_what_an_answer_means(name: str, text: str, means: list[Any]) -> None:
    assert seen(read(KNOWN_FORMATS[name], [text], tools=[F])) == means


@pytest.mark.parametrize(("name", "text", "means"), ANSWERS)
def test_character_by_character(name: str, text: str, means: list[Any]) -> None:
    assert seen(read(KNOWN_FORMATS[name], text, tools=[F])) == means


def test_a_thought_that_the_prompt_has_opened() -> None:
    parts = read(KNOWN_FORMATS["qwen-3"], ["hm</thi", "nk>\n\nHi"], thinking_open=True)
    assert seen(parts) == [("thought", "hm"), "Hi"]


def test_without_tools_there_are_no_calls() -> None:
    text = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'
    assert seen(read(KNOWN_FORMATS["hermes"], [text], tools=[])) == [text]


@pytest.mark.parametrize("name", KNOWN_FORMATS)
def test_a_call_that_is_cut_off_is_shown_as_far_as_it_goes(name: str) -> None:
    found = KNOWN_FORMATS[name]
    whole = write_calls(found.calls, [ToolCall(id="", name="f", arguments='{"s": "abcdefgh"}')])
    cut = whole[: whole.index("efgh")]
    assert seen(read(found, [cut], tools=[F], finish_reason="length")) == [("cut call", "f", '{"s": "abcd')]


@pytest.mark.parametrize("name", KNOWN_FORMATS)
def test_no_beginning_of_an_answer_shows_a_tag(name: str) -> None:
    found = KNOWN_FORMATS[name]
    calls = [ToolCall(id="", name="f", arguments='{"a": 1}')]
    written = write_calls(found.calls, calls)
    for length in range(len(written)):
        for one in seen(read(found, [written[:length]], tools=[F], finish_reason="length")):
            # One character is too little to be taken for a mark.
            assert one in (CALL, written[0]) or one[:2] == ("cut call", "f"), (length, one)


@pytest.mark.parametrize("text", ['<tool_call>{"name": "f", "arguments": {"a": ]}}</tool_call>Hi'])
def test_broken_arguments_are_given_as_they_are(text: str) -> None:
    """The call has begun when they break, so it stays a call; its end does not come."""
    assert seen(read(KNOWN_FORMATS["hermes"], text, tools=[F])) == [("cut call", "f", '{"a": ]}}'), "Hi"]


def test_ids_are_as_the_family_wants_them() -> None:
    text = '[TOOL_CALLS][{"name": "f", "arguments": {}}]'
    (call_id,) = {part.id for part in read(KNOWN_FORMATS["mistral"], [text]) if hasattr(part, "id")}
    assert len(call_id) == 9
    assert call_id.isalnum()


PIECES = st.sampled_from(
    sorted(
        {
            *(mark for one in KNOWN_FORMATS.values() for mark in one.marks),
            *'{}[]",:\\ \n;<|',
            '{"name": "f", "arguments": {"a": 1}}',
            '"name": "f"',
            '"arguments": {',
            '"parameters": ',
            '"s": "x',
            "f",
            "commentary to=functions.f",
            "analysis",
            "word",
        }
    )
)
TEXTS = st.lists(PIECES, max_size=14).map("".join)


@pytest.mark.parametrize("name", KNOWN_FORMATS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_cutting_gives_the_same(name: str, data: st.DataObject) -> None:
    found = KNOWN_FORMATS[name]
    text = data.draw(TEXTS | st.sampled_from([one[1] for one in ANSWERS if one[0] == name] or [""]))
    places = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)))
    pieces = [text[begin:end] for begin, end in zip([0, *places], [*places, len(text)], strict=True)]
    options: dict[str, Any] = {
        "tools": data.draw(st.sampled_from([None, [F], []])),
        "finish_reason": data.draw(st.sampled_from(["stop", "length"])),
        "thinking_open": data.draw(st.booleans()),
    }
    whole = seen(read(found, [text], **options))
    assert seen(read(found, pieces, **options)) == whole
    assert seen(read(found, text, **options)) == whole


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize("name", KNOWN_FORMATS)
@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(
        st.fixed_dictionaries({}, optional={"a": st.integers(), "o": VALUES}), min_size=1, max_size=3
    )
)
def test_what_is_written_is_read(name: str, values: list[dict[str, Any]]) -> None:
    values = [{**one, "o": {"in": one["o"]}} if "o" in one else one for one in values]
    found = KNOWN_FORMATS[name]
    calls = [ToolCall(id="", name="f", arguments=json.dumps(one)) for one in values]
    assert seen(read(found, [write_calls(found.calls, calls)], tools=[F])) == [
        ("call", "f", one) for one in values
    ]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("<think>hm</think>\n\nYes <think> and </think>.", [("thought", "hm"), "Yes <think> and </think>."]),
        (" \n<think>hm", [("thought", "hm")]),
        ("Yes <think>no</think>", ["Yes <think>no</think>"]),
        (" <thin", [" <thin"]),
        ("</think>a", ["</think>a"]),
    ],
)
def test_where_only_what_comes_first_are_thoughts(text: str, meant: list[Any]) -> None:
    found = ResponseFormat(name="server", calls=JsonCalls(), reasons=Reasons(only_first=True))
    for pieces in ([text], text):
        assert seen(read(found, pieces, tools=[])) == meant
    assert seen(read(found, "a</think>b<think>c", tools=[], thinking_open=True)) == [
        ("thought", "a"),
        "b<think>c",
    ]
