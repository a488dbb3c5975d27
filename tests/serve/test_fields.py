"""Every field works or is refused by its name; errors have OpenAI's shape and status."""

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from ruvllm.serve.schemas.base import Body
from ruvllm.serve.schemas.chat import ChatRequest
from ruvllm.serve.schemas.completions import CompletionRequest
from ruvllm.serve.schemas.messages import CountTokensRequest, MessageRequest
from ruvllm.serve.schemas.refusals import HARMLESS
from ruvllm.serve.schemas.responses import ResponseRequest
from ruvllm.serve.schemas.tokens import TokenizeRequest
from tests.serve.conftest import TINY
from tests.serve.running import RunningServer

MESSAGES = [{"role": "user", "content": "the cat"}]


def post(server: RunningServer, path: str = "/v1/chat/completions", **fields) -> httpx.Response:
    body = {"model": TINY, "messages": MESSAGES, "max_tokens": 2, **fields}
    return httpx.post(server.url + path, json=body, timeout=20)


def check_error(response: httpx.Response, status: int, param: str | None, code: str | None = None) -> None:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert error["param"] == param, error
    if code is not None:
        assert error["code"] == code


UNSUPPORTED = {
    "functions": [{"name": "f"}],
    "audio": {"voice": "alloy", "format": "mp3"},
    "modalities": ["text", "audio"],
    "web_search_options": {},
    "moderation": True,
    "best_of": 2,
    "cache_salt": "abc",
    "chat_template": "{{ x }}",
}


@pytest.mark.parametrize("field", UNSUPPORTED)
def test_known_fields_that_are_not_done_are_refused(tiny_server: RunningServer, field: str) -> None:
    check_error(post(tiny_server, **{field: UNSUPPORTED[field]}), 400, field, "unsupported_parameter")
    assert post(tiny_server, **{field: None}).status_code == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"user": "anna", "metadata": {"a": "b"}, "store": True, "service_tier": "auto"},
        {"safety_identifier": "x", "prompt_cache_key": "y", "verbosity": "low"},
        {"tools": [], "tool_choice": "none", "response_format": {"type": "text"}, "modalities": ["text"]},
        {"reasoning_effort": "none"},
        {"stop": [], "n": 1, "logit_bias": {}, "stream": False, "logprobs": False},
        {"never_heard_of": {"deep": [1]}},
        {"parallel_tool_calls": False, "reasoning": {"effort": "none"}, "top_k": -1},
    ],
)
def test_fields_that_change_nothing_are_taken(tiny_server: RunningServer, fields: dict) -> None:
    assert post(tiny_server, **fields).status_code == 200, post(tiny_server, **fields).text


ROUTES: dict[str, tuple[type[Body], dict[str, Any]]] = {
    "/v1/chat/completions": (ChatRequest, {"messages": MESSAGES}),
    "/v1/completions": (CompletionRequest, {"prompt": "the cat"}),
    "/v1/responses": (ResponseRequest, {"input": "the cat", "max_tokens": None, "messages": None}),
    "/v1/messages": (MessageRequest, {"messages": MESSAGES}),
    "/v1/messages/count_tokens": (CountTokensRequest, {"messages": MESSAGES, "max_tokens": None}),
    "/tokenize": (TokenizeRequest, {"messages": MESSAGES}),
}


@pytest.mark.parametrize("path", ROUTES)
def test_a_value_that_changes_nothing_is_taken_by_every_api(tiny_server: RunningServer, path: str) -> None:
    """Whatever is refused for its value is taken for each value of the one table; truths are no numbers."""
    kind, rest = ROUTES[path]
    names = sorted(set(kind.refused) & set(HARMLESS))
    assert names
    rest = {"messages": None, **rest}
    for name in names:
        for value in HARMLESS[name]:
            answer = post(tiny_server, path, **{**rest, name: value})
            assert answer.status_code == 200, (name, value, answer.text)
            if value in (0, 1):
                other = int(value) if isinstance(value, bool) else bool(value)
                if not any(other is one for one in HARMLESS[name]):
                    assert post(tiny_server, path, **{**rest, name: other}).status_code == 400, (name, other)


def test_no_field_is_harmless_for_nobody() -> None:
    refused = {name for kind in every_body() for name in kind.refused}
    assert set(HARMLESS) <= refused


def every_body(kind: type[Body] = Body) -> Iterator[type[Body]]:
    """All bodies, and what stands in bodies."""
    yield kind
    for one in kind.__subclasses__():
        yield from every_body(one)


