"""What a first day with the server found, each under its number."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from ruvllm import LLM, AsyncEngine
from ruvllm.serve import create_app
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
