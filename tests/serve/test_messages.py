"""Messages as Anthropic's own client sees them, from SmolLM2 over a real socket."""

import json
import random
import time
from collections.abc import AsyncIterator, Iterator

import anthropic
import httpx
import openai
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter

from ruvllm import LLM
from ruvllm.errors import OutOfMemoryError
from ruvllm.serve.generation import Answers
from tests.serve.conftest import REAL, TINY
from tests.serve.running import RunningServer

CAPITAL = [{"role": "user", "content": "What is the capital of France? Answer in one short sentence."}]
EVENTS = TypeAdapter(RawMessageStreamEvent)


@pytest.fixture
def claude(real_server: RunningServer) -> Iterator[anthropic.Anthropic]:
    """Anthropic's client, pointed at SmolLM2."""
    with anthropic.Anthropic(base_url=real_server.url, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def tiny_claude(tiny_server: RunningServer) -> Iterator[anthropic.Anthropic]:
    """Anthropic's client, pointed at the tiny model."""
    with anthropic.Anthropic(base_url=tiny_server.url, api_key="none", max_retries=0) as client:
        yield client


def ask(client: anthropic.Anthropic, messages=CAPITAL, name=REAL, sampling=None, **fields) -> Message:
    # Newer clients have no arguments for sampling; every one of them has `extra_body`.
    fields = {"max_tokens": 40, "extra_body": sampling or {"temperature": 0}, **fields}
    return client.messages.create(model=name, messages=messages, **fields)


def text_of(message: Message) -> str:
    (block,) = message.content
    assert block.type == "text"
    return block.text


def chat(client: openai.OpenAI, messages: list) -> openai.types.chat.ChatCompletion:
    return client.chat.completions.create(model=REAL, messages=messages, temperature=0, max_tokens=40)


def count(server: RunningServer, messages: list) -> int:
    body = {"model": REAL, "messages": messages}
    return httpx.post(f"{server.url}/tokenize", json=body, timeout=20).json()["count"]


def prompt_tokens(usage: anthropic.types.Usage) -> int:
    return usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens


@pytest.mark.real_model
def test_a_message_has_the_shape_and_the_text_of_chat(
    claude: anthropic.Anthropic, real: openai.OpenAI, real_server: RunningServer
) -> None:
    body = {"model": REAL, "max_tokens": 40, "messages": CAPITAL, "temperature": 0}
    raw = httpx.post(f"{real_server.api}/messages", json=body, timeout=20)
    message = Message.model_validate(raw.json(), strict=True)
    expected = chat(real, CAPITAL)
    assert text_of(message) == expected.choices[0].message.content
    assert "Paris" in text_of(message)
    assert (message.type, message.role, message.model) == ("message", "assistant", REAL)
    assert message.id.startswith("msg_")
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)
    assert prompt_tokens(message.usage) == count(real_server, CAPITAL)
    assert message.usage.output_tokens == expected.usage.completion_tokens
    assert raw.headers["request-id"] == raw.headers["x-request-id"]
    assert ask(claude)._request_id.startswith("req_")


@pytest.mark.real_model
def test_texts_come_in_all_their_forms(claude: anthropic.Anthropic, real: openai.OpenAI) -> None:
    system = "You are a pirate. Talk like one."
    spelled = [{"role": "system", "content": system}, *CAPITAL]
    expected = chat(real, spelled)
    answer, num_tokens = expected.choices[0].message.content, expected.usage.prompt_tokens
    mark = {"cache_control": {"type": "ephemeral"}}
    blocks = [{"type": "text", "text": CAPITAL[0]["content"], **mark}]
    for message in (
        ask(claude, system=system),
        ask(claude, system=[{"type": "text", "text": system, **mark}]),
        ask(claude, [{"role": "user", "content": blocks}], system=system),
        ask(claude, spelled),
    ):
        assert (text_of(message), prompt_tokens(message.usage)) == (answer, num_tokens)
    assert prompt_tokens(ask(claude).usage) != num_tokens


