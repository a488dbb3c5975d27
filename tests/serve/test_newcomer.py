"""What a first day with the server found, each under its number."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from ruvllm import LLM, AsyncEngine
from ruvllm.errors import ConfigError
from ruvllm.serve import ApiKey, KeyRing, ServerSettings, create_app
from tests.chat.conftest import with_template
from tests.conftest import FIXTURES

GGUF = FIXTURES / "gguf" / "llama-gqa.gguf"
# What clients of other servers send along though it changes nothing.
NEUTRAL: list[tuple[str, Any]] = [
    ("typical_p", 1),
    ("typical_p", 1.0),
    ("mirostat", 0),
    ("tfs_z", 1),
    ("xtc_probability", 0),
    ("xtc_threshold", 0.1),
    ("dry_multiplier", 0.0),
    ("dry_base", 1.75),
    ("dry_allowed_length", 2),
    ("dry_penalty_last_n", -1),
    ("dry_sequence_breakers", ["\n", ":"]),
    ("dynatemp_range", 0),
    ("dynatemp_exponent", 1),
    ("mirostat_tau", 5.0),
    ("mirostat_eta", 0.1),
    ("min_tokens", 0),
    ("min_keep", 0),
    ("best_of", 1),
    ("length_penalty", 1.0),
    ("early_stopping", False),
    ("use_beam_search", False),
    ("parallel_tool_calls", False),
    ("parallel_tool_calls", True),
    ("suffix", ""),
]
# The same fields where they ask for something.
MEANT: list[tuple[str, Any]] = [
    ("mirostat", 1),
    ("tfs_z", 0.9),
    ("length_penalty", 2.0),
    ("early_stopping", True),
    ("use_beam_search", True),
]
ROUTES = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hi"}]},
    "/v1/completions": {"prompt": "Hi"},
}


@pytest.fixture(scope="module")
def llm() -> Any:
    with LLM(GGUF, max_context=256) as llm:
        yield with_template(llm)


@pytest.fixture(scope="module")
def client(llm: LLM) -> Any:
    with TestClient(create_app(AsyncEngine(llm)), base_url="http://127.0.0.1:8000") as client:
        yield client


def ids(client: TestClient) -> list[str]:
    return [one["id"] for one in client.get("/v1/models").json()["data"]]


def answer(client: TestClient, route: str, **fields: Any) -> Any:
    body = {"model": "llama-gqa", "max_tokens": 1, **ROUTES[route], **fields}
    return client.post(route, json=body)


def test_fault_6_a_file_is_served_by_its_name(client: TestClient) -> None:
    assert ids(client) == ["llama-gqa"]


@pytest.mark.real_model
@pytest.mark.parametrize("as_engine", [False, True])
def test_fault_6_a_model_is_served_by_the_name_that_it_was_loaded_by(smollm2: LLM, as_engine: bool) -> None:
    del smollm2  # it is here
    with LLM("smollm2-135m", max_context=64) as llm:
        client = TestClient(create_app(AsyncEngine(llm) if as_engine else llm))
        assert ids(client) == ["smollm2-135m"]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("name", "value"), NEUTRAL)
def test_fault_8_what_changes_nothing_is_taken(
    client: TestClient, route: str, name: str, value: object
) -> None:
    done = answer(client, route, **{name: value})
    assert done.status_code == 200, done.text


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("name", "value"), MEANT)
def test_fault_8_what_would_change_something_is_refused_by_name(
    client: TestClient, route: str, name: str, value: object
) -> None:
    done = answer(client, route, **{name: value})
    assert done.status_code == 400
    assert done.json()["error"]["param"] == name


# -- friction with the server, by what was tried


@pytest.mark.parametrize("path", ["/chat/completions", "/completions", "/embeddings", "/responses"])
def test_a_base_url_without_v1_is_told_of(client: TestClient, path: str) -> None:
    error = client.post(path, json={}).json()["error"]
    assert error["code"] == "unknown_url"
    assert f"there is nothing at {path}; there is /v1{path}" in error["message"]
    assert "base URL" in error["message"]
    assert "base URL" not in client.get("/nothing").json()["error"]["message"]


def test_a_model_by_another_name_says_what_there_is(client: TestClient) -> None:
    body = {"model": "gpt-4o-mini", "prompt": "a"}
    error = client.post("/v1/completions", json=body).json()["error"]
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert "there is llama-gqa" in error["message"]


def test_props_tell_how_a_model_is_set_up(client: TestClient, llm: LLM) -> None:
    told = client.get("/props").json()
    assert told["default_generation_settings"] == {"n_ctx": 256}
    assert told["chat_template"] == llm.chat_template
    assert told["model_alias"] == "llama-gqa"
    assert client.get("/props?model=nope").status_code == 404
    # Whoever makes the server in a program says it there.
    held = {one["name"]: (one["value"], one["source"]) for one in told["settings"]}
    assert held["max_choices"] == (16, "default")
    more = create_app(
        AsyncEngine(llm), ServerSettings(max_choices=4, keys=KeyRing([ApiKey.of("sk-0000001")]))
    )
    with TestClient(more, base_url="http://127.0.0.1:8000") as other:
        assert other.get("/props").status_code == 401
        answer = other.get("/props", headers={"x-api-key": "sk-0000001"}).json()
    held = {one["name"]: (one["value"], one["source"]) for one in answer["settings"]}
    assert held["max_choices"] == (4, "program")


def test_settings_are_not_for_every_key(llm: LLM) -> None:
    key = ApiKey.of("sk-0000001", is_admin=False)
    with TestClient(
        create_app(llm, ServerSettings(keys=KeyRing([key]))), base_url="http://127.0.0.1"
    ) as user:
        told = user.get("/props", headers={"x-api-key": "sk-0000001"}).json()
    assert "settings" not in told
    assert told["default_generation_settings"] == {"n_ctx": 256}


@pytest.mark.parametrize(("key", "said"), [("sk-test", "this one has 7"), ("sk test-0001", "others")])
def test_a_key_that_is_none_says_why(key: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        ApiKey.of(key)
    assert key not in str(refused.value)
