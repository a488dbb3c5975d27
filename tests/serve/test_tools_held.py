"""Calls that must come, and keep to a schema, of models that would write something else."""

import json
import re
from typing import Any

import httpx
import jsonschema
import pytest

from tests.serve.running import RunningServer
from tests.serve.test_fields import check_error
from tests.serve.tool_models import ASK

# Each argument is one of a few, so that a model which knows no call comes to its end.
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}, "days": {"enum": [1, 2]}},
    "required": ["city"],
    "additionalProperties": False,
}
FUNCTION = {"name": "weather", "description": "The weather.", "parameters": SCHEMA}
OTHER = {"name": "now", "description": "", "parameters": {"type": "object", "properties": {}}}
BODY = {"model": "plain", "temperature": 0}


def called(server: RunningServer, api: str, choice: Any, **fields: Any) -> list[tuple[str, Any]]:
    """The calls that an API gives, after nothing else."""
    tools: list[dict[str, Any]] = [OTHER, FUNCTION]
    if api == "chat":
        nested = [{"type": "function", "function": tool} for tool in tools]
        body = {**BODY, "messages": ASK, "max_tokens": 450, "tools": nested, "tool_choice": choice, **fields}
        (told,) = post(server, "/v1/chat/completions", body)["choices"]
        assert told["finish_reason"] == "tool_calls"
        assert not told["message"]["content"]
        functions = [call["function"] for call in told["message"]["tool_calls"]]
        return [(one["name"], json.loads(one["arguments"])) for one in functions]
    if api == "responses":
        flat = [{"type": "function", **tool} for tool in tools]
        body = {**BODY, "input": ASK, "tools": flat, "tool_choice": choice, **fields}
        items = post(server, "/v1/responses", body)["output"]
        return [(item["name"], json.loads(item["arguments"])) for item in items]
    claude = [{"name": tool["name"], "input_schema": tool["parameters"]} for tool in tools]
    body = {**BODY, "messages": ASK, "max_tokens": 450, "tools": claude, "tool_choice": choice, **fields}
    told = post(server, "/v1/messages", body)
    assert told["stop_reason"] == "tool_use"
    return [(block["name"], block["input"]) for block in told["content"]]


def post(server: RunningServer, path: str, body: dict[str, Any]) -> Any:
    answer = httpx.post(server.url + path, json=body, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(
    ("api", "choice"),
    [
        ("chat", "required"),
        ("responses", "required"),
        ("messages", {"type": "any"}),
        (
            "chat",
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "now"}}],
                },
            },
        ),
    ],
)
def test_a_call_comes_where_one_must(tools: RunningServer, api: str, choice: Any) -> None:
    calls = called(tools, api, choice)
    assert calls
    for name, values in calls:
        jsonschema.validate(values, {"now": OTHER, "weather": FUNCTION}[name]["parameters"])


@pytest.mark.parametrize(
    ("api", "choice"),
    [
        ("chat", {"type": "function", "function": {"name": "weather"}}),
        ("responses", {"type": "function", "name": "weather"}),
        ("messages", {"type": "tool", "name": "weather"}),
    ],
)
def test_a_named_tool_is_called_once(tools: RunningServer, api: str, choice: Any) -> None:
    ((name, values),) = called(tools, api, choice)
    assert name == "weather"
    jsonschema.validate(values, SCHEMA)


def test_what_the_model_would_write_itself_is_held_to_a_strict_schema(tools: RunningServer) -> None:
    """This one writes single quotes; without `strict` they are told as they are."""
    function = {**FUNCTION, "strict": True}
    body = {**BODY, "model": "broken", "messages": ASK, "max_tokens": 200}
    body["tools"] = [{"type": "function", "function": function}]
    (told,) = post(tools, "/v1/chat/completions", body)["choices"]
    (call,) = told["message"]["tool_calls"]
    jsonschema.validate(json.loads(call["function"]["arguments"]), SCHEMA)


def test_thoughts_come_before_a_call_that_must_come(tools: RunningServer) -> None:
    body = {**BODY, "model": "thinks", "messages": ASK, "max_tokens": 300, "tool_choice": "required"}
    body["tools"] = [{"type": "function", "function": FUNCTION}]
    (told,) = post(tools, "/v1/chat/completions", body)["choices"]
    assert told["message"]["reasoning_content"] == "Hmm."
    assert told["message"]["tool_calls"]


@pytest.mark.parametrize("strict", [True, False])
def test_words_that_cannot_be_kept_are_named_by_their_place(tools: RunningServer, strict: bool) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}
    function = {"name": "f", "parameters": schema, "strict": strict}
    body = {**BODY, "messages": ASK, "max_tokens": 9, "tools": [{"type": "function", "function": function}]}
    answer = httpx.post(tools.url + "/v1/chat/completions", json=body, timeout=20)
    if not strict:
        assert answer.status_code == 200
        return
    place = "tools[0].function.parameters/properties/a/uniqueItems"
    check_error(answer, 400, place, "invalid_json_schema")
    claude = {"name": "f", "input_schema": schema, "strict": True}
    body["tools"] = [claude]
    told = httpx.post(tools.url + "/v1/messages", json=body, timeout=20)
    assert told.status_code == 400
    assert "tools[0].input_schema/properties/a/uniqueItems" in told.json()["error"]["message"]


