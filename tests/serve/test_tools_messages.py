"""Tools and thoughts in messages, as Anthropic's own client sees them."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import pytest
from anthropic.types import Message

from tests.serve.running import RunningServer
from tests.serve.test_messages_errors import check_error
from tests.serve.test_tools_chat import prompt_tokens as chat_tokens
from tests.serve.tool_models import ASK, CLAUDE


@pytest.fixture
def claude(tools: RunningServer) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=tools.url, api_key="none", max_retries=0) as client:
        yield client


def post(server: RunningServer, path: str = "/v1/messages", **fields: Any) -> httpx.Response:
    body = {
        "model": "calls",
        "messages": ASK,
        "max_tokens": 64,
        "temperature": 0,
        "tools": [CLAUDE],
        **fields,
    }
    return httpx.post(server.url + path, json=body, timeout=20)


def ask(client: anthropic.Anthropic, **fields: Any) -> Message:
    asked = {"model": "calls", "messages": ASK, "max_tokens": 64, "tools": [CLAUDE], **fields}
    return client.messages.create(**asked, extra_body={"temperature": 0})


def counted(server: RunningServer, messages: list[dict[str, Any]], **fields: Any) -> int:
    body = {"model": "calls", "messages": messages, "tools": [CLAUDE], **fields}
    answer = httpx.post(f"{server.api}/messages/count_tokens", json=body, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.json()["input_tokens"]


def test_blocks_come_in_order(claude: anthropic.Anthropic, tools: RunningServer) -> None:
    message = ask(claude)
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert message.content[0].thinking == "Two cities."
    assert message.content[1].text == "I look."
    assert [block.input for block in message.content[2:]] == [{"city": "Paris"}, {"city": "R\u00f6m"}]
    assert message.stop_reason == "tool_use"
    assert message.usage.output_tokens_details.thinking_tokens == 2
    Message.model_validate(post(tools).json(), strict=True)


def test_a_stream_is_read_to_the_same_message(claude: anthropic.Anthropic) -> None:
    fields: dict[str, Any] = {"model": "calls", "messages": ASK, "max_tokens": 64, "tools": [CLAUDE]}
    with claude.messages.stream(**fields, extra_body={"temperature": 0}) as stream:
        events = list(stream)
        final = stream.get_final_message()
    whole = ask(claude)
    without_ids = [block.model_dump(exclude={"id"}) for block in final.content]
    assert without_ids == [block.model_dump(exclude={"id"}) for block in whole.content]
    assert final.stop_reason == whole.stop_reason == "tool_use"
    pieces = [event.partial_json for event in events if event.type == "input_json"]
    assert len(pieces) > 2
    assert "".join(pieces) == '{"city": "Paris"}{"city": "R\\u00f6m"}'


def test_results_follow_their_calls(claude: anthropic.Anthropic, tools: RunningServer) -> None:
    message = ask(claude)
    told = [block.model_dump(exclude_none=True) for block in message.content]
    calls = [block for block in told if block["type"] == "tool_use"]
    results = [
        {"type": "tool_result", "tool_use_id": calls[0]["id"], "content": "sunny"},
        {
            "type": "tool_result",
            "tool_use_id": calls[1]["id"],
            "is_error": True,
            "content": [{"type": "text", "text": "no such city"}],
        },
        {"type": "text", "text": "And now?"},
    ]
    history = [*ASK, {"role": "assistant", "content": told}, {"role": "user", "content": results}]
    assert post(tools, messages=history).status_code == 200
    made = [
        {
            "id": call["id"],
            "type": "function",
            "function": {"name": call["name"], "arguments": json.dumps(call["input"], ensure_ascii=False)},
        }
        for call in calls
    ]
    as_chat = [
        *ASK,
        {"role": "assistant", "content": "I look.", "tool_calls": made},
        {"role": "tool", "tool_call_id": calls[0]["id"], "content": "sunny"},
        {"role": "tool", "tool_call_id": calls[1]["id"], "content": "Error: no such city"},
        {"role": "user", "content": "And now?"},
    ]
    tool = {"name": "weather", "description": "The weather.", "parameters": CLAUDE["input_schema"]}
    expected = chat_tokens(tools, messages=as_chat, tools=[{"type": "function", "function": tool}])
    assert counted(tools, history) == expected
    stray = [*ASK, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]}]
    check_error(post(tools, messages=stray), 400, "invalid_request_error")


def test_thoughts_stand_in_a_history_when_they_are_this_server_s(
    tools: RunningServer, claude: anthropic.Anthropic
) -> None:
    message = ask(claude, model="thinks", tools=[])
    thought, text = (block.model_dump(exclude_none=True) for block in message.content)
    assert (thought["thinking"], text["text"]) == ("Hmm.", "Because.")

    def tokens(*blocks: dict[str, Any]) -> int:
        history = [*ASK, {"role": "assistant", "content": [*blocks, text]}, *ASK]
        return counted(tools, history, model="thinks", tools=[])

    assert tokens(thought) > tokens()
    assert tokens({**thought, "signature": "EqQBCkYIBxgCKkD"}) == tokens(), "another model's thought"
    assert tokens({**thought, "thinking": "Ha."}) == tokens()
    assert tokens({"type": "redacted_thinking", "data": "EmwKAhgB"}) == tokens()


def test_thinking_is_set_by_every_field_of_it(tools: RunningServer) -> None:
    def tokens(**fields: Any) -> int:
        return counted(tools, ASK, model="thinks", tools=[], **fields)

    thinking = tokens()
    assert tokens(thinking={"type": "disabled"}) < thinking
    assert tokens(output_config={"effort": "none"}) < thinking
    for fields in (
        {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "high"}},
    ):
        assert tokens(**fields) == thinking
    hidden = post(tools, model="thinks", tools=[], thinking={"type": "adaptive", "display": "omitted"})
    assert hidden.json()["content"][0]["thinking"] == ""
    assert hidden.json()["content"][1]["text"] == "Because."


def test_kinds_of_anthropic_s_own_are_left_out_and_named(tools: RunningServer) -> None:
    hosted = [
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 8},
        {"type": "bash_20250124", "name": "bash"},
    ]
    for stream in (False, True):
        answer = post(tools, tools=[*hosted, {**CLAUDE, "type": "custom"}], stream=stream)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-ruvllm-tools-left-out"] == "web_search_20250305, bash_20250124"
    assert counted(tools, ASK, tools=[*hosted, CLAUDE]) == counted(tools, ASK)


def test_choices_are_kept_or_refused(tools: RunningServer) -> None:
    one = post(tools, tool_choice={"type": "auto", "disable_parallel_tool_use": True}).json()
    assert [block["type"] for block in one["content"]].count("tool_use") == 1
    none = post(tools, tool_choice={"type": "none"}).json()
    assert none["stop_reason"] == "end_turn"
    for wrong in ({"type": "tool"}, {"type": "tool", "name": "other"}, {"type": "some"}, "auto"):
        check_error(post(tools, tool_choice=wrong), 400, "invalid_request_error")


def test_a_call_without_an_object_is_a_text(tools: RunningServer) -> None:
    for model, written in (("broken", "'Paris'"), ("ends-early", '{"city": "Par')):
        told = post(tools, model=model).json()
        assert [block["type"] for block in told["content"]] == ["text"]
        assert written in told["content"][0]["text"]
    cut = post(tools, max_tokens=10).json()
    assert cut["stop_reason"] == "max_tokens"
