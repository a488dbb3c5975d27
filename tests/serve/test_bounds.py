"""What a body may have: as much as is said, one more is refused; and the first wrong place is named."""

import json
from typing import Any

import httpx
import pytest

from ruvllm.serve.errors import ApiError
from ruvllm.serve.json_body import BOUNDS, read_body
from ruvllm.serve.prompts import MOST_BYTES, MOST_TOKENS
from ruvllm.serve.schemas.base import Body
from ruvllm.serve.schemas.chat import MAX_MESSAGES, MAX_PARTS
from tests.serve.conftest import TINY
from tests.serve.running import RunningServer

JSON = {"content-type": "application/json"}
HI = {"role": "user", "content": "hi"}
MOST = {name: bound.most for name, bound in BOUNDS.items()}


def nested(levels: int) -> str:
    return '{"x":' + "[" * (levels - 1) + "]" * (levels - 1) + "}"


def listed(unit: str, count: int) -> str:
    return '{"x":[' + ",".join([unit] * count) + "]}"


def fields(count: int) -> str:
    return json.dumps({f"f{number}": 1 for number in range(count)})


# A body with so many of each.
BODIES = {
    "depth": lambda count: nested(count),
    "containers": lambda count: listed("{}", count - 2),
    "members": fields,
    "texts": lambda count: listed('""', count - 1),
    "numbers": lambda count: listed("5", count),
    "fractions": lambda count: listed("0.5", count),
    "longest_number": lambda count: listed("1" * count, 1),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_a_bound_is_the_last_that_is_taken(name: str) -> None:
    make = BODIES[name]
    assert read_body(make(MOST[name]).encode(), Body)
    with pytest.raises(ApiError) as refused:
        read_body(make(MOST[name] + 1).encode(), Body)
    assert refused.value.status_code == 400
    assert f"{MOST[name] + 1} {BOUNDS[name].what}" in refused.value.message
    assert f"at most {MOST[name]}" in refused.value.message


def test_what_conversations_need_is_within_the_bounds() -> None:
    part = {"type": "text", "text": "a"}
    messages = [{"role": "user", "content": [part, part]}] * MAX_MESSAGES
    assert read_body(json.dumps({"messages": messages}).encode(), Body)


def post(server: RunningServer, path: str, **body: Any) -> httpx.Response:
    content = json.dumps({"model": TINY, **body})
    return httpx.post(f"{server.url}{path}", content=content, headers=JSON, timeout=30)


def refused(response: httpx.Response, param: str, *words: str) -> None:
    assert response.status_code == 400, response.text[:300]
    error = response.json()["error"]
    assert error["param"] == param, error
    for word in words:
        assert word in error["message"], error


@pytest.mark.parametrize(
    ("prompt", "param"),
    [
        (5, "prompt"),
        (None, "prompt"),
        ({}, "prompt"),
        ([], "prompt"),
        ([{}], "prompt[0]"),
        ([None], "prompt[0]"),
        ([True], "prompt[0]"),
        ([5, True], "prompt[1]"),
        ([5, 6, "a"], "prompt[2]"),
        ([5, -1], "prompt[1]"),
        ([5, 2**31], "prompt[1]"),
        ([5, 1.0], "prompt[1]"),
        (["a", 5], "prompt[1]"),
        ([[]], "prompt[0]"),
        ([[5], []], "prompt[1]"),
        ([[5], 5], "prompt[1]"),
        ([[5], [6, "a"]], "prompt[1][1]"),
        ([[5], [6, [7]]], "prompt[1][1]"),
        ([5] * 100_000 + ["a"], "prompt[100000]"),
        ([5] * 100_000 + [-1], "prompt[100000]"),
        ([[5] * 40_000, [5] * 40_000 + [2**31]], "prompt[1][40000]"),
    ],
)
def test_the_first_wrong_place_of_a_prompt_is_named(
    tiny_server: RunningServer, prompt: Any, param: str
) -> None:
    refused(post(tiny_server, "/v1/completions", prompt=prompt, max_tokens=1), param, f"{param}: it must")
    refused(post(tiny_server, "/v1/embeddings", input=prompt), param.replace("prompt", "input"))


def test_entries_are_counted_before_they_are_looked_at(tiny_server: RunningServer) -> None:
    for path, body, param, most in [
        ("/v1/chat/completions", {"messages": [1] * (MAX_MESSAGES + 1)}, "messages", MAX_MESSAGES),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": [1] * (MAX_PARTS + 1)}]},
            "messages[0].content",
            MAX_PARTS,
        ),
        ("/v1/responses", {"input": [1] * (MAX_MESSAGES + 1)}, "input", MAX_MESSAGES),
        ("/v1/responses", {"input": "a", "metadata": dict.fromkeys(map(str, range(17)))}, "metadata", 16),
        ("/v1/completions", {"prompt": "a", "stop": [1] * 17}, "stop", 16),
        (
            "/v1/completions",
            {"prompt": "a", "logit_bias": dict.fromkeys(map(str, range(1025)))},
            "logit_bias",
            1024,
        ),
    ]:
        refused(post(tiny_server, path, **body), param, f"at most {most} items", f"not {most + 1}")


