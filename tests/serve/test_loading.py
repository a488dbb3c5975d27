"""Models that take their time to load, or cannot be loaded."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from ruvllm import LLM
from ruvllm.errors import StorageError
from ruvllm.serve import ServedModel, create_app
from ruvllm.serve.running import run_server
from tests.serve.conftest import TINY
from tests.serve.process import wait_until
from tests.serve.running import RunningServer, running

BODY = {"model": TINY, "prompt": "hi", "max_tokens": 2}


class Gate:
    """Loads a model when it is let, and counts how often it was asked to."""

    def __init__(self, path: Path) -> None:
        self.open = threading.Event()
        self.asked = 0
        self._path = path

    def load(self) -> LLM:
        self.asked += 1
        assert self.open.wait(20)
        return LLM(self._path)


@pytest.fixture
def gate(tiny_chat_path: Path) -> Gate:
    return Gate(tiny_chat_path)


@pytest.fixture
def slow(gate: Gate) -> Iterator[RunningServer]:
    with running(create_app([ServedModel(TINY, gate.load)])) as server:
        try:
            yield server
        finally:
            gate.open.set()


def test_health_is_503_while_the_model_loads(slow: RunningServer, gate: Gate) -> None:
    wait_until(lambda: gate.asked == 1)
    health = httpx.get(f"{slow.url}/health")
    assert health.status_code == 503
    assert health.json() == {"status": "loading", "model": TINY}
    assert health.headers["retry-after"]
    assert httpx.get(f"{slow.api}/models").json()["data"][0]["status"] == {"value": "loading"}
    assert httpx.get(f"{slow.url}/metrics").status_code == 200
    gate.open.set()
    wait_until(lambda: httpx.get(f"{slow.url}/health").status_code == 200)


def test_requests_wait_for_the_model_and_load_it_once(slow: RunningServer, gate: Gate) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = [
            pool.submit(httpx.post, f"{slow.api}/completions", json=BODY, timeout=20) for _ in range(8)
        ]
        # One that does not want to wait leaves without harm to the others.
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{slow.api}/completions", json=BODY, timeout=0.2)
        gate.open.set()
        assert [answer.result().status_code for answer in answers] == [200] * 8
    assert gate.asked == 1


def test_a_server_that_ends_while_it_loads_does_end(gate: Gate) -> None:
    with running(create_app([ServedModel(TINY, gate.load)])):
        wait_until(lambda: gate.asked == 1)
        threading.Timer(0.2, gate.open.set).start()


@pytest.mark.parametrize(
    "error", [StorageError("it is torn"), OSError("it is torn"), MemoryError("it is torn")]
)
def test_a_first_model_that_cannot_be_loaded_ends_the_server(error: Exception) -> None:
    def load() -> LLM:
        raise error

    with pytest.raises(type(error), match="it is torn"):
        run_server(
            create_app([ServedModel(TINY, load)]),
            host="127.0.0.1",
            port=0,
            drain_seconds=1,
            listening=lambda address: None,
        )


@pytest.mark.parametrize("error", [StorageError("it is torn"), OSError("it is torn")])
def test_another_that_cannot_be_loaded_is_said_every_time(tiny_chat_path: Path, error: Exception) -> None:
    def load() -> LLM:
        raise error

    models = [ServedModel(TINY, lambda: LLM(tiny_chat_path)), ServedModel("torn", load)]
    with running(create_app(models)) as server:
        for _ in range(2):
            answer = httpx.post(f"{server.api}/completions", json={**BODY, "model": "torn"})
            assert answer.status_code == 503
            assert "it is torn" in answer.json()["error"]["message"]
        assert httpx.post(f"{server.api}/completions", json=BODY).status_code == 200
        health = httpx.get(f"{server.url}/health")
        assert health.status_code == 200, "one client's choice of a model must not end the server of all"
        assert health.json() == {"status": "ok", "not_loaded": {"torn": str(error)}}
