"""What routers ask of a worker: a prompt's tokens, what it is, how full it is, under other servers' names."""

from dataclasses import fields
from importlib.metadata import version
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ruvllm import LLM
from ruvllm.errors import ConfigError
from ruvllm.params import GenerateParams
from ruvllm.serve import ServedModel, ServerSettings, create_app
from tests.serve.conftest import TINY
from tests.serve.running import RunningServer, running

SAYS = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "the cat sat on the mat"}]
PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/responses")


def post(server: RunningServer, path: str, **fields: Any) -> httpx.Response:
    return httpx.post(server.url + path, json={"model": TINY, **fields}, timeout=20)


def tokens(server: RunningServer, **fields: Any) -> list[int]:
    found: list[int] = post(server, "/tokenize", **fields).json()["tokens"]
    return found


def test_a_conversation_s_tokens_are_those_that_are_answered(
    tiny_server: RunningServer, tiny_chat: LLM
) -> None:
    sampling = {
        "temperature": 0.5,
        "top_k": -1,
        "stop": "x",
        "n": 2,
        "seed": 3,
        "max_tokens": 5,
        "priority": 2,
    }
    rendered = post(tiny_server, "/v1/chat/completions/render", messages=SAYS, **sampling).json()
    assert rendered["token_ids"] == tiny_chat.chat_tokens(SAYS) == tokens(tiny_server, messages=SAYS)
    usage = post(tiny_server, "/v1/chat/completions", messages=SAYS, max_tokens=1).json()["usage"]
    assert len(rendered["token_ids"]) == usage["prompt_tokens"]
    assert rendered["request_id"].startswith("chatcmpl-")
    assert (rendered["model"], rendered["stream"], rendered["priority"]) == (TINY, False, 2)
    assert rendered["features"] is rendered["stream_options"] is rendered["cache_salt"] is None
    params = rendered["sampling_params"]
    expected = {"temperature": 0.5, "top_k": 0, "stop": ["x"], "n": 2, "seed": 3, "max_tokens": 5}
    assert {name: params[name] for name in expected} == expected


# Of each choice what a body says, which is what is told of it.
CHOICES: dict[str, dict[str, Any]] = {
    "max_tokens": {"max_tokens": 5},
    "temperature": {"temperature": 0.5},
    "top_p": {"top_p": 0.5},
    "top_k": {"top_k": 5},
    "min_p": {"min_p": 0.5},
    "typical_p": {"typical_p": 0.5},
    "top_n_sigma": {"top_n_sigma": 1.5},
    "repetition_penalty": {"repetition_penalty": 1.5},
    "presence_penalty": {"presence_penalty": 0.5},
    "frequency_penalty": {"frequency_penalty": 0.5},
    "dry": {
        "dry_multiplier": 0.5,
        "dry_base": 1.5,
        "dry_allowed_length": 3,
        "dry_penalty_last_n": 64,
        "dry_sequence_breakers": ["a", "b"],
    },
    "xtc": {"xtc_probability": 0.25, "xtc_threshold": 0.2},
    "dynamic_temperature": {"dynatemp_range": 0.25, "dynatemp_exponent": 2.0},
    "mirostat": {"mirostat": 2, "mirostat_tau": 3.0, "mirostat_eta": 0.2},
    "logit_bias": {"logit_bias": {"5": 1.5}},
    "stop_sequences": {"stop": ["x"]},
    "stop_token_ids": {"stop_token_ids": [5]},
    "min_tokens": {"min_tokens": 3},
    "bad_words": {"bad_words": ["x"]},
    "seed": {"seed": 3},
    "logprobs": {"logprobs": 2},
    "ignore_eos": {"ignore_eos": True},
    "n": {"n": 3},
    "prompt_logprobs": {"prompt_logprobs": 2},
}
# What is said of these elsewhere, or chooses no token.
UNTOLD = {
    "cache_prefix",
    "min_cache_tokens",
    "speculate",
    "prediction",
    "keep_special",
    "grammar",
    "thinking_tokens",
    # Functions are no part of a body.
    "logits_processors",
}


