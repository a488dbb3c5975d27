"""The Responses API as OpenAI's own client sees it, from SmolLM2 over a real socket."""

import json

import httpx
import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from openai.types.responses.response_item_list import ResponseItemList
from pydantic import TypeAdapter

from tests.serve.conftest import REAL
from tests.serve.running import RunningServer

pytestmark = pytest.mark.real_model

COLOUR = "Name a colour, in one short sentence."
EVENTS = TypeAdapter(ResponseStreamEvent)


def respond(client: openai.OpenAI, given=COLOUR, **fields) -> Response:
    fields = {"temperature": 0, "max_output_tokens": 60, **fields}
    return client.responses.create(model=REAL, input=given, **fields)


def chat(client: openai.OpenAI, messages: list, **fields):
    fields = {"temperature": 0, "max_tokens": 60, **fields}
    return client.chat.completions.create(model=REAL, messages=messages, **fields)


def count(server: RunningServer, messages: list) -> int:
    body = {"model": REAL, "messages": messages}
    return httpx.post(f"{server.url}/tokenize", json=body, timeout=20).json()["count"]


def raw_stream(server: RunningServer, **fields) -> list[tuple[str, dict]]:
    """The events as they stand on the wire: their names and their data."""
    body = {"model": REAL, "input": COLOUR, "temperature": 0, "stream": True, **fields}
    with httpx.stream("POST", f"{server.api}/responses", json=body, timeout=30) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        frames = "".join(response.iter_text()).split("\n\n")
    assert frames.pop() == ""
    events = []
    for one in frames:
        name, data = one.split("\n")
        assert name.startswith("event: ")
        assert data.startswith("data: ")
        events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events


def test_the_whole_object_is_what_the_client_s_types_ask_for(real_server: RunningServer) -> None:
    body = {"model": REAL, "input": COLOUR, "temperature": 0, "metadata": {"run": "7"}, "top_p": 0.5}
    raw = httpx.post(f"{real_server.api}/responses", json=body, timeout=30).json()
    response = Response.model_validate(raw, strict=True)
    assert response.id.startswith("resp_")
    assert (response.object, response.status, response.model) == ("response", "completed", REAL)
    assert response.metadata == {"run": "7"}
    assert (response.temperature, response.top_p) == (0, 0.5)
    assert response.error is None
    assert response.incomplete_details is None
    assert response.created_at <= response.completed_at
    (message,) = response.output
    assert (message.type, message.role, message.status) == ("message", "assistant", "completed")
    assert message.id.startswith("msg_")
    # What this client does not know is not made up: it is what the schema of Open Responses asks for.
    assert set(raw) - set(Response.model_fields) == {"store", "presence_penalty", "frequency_penalty"}


def test_text_and_usage_are_those_of_chat(real: openai.OpenAI, real_server: RunningServer) -> None:
    messages = [{"role": "user", "content": COLOUR}]
    response, completion = respond(real), chat(real, messages)
    assert response.output_text == completion.choices[0].message.content
    usage = response.usage
    assert usage.input_tokens == count(real_server, messages)
    assert usage.output_tokens == completion.usage.completion_tokens
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    details = usage.input_tokens_details
    assert details.cached_tokens + details.cache_write_tokens == usage.input_tokens