@pytest.mark.real_model
def test_an_answer_that_was_begun_goes_on(claude: anthropic.Anthropic, real, real_server) -> None:
    begun = [*CAPITAL, {"role": "assistant", "content": "The capital of"}]
    answer = ask(claude, begun)
    assert text_of(answer) == chat(real, begun).choices[0].message.content
    assert text_of(answer).startswith(" France")
    # Nothing is begun by an empty message.
    empty = ask(claude, [*CAPITAL, {"role": "assistant", "content": ""}])
    assert text_of(empty) == text_of(ask(claude))
    counted = claude.messages.count_tokens(model=REAL, messages=begun)
    assert counted.input_tokens == prompt_tokens(answer.usage)


@pytest.mark.real_model
def test_events_come_in_order_and_join_to_the_message(claude, real_server: RunningServer) -> None:
    body = {"model": REAL, "max_tokens": 40, "messages": CAPITAL, "temperature": 0, "stream": True}
    with httpx.stream("POST", f"{real_server.api}/messages", json=body, timeout=20) as response:
        assert response.headers["request-id"].startswith("req_")
        frames = "".join(response.iter_text()).split("\n\n")
    assert frames.pop() == ""
    events = []
    for one in frames:
        name, data = one.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
        if events[-1]["type"] != "ping":
            EVENTS.validate_python(events[-1], strict=True)
    kinds = [event["type"] for event in events]
    deltas = kinds.count("content_block_delta")
    assert deltas > 1
    assert kinds == [
        "message_start",
        "ping",
        "content_block_start",
        *["content_block_delta"] * deltas,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    whole = ask(claude)
    text = "".join(event["delta"]["text"] for event in events if event["type"] == "content_block_delta")
    assert text == text_of(whole)
    assert events[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert events[-2]["usage"]["output_tokens"] == whole.usage.output_tokens
    assert events[0]["message"]["usage"]["input_tokens"] == prompt_tokens(whole.usage)
    assert events[0]["message"]["content"] == []


@pytest.mark.real_model
def test_the_client_s_own_reading_of_a_stream(claude: anthropic.Anthropic) -> None:
    whole = ask(claude)
    with claude.messages.stream(
        model=REAL, max_tokens=40, messages=CAPITAL, extra_body={"temperature": 0}
    ) as stream:
        assert "".join(stream.text_stream) == text_of(whole)
        final = stream.get_final_message()
    assert text_of(final) == text_of(whole)
    assert final.stop_reason == "end_turn"
    assert prompt_tokens(final.usage) == prompt_tokens(whole.usage)
    assert final.usage.cache_read_input_tokens > 0


@pytest.mark.real_model
async def test_the_asynchronous_client(real_server: RunningServer, claude: anthropic.Anthropic) -> None:
    expected = text_of(ask(claude))
    async with anthropic.AsyncAnthropic(base_url=real_server.url, api_key="none", max_retries=0) as client:
        fields = {
            "model": REAL,
            "max_tokens": 40,
            "messages": CAPITAL,
            "extra_body": {"temperature": 0},
        }
        assert text_of(await client.messages.create(**fields)) == expected
        async with client.messages.stream(**fields) as stream:
            assert "".join([text async for text in stream.text_stream]) == expected


@pytest.mark.real_model
def test_tokens_are_counted(claude: anthropic.Anthropic, real_server: RunningServer) -> None:
    assert claude.messages.count_tokens(model=REAL, messages=CAPITAL).input_tokens == count(
        real_server, CAPITAL
    )
    system = {"role": "system", "content": "Be brief."}
    counted = claude.messages.count_tokens(model=REAL, messages=CAPITAL, system="Be brief.")
    assert counted.input_tokens == count(real_server, [system, *CAPITAL])
    # More than the context is counted all the same, so that a client knows by how much.
    long = [{"role": "user", "content": "word " * 20_000}]
    assert claude.messages.count_tokens(model=REAL, messages=long).input_tokens > 20_000
    with pytest.raises(anthropic.BadRequestError, match="context"):
        ask(claude, long)


@pytest.mark.real_model
def test_a_second_turn_computes_only_what_is_new(claude: anthropic.Anthropic) -> None:
    question = [{"role": "user", "content": "Tell me of the Danube and of the towns on its banks."}]
    first = ask(claude, question)
    again = [*question, {"role": "assistant", "content": text_of(first)}]
    second = ask(claude, [*again, {"role": "user", "content": "And the Elbe?"}])
    assert second.usage.cache_read_input_tokens >= prompt_tokens(first.usage)
    assert second.usage.input_tokens < prompt_tokens(second.usage) / 2


@pytest.mark.real_model
def test_the_stop_sequence_is_told(claude: anthropic.Anthropic) -> None:
    text = text_of(ask(claude))
    assert "Paris" in text
    message = ask(claude, stop_sequences=["Berlin", "Paris", "Rome"])
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "Paris")
    assert text_of(message) == text[: text.index("Paris")]
    with claude.messages.stream(
        model=REAL,
        max_tokens=40,
        messages=CAPITAL,
        stop_sequences=["Paris"],
        extra_body={"temperature": 0},
    ) as stream:
        final = stream.get_final_message()
    assert (final.stop_reason, final.stop_sequence) == ("stop_sequence", "Paris")
    # The answer's own end is no stop sequence, even where the beginning of one was held back for it.
    held_back = ask(claude, stop_sequences=[text[-1] + "x"])
    assert (held_back.stop_reason, held_back.stop_sequence) == ("end_turn", None)
    assert text_of(held_back) == text


def expected_stop(text: str, stops: list[str]) -> tuple[str, str | None]:
    """Letter by letter: the text and its stop; of several at once the one that began first."""
    for end in range(1, len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            stop = max(found, key=len)
            return text[: end - len(stop)], stop
    return text, None


@pytest.mark.parametrize("seed", range(30))
def test_whichever_stop_sequence_comes_first_is_told(tiny_claude, seed: int) -> None:
    messages = [{"role": "user", "content": "the cat"}]
    sampling = {"seed": seed, "ignore_eos": True, "temperature": 1.0}
    text = text_of(ask(tiny_claude, messages, TINY, sampling))
    rng = random.Random(seed)
    starts = [rng.randrange(len(text) - 5) for _ in range(rng.randint(1, 4))]
    stops = [text[start : start + rng.randint(1, 5)] for start in starts] + ["never there"]
    message = ask(tiny_claude, messages, TINY, sampling, stop_sequences=stops)
    shown, stop = expected_stop(text, stops)
    assert (text_of(message), message.stop_sequence) == (shown, stop)
    assert message.stop_reason == "stop_sequence"


def test_limits_are_told_apart(tiny_claude: anthropic.Anthropic, tiny_chat: LLM) -> None:
    messages = [{"role": "user", "content": "the cat"}]
    endless = {"ignore_eos": True, "temperature": 1.0}
    message = ask(tiny_claude, messages, TINY, endless, max_tokens=7)
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 7)
    message = ask(tiny_claude, messages, TINY, endless, max_tokens=10_000)
    assert message.stop_reason == "model_context_window_exceeded"
    context = tiny_chat.model_info.max_context
    assert prompt_tokens(message.usage) + message.usage.output_tokens in (context, context + 1)


def test_an_error_in_the_middle_is_an_event(tiny_claude: anthropic.Anthropic, monkeypatch) -> None:
    pieces = Answers.pieces

    async def break_off(self: Answers) -> AsyncIterator:
        async for piece in pieces(self):
            yield piece
            raise OutOfMemoryError("no more pages")

    monkeypatch.setattr(Answers, "pieces", break_off)
    messages = [{"role": "user", "content": "the cat"}]
    with (
        pytest.raises(anthropic.APIStatusError) as caught,
        tiny_claude.messages.stream(model=TINY, max_tokens=50, messages=messages) as stream,
    ):
        stream.until_done()
    assert caught.value.body["type"] == "error"
    assert caught.value.body["request_id"].startswith("req_")
    assert "no more pages" in caught.value.body["error"]["message"]


def test_a_client_that_leaves_ends_its_message(tiny_claude: anthropic.Anthropic, tiny_chat: LLM) -> None:
    messages = [{"role": "user", "content": "the cat"}]
    with tiny_claude.messages.stream(
        model=TINY, max_tokens=400, messages=messages, extra_body={"ignore_eos": True}
    ) as stream:
        next(iter(stream))
    deadline = time.monotonic() + 10
    while tiny_chat.memory_stats().running_requests:
        assert time.monotonic() < deadline
        time.sleep(0.01)