@pytest.mark.parametrize("choice", [one.name for one in fields(GenerateParams) if one.name not in UNTOLD])
def test_every_choice_is_told(tiny_server: RunningServer, choice: str) -> None:
    def told(**more: Any) -> dict[str, Any]:
        [shown] = post(tiny_server, "/v1/completions/render", prompt="the cat", **more).json()
        params: dict[str, Any] = shown["sampling_params"]
        return params

    said = CHOICES[choice]
    assert {name: told(**said).get(name) for name in said} == said
    plain = told()
    assert all(plain.get(name) != value for name, value in said.items())
    # A body that says what is told asks for the same.
    known = {name: value for name, value in told(**said).items() if value is not None}
    assert told(**known) == told(**said)


def test_what_is_off_is_told_as_off(tiny_server: RunningServer) -> None:
    [shown] = post(tiny_server, "/v1/completions/render", prompt="the cat", mirostat_tau=3).json()
    off = {"dry_multiplier": 0, "xtc_probability": 0, "dynatemp_range": 0, "mirostat": 0}
    assert shown["sampling_params"].items() >= off.items()
    assert "mirostat_tau" not in shown["sampling_params"]
    everywhere = {"dry_multiplier": 1, "dry_penalty_last_n": -1}
    [shown] = post(tiny_server, "/v1/completions/render", prompt="the cat", **everywhere).json()
    assert shown["sampling_params"].items() >= everywhere.items()


def test_the_room_that_is_left_bounds_max_tokens(tiny_server: RunningServer, tiny_chat: LLM) -> None:
    rendered = post(tiny_server, "/v1/chat/completions/render", messages=SAYS, stream=True).json()
    room = tiny_chat.model_info.max_context - len(rendered["token_ids"])
    assert rendered["sampling_params"]["max_tokens"] == room
    assert rendered["stream"] is True


@pytest.mark.parametrize("prompt", ["the cat", ["the cat", "a"], [5, 6, 7], [[5, 6, 7], [8]]])
def test_prompts_have_a_request_each(tiny_server: RunningServer, prompt: Any) -> None:
    rendered = post(tiny_server, "/v1/completions/render", prompt=prompt).json()
    one_by_one = prompt if isinstance(prompt, list) and not isinstance(prompt[0], int) else [prompt]
    expected = [tokens(tiny_server, prompt=one) if isinstance(one, str) else one for one in one_by_one]
    assert [one["token_ids"] for one in rendered] == expected
    assert len({one["request_id"] for one in rendered}) == len(rendered)


def test_a_response_s_tokens_go_on_from_what_is_kept(tiny_server: RunningServer) -> None:
    first = post(tiny_server, "/v1/responses", input="the cat", max_output_tokens=4).json()
    more = {"input": "and then?", "previous_response_id": first["id"]}
    rendered = post(tiny_server, "/v1/responses/render", **more).json()
    usage = post(tiny_server, "/v1/responses", **more, max_output_tokens=1).json()["usage"]
    assert len(rendered["token_ids"]) == usage["input_tokens"] > first["usage"]["input_tokens"]


def test_nothing_is_computed_or_kept(tiny_chat: LLM) -> None:
    with running(create_app({TINY: tiny_chat})) as server:
        before = tiny_chat.prefix_cache.stats()
        for path, body in zip(
            PATHS, ({"messages": SAYS}, {"prompt": "the cat"}, {"input": "hi"}), strict=True
        ):
            assert post(server, f"{path}/render", **body).status_code == 200
        assert tiny_chat.prefix_cache.stats() == before
        assert samples(server, "ruvllm:prompt_tokens_total") == {}


