"""Which responses are kept, for whom and how many; what is refused, and how a stream fails."""

import asyncio
import json
import time
from collections.abc import AsyncIterator

import httpx
import openai
import pytest
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from ruvllm import LLM
from ruvllm.errors import OutOfMemoryError
from ruvllm.serve import ApiKey, KeyRing, ServerSettings, create_app
from ruvllm.serve.errors import ApiError
from ruvllm.serve.generation import Answers
from ruvllm.serve.stored_responses import StoredResponse, StoredResponses
from tests.serve.conftest import TINY
from tests.serve.running import RunningServer, running
from tests.serve.test_fields import check_error


def respond(client: openai.OpenAI, given="the cat", **fields):
    return client.responses.create(model=TINY, input=given, **{"max_output_tokens": 3, **fields})


def post(server: RunningServer, **fields) -> httpx.Response:
    body = {"model": TINY, "input": "the cat", "max_output_tokens": 2, **fields}
    return httpx.post(f"{server.api}/responses", json=body, timeout=20)


def test_a_response_is_found_and_deleted(tiny: openai.OpenAI) -> None:
    response = respond(tiny, metadata={"a": "b"})
    assert tiny.responses.retrieve(response.id).to_dict() == response.to_dict()
    follow = respond(tiny, previous_response_id=response.id)
    tiny.responses.delete(response.id)
    for ask in (
        lambda: tiny.responses.retrieve(response.id),
        lambda: tiny.responses.delete(response.id),
        lambda: tiny.responses.cancel(response.id),
        lambda: tiny.responses.input_items.list(response.id),
        lambda: respond(tiny, previous_response_id=response.id),
    ):
        with pytest.raises(openai.NotFoundError) as caught:
            ask()
        assert response.id in caught.value.message
    assert caught.value.param == "previous_response_id"
    # What followed it stands by itself.
    assert respond(tiny, previous_response_id=follow.id).status in ("completed", "incomplete")


def test_what_is_not_to_be_stored_is_not(tiny: openai.OpenAI) -> None:
    for response in (
        respond(tiny, store=False),
        list(respond(tiny, store=False, stream=True))[-1].response,
    ):
        assert response.store is False
        with pytest.raises(openai.NotFoundError):
            tiny.responses.retrieve(response.id)


def test_only_what_runs_in_the_background_can_be_cancelled(tiny: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="background"):
        tiny.responses.cancel(respond(tiny).id)


def test_another_tenant_s_response_is_as_unknown(tiny_chat: LLM) -> None:
    secrets = {"anna": "sk-anna-0001", "bert": "sk-bert-0001", "colleague": "sk-anna-0002"}
    keys = KeyRing(
        [
            ApiKey.of(secrets["anna"], tenant="acme"),
            ApiKey.of(secrets["bert"], tenant="other"),
            ApiKey.of(secrets["colleague"], tenant="acme"),
        ]
    )
    with running(create_app({TINY: tiny_chat}, ServerSettings(keys=keys))) as server:
        clients = {
            name: openai.OpenAI(base_url=server.api, api_key=secret, max_retries=0)
            for name, secret in secrets.items()
        }
        response = respond(clients["anna"])
        assert clients["colleague"].responses.retrieve(response.id).id == response.id
        for ask in (
            lambda: clients["bert"].responses.retrieve(response.id),
            lambda: clients["bert"].responses.delete(response.id),
            lambda: clients["bert"].responses.input_items.list(response.id),
            lambda: respond(clients["bert"], previous_response_id=response.id),
        ):
            with pytest.raises(openai.NotFoundError) as theirs:
                ask()
        with pytest.raises(openai.NotFoundError) as unknown:
            respond(clients["bert"], previous_response_id="resp_0")
        assert theirs.value.message.replace(response.id, "resp_0") == unknown.value.message
        assert clients["anna"].responses.retrieve(response.id).id == response.id
        for client in clients.values():
            client.close()


def test_the_one_that_was_not_used_for_the_longest_goes(tiny_chat: LLM) -> None:
    settings = ServerSettings(max_stored_responses=2)
    with running(create_app({TINY: tiny_chat}, settings)) as server:
        with openai.OpenAI(base_url=server.api, api_key="none", max_retries=0) as client:
            first, second = respond(client), respond(client)
            client.responses.retrieve(first.id)
            third = respond(client)
            with pytest.raises(openai.NotFoundError):
                client.responses.retrieve(second.id)
            assert client.responses.retrieve(first.id).id == first.id
            assert client.responses.retrieve(third.id).id == third.id
        assert len(server.app.state.server.stored_responses) == 2


def kept(number: int, text: str) -> StoredResponse:
    message = {"role": "user", "content": text}
    return StoredResponse(body={"id": f"resp_{number}"}, input_items=[], messages=(message,))


def test_their_texts_are_bounded_too() -> None:
    stored = StoredResponses(1000, 100_000)
    for number in range(100):
        stored.keep("", kept(number, "x" * 10_000))
        assert len(stored) <= 9
    assert stored.find("", "resp_99").messages[0]["content"] == "x" * 10_000
    with pytest.raises(ApiError):
        stored.find("", "resp_90")
    stored.keep("", kept(100, "x" * 200_000))
    assert len(stored) == 0
    for number in range(9):
        stored.keep("", kept(number, "x" * 10_000))
    assert len(stored) == 9
    for number in range(9):
        stored.forget("", f"resp_{number}")
    stored.keep("", kept(0, "x" * 90_000))
    assert len(stored) == 1


