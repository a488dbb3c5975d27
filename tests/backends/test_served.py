"""The same commands, server and classes on every engine."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from ruvllm import LLM, AsyncEngine, BatchInference, ChatSession, ConfigError, GenerateParams, RagPipeline
from ruvllm.serve import create_app
from tests.backends.conftest import ENGINES
from tests.serve.running import RunningServer, running

GREEDY: dict[str, Any] = {"temperature": 0.0, "top_p": 1.0, "repetition_penalty": 1.0, "max_tokens": 6}
MESSAGES = [{"role": "user", "content": 'Say <b>one</b> & "two" {{ three }}.'}]


@pytest.fixture(scope="module")
def native_text(tiny_path: Path) -> str:
    """What the native engine answers; the weights are F32, so all others answer the same."""
    with LLM(tiny_path, progress=False) as llm:
        return llm.chat(MESSAGES, **GREEDY).text


@pytest.fixture(scope="module")
def server(engine: LLM) -> Iterator[RunningServer]:
    with running(create_app({"tiny": engine})) as server:
        yield server


@pytest.fixture
def client(server: RunningServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.api, api_key="none", max_retries=0) as client:
        yield client


def test_chat(client: openai.OpenAI, native_text: str) -> None:
    asked: Any = {"model": "tiny", "messages": MESSAGES, "temperature": 0, "max_tokens": 6}
    answer = client.chat.completions.create(**asked)
    assert answer.choices[0].message.content == native_text
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 6
    pieces = [
        one.choices[0].delta.content or "" for one in client.chat.completions.create(**asked, stream=True)
    ]
    assert "".join(pieces) == native_text


def test_what_it_cannot_is_a_400_that_names_it(engine: LLM, client: openai.OpenAI) -> None:
    if engine.supports.seed:
        return
    for stream in (False, True):
        asked: Any = {"model": "tiny", "messages": MESSAGES, "seed": 3, "stream": stream}
        with pytest.raises(openai.BadRequestError, match=f"'{engine.backend}' has no seed"):
            list(client.chat.completions.create(**asked))


@pytest.mark.parametrize(
    ("path", "body", "flag"),
    [
        ("/v1/embeddings", {"input": "one"}, "evaluations"),
        (
            "/v1/chat/completions",
            {"messages": MESSAGES, "response_format": {"type": "json_object"}},
            "grammar",
        ),
    ],
)
def test_routes_that_it_has_nothing_for(
    engine: LLM, server: RunningServer, path: str, body: dict[str, Any], flag: str
) -> None:
    answer = httpx.post(
        f"{server.url}{path}", json={"model": "tiny", "temperature": 0, "max_tokens": 4, **body}
    )
    if getattr(engine.supports, flag):
        assert answer.status_code == 200, answer.text
    else:
        assert answer.status_code == 400
        assert engine.backend in answer.json()["error"]["message"]


def test_health_metrics_and_models(server: RunningServer) -> None:
    for path in ("/health", "/metrics", "/v1/models", "/server_info"):
        assert httpx.get(f"{server.url}{path}").status_code == 200, path
    assert "ruvllm:num_requests_running" in httpx.get(f"{server.url}/metrics").text


def test_a_client_that_goes_away_ends_its_answer(engine: LLM, server: RunningServer) -> None:
    body = {"model": "tiny", "messages": MESSAGES, "stream": True, "max_tokens": 300, "ignore_eos": True}
    with httpx.stream("POST", f"{server.url}/v1/chat/completions", json=body) as answer:
        next(answer.iter_lines())
    for _ in range(400):
        if not engine.memory_stats().running_requests:
            return
        asyncio.run(asyncio.sleep(0.05))
    pytest.fail("the answer goes on")


def test_session_batch_and_rag(engine: LLM, native_text: str) -> None:
    params = GenerateParams(**GREEDY)
    session = ChatSession(engine, params=params)
    assert session.send(MESSAGES[0]["content"]).text == native_text
    assert len(session.send("And two?").text) > 0
    batch = BatchInference(engine, "Answer.", chat=True, params=params)
    question = MESSAGES[0]["content"]
    first, again = batch.run([question, question])
    assert first.token_ids == again.token_ids
    assert first.finish_reason == "length"
    pipeline = RagPipeline(engine, params=params)
    pipeline.add_document("The terms of the licence are short.")
    assert pipeline.query("What are the terms?").completion.token_ids


@pytest.mark.parametrize("name", ENGINES)
def test_async_engine(name: str, tiny_path: Path, native_text: str) -> None:
    async def ask() -> list[str]:
        async with AsyncEngine(tiny_path, backend=name, progress=False) as engine:
            answers = [engine.chat(MESSAGES, **GREEDY) for _ in range(3)]
            return [one.text for one in await asyncio.gather(*answers)]

    assert asyncio.run(ask()) == [native_text] * 3


def ruvllm(outside: Path, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    path = os.pathsep.join([str(outside), *filter(None, sys.path)])
    return subprocess.run(
        [sys.executable, "-m", "ruvllm", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "RUVLLM_THREADS"}
        # The flag's variable would be refused by an engine that has no threads to set.
        | {"PYTHONPATH": path, "RAYON_NUM_THREADS": "1"},
    )


@pytest.mark.parametrize("name", ENGINES)
def test_the_commands(name: str, outside: Path, tiny_path: Path, native_text: str) -> None:
    """Flag by flag the same; numbers of `bench` are somebody else's matter."""
    on = ("--backend", name, "--temperature", "0", "--top-p", "1", "--repetition-penalty", "1")
    question = MESSAGES[0]["content"]
    told = ruvllm(outside, "run", str(tiny_path), question, "-n", "6", *on, "--json")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["text"] == native_text
    told = ruvllm(outside, "chat", str(tiny_path), "-n", "6", *on, stdin=f"{question}\n")
    assert told.returncode == 0, told.stderr
    assert told.stdout.strip() == native_text.strip()
    told = ruvllm(
        outside, "bench", str(tiny_path), "-p", "8", "-g", "4", "-r", "1", "--backend", name, "--json"
    )
    assert told.returncode == 0, told.stderr
    rows = json.loads(told.stdout)["results"]
    assert [row["test"] for row in rows] == ["pp8", "tg4"]
    assert all(row["tokens_per_second"] > 0 for row in rows)


def test_a_backend_that_is_not_installed_says_what_to_install(
    tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    with pytest.raises(ConfigError, match=r"pip install 'ruvllm\[mistralrs\]'"):
        LLM(tiny_path, backend="mistralrs", progress=False)


def test_a_plain_import_knows_nothing_of_others(tiny_path: Path) -> None:
    program = (
        "import sys; from ruvllm import LLM, DeviceType, ModelConfig\n"
        f"LLM({str(tiny_path)!r}, config=ModelConfig(), progress=False).close()\n"
        "print([one for one in sys.modules if 'mistralrs' in one or one == 'importlib.metadata'])"
    )
    path = os.pathsep.join(filter(None, sys.path))
    told = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert told.stdout.strip() == "[]"