def test_unknown_fields_are_counted(tiny_server: RunningServer) -> None:
    def counted() -> float:
        lines = httpx.get(f"{tiny_server.url}/metrics").text.splitlines()
        wanted = 'ruvllm:unknown_fields_total{route="/v1/chat/completions"}'
        return sum(float(line.split()[-1]) for line in lines if line.startswith(wanted))

    before = counted()
    assert post(tiny_server, zebra=1, giraffe=2).status_code == 200
    assert counted() == before + 2


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"top_k": -2}, "top_k"),
        ({"min_p": 1.0}, "min_p"),
        ({"typical_p": 0}, "typical_p"),
        ({"top_n_sigma": -2}, "top_n_sigma"),
        ({"dry_multiplier": -1}, "dry_multiplier"),
        ({"dry_base": 0.5}, "dry_base"),
        ({"dry_allowed_length": 0}, "dry_allowed_length"),
        ({"dry_penalty_last_n": -2}, "dry_penalty_last_n"),
        ({"dry_sequence_breakers": [""]}, "dry_sequence_breakers[0]"),
        ({"xtc_probability": 1.5}, "xtc_probability"),
        ({"xtc_threshold": -0.5}, "xtc_threshold"),
        ({"dynatemp_range": -1}, "dynatemp_range"),
        ({"dynatemp_exponent": 0}, "dynatemp_exponent"),
        ({"mirostat": 3}, "mirostat"),
        ({"mirostat_tau": -1}, "mirostat_tau"),
        ({"mirostat_eta": 1.5}, "mirostat_eta"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"presence_penalty": 2.5}, "presence_penalty"),
        ({"frequency_penalty": -2.5}, "frequency_penalty"),
        ({"n": 0}, "n"),
        ({"n": 17}, "n"),
        ({"n": 1_000_000}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": -5}, "max_completion_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"seed": 1.5}, "seed"),
        ({"seed": 2**70}, "seed"),
        ({"logprobs": 3}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"logit_bias": {"cat": 1}}, "logit_bias"),
        ({"logit_bias": {"99999999": 1}}, "logit_bias"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1"),
        ({"stop": ["a"] * 17}, "stop"),
        ({"stop": [""]}, "stop[0]"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": 3}}, "stream_options.include_usage"),
        (
            {"stream_options": {"include_obfuscation": True}, "stream": True},
            "stream_options.include_obfuscation",
        ),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages[0].content[0]",
        ),
        (
            {"messages": [*MESSAGES, {"role": "tool", "content": "x", "tool_call_id": "c"}]},
            "messages[1].tool_call_id",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "c"}]}]},
            "messages[0].tool_calls[0].function",
        ),
    ],
)
def test_values_out_of_range_are_refused_by_name(
    tiny_server: RunningServer, fields: dict, param: str
) -> None:
    check_error(post(tiny_server, **fields), 400, param)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "invalid_json"),
        (b"", None),
        (b"[1]", None),
        (b'{"model": NaN}', "invalid_json"),
        (b'{"model": "\xff"}', "invalid_json"),
        (b'{"model": "\\ud800"}', "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
    ],
)
def test_bodies_that_are_no_json_are_refused(
    tiny_server: RunningServer, body: bytes, code: str | None
) -> None:
    response = httpx.post(
        f"{tiny_server.url}/v1/chat/completions", content=body, headers={"content-type": "application/json"}
    )
    check_error(response, 400, None, code)


def test_a_model_that_is_missing_or_unknown(tiny_server: RunningServer, tiny) -> None:
    body = {"messages": MESSAGES}
    response = httpx.post(f"{tiny_server.url}/v1/chat/completions", json=body)
    check_error(response, 400, "model", "missing_required_parameter")
    check_error(post(tiny_server, model="gpt-7"), 404, "model", "model_not_found")
    with pytest.raises(openai.NotFoundError) as missing:
        tiny.models.retrieve("org/gpt-7")
    assert missing.value.code == "model_not_found"


def test_a_prompt_that_is_too_long_is_refused_whole(tiny_server: RunningServer, tiny, tiny_chat) -> None:
    long = [{"role": "user", "content": "the cat " * tiny_chat.model_info.max_context}]
    with pytest.raises(openai.BadRequestError) as refused:
        tiny.chat.completions.create(model=TINY, messages=long)
    assert refused.value.code == "context_length_exceeded"
    assert refused.value.param == "messages"
    assert str(tiny_chat.model_info.max_context) in refused.value.message
    check_error(post(tiny_server, messages=long, stream=True), 400, "messages", "context_length_exceeded")


def test_unknown_places_and_methods(tiny_server: RunningServer) -> None:
    check_error(httpx.get(f"{tiny_server.url}/v2/nothing"), 404, None, "unknown_url")
    check_error(httpx.get(f"{tiny_server.url}/v1/chat/completions"), 405, None, "method_not_allowed")
    check_error(httpx.put(f"{tiny_server.url}/v1/models"), 405, None, "method_not_allowed")


def test_ends_and_banned_words_are_the_engine_s(tiny_server: RunningServer) -> None:
    def said(**fields: Any) -> dict[str, Any]:
        answer = post(tiny_server, temperature=0, max_tokens=24, ignore_eos=True, **fields)
        assert answer.status_code == 200, answer.text
        return answer.json()["choices"][0]

    plain = said()["message"]["content"]
    banned = plain[5:9]
    assert banned not in said(bad_words=[banned])["message"]["content"]
    ids = httpx.post(
        tiny_server.url + "/tokenize",
        json={"model": TINY, "prompt": plain, "add_special_tokens": False},
        timeout=20,
    ).json()["tokens"]
    stopped = said(stop_token_ids=ids[5:6])
    assert stopped["finish_reason"] == "stop"
    assert plain.startswith(stopped["message"]["content"])
    assert stopped["message"]["content"] != plain
    later = said(stop_token_ids=ids[5:6], min_tokens=20)
    assert len(later["message"]["content"]) > len(stopped["message"]["content"])
    for fields in (
        {"min_tokens": 25},
        {"stop_token_ids": [10**6]},
        {"bad_words": [""]},
        {"bad_words": ["x"] * 17},
    ):
        refused = post(tiny_server, max_tokens=24, **fields)
        assert refused.status_code == 400, refused.text
        assert next(iter(fields)) in refused.json()["error"]["message"]
