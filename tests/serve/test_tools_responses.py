"""Tools and thoughts in responses, as OpenAI's own client sees them."""

import itertools
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from tests.serve.running import RunningServer
from tests.serve.test_fields import check_error
from tests.serve.test_tools_chat import facts_of
from tests.serve.test_tools_chat import prompt as chat_prompt
from tests.serve.tool_models import ARGUMENTS, ASK, FLAT, TOOL

EVENTS: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)
QUESTION = ASK[0]["content"]
PATCH = {"type": "custom", "name": "patch", "description": "Patches.", "format": {"type": "text"}}


@pytest.fixture
def client(tools: RunningServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=tools.api, api_key="none", max_retries=0) as client:
        yield client


def post(server: RunningServer, path: str = "/v1/responses", **fields: Any) -> httpx.Response:
    body = {"model": "calls", "input": QUESTION, "temperature": 0, "tools": [FLAT], **fields}
    return httpx.post(server.url + path, json=body, timeout=20)


def prompt(server: RunningServer, **fields: Any) -> str:
    tokens = post(server, "/v1/responses/render", **fields).json()["token_ids"]
    told = httpx.post(f"{server.url}/detokenize", json={"model": "calls", "tokens": tokens}, timeout=20)
    return told.json()["prompt"]


def kinds(response: Response) -> list[str]:
    return [item.type for item in response.output]


def test_items_come_in_the_order_of_the_answer(client: openai.OpenAI, tools: RunningServer) -> None:
    response = client.responses.create(model="calls", input=QUESTION, tools=[FLAT], temperature=0)
    assert kinds(response) == ["reasoning", "message", "function_call", "function_call"]
    assert response.output[0].content[0].text == "Two cities."
    assert response.output_text == "I look."
    assert [item.arguments for item in response.output[2:]] == ARGUMENTS
    assert {item.status for item in response.output} == {"completed"}
    assert response.usage.output_tokens_details.reasoning_tokens == 2
    assert response.tools[0].name == "weather"
    assert response.parallel_tool_calls is True
    raw = post(tools).json()
    # The client's class wants a string for `strict` beside it, and else all is as its types say.
    Response.model_validate({**raw, "tools": [{**FLAT, "strict": False}]}, strict=True)


def test_a_stream_tells_each_item_and_ends_with_the_same(tools: RunningServer, client: openai.OpenAI) -> None:
    with client.responses.stream(model="calls", input=QUESTION, tools=[FLAT], temperature=0) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    for event in events:
        EVENTS.validate_python(event.model_dump(exclude={"parsed_arguments", "snapshot"}, warnings=False))
    whole = client.responses.create(model="calls", input=QUESTION, tools=[FLAT], temperature=0)
    assert kinds(final) == kinds(whole)
    assert final.output_text == whole.output_text
    assert [item.arguments for item in final.output[2:]] == ARGUMENTS
    joined: dict[int, str] = {}
    for event in events:
        if event.type == "response.function_call_arguments.delta":
            joined[event.output_index] = joined.get(event.output_index, "") + event.delta
    assert list(joined.values()) == ARGUMENTS
    # Each item is told of between its beginning and its end, and the next one after that.
    places = [event.output_index for event in events if hasattr(event, "output_index")]
    assert places == sorted(places)
    ends = [event.type for event in events if event.type.startswith("response.output_item.")]
    assert ends == ["response.output_item.added", "response.output_item.done"] * 4
    for first, second in itertools.pairwise(events):
        if first.type == "response.output_item.added":
            assert second.output_index == first.output_index


def test_results_follow_a_response_that_was_kept(tools: RunningServer) -> None:
    first = post(tools).json()
    calls = [item for item in first["output"] if item["type"] == "function_call"]
    results = [
        {"type": "function_call_output", "call_id": call["call_id"], "output": f"sunny {index}"}
        for index, call in enumerate(calls)
    ]
    answer = post(tools, input=results, previous_response_id=first["id"])
    assert answer.status_code == 200, answer.text
    kept = prompt(tools, input=results, previous_response_id=first["id"])
    asked = {"type": "message", "role": "user", "content": QUESTION}
    assert kept == prompt(tools, input=[asked, *first["output"], *results]), "the history is not the same"
    assert all(said in kept for said in ("sunny 0", "sunny 1", "Paris"))
    listed = httpx.get(f"{tools.api}/responses/{answer.json()['id']}/input_items").json()["data"]
    assert {item["type"] for item in listed} == {"function_call_output"}
    stray = {"type": "function_call_output", "call_id": "call_x", "output": "o"}
    check_error(
        post(tools, input=[stray], previous_response_id=first["id"]), 400, "input[0].call_id", "invalid_value"
    )