@pytest.mark.parametrize(
    ("path", "fields", "param", "code"),
    [
        (PATHS[0], {"messages": SAYS, "tools": [{}]}, "tools[0].type", "invalid_value"),
        (PATHS[0], {"messages": []}, "messages", "invalid_value"),
        (
            PATHS[0],
            {"messages": [{"role": "user", "content": "a " * 600}]},
            "messages",
            "context_length_exceeded",
        ),
        (PATHS[1], {"prompt": [5] * 600}, "prompt", "context_length_exceeded"),
        (PATHS[1], {"prompt": ["a"] * 200, "n": 2}, "prompt", "invalid_value"),
        (PATHS[2], {"input": "hi", "previous_response_id": "resp_x"}, "previous_response_id", None),
    ],
)
def test_what_would_be_refused_is_refused(
    tiny_server: RunningServer, path: str, fields: dict[str, Any], param: str, code: str | None
) -> None:
    """As it would be where it is to be answered."""
    rendered, answered = post(tiny_server, f"{path}/render", **fields), post(tiny_server, path, **fields)
    assert rendered.status_code == answered.status_code in (400, 404)
    assert rendered.json() == answered.json()
    error = rendered.json()["error"]
    assert error["param"] == param
    assert code in (None, error["code"])


# -- what it is


def test_it_says_what_it_serves(tiny_server: RunningServer, tiny_chat: LLM) -> None:
    info = httpx.get(f"{tiny_server.url}/server_info").json()
    pool = tiny_chat.pool_stats()
    block = 16
    assert info == {
        "served_model_name": TINY,
        "model_path": "tiny.gguf",
        "tokenizer_path": "tiny.gguf",
        "version": version("ruvllm"),
        "device": "cpu",
        "tp_size": 1,
        "dp_size": 1,
        "context_length": tiny_chat.model_info.max_context,
        "quantization": "F32",
        "page_size": block,
        "max_total_num_tokens": pool.total_blocks * block,
    }
    assert httpx.get(f"{tiny_server.url}/model_info").json() == {
        "served_model_name": TINY,
        "model_path": "tiny.gguf",
        "tokenizer_path": "tiny.gguf",
        "is_generation": True,
        "model_type": "llama",
        "max_model_len": tiny_chat.model_info.max_context,
    }


def test_it_says_less_while_nothing_is_loaded() -> None:
    def never() -> LLM:
        raise ConfigError("no model is here")

    with running(create_app([ServedModel("later", never)])) as server:
        info = httpx.get(f"{server.url}/server_info").json()
        assert info["served_model_name"] == "later"
        assert "context_length" not in info
        assert httpx.get(f"{server.url}/model_info").json()["served_model_name"] == "later"


# -- how full it is


def samples(server: RunningServer, name: str) -> dict[tuple[str, ...], float]:
    """The samples of a name by the values of their labels, in the order of the labels' names."""
    families = text_string_to_metric_families(httpx.get(f"{server.url}/metrics").text)
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
        if sample.name == name
    }


def test_the_cache_s_size_is_told_in_labels(tiny_server: RunningServer, tiny_chat: LLM) -> None:
    blocks = str(tiny_chat.pool_stats().total_blocks)
    assert samples(tiny_server, "ruvllm:cache_config_info") == {("16", TINY, blocks): 1}


def test_the_names_begin_as_is_wanted(tiny_chat: LLM) -> None:
    with running(create_app({TINY: tiny_chat}, ServerSettings(metrics_prefix="vllm"))) as server:
        post(server, "/v1/completions", prompt="the cat", max_tokens=2)
        page = httpx.get(f"{server.url}/metrics").text
        assert samples(server, "vllm:num_requests_running") == {(TINY,): 0}
    assert "ruvllm:" not in page
    for name in ("kv_cache_usage_perc", "inter_token_latency_seconds_bucket", "cache_config_info"):
        assert f"vllm:{name}{{" in page


@pytest.mark.parametrize("prefix", ["", "a b", "1a", "a:b", "{"])
def test_a_prefix_that_is_none_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigError, match="metrics_prefix is"):
        ServerSettings(metrics_prefix=prefix)
