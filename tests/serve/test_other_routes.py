"""Embeddings, models, tokens, health, metrics and the cache, over a real socket."""

import base64
import math

import httpx
import numpy as np
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ruvllm import LLM
from ruvllm.serve import create_app
from tests.serve.conftest import REAL, TINY
from tests.serve.running import RunningServer, running

# What a request that makes no tokens adds to.
COUNTED_OF_READING = (
    "prompt_tokens_total",
    "request_success_total",
    "request_prompt_tokens_count",
    "e2e_request_latency_seconds_count",
)
TEXTS = ["The cat sat on the mat.", "A dog lay on the rug."]


def embed(client, given, **fields):
    answer = client.embeddings.create(model=REAL, input=given, **fields)
    assert [one.index for one in answer.data] == list(range(len(answer.data)))
    return np.array([one.embedding for one in answer.data], dtype=np.float64)


@pytest.mark.real_model
def test_embeddings_are_the_engine_s_in_both_encodings(real, smollm2: LLM) -> None:
    expected = smollm2.embed(TEXTS)
    floats = embed(real, TEXTS, encoding_format="float")
    np.testing.assert_allclose(floats, expected, atol=1e-6)
    # The client's default is base64, which it decodes itself.
    np.testing.assert_allclose(embed(real, TEXTS), floats, atol=1e-6)
    tokens = [smollm2.tokenize(text) for text in TEXTS]
    np.testing.assert_allclose(embed(real, tokens), floats, atol=1e-6)
    np.testing.assert_allclose(embed(real, TEXTS[0])[0], floats[0], atol=1e-6)
    np.testing.assert_allclose(embed(real, tokens[0])[0], floats[0], atol=1e-6)


@pytest.mark.real_model
def test_fewer_dimensions_are_the_first_at_unit_length(real) -> None:
    whole, short = embed(real, TEXTS), embed(real, TEXTS, dimensions=64)
    assert short.shape == (2, 64)
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), 1, atol=1e-5)
    cut = whole[:, :64] / np.linalg.norm(whole[:, :64], axis=1, keepdims=True)
    np.testing.assert_allclose(short, cut, atol=1e-5)


@pytest.mark.real_model
def test_base64_is_little_endian_floats(real_server: RunningServer) -> None:
    body = {"model": REAL, "input": TEXTS[0], "encoding_format": "base64"}
    answer = httpx.post(f"{real_server.api}/embeddings", json=body).json()
    vector = np.frombuffer(base64.b64decode(answer["data"][0]["embedding"]), "<f4")
    assert vector.shape == (576,)
    assert math.isclose(np.linalg.norm(vector), 1, abs_tol=1e-5)
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] == 7


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": [2**30]}, "input"),
        ({"input": ["a"] * 300}, "input"),
        ({"input": 7}, "input"),
        ({"dimensions": 10**6}, "dimensions"),
        ({"dimensions": 0}, "dimensions"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"input_type": "query"}, "input_type"),
    ],
)
def test_embeddings_that_cannot_be_made_are_refused(tiny_server: RunningServer, fields, param) -> None:
    response = httpx.post(f"{tiny_server.api}/embeddings", json={"model": TINY, "input": "a", **fields})
    assert response.status_code == 400, response.text
    assert response.json()["error"]["param"].split("[")[0] == param


def test_models_are_listed_and_found(tiny_chat: LLM) -> None:
    with (
        running(create_app({"one": tiny_chat, "org/two": tiny_chat})) as server,
        openai.OpenAI(base_url=server.api, api_key="none") as client,
    ):
        listed = client.models.list().data
        assert [model.id for model in listed] == ["one", "org/two"]
        for model in listed:
            assert model.object == "model"
            assert isinstance(model.created, int)
            assert model.owned_by
            assert client.models.retrieve(model.id) == model
        for name in ("one", "org/two"):
            answer = client.completions.create(model=name, prompt="the cat", max_tokens=2)
            assert answer.model == name


def test_tokens_go_there_and_back(tiny_server: RunningServer, tiny_chat: LLM) -> None:
    text = "the cat sat on the mat"
    for name in ("prompt", "content"):
        answer = httpx.post(
            f"{tiny_server.url}/tokenize", json={name: text, "return_token_strs": True}
        ).json()
        assert answer["tokens"] == tiny_chat.tokenize(text)
        assert answer["count"] == len(answer["tokens"]) == len(answer["token_strs"])
        assert answer["max_model_len"] == tiny_chat.model_info.max_context
    messages = [{"role": "user", "content": text}]
    answer = httpx.post(f"{tiny_server.url}/tokenize", json={"messages": messages}).json()
    assert answer["tokens"] == tiny_chat.chat_tokens(messages)
    back = httpx.post(f"{tiny_server.url}/detokenize", json={"tokens": tiny_chat.tokenize(text)}).json()
    assert back["prompt"] == back["content"] == tiny_chat.detokenize(tiny_chat.tokenize(text))
    for body in ({}, {"prompt": "a", "content": "b"}):
        assert httpx.post(f"{tiny_server.url}/tokenize", json=body).status_code == 400