REFUSED = {
    "background": True,
    "include": ["message.output_text.logprobs"],
    "conversation": "conv_1",
    "prompt": {"id": "pmpt_1"},
    "context_management": [{"type": "compaction"}],
    "moderation": {"model": "m"},
    "top_logprobs": 3,
    "truncation": "auto",
    "max_tokens": 3,
    "messages": [],
    "n": 2,
    "stop": "x",
    "response_format": {"type": "json_object"},
}


@pytest.mark.parametrize("field", REFUSED)
def test_fields_that_are_not_done_are_refused_by_name(tiny_server: RunningServer, field: str) -> None:
    check_error(post(tiny_server, **{field: REFUSED[field]}), 400, field, "unsupported_parameter")
    assert post(tiny_server, **{field: None}).status_code == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"truncation": "disabled", "background": False, "include": [], "tools": [], "top_logprobs": 0},
        {"text": {"format": {"type": "text"}, "verbosity": "low"}, "tool_choice": "auto"},
        {"parallel_tool_calls": True, "max_tool_calls": 3, "reasoning": {"effort": "none"}},
        {"user": "anna", "safety_identifier": "x", "prompt_cache_key": "y", "service_tier": "auto"},
        {"metadata": {"k" * 64: "v" * 512}, "instructions": "", "stream": False},
        {"top_k": 5, "seed": 7, "min_p": 0.1, "repetition_penalty": 1.1},
    ],
)
def test_fields_that_are_done_or_change_nothing_are_taken(tiny_server: RunningServer, fields: dict) -> None:
    assert post(tiny_server, **fields).status_code == 200, post(tiny_server, **fields).text


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": 3}, "input"),
        ({"input": None}, "input"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "o"}]}, "input[0].call_id"),
        ({"input": [{"role": "user", "content": "a"}, {"type": "item_reference", "id": "i"}]}, "input[1]"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"content": "a"}]}, "input[0].role"),
        ({"input": [{"role": "tool", "content": "a"}]}, "input[0].role"),
        ({"input": [{"role": "wizard", "content": "a"}]}, "input[0].role"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "u"}]}]},
            "input[0].content[0]",
        ),
        (
            {"input": [{"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}]},
            "input[0].content[0]",
        ),
        ({"instructions": ["a"]}, "instructions"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"metadata": {"k": 1}}, "metadata.k"),
        ({"metadata": {str(number): "" for number in range(17)}}, "metadata"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k"),
        ({"text": {"format": {"type": "wizard"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "schema": {"not": {}}}}}, "text.format.schema/not"),
        ({"stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
    ],
)
def test_what_is_wrong_is_refused_by_its_place(tiny_server: RunningServer, fields: dict, param: str) -> None:
    check_error(post(tiny_server, **fields), 400, param)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("?stream=true", "stream"),
        ("/input_items?limit=0", "limit"),
        ("/input_items?limit=101", "limit"),
        ("/input_items?order=up", "order"),
        ("/input_items?after=msg_0", "after"),
    ],
)
def test_queries_are_checked(tiny_server: RunningServer, tiny, query: str, param: str) -> None:
    url = f"{tiny_server.api}/responses/{respond(tiny).id}{query}"
    check_error(httpx.get(url, timeout=20), 400, param)


def test_a_conversation_that_became_too_long_is_refused(tiny: openai.OpenAI, tiny_chat: LLM) -> None:
    # Each message alone has room, and so has a conversation of some of them.
    limit, words = tiny_chat.model_info.max_context, "word " * 10
    alone = respond(tiny, words * 3).usage.input_tokens
    response = respond(tiny, words)
    while response.usage.input_tokens <= limit - alone:
        response = respond(tiny, words, previous_response_id=response.id)
    with pytest.raises(openai.BadRequestError) as caught:
        respond(tiny, words * 3, previous_response_id=response.id)
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "input")


def test_an_error_in_the_middle_fails_the_response(tiny: openai.OpenAI, monkeypatch) -> None:
    pieces = Answers.pieces

    async def break_off(self: Answers) -> AsyncIterator:
        async for piece in pieces(self):
            yield piece
            raise OutOfMemoryError("no more pages")

    monkeypatch.setattr(Answers, "pieces", break_off)
    events = list(respond(tiny, stream=True, max_output_tokens=50))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    last = events[-1]
    assert last.type == "response.failed"
    assert (last.response.status, last.response.error.code) == ("failed", "server_error")
    assert "no more pages" in last.response.error.message
    TypeAdapter(ResponseStreamEvent).validate_python(json.loads(last.to_json()), strict=True)
    with pytest.raises(openai.NotFoundError):
        tiny.responses.retrieve(last.response.id)


def test_a_client_that_leaves_ends_its_response(tiny: openai.OpenAI, tiny_chat: LLM) -> None:
    with respond(tiny, stream=True, max_output_tokens=400, extra_body={"ignore_eos": True}) as stream:
        created = next(iter(stream))
    deadline = time.monotonic() + 10
    while tiny_chat.memory_stats().running_requests:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(openai.NotFoundError):
        tiny.responses.retrieve(created.response.id)


async def test_many_at_once_keep_apart(tiny_server: RunningServer) -> None:
    async with openai.AsyncOpenAI(base_url=tiny_server.api, api_key="none") as client:

        async def two_turns(word: str) -> str:
            first = await client.responses.create(model=TINY, input=word, temperature=0, max_output_tokens=6)
            second = await client.responses.create(
                model=TINY, input=word, temperature=0, max_output_tokens=6, previous_response_id=first.id
            )
            return first.output_text + "|" + second.output_text

        words = [f"the cat {number}" for number in range(8)]
        alone = [await two_turns(word) for word in words]
        assert await asyncio.gather(*map(two_turns, words)) == alone
        assert len(set(alone)) > 1
