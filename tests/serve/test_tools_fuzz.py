"""Tools, calls and results that no program should send: each is an answer or an error that says where."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serve.running import RunningServer
from tests.serve.test_fuzz import DEEP, SCALARS, check_answer, send
from tests.serve.tool_models import ASK, CLAUDE, FLAT, TOOL

FUZZ = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
NAMES = st.sampled_from(["weather", "a b", "", "x" * 300, "\u00e9", "<tool_call>", '"', "weather\n"])
IDS = st.sampled_from(["call_1", "call_2", "", "x" * 300, None, 3])
SCHEMAS = (
    SCALARS
    | DEEP
    | st.dictionaries(
        st.sampled_from(
            ["type", "properties", "required", "$ref", "anyOf", "enum", "$defs", "items", "const"]
        ),
        SCALARS
        | st.lists(SCALARS, max_size=2)
        | st.dictionaries(
            st.sampled_from(["a", "$ref", "type"]), SCALARS | st.just({"$ref": "#"}), max_size=2
        ),
        max_size=3,
    )
)
FUNCTIONS = st.fixed_dictionaries(
    {},
    optional={
        "name": NAMES | SCALARS,
        "description": SCALARS,
        "parameters": SCHEMAS,
        "input_schema": SCHEMAS,
        "strict": SCALARS,
        "format": SCALARS
        | st.fixed_dictionaries({"type": st.just("grammar")}, optional={"definition": SCALARS}),
    },
)
KINDS = st.sampled_from(["function", "custom", "web_search", "bash_20250124", "", "x" * 100, "\r\n", None, 5])
TOOLS = st.lists(
    st.sampled_from([TOOL, FLAT, CLAUDE])
    | SCALARS
    | st.builds(
        lambda kind, inner, flat: {"type": kind, "function": inner, **(flat or {})},
        KINDS,
        FUNCTIONS | SCALARS,
        FUNCTIONS | st.none(),
    ),
    max_size=3,
)
CHOICES = SCALARS | st.builds(
    lambda kind, name, more: {"type": kind, "name": name, "function": {"name": name}, **more},
    st.sampled_from(["function", "auto", "any", "tool", "none", "allowed_tools", "mcp", None]),
    NAMES | SCALARS,
    st.sampled_from(
        [
            {},
            {"mode": "auto", "tools": [{"type": "function", "name": "weather"}]},
            {"allowed_tools": {"mode": "auto", "tools": [3]}},
            {"allowed_tools": 3},
            {"disable_parallel_tool_use": 3},
        ]
    ),
)
ARGUMENTS = st.sampled_from(["{}", "{", "", "[1]", '{"city": 1e999}', "9" * 6000, "[" * 3000, None, {}])
CALLS = st.builds(
    lambda call_id, name, arguments: {"id": call_id, "function": {"name": name, "arguments": arguments}},
    IDS,
    NAMES | SCALARS,
    ARGUMENTS,
)
CHAT = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "tool"])},
        optional={
            "content": SCALARS,
            "tool_calls": st.lists(CALLS, max_size=2),
            "tool_call_id": IDS,
            "reasoning_content": SCALARS,
        },
    ),
    min_size=1,
    max_size=4,
)
ITEMS = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(
                ["message", "function_call", "function_call_output", "reasoning", "x", None]
            )
        },
        optional={
            "role": st.sampled_from(["user", "assistant", "tool"]),
            "content": SCALARS,
            "call_id": IDS,
            "name": NAMES,
            "arguments": ARGUMENTS,
            "output": SCALARS | st.just([{"type": "input_text", "text": "a"}]),
            "summary": SCALARS | st.just([{"type": "summary_text"}]),
        },
    ),
    min_size=1,
    max_size=4,
)
BLOCKS = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["text", "tool_use", "tool_result", "thinking", "redacted_thinking", "x"])},
        optional={
            "text": SCALARS,
            "id": IDS,
            "name": NAMES,
            "input": SCALARS | st.just({"city": [1]}),
            "tool_use_id": IDS,
            "content": SCALARS | st.just([{"type": "text", "text": "a"}]),
            "thinking": SCALARS,
            "signature": SCALARS,
        },
    ),
    max_size=3,
)
TURNS = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": BLOCKS | SCALARS}),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def client(tools: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=tools.url, timeout=20) as client:
        yield client


def is_answered(client: httpx.Client, path: str, **fields: Any) -> None:
    check_answer(send(client, path, {"model": "plain", "temperature": 0, **fields}))


@FUZZ
@given(tools=TOOLS, choice=CHOICES, messages=CHAT | st.just(ASK), stream=st.booleans())
def test_chat(client: httpx.Client, tools: Any, choice: Any, messages: Any, stream: bool) -> None:
    fields = {"messages": messages, "max_tokens": 4, "stream": stream}
    is_answered(client, "/v1/chat/completions", tools=tools, tool_choice=choice, **fields)
    is_answered(client, "/v1/chat/completions", tools=tools, **fields)
    is_answered(client, "/v1/chat/completions", **fields)


@FUZZ
@given(tools=TOOLS, choice=CHOICES, items=ITEMS | st.just("Hi"), stream=st.booleans())
def test_responses(client: httpx.Client, tools: Any, choice: Any, items: Any, stream: bool) -> None:
    fields = {"input": items, "max_output_tokens": 4, "stream": stream}
    is_answered(client, "/v1/responses", tools=tools, tool_choice=choice, **fields)
    is_answered(client, "/v1/responses", tools=tools, **fields)
    is_answered(client, "/v1/responses", **fields)


@FUZZ
@given(tools=TOOLS, choice=CHOICES, messages=TURNS | st.just(ASK), stream=st.booleans())
def test_messages(client: httpx.Client, tools: Any, choice: Any, messages: Any, stream: bool) -> None:
    fields = {"messages": messages, "max_tokens": 4, "stream": stream}
    is_answered(client, "/v1/messages", tools=tools, tool_choice=choice, **fields)
    is_answered(client, "/v1/messages", tools=tools, **fields)
    is_answered(client, "/v1/messages", **fields)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["endless", "half", "nested", "broken", "no-call"])
def test_what_a_model_writes_is_never_an_error(client: httpx.Client, model: str, stream: bool) -> None:
    fields = {"model": model, "stream": stream, "temperature": 0}
    text = {"type": "custom", "name": "weather"}
    for path, more in (
        ("/v1/chat/completions", {"messages": ASK, "tools": [TOOL]}),
        ("/v1/responses", {"input": "Weather?", "tools": [FLAT]}),
        ("/v1/responses", {"input": "Weather?", "tools": [text]}),
        ("/v1/messages", {"messages": ASK, "tools": [CLAUDE], "max_tokens": 64}),
    ):
        answer = client.post(path, json={**fields, **more})
        assert answer.status_code == 200, answer.text
        assert "unexpected" not in answer.text
