"""Tools and thoughts in chat completions, as OpenAI's own client sees them."""

import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.serve.running import RunningServer
from tests.serve.test_fields import check_error
from tests.serve.tool_models import ARGUMENTS, ASK, FUNCTION, TOOL


@pytest.fixture
def client(tools: RunningServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=tools.api, api_key="none", max_retries=0) as client:
        yield client


def post(server: RunningServer, path: str = "/v1/chat/completions", **fields: Any) -> httpx.Response:
    body = {"model": "calls", "messages": ASK, "temperature": 0, "max_tokens": 64, **fields}
    return httpx.post(server.url + path, json=body, timeout=20)


def message(server: RunningServer, **fields: Any) -> dict[str, Any]:
    answer = post(server, **fields)
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["message"]


def prompt_tokens(server: RunningServer, **fields: Any) -> int:
    return len(post(server, "/v1/chat/completions/render", **fields).json()["token_ids"])


def facts_of(caplog: pytest.LogCaptureFixture, name: str) -> list[Any]:
    """What the lines of requests say under a name; a line is written just after its answer."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        facts = [vars(record).get("facts", {}) for record in caplog.records]
        if found := [one[name] for one in facts if name in one]:
            return found
        time.sleep(0.01)
    return []


def prompt(server: RunningServer, **fields: Any) -> str:
    tokens = post(server, "/v1/chat/completions/render", **fields).json()["token_ids"]
    told = httpx.post(f"{server.url}/detokenize", json={"model": "calls", "tokens": tokens}, timeout=20)
    return told.json()["prompt"]


def test_calls_and_thoughts_have_their_places(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="calls", messages=ASK, tools=[TOOL], temperature=0)
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "I look."
    assert choice.message.reasoning_content == choice.message.reasoning == "Two cities."
    assert [call.function.name for call in choice.message.tool_calls] == ["weather", "weather"]
    assert [call.function.arguments for call in choice.message.tool_calls] == ARGUMENTS
    ids = [call.id for call in choice.message.tool_calls]
    assert len(set(ids)) == 2
    assert all(one.startswith("call_") for one in ids)
    assert answer.usage.completion_tokens_details.reasoning_tokens == 2


def test_a_stream_s_fragments_join_to_the_same(client: openai.OpenAI) -> None:
    fields = {"model": "calls", "messages": ASK, "temperature": 0}
    names: dict[int, list[str]] = {}
    fragments: dict[int, list[str]] = {}
    for chunk in client.chat.completions.create(**fields, tools=[TOOL], stream=True):
        for call in chunk.choices[0].delta.tool_calls or ():
            assert isinstance(call.index, int)
            assert (call.id is None) == (call.function.name is None) == (call.index in names)
            if call.id:
                names[call.index] = [call.id, call.function.name]
            fragments.setdefault(call.index, []).append(call.function.arguments)
    assert ["".join(one) for one in fragments.values()] == ARGUMENTS
    assert len(fragments[0]) > 2, "the arguments came whole"
    with client.chat.completions.stream(**fields, tools=[TOOL]) as stream:
        final = stream.get_final_completion().choices[0]
    whole = client.chat.completions.create(**fields, tools=[TOOL]).choices[0]
    assert final.finish_reason == whole.finish_reason == "tool_calls"
    assert final.message.content == whole.message.content
    pairs = zip(final.message.tool_calls, whole.message.tool_calls, strict=True)
    assert all(one.function.arguments == other.function.arguments for one, other in pairs)


def test_several_answers_and_logprobs_go_with_calls(client: openai.OpenAI) -> None:
    fields = {"model": "calls", "messages": ASK, "tools": [TOOL], "temperature": 0, "n": 2, "logprobs": True}
    whole = client.chat.completions.create(**fields)
    assert [len(choice.message.tool_calls) for choice in whole.choices] == [2, 2]
    tokens: dict[int, int] = {0: 0, 1: 0}
    for chunk in client.chat.completions.create(**fields, stream=True):
        for choice in chunk.choices:
            tokens[choice.index] += len(choice.logprobs.content) if choice.logprobs else 0
    assert tokens == {one.index: len(one.logprobs.content) for one in whole.choices}


def test_only_the_first_call_counts_where_one_is_asked_for(tools: RunningServer) -> None:
    told = message(tools, tools=[TOOL], parallel_tool_calls=False)
    assert [call["function"]["arguments"] for call in told["tool_calls"]] == ARGUMENTS[:1]


def test_without_tools_a_call_is_text(tools: RunningServer) -> None:
    for fields in ({}, {"tools": []}, {"tools": [TOOL], "tool_choice": "none"}):
        told = message(tools, **fields)
        assert "tool_calls" not in told
        assert told["content"].startswith("I look. <tool_call>"), told


def test_what_is_no_call_is_content(tools: RunningServer) -> None:
    told = message(tools, model="no-call", tools=[TOOL])
    assert "tool_calls" not in told
    assert "{not a call}" in told["content"]
    answer = post(tools, model="broken", tools=[TOOL])
    assert answer.status_code == 200
    (call,) = answer.json()["choices"][0]["message"]["tool_calls"]
    with pytest.raises(json.JSONDecodeError):
        json.loads(call["function"]["arguments"])
    (choice,) = post(tools, model="ends-early", tools=[TOOL]).json()["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"city": "Par'


def test_a_call_that_is_cut_off_is_told_as_far_as_it_came(tools: RunningServer) -> None:
    (choice,) = post(tools, tools=[TOOL], max_tokens=10).json()["choices"]
    assert choice["finish_reason"] == "length"
    (call,) = choice["message"]["tool_calls"]
    assert ARGUMENTS[0].startswith(call["function"]["arguments"])
    assert 0 < len(call["function"]["arguments"]) < len(ARGUMENTS[0])


def test_results_follow_their_calls(tools: RunningServer) -> None:
    asked = {"role": "assistant", **message(tools, tools=[TOOL])}
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": f"sunny {index}"}
        for index, call in enumerate(asked["tool_calls"])
    ]
    assert post(tools, messages=[*ASK, asked, *results], tools=[TOOL]).status_code == 200
    # The model sees each: another result is another prompt.
    longer = [results[0], {**results[1], "content": "sunny and more"}]
    more = prompt_tokens(tools, messages=[*ASK, asked, *longer]) - prompt_tokens(
        tools, messages=[*ASK, asked, *results]
    )
    assert more == len("and more") - 1
    stray = {"role": "tool", "tool_call_id": "call_of_nobody", "content": "x"}
    check_error(post(tools, messages=[*ASK, asked, stray]), 400, "messages[2].tool_call_id")
    check_error(post(tools, messages=[stray]), 400, "messages[0].tool_call_id")
    check_error(
        post(tools, messages=[*ASK, asked, {"role": "tool", "content": "x"}]), 400, "messages[2].tool_call_id"
    )


@pytest.mark.parametrize("arguments", ["", "{", '{"city": Paris}', "[1]", "null", "\U0001f600", "9" * 5000])
def test_broken_arguments_in_a_history_are_told_as_they_are(tools: RunningServer, arguments: str) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": arguments}}
    result = {"role": "tool", "tool_call_id": "c", "content": "it failed"}
    messages = [*ASK, {"role": "assistant", "content": None, "tool_calls": [call]}, result]
    assert post(tools, model="plain", messages=messages, tools=[TOOL]).status_code == 200
    seen = prompt(tools, messages=messages)
    assert f'"arguments": {json.dumps(arguments, ensure_ascii=False) if arguments else "{}"}}}' in seen
    assert "it failed" in seen


def test_a_choice_that_cannot_be_kept_is_refused_by_name(tools: RunningServer) -> None:
    for choice, param in [
        ("always", "tool_choice"),
        ({"type": "function", "function": {"name": "other"}}, "tool_choice"),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}, "tool_choice.tools"),
        ({"type": "mcp", "server_label": "x"}, "tool_choice"),
        ({}, "tool_choice.type"),
    ]:
        check_error(post(tools, tools=[TOOL], tool_choice=choice), 400, param)
    check_error(post(tools, tool_choice="required"), 400, "tool_choice", "invalid_value")


def test_allowed_tools_are_the_ones_that_the_model_is_told_of(tools: RunningServer) -> None:
    other = {"type": "function", "function": {"name": "other", "parameters": {}}}
    one = {"type": "function", "function": {"name": "weather"}}
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [one]}}
    told = prompt_tokens(tools, tools=[TOOL, other], tool_choice=allowed)
    assert told == prompt_tokens(tools, tools=[TOOL]) < prompt_tokens(tools, tools=[TOOL, other])
    assert prompt_tokens(tools, tools=[TOOL], tool_choice="none") == prompt_tokens(tools)


@pytest.mark.parametrize(
    ("tool", "param"),
    [
        ({}, "tools[0].type"),
        ({"type": "web_search"}, "tools[0]"),
        ({"type": "function"}, "tools[0].function"),
        ({"type": "function", "function": {}}, "tools[0].function.name"),
        ({"type": "function", "function": {"name": "a b"}}, "tools[0].function"),
        ({"type": "function", "function": {"name": "f", "parameters": "x"}}, "tools[0].function.parameters"),
        ({"type": "function", "function": {"name": "f", "description": 3}}, "tools[0].function.description"),
        (
            {"type": "function", "function": {"name": "f", "parameters": {"required": 5}}},
            "tools[0].function.parameters.required",
        ),
        (
            {"type": "function", "function": {"name": "f", "parameters": {"required": [{}]}}},
            "tools[0].function.parameters.required",
        ),
        (
            {"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}},
            "tools[0].function",
        ),
    ],
)
def test_what_is_no_tool_is_refused_by_its_place(tools: RunningServer, tool: dict, param: str) -> None:
    check_error(post(tools, tools=[tool]), 400, param)
    check_error(post(tools, tools=[TOOL, TOOL]), 400, "tools")
    check_error(post(tools, tools=[TOOL] * 257), 400, "tools")


def test_calls_behind_control_tokens_are_seen(tools: RunningServer) -> None:
    told = message(tools, model="hidden", tools=[TOOL])
    assert [call["function"]["name"] for call in told["tool_calls"]] == ["weather"]
    assert not told["content"]
    # Of these tokens nothing is shown where there is nothing to call.
    assert message(tools, model="hidden")["content"] == '[{"name": "weather", "arguments": {}}]'


def test_thoughts_end_where_the_prompt_began_them(tools: RunningServer) -> None:
    told = message(tools, model="thinks")
    assert (told["reasoning_content"], told["content"]) == ("Hmm.", "Because.")
    # Told not to think, the template opens no thoughts, and what is written is the answer.
    off = message(tools, model="thinks", reasoning_effort="none")
    assert "reasoning_content" not in off
    thinking = prompt_tokens(tools, model="thinks")
    for fields in ({"reasoning_effort": "high"}, {"reasoning": {"effort": "low"}}):
        assert prompt_tokens(tools, model="thinks", **fields) == thinking
    check_error(post(tools, reasoning_effort="very"), 400, "reasoning_effort")


def test_thoughts_of_before_reach_the_template(tools: RunningServer) -> None:
    def history(**fields: str) -> list[dict[str, str]]:
        return [*ASK, {"role": "assistant", "content": "Yes.", **fields}, *ASK]

    bare = prompt_tokens(tools, model="thinks", messages=history())
    for name in ("reasoning_content", "reasoning"):
        told = prompt_tokens(tools, model="thinks", messages=history(**{name: "Aha."}))
        assert told == bare + len("<think>Aha.</think>")


def test_marks_in_tools_and_calls_are_text(tools: RunningServer) -> None:
    """What a description or an argument spells is no control token, as in messages."""
    spelled = "<|im_end|>"
    described = {"type": "function", "function": {**FUNCTION, "description": spelled}}
    call = {
        "id": "c",
        "type": "function",
        "function": {"name": "weather", "arguments": f'{{"a": "{spelled}"}}'},
    }
    told = [
        *ASK,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": spelled},
    ]
    answer = post(tools, "/v1/chat/completions/render", messages=told, tools=[described]).json()
    plain = post(tools, "/v1/chat/completions/render", messages=ASK).json()
    end = httpx.post(f"{tools.url}/tokenize", json={"model": "calls", "prompt": spelled}).json()["tokens"]
    assert len(end) == 1
    # One ends each turn: the system's, the user's, the assistant's, and the result's.
    assert answer["token_ids"].count(end[0]) == plain["token_ids"].count(end[0]) + 2 + 1


def test_the_log_counts_tools(tools: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ruvllm")
    post(tools, model="plain", tools=[TOOL])
    assert 1 in facts_of(caplog, "tools")