@pytest.mark.parametrize(
    "given",
    [
        [{"role": "user", "content": COLOUR}],
        [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": COLOUR}]}],
        [{"role": "user", "content": [{"type": "input_text", "text": t} for t in (COLOUR[:9], COLOUR[9:])]}],
    ],
)
def test_input_comes_in_all_its_forms(real: openai.OpenAI, given: list) -> None:
    expected, answer = respond(real), respond(real, given)
    assert answer.output_text == expected.output_text
    assert answer.usage.input_tokens == expected.usage.input_tokens


def test_instructions_are_the_system_s_message(real: openai.OpenAI) -> None:
    instructions = "You are a pirate and answer like one."
    expected = chat(real, [{"role": "system", "content": instructions}, {"role": "user", "content": COLOUR}])
    answer = respond(real, instructions=instructions)
    assert answer.output_text == expected.choices[0].message.content
    assert answer.output_text != respond(real).output_text
    assert answer.instructions == instructions
    developer = respond(
        real, [{"role": "developer", "content": instructions}, {"role": "user", "content": COLOUR}]
    )
    assert developer.output_text == answer.output_text


def test_events_come_in_order_and_join_to_the_answer(real_server: RunningServer, real) -> None:
    events = raw_stream(real_server, max_output_tokens=60)
    names = [name for name, _ in events]
    deltas = names.count("response.output_text.delta")
    assert deltas > 1
    assert names == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * deltas,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    for number, (name, data) in enumerate(events):
        assert (data["type"], data["sequence_number"]) == (name, number)
        EVENTS.validate_python(data, strict=True)
    data = [one for _, one in events]
    text = "".join(one["delta"] for one in data if "delta" in one)
    whole = data[-1]["response"]
    assert text == respond(real).output_text
    assert text == data[-4]["text"] == data[-3]["part"]["text"] == data[-2]["item"]["content"][0]["text"]
    assert whole["output"] == [data[-2]["item"]]
    assert data[0]["response"]["status"] == "in_progress"
    assert data[0]["response"]["output"] == []
    assert {one["response"]["id"] for one in data if "response" in one} == {whole["id"]}
    assert {one["item_id"] for one in data if "item_id" in one} == {whole["output"][0]["id"]}
    assert whole["usage"]["output_tokens"] > 0


def test_the_client_s_own_reading_of_a_stream(real: openai.OpenAI) -> None:
    with real.responses.stream(model=REAL, input=COLOUR, temperature=0) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert final.output_text == text == respond(real).output_text
    assert real.responses.retrieve(final.id).output_text == text


async def test_the_asynchronous_client(real_server: RunningServer, real: openai.OpenAI) -> None:
    async with openai.AsyncOpenAI(base_url=real_server.api, api_key="none", max_retries=0) as client:
        response = await client.responses.create(model=REAL, input=COLOUR, temperature=0)
        assert response.output_text == respond(real).output_text
        async with client.responses.stream(
            model=REAL,
            input="Another one.",
            temperature=0,
            max_output_tokens=60,
            previous_response_id=response.id,
        ) as stream:
            text = "".join([e.delta async for e in stream if e.type == "response.output_text.delta"])
        follow = respond(real, "Another one.", previous_response_id=response.id)
        assert text == follow.output_text


def test_a_short_limit_ends_it_incomplete(real: openai.OpenAI, real_server: RunningServer) -> None:
    response = respond(real, "Write a long story about a parrot.", max_output_tokens=5)
    assert (response.status, response.output[0].status) == ("incomplete", "incomplete")
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.completed_at is None
    assert response.usage.output_tokens == 5
    name, data = raw_stream(real_server, max_output_tokens=2)[-1]
    assert name == "response.incomplete"
    EVENTS.validate_python(data, strict=True)
    assert data["response"]["incomplete_details"] == {"reason": "max_output_tokens"}


def test_the_next_one_is_the_conversation_spelled_out(real: openai.OpenAI, real_server) -> None:
    instructions = "You like the sea."
    first = respond(real, instructions=instructions)
    second = respond(real, "Why that one?", previous_response_id=first.id)
    third = respond(real, "And now in one word?", previous_response_id=second.id, instructions="Be brief.")
    spelled = [
        {"role": "user", "content": COLOUR},
        {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": "Why that one?"},
        {"role": "assistant", "content": second.output_text},
        {"role": "user", "content": "And now in one word?"},
    ]
    assert second.output_text == chat(real, spelled[:3]).choices[0].message.content
    assert second.usage.input_tokens == count(real_server, spelled[:3])
    # Instructions hold for one response: the first one's are gone, the third has its own.
    with_brief = [{"role": "system", "content": "Be brief."}, *spelled]
    assert third.output_text == chat(real, with_brief).choices[0].message.content
    assert third.usage.input_tokens == count(real_server, with_brief)
    assert third.previous_response_id == second.id


def test_output_given_back_as_input_is_the_same_conversation(real: openai.OpenAI) -> None:
    first = respond(real)
    follow = [{"role": "user", "content": "Another one."}]
    spelled = [{"role": "user", "content": COLOUR}, *[item.to_dict() for item in first.output], *follow]
    assert (
        respond(real, spelled).output_text == respond(real, follow, previous_response_id=first.id).output_text
    )


def test_a_second_turn_computes_only_what_is_new(real: openai.OpenAI) -> None:
    first = respond(real, "Tell me about the river Nile, and about the towns on its banks.")
    second = respond(real, "And the Rhine?", previous_response_id=first.id)
    # All of the first turn is there; what it ended with may be written another way.
    assert second.usage.input_tokens_details.cached_tokens >= first.usage.input_tokens


def test_items_of_the_input_are_listed(real: openai.OpenAI, real_server: RunningServer) -> None:
    given = [
        {"role": "developer", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "input_text", "text": "A"}, {"type": "input_text", "text": "B"}],
        },
        {"role": "assistant", "content": "C"},
        {"role": "user", "content": "D"},
    ]
    response = respond(real, given, max_output_tokens=2)
    items = list(real.responses.input_items.list(response.id, order="asc"))
    told = [(item.role, [(part.type, part.text) for part in item.content]) for item in items]
    assert told == [
        ("developer", [("input_text", "Be brief.")]),
        ("user", [("input_text", "A"), ("input_text", "B")]),
        ("assistant", [("output_text", "C")]),
        ("user", [("input_text", "D")]),
    ]
    assert len({item.id for item in items}) == 4
    # The newest first, and page by page: the client asks for the next page by itself.
    newest_first = [item.id for item in real.responses.input_items.list(response.id, limit=3)]
    assert newest_first == [item.id for item in reversed(items)]
    url = f"{real_server.api}/responses/{response.id}/input_items"
    page = httpx.get(url, params={"limit": 3}).json()
    assert page["has_more"] is True
    ResponseItemList.model_validate(page, strict=True)
    assert httpx.get(url, params={"after": page["last_id"]}).json()["has_more"] is False
