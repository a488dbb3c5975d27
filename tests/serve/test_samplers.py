"""llama.cpp's samplers under its names, on every route that makes text: what each comes to."""

from typing import Any

import httpx
import pytest

from ruvllm import LLM, Dry, DynamicTemperature, GenerateParams, Mirostat, Xtc
from tests.serve.conftest import TINY
from tests.serve.running import RunningServer

PLAIN: dict[str, Any] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "repetition_penalty": 1.0,
    "max_tokens": 16,
    "seed": 3,
}
PROMPT = "the cat the cat sat on the cat"
# What a body says, and what that is.
SAID: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"typical_p": 0.3}, {"typical_p": 0.3}),
    ({"top_n_sigma": 1.5}, {"top_n_sigma": 1.5}),
    (
        {"dry_multiplier": 50, "dry_allowed_length": 1, "dry_sequence_breakers": ["c"]},
        {"dry": Dry(multiplier=50, allowed_length=1, sequence_breakers=("c",))},
    ),
    (
        {"dry_multiplier": 2, "dry_base": 3, "dry_allowed_length": 1, "dry_penalty_last_n": 40},
        {"dry": Dry(multiplier=2, base=3, allowed_length=1, last_tokens=40)},
    ),
    (
        {"dry_multiplier": 2, "dry_allowed_length": 1, "dry_penalty_last_n": -1},
        {"dry": Dry(multiplier=2, allowed_length=1)},
    ),
    ({"xtc_probability": 1, "xtc_threshold": 0.01}, {"xtc": Xtc(probability=1, threshold=0.01)}),
    (
        {"dynatemp_range": 0.9, "dynatemp_exponent": 3},
        {"dynamic_temperature": DynamicTemperature(range=0.9, exponent=3)},
    ),
    ({"mirostat": 2, "mirostat_tau": 2, "mirostat_eta": 0.5}, {"mirostat": Mirostat(tau=2, eta=0.5)}),
]
# What is off, whatever its other settings are.
OFF: dict[str, Any] = {
    "typical_p": 1,
    "top_n_sigma": -1,
    "dry_multiplier": 0,
    "dry_base": 3,
    "xtc_probability": 0.0,
    "xtc_threshold": 0.0,
    "dynatemp_range": 0,
    "mirostat": 0,
    "mirostat_tau": 1,
}


def made(llm: LLM, **params: Any) -> str:
    return llm.generate(PROMPT, GenerateParams(**{**PLAIN, **params})).text


def completed(server: RunningServer, **fields: Any) -> str:
    body = {"model": TINY, "prompt": PROMPT, **PLAIN, **fields}
    answer = httpx.post(f"{server.api}/completions", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["text"])


def generated(server: RunningServer, **options: Any) -> str:
    """By Ollama's API, all of whose defaults are said."""
    told = {"temperature": 1.0, "seed": 3, "num_predict": 16, "top_k": 0, "top_p": 1.0, **options}
    body = {"model": TINY, "prompt": PROMPT, "raw": True, "stream": False, "options": told}
    answer = httpx.post(f"{server.url}/api/generate", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["response"])


@pytest.mark.parametrize(("said", "params"), SAID, ids=[" ".join(said) for said, _ in SAID])
def test_each_is_what_python_has_under_another_name(
    tiny_server: RunningServer, tiny_chat: LLM, said: dict[str, Any], params: dict[str, Any]
) -> None:
    expected = made(tiny_chat, **params)
    assert expected != made(tiny_chat), "it changes nothing here, so this shows nothing"
    assert completed(tiny_server, **said) == expected
    assert generated(tiny_server, **said) == expected


def test_what_is_off_changes_nothing(tiny_server: RunningServer, tiny_chat: LLM) -> None:
    expected = made(tiny_chat)
    assert completed(tiny_server, **OFF) == expected
    assert generated(tiny_server, **OFF) == expected
    assert completed(tiny_server, dry_multiplier=2, dry_allowed_length=1, dry_penalty_last_n=0) == expected


def test_mirostat_is_without_the_filters_that_nobody_asked_for(
    tiny_server: RunningServer, tiny_chat: LLM
) -> None:
    """Ollama's own `top_k` and `top_p` would come before it."""
    mirostat = Mirostat(tau=6, eta=0.1)
    expected = made(tiny_chat, mirostat=mirostat)
    told = {"mirostat": 2, "mirostat_tau": 6, "top_k": None, "top_p": None}
    assert generated(tiny_server, **told) == expected
    filtered = made(tiny_chat, mirostat=mirostat, top_k=2)
    assert filtered != expected
    assert generated(tiny_server, **{**told, "top_k": 2}) == filtered


ROUTES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": 32},
    "/v1/completions": {"prompt": PROMPT, "max_tokens": 32},
    "/v1/responses": {"input": PROMPT, "max_output_tokens": 32},
    "/v1/messages": {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": 32},
}


def text_of(answer: dict[str, Any]) -> str:
    """What was said, in any of their forms."""
    if "choices" in answer:
        [choice] = answer["choices"]
        return str(choice["text"] if "text" in choice else choice["message"]["content"])
    content = answer["output"][0]["content"] if "output" in answer else answer["content"]
    return "".join(part["text"] for part in content)


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_has_them(tiny_server: RunningServer, route: str) -> None:
    body = {"model": TINY, "seed": 3, **ROUTES[route]}

    def text(**said: Any) -> str:
        answer = httpx.post(f"{tiny_server.url}{route}", json={**body, **said})
        assert answer.status_code == 200, answer.text
        return text_of(answer.json())

    for said, _ in SAID:
        # At temperature 1 these repeat hardly anything; at 0 nothing but DRY acts.
        temperature = 0.0 if "dry_multiplier" in said else 1.0
        plain = text(temperature=temperature)
        assert plain == text(temperature=temperature), "it is another one anyway, so this shows nothing"
        assert text(temperature=temperature, **said) != plain, said
    for name, value in (("mirostat", 1), ("typical_p", 0), ("xtc_probability", 2)):
        refused = httpx.post(f"{tiny_server.url}{route}", json={**body, name: value})
        assert refused.status_code == 400
        assert name in refused.json()["error"]["message"]
