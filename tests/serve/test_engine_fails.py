"""The engine fails, for one request or for good: everyone is told, nobody waits for what cannot come."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from ruvllm import LLM
from ruvllm.errors import BackendError, GenerationError
from ruvllm.serve import create_app
from tests.serve.conftest import TINY
from tests.serve.process import wait_until
from tests.serve.raw import assert_nothing_left, requests_in, seconds_until
from tests.serve.running import RunningServer, running
from tests.support.faulty_engine import FaultyEngine, faulty

HI: Any = [{"role": "user", "content": "hi"}]
LONG = {"model": TINY, "prompt": "hi", "max_tokens": 400, "ignore_eos": True}
# Nobody waits longer for an answer that cannot come.
AT_ONCE_SECONDS = 2.0


class Broken:
    """A server whose engine can be broken."""

    def __init__(self, server: RunningServer, llm: LLM, engine: FaultyEngine) -> None:
        self.server = server
        self.llm = llm
        self.engine = engine
        self.http = httpx.Client(base_url=server.url, timeout=20)
        self.openai = openai.OpenAI(base_url=server.api, api_key="none", max_retries=0, timeout=20)


@pytest.fixture
def broken(tiny_chat_path: Path) -> Iterator[Broken]:
    with (
        LLM(tiny_chat_path) as llm,
        faulty(llm) as engine,
        running(create_app({TINY: llm})) as server,
    ):
        broken = Broken(server, llm, engine)
        with broken.http, broken.openai:
            yield broken


def test_an_error_in_the_midst_of_a_stream_is_its_last_event(broken: Broken) -> None:
    broken.engine.failing = (5, GenerationError("the dog ate it"))
    with broken.http.stream("POST", "/v1/completions", json={**LONG, "stream": True}) as response:
        lines = [line for line in response.iter_lines() if line]
    assert response.status_code == 200
    *pieces, last = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert pieces
    assert all(piece["choices"] for piece in pieces)
    assert set(last) == {"error"}
    assert "the dog ate it" in last["error"]["message"]
    assert last["error"]["type"] == "server_error"
    assert_nothing_left(broken.llm)


def test_openais_client_raises_it(broken: Broken) -> None:
    broken.engine.failing = (5, GenerationError("the dog ate it"))
    stream = broken.openai.chat.completions.create(
        model=TINY, messages=HI, max_tokens=400, stream=True, extra_body={"ignore_eos": True}
    )
    with pytest.raises(openai.APIError, match="the dog ate it"):
        for _ in stream:
            pass
    broken.engine.failing = None
    assert broken.openai.chat.completions.create(model=TINY, messages=HI, max_tokens=2).choices


def test_one_failed_answer_ends_the_others_of_its_request(broken: Broken) -> None:
    broken.engine.failing = (5, GenerationError("the dog ate it"))
    answer = broken.http.post("/v1/completions", json={**LONG, "n": 4})
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "engine_error"
    assert_nothing_left(broken.llm)


def open_requests(broken: Broken, pool: ThreadPoolExecutor) -> list[Any]:
    """Requests of every kind, in the engine and at work."""
    broken.engine.step_seconds = 0.01

    def stream() -> list[str]:
        with broken.http.stream("POST", "/v1/completions", json={**LONG, "stream": True}) as response:
            return [line for line in response.iter_lines() if line]

    kinds: list[Callable[[], Any]] = [
        stream,
        lambda: broken.http.post("/v1/completions", json=LONG),
        lambda: broken.http.post("/v1/completions", json={**LONG, "n": 3, "prompt": ["a", "b"]}),
        lambda: broken.http.post(
            "/v1/chat/completions",
            json={"model": TINY, "messages": HI, "max_tokens": 400, "ignore_eos": True},
        ),
    ]
    futures = [pool.submit(kind) for kind in kinds]
    seconds_until(lambda: requests_in(broken.llm) == 9)
    return futures


def test_when_the_engine_dies_everyone_is_told(broken: Broken) -> None:
    with ThreadPoolExecutor(8) as pool:
        stream, *plain = open_requests(broken, pool)
        broken.engine.error = BackendError("the ground opened")
        began = time.monotonic()
        last = json.loads(stream.result(10)[-1].removeprefix("data: "))
        assert "the ground opened" in last["error"]["message"]
        for future in plain:
            answer = future.result(10)
            assert answer.status_code == 500
            assert "the ground opened" in answer.json()["error"]["message"]
            assert answer.json()["error"]["type"] == "server_error"
        assert time.monotonic() - began < AT_ONCE_SECONDS
    check_that_it_says_so(broken, "the ground opened")


def test_an_error_that_is_not_ours_is_no_different(broken: Broken) -> None:
    with ThreadPoolExecutor(8) as pool:
        stream, *plain = open_requests(broken, pool)
        broken.engine.error = ZeroDivisionError("of all things")
        assert '"error"' in stream.result(10)[-1]
        assert [future.result(10).status_code for future in plain] == [500] * 3
    check_that_it_says_so(broken, "of all things")


def test_events_that_cannot_be_taken_are_no_different(broken: Broken) -> None:
    """The other thread of the two dies."""
    with ThreadPoolExecutor(8) as pool:
        stream, *plain = open_requests(broken, pool)
        broken.engine.deaf = BackendError("the line is cut")
        assert "the line is cut" in stream.result(10)[-1]
        assert [future.result(10).status_code for future in plain] == [500] * 3
    check_that_it_says_so(broken, "the line is cut")


def check_that_it_says_so(broken: Broken, reason: str) -> None:
    """New requests are refused at once, and whoever looks after the server learns why."""
    posts = {
        "/v1/completions": LONG,
        "/v1/chat/completions": {"model": TINY, "messages": HI, "stream": True},
        "/v1/embeddings": {"model": TINY, "input": "hi"},
    }
    for path, body in posts.items():
        began = time.monotonic()
        answer = broken.http.post(path, json=body)
        assert time.monotonic() - began < AT_ONCE_SECONDS
        assert answer.status_code in (500, 503), path
        assert reason in answer.json()["error"]["message"], path
    health = broken.http.get("/health")
    assert health.status_code == 503
    assert health.json()["status"] == "failed"
    assert reason in health.json()["reason"]
    metrics = broken.http.get("/metrics")
    assert metrics.status_code == 200
    assert "ruvllm:http_requests_total{" in metrics.text
    for path in ("/v1/models", "/v1/cache", "/openapi.json", f"/v1/models/{TINY}"):
        assert broken.http.get(path).status_code == 200, path
    # What needs no engine goes on.
    assert broken.http.post("/tokenize", json={"model": TINY, "prompt": "hi"}).status_code == 200


def test_who_waits_in_the_queue_is_told_too(broken: Broken) -> None:
    """More requests than run at once, and some that are in a call to the engine's thread."""
    broken.engine.step_seconds = 0.05
    with ThreadPoolExecutor(16) as pool:
        body = {**LONG, "n": 16}
        answers = [pool.submit(broken.http.post, "/v1/completions", json=body) for _ in range(6)]
        seconds_until(lambda: broken.llm.memory_stats().waiting_requests > 0)
        figures = [pool.submit(broken.http.get, "/metrics") for _ in range(4)]
        broken.engine.error = BackendError("the ground opened")
        assert [answer.result(10).status_code for answer in answers] == [500] * 6
        assert [page.result(10).status_code for page in figures] == [200] * 4


def test_requests_that_come_as_it_dies_do_not_hang(broken: Broken) -> None:
    stop = threading.Event()
    statuses: list[int] = []

    def ask() -> None:
        with httpx.Client(base_url=broken.server.url, timeout=10) as client:
            while not stop.is_set():
                statuses.append(client.post("/v1/completions", json={**LONG, "max_tokens": 5}).status_code)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    wait_until(lambda: 200 in statuses)
    broken.engine.error = BackendError("the ground opened")
    wait_until(lambda: 500 in statuses)
    stop.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive(), "a request hangs"
    assert set(statuses) == {200, 500}