def test_one_wrong_entry_is_enough(tiny_server: RunningServer) -> None:
    messages = [HI, *[{"role": "user", "content": [{"type": "text", "text": "a"}, 1, 1]}] * 100]
    refused(post(tiny_server, "/v1/chat/completions", messages=messages), "messages[1].content[1]")


def test_texts_are_taken_up_to_a_bound(tiny_server: RunningServer) -> None:
    long = "a" * (MOST_BYTES + 1)
    for path, body, param in [
        ("/tokenize", {"prompt": long}, "prompt"),
        ("/tokenize", {"content": "\u00e9" * (MOST_BYTES // 2 + 1)}, "content"),
        ("/tokenize", {"messages": [HI, {"role": "user", "content": long}]}, "messages"),
        ("/v1/completions", {"prompt": ["a", long]}, "prompt"),
        ("/v1/embeddings", {"input": long}, "input"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": long}]}, "messages"),
    ]:
        refused(post(tiny_server, path, **body), param, str(MOST_BYTES))
    answer = post(tiny_server, "/tokenize", prompt=long[:-1], return_token_strs=True)
    assert answer.json()["count"] == MOST_BYTES
    assert answer.json()["token_strs"] == ["a"] * MOST_BYTES


def test_token_ids_are_made_into_text_up_to_a_bound(tiny_server: RunningServer, tiny_chat) -> None:
    refused(post(tiny_server, "/detokenize", tokens=[5] * (MOST_TOKENS + 1)), "tokens", str(MOST_TOKENS))
    tokens = list(range(64, 256)) * 600
    answer = post(tiny_server, "/detokenize", tokens=tokens).json()
    assert answer["content"] == answer["prompt"] == tiny_chat.detokenize(tokens)


def test_names_in_errors_are_short(tiny_server: RunningServer) -> None:
    response = post(tiny_server, "/v1/responses", input="a", metadata={"k" * 100_000: "v"})
    assert response.status_code == 400
    assert response.json()["error"]["param"].startswith("metadata.kkk")
    assert len(response.content) < 1000


def test_labels_that_are_told_back_are_bounded(tiny_server: RunningServer) -> None:
    refused(post(tiny_server, "/v1/responses", input="a", max_tool_calls=[1] * 1000), "max_tool_calls")
    for name in ("prompt_cache_key", "safety_identifier"):
        refused(post(tiny_server, "/v1/responses", input="a", **{name: "k" * 513}), name)
        answer = post(tiny_server, "/v1/responses", input="a", max_output_tokens=1, **{name: "k"})
        assert answer.json()[name] == "k"
