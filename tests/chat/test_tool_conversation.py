"""Tools are called by a real model: the grammar makes it, the parser reads it, results go back."""

import json
from typing import Any

import jsonschema
import pytest

from ruvllm import LLM, GenerateParams, SessionError, ToolConversation, ToolDefinition
from ruvllm.errors import ConfigError

ADD = ToolDefinition(
    name="add",
    description="Adds two numbers.",
    parameters={"properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
    required=("a", "b"),
)
PLACE = ToolDefinition(
    name="place",
    description="Says where a city is.",
    parameters={"properties": {"city": {"enum": ["Oslo", "Rome"]}}, "required": ["city"]},
)
TOOLS = [ADD, PLACE]
SCHEMAS = {tool.name: tool.schema for tool in TOOLS}
GREEDY = GenerateParams(temperature=0.0, max_tokens=80)


def check_calls(answer: Any) -> None:
    assert answer.text == ""
    whole = answer.tool_calls if answer.finish_reason == "stop" else answer.tool_calls[:-1]
    for call in whole:
        jsonschema.validate(call.values, SCHEMAS[call.name])


@pytest.mark.parametrize("seed", range(3))
def test_a_call_that_is_required_is_made(smollm2: LLM, seed: int) -> None:
    params = GenerateParams(temperature=1.0, max_tokens=80, seed=seed)
    answer = smollm2.chat(
        "What is 2 + 3?", params, tools=TOOLS, tool_choice="required", parallel_tool_calls=False
    )
    assert len(answer.tool_calls) == 1
    check_calls(answer)


def test_a_tool_that_is_named_is_called(smollm2: LLM) -> None:
    choice = {"type": "function", "function": {"name": "place"}}
    answer = smollm2.chat("What is 2 + 3?", GREEDY, tools=TOOLS, tool_choice=choice)
    assert [call.name for call in answer.tool_calls] == ["place"]
    check_calls(answer)


def test_none_means_that_the_model_is_told_of_none(smollm2: LLM) -> None:
    params = GenerateParams(temperature=0.0, max_tokens=8)
    with_tools = smollm2.chat("What is 2 + 3?", params, tools=TOOLS, tool_choice="none")
    assert with_tools.token_ids == smollm2.chat("What is 2 + 3?", params).token_ids
    assert with_tools.tool_calls == ()


def test_what_a_request_may_not_say(smollm2: LLM) -> None:
    with pytest.raises(ConfigError, match="there are no tools"):
        smollm2.chat("Hi", tool_choice="required")
    with pytest.raises(ConfigError, match="names 'later', which is not among the tools"):
        smollm2.chat("Hi", tools=TOOLS, tool_choice={"function": {"name": "later"}})
    with pytest.raises(ConfigError, match="two tools have the name 'add'"):
        smollm2.chat("Hi", tools=[ADD, ADD])
    with pytest.raises(ConfigError, match="it must be 'auto', 'none', 'required'"):
        smollm2.chat("Hi", tools=TOOLS, tool_choice="always")


def test_five_turns_of_calls_and_results(smollm2: LLM) -> None:
    talk = ToolConversation(smollm2, TOOLS, "You add.", params=GREEDY, parallel_tool_calls=False)
    answer = talk.send_message("What is 1 + 1?", "required")
    for _ in range(5):
        assert talk.pending == answer.tool_calls
        check_calls(answer)
        answer = talk.submit_tool_results({call.id: {"sum": 2} for call in answer.tool_calls}, "required")
    answer = talk.submit_tool_results({call.id: ValueError("too big") for call in answer.tool_calls}, "none")
    assert talk.pending == ()
    roles = [message["role"] for message in talk.messages]
    assert roles == ["system", "user", *["assistant", "tool"] * 6, "assistant"]
    assert talk.messages[3]["content"] == json.dumps({"sum": 2})
    assert talk.messages[-2]["content"] == "Error: ValueError: too big"
    assert answer.text == talk.messages[-1]["content"] != ""


def test_results_belong_to_calls(smollm2: LLM) -> None:
    talk = ToolConversation(smollm2, TOOLS, params=GREEDY, parallel_tool_calls=False)
    with pytest.raises(SessionError, match="no call that waits"):
        talk.submit_tool_results({})
    (call,) = talk.send_message("What is 1 + 1?", "required").tool_calls
    with pytest.raises(SessionError, match=f"waits for the results of {call.name}"):
        talk.send_message("And?")
    with pytest.raises(SessionError, match="no result of"):
        talk.submit_tool_results({})
    with pytest.raises(SessionError, match="no pending call"):
        talk.submit_tool_results({call.id: "2", "other": "3"})
    before = talk.messages
    talk.params = GenerateParams(stop_sequences=("x",), temperature=0.0, max_tokens=1)
    talk.submit_tool_results({call.id: "2"}, "none")
    assert talk.messages[: len(before)] == before