def test_a_text_of_a_tool_keeps_to_its_regular_expression(tools: RunningServer) -> None:
    pattern = {"type": "grammar", "syntax": "regex", "definition": "[A-C]{2}|x"}
    tool = {"type": "custom", "name": "patch", "format": pattern}
    body = {**BODY, "input": ASK, "tools": [tool], "tool_choice": {"type": "custom", "name": "patch"}}
    (item,) = post(tools, "/v1/responses", body)["output"]
    assert item["type"] == "custom_tool_call"
    assert item["input"] in {"x", *(a + b for a in "ABC" for b in "ABC")}
    broken = {**tool, "format": {**pattern, "definition": "(?=a)b"}}
    answer = httpx.post(tools.url + "/v1/responses", json={**body, "tools": [broken]}, timeout=20)
    check_error(answer, 400, "tools[0].format/properties/input/pattern", "invalid_json_schema")


LINES = """
start: "BEGIN" LF line+ "END"
line: ("+" | "-") /[a-c]{1,3}/ LF
%import common.LF
"""


@pytest.mark.parametrize(
    "asked",
    [
        {"tool_choice": {"type": "custom", "name": "patch"}},
        {"tool_choice": "required"},
        {
            "tool_choice": {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "custom", "name": "patch"}],
            }
        },
    ],
)
def test_a_text_in_lark_is_kept_to_where_it_must_come(tools: RunningServer, asked: dict[str, Any]) -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": LINES}
    tool = {"type": "custom", "name": "patch", "format": grammar}
    body = {"model": "plain", "input": ASK, "tools": [tool], "parallel_tool_calls": False, **asked}
    for seed in range(3):
        (item,) = post(tools, "/v1/responses", {**body, "temperature": 1.5, "seed": seed})["output"]
        assert item["type"] == "custom_tool_call"
        assert re.fullmatch(r"BEGIN\n([+-][a-c]{1,3}\n)+END", item["input"]), item


def test_a_grammar_that_cannot_be_kept_to_is_refused_where_it_must_be(tools: RunningServer) -> None:
    nested = {"type": "grammar", "syntax": "lark", "definition": 'start: "(" start? ")"'}
    tool = {"type": "custom", "name": "patch", "format": nested}
    body = {**BODY, "input": ASK, "tools": [tool, {"type": "function", **OTHER}], "max_output_tokens": 20}
    place = "tools[0].format.definition"
    named = {"tool_choice": {"type": "custom", "name": "patch"}}
    for asked in (named, {"tool_choice": "required"}, {"tools": [{**tool, "strict": True}]}):
        answer = httpx.post(f"{tools.url}/v1/responses", json={**body, **asked}, timeout=30)
        check_error(answer, 400, place, "invalid_grammar")
        assert "leads back to itself" in answer.text
    post(tools, "/v1/responses", body)
    other = {"tool_choice": {"type": "function", "name": "now"}}
    post(tools, "/v1/responses", {**body, **other})
    unknown = {**tool, "format": {**nested, "syntax": "ebnf"}}
    answer = httpx.post(f"{tools.url}/v1/responses", json={**body, **named, "tools": [unknown]}, timeout=30)
    check_error(answer, 400, "tools[0].format.syntax", "invalid_value")


def test_an_answer_beside_tools_is_a_call_or_what_was_asked_for(tools: RunningServer) -> None:
    shape = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"enum": ["yes", "no"]}}}
    body = {**BODY, "messages": ASK, "max_tokens": 200, "response_format": shape}
    body["tools"] = [{"type": "function", "function": FUNCTION}]
    (told,) = post(tools, "/v1/chat/completions", body)["choices"]
    assert told["message"]["content"] in ('"yes"', '"no"') or told["message"]["tool_calls"]
    (told,) = post(tools, "/v1/chat/completions", {**body, "tool_choice": "none"})["choices"]
    assert told["message"]["content"] in ('"yes"', '"no"')
    (told,) = post(tools, "/v1/chat/completions", {**body, "tool_choice": "required"})["choices"]
    assert told["message"]["tool_calls"]
    bad = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"items": {"not": {}}}}}
    answer = httpx.post(tools.url + "/v1/chat/completions", json={**body, "response_format": bad}, timeout=20)
    check_error(answer, 400, "response_format.json_schema.schema/items/not", "invalid_json_schema")
    answer = httpx.post(
        tools.url + "/v1/chat/completions",
        json={**body, "response_format": None, "regex": "a+"},
        timeout=20,
    )
    check_error(answer, 400, "regex", "invalid_value")


def test_thoughts_have_a_limit(tools: RunningServer) -> None:
    """Three tokens of thought are two where two are allowed, and a proper end."""
    for fields in ({"reasoning": {"max_tokens": 1}}, {"thinking_token_budget": 1}):
        body = {**BODY, "model": "thinks", "messages": ASK, "max_tokens": 40, **fields}
        (told,) = post(tools, "/v1/chat/completions", body)["choices"]
        assert told["message"]["reasoning_content"] == "Hm", fields
    body = {**BODY, "model": "thinks", "messages": ASK, "max_tokens": 40}
    body["thinking"] = {"type": "enabled", "budget_tokens": 1}
    first = post(tools, "/v1/messages", body)["content"][0]
    assert (first["type"], first["thinking"]) == ("thinking", "Hm")