def test_flags_are_no_token_ids(tiny_server: RunningServer) -> None:
    tokens = [5, True]
    for path, body in (
        ("/detokenize", {"tokens": tokens}),
        ("/v1/embeddings", {"model": TINY, "input": tokens}),
        ("/v1/embeddings", {"model": TINY, "input": [tokens]}),
    ):
        answer = httpx.post(f"{tiny_server.url}{path}", json=body)
        assert answer.status_code == 400, (path, answer.text)
        assert answer.json()["error"]["param"].split("[")[0] in body


def metrics(server: RunningServer) -> dict[str, float]:
    """Every sample by name, summed over its labels; read by Prometheus's own parser."""
    samples: dict[str, float] = {}
    for family in text_string_to_metric_families(httpx.get(f"{server.url}/metrics").text):
        for sample in family.samples:
            samples[sample.name] = samples.get(sample.name, 0) + sample.value
    return samples


@pytest.mark.real_model
def test_metrics_count_what_happened(smollm2: LLM) -> None:
    with (
        running(create_app({REAL: smollm2})) as server,
        openai.OpenAI(base_url=server.api, api_key="none") as client,
    ):
        before = metrics(server)
        messages = [{"role": "user", "content": "Say something about metrics, and about counting. " * 4}]
        usages = [
            client.chat.completions.create(model=REAL, messages=messages, max_tokens=9, temperature=0).usage
            for _ in range(3)
        ]
        after = metrics(server)

    def grown(name: str) -> float:
        return after[f"ruvllm:{name}"] - before.get(f"ruvllm:{name}", 0)

    prompt, made = sum(one.prompt_tokens for one in usages), sum(one.completion_tokens for one in usages)
    assert grown("prompt_tokens_total") == prompt
    assert grown("generation_tokens_total") == made
    assert grown("request_success_total") == 3
    assert grown("time_to_first_token_seconds_count") == 3
    assert grown("e2e_request_latency_seconds_count") == 3
    assert grown("inter_token_latency_seconds_count") == made - 3
    # A prompt's last token is always computed, so it is not looked up.
    assert grown("prefix_cache_queries_total") == prompt - 3
    cached = sum(one.prompt_tokens_details.cached_tokens for one in usages)
    assert grown("prefix_cache_hits_total") == cached > 0
    assert 0 < grown("time_to_first_token_seconds_sum") < grown("e2e_request_latency_seconds_sum")
    assert after["ruvllm:num_requests_running"] == after["ruvllm:num_requests_waiting"] == 0


@pytest.mark.real_model
def test_requests_that_make_no_tokens_are_counted_too(real_server: RunningServer) -> None:
    asked = {"type": "predicate", "instructions": "It is a greeting."}
    before = metrics(real_server)
    read = []
    for route, body in [("decisions", {"questions": [asked]}), ("embeddings", {})]:
        answer = httpx.post(f"{real_server.api}/{route}", json={"model": REAL, "input": "Good day", **body})
        usage = answer.raise_for_status().json()["usage"]
        read.append(usage["total_tokens"])
    after = metrics(real_server)
    grown = {name: after[f"ruvllm:{name}"] - before.get(f"ruvllm:{name}", 0) for name in COUNTED_OF_READING}
    assert grown == {**dict.fromkeys(COUNTED_OF_READING, 2), "prompt_tokens_total": sum(read)}


def test_the_cache_is_told_of_and_flushed(tiny_server: RunningServer, tiny) -> None:
    prompt = "the cat sat on the mat and " * 4
    tiny.completions.create(model=TINY, prompt=prompt, max_tokens=2)
    (stats,) = httpx.get(f"{tiny_server.api}/cache").json()["data"]
    assert stats["model"] == TINY
    assert stats["entries"] > 0
    assert stats["tokens"] > 0
    assert httpx.post(f"{tiny_server.api}/cache/flush").json() == {"status": "flushed"}
    (stats,) = httpx.get(f"{tiny_server.api}/cache").json()["data"]
    assert stats["tokens"] == 0
    answer = tiny.completions.create(model=TINY, prompt=prompt, max_tokens=2)
    assert answer.usage.prompt_tokens_details.cached_tokens == 0
    refused = httpx.post(f"{tiny_server.api}/cache/save")
    assert refused.status_code == 400
    assert "--prefix-cache-dir" in refused.json()["error"]["message"]


def test_health_and_description(tiny_server: RunningServer) -> None:
    health = httpx.get(f"{tiny_server.url}/health")
    assert (health.status_code, health.json()) == (200, {"status": "ok"})
    description = httpx.get(f"{tiny_server.url}/openapi.json").json()
    assert {"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/models"} <= set(
        description["paths"]
    )
    assert "422" not in str(description["paths"])