def test_a_history_is_what_chat_makes_of_it(tools: RunningServer) -> None:
    call = {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{"}
    items = [
        {"role": "user", "content": QUESTION},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"},
        {"role": "assistant", "content": "I look."},
        call,
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "bad"}]},
    ]
    function = {"name": "weather", "arguments": "{"}
    made = {"id": "c", "type": "function", "function": function}
    messages = [
        *ASK,
        {"role": "assistant", "content": "I look.", "tool_calls": [made]},
        {"role": "tool", "tool_call_id": "c", "content": "bad"},
    ]
    assert prompt(tools, input=items) == chat_prompt(tools, messages=messages, tools=[TOOL])


def test_a_tool_that_takes_a_text_gets_one(tools: RunningServer, client: openai.OpenAI) -> None:
    fields: dict[str, Any] = {"model": "text", "input": "Patch it.", "tools": [PATCH], "temperature": 0}
    response = client.responses.create(**fields)
    assert kinds(response) == ["message", "custom_tool_call"]
    called = response.output[1]
    assert (called.name, called.input) == ("patch", 'a\n"b"')
    told = list(client.responses.create(**fields, stream=True))
    deltas = [event.delta for event in told if event.type == "response.custom_tool_call_input.delta"]
    assert "".join(deltas) == 'a\n"b"'
    back = {"type": "custom_tool_call_output", "call_id": called.call_id, "output": "done"}
    history = [item.model_dump(exclude_none=True) for item in response.output]
    answer = post(tools, model="text", tools=[PATCH], input=[*history, back])
    assert answer.status_code == 200, answer.text
    grammar = {"type": "grammar", "syntax": "lark", "definition": 'start: "a"'}
    assert 'start: \\"a\\"' in prompt(tools, tools=[{**PATCH, "format": grammar}])


def test_kinds_that_others_host_are_left_out_and_named(
    tools: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "ruvllm")
    hosted = [
        {"type": "web_search", "external_web_access": False},
        {"type": "mcp", "server_label": "x", "server_url": "http://x.example"},
        {"type": "namespace", "name": "ns", "tools": []},
        {"type": "web_search"},
    ]
    for stream in (False, True):
        answer = post(tools, tools=[*hosted, FLAT], stream=stream)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-ruvllm-tools-left-out"] == "web_search, mcp, namespace"
    assert "x-ruvllm-tools-left-out" not in post(tools).headers
    assert prompt(tools, tools=[*hosted, FLAT]) == prompt(tools)
    assert prompt(tools, tools=hosted) == prompt(tools, tools=[])
    assert "web_search,mcp,namespace" in facts_of(caplog, "tools_left_out")
    check_error(post(tools, tools=hosted, tool_choice={"type": "web_search"}), 400, "tool_choice")
    check_error(post(tools, tools=[{"type": "no\nheader"}]), 400, "tools[0].type")


def test_choices_are_kept_or_refused(tools: RunningServer) -> None:
    other = {"type": "function", "name": "other"}
    allowed = {
        "type": "allowed_tools",
        "mode": "auto",
        "tools": [{"type": "function", "name": "weather"}],
    }
    assert prompt(tools, tools=[FLAT, other], tool_choice=allowed) == prompt(tools)
    (call,) = [
        one
        for one in post(tools, parallel_tool_calls=False).json()["output"]
        if one["type"] == "function_call"
    ]
    assert call["arguments"] == ARGUMENTS[0]


def test_a_call_that_is_cut_off_is_incomplete(tools: RunningServer) -> None:
    whole = post(tools, max_output_tokens=10).json()
    assert whole["status"] == "incomplete"
    assert whole["output"][-1]["type"] == "function_call"
    assert whole["output"][-1]["status"] == "incomplete"
    assert ARGUMENTS[0].startswith(whole["output"][-1]["arguments"])


@pytest.mark.parametrize(
    ("item", "place"),
    [
        ({"type": "function_call", "name": "f", "arguments": "{}"}, "input[0].call_id"),
        ({"type": "function_call", "call_id": "c", "arguments": "{}"}, "input[0].name"),
        ({"type": "function_call", "call_id": "c", "name": "f"}, "input[0].arguments"),
        ({"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}, "input[0].arguments"),
        ({"type": "function_call_output", "output": "x"}, "input[0].call_id"),
        ({"type": "web_search_call", "id": "ws_1"}, "input[0]"),
    ],
)
def test_items_that_lack_something_are_refused_by_their_place(
    tools: RunningServer, item: dict[str, Any], place: str
) -> None:
    check_error(post(tools, input=[item]), 400, place)
