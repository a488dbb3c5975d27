"""A server whose models are loaded and given up by an admin, and what the tests of that ask of it."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from ruvllm import LLM
from ruvllm.serve import ApiKey, KeyRing, ServedModel, ServerSettings, create_app
from ruvllm.serve.pulling import ModelStore
from tests.serve.conftest import TINY
from tests.serve.running import RunningServer, running
from tests.support.faulty_engine import FaultyEngine

__all__ = ["ADMIN", "CONTEXT", "KEYS", "USER", "Gate", "Managed", "managed"]

# No other model of the tests has it.
CONTEXT = 496
ADMIN, USER = "sk-admin-0001", "sk-user-00001"
KEYS = KeyRing([ApiKey.of(ADMIN, tenant="boss"), ApiKey.of(USER, tenant="acme", is_admin=False)])


class Gate:
    """Loads a model when it is let, tells a share meanwhile, and counts how often it was asked to.

    With `step_seconds` each of the model's steps takes so long.
    """

    def __init__(self, path: Path, *, is_open: bool = True) -> None:
        self.open = threading.Event()
        self.asked = 0
        self.failing: Exception | None = None
        self.path = path
        self.model: ServedModel | None = None
        self.step_seconds = 0.0
        if is_open:
            self.open.set()

    def load(self) -> LLM:
        self.asked += 1
        if self.model is not None:
            self.model.loading.note(30, 120)
        assert self.open.wait(20)
        if self.failing is not None:
            raise self.failing
        llm = LLM(self.path, max_context=CONTEXT)
        if self.step_seconds:
            engine: Any = FaultyEngine(llm._loop._engine)
            engine.step_seconds = self.step_seconds
            llm._loop._engine = engine
        return llm

    def served(self, name: str = TINY) -> ServedModel:
        self.model = ServedModel(name, self.load)
        return self.model


class Managed:
    """The server, asked with keys."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self.url = server.url

    def ask(self, method: str, path: str, key: str = ADMIN, **rest: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.request(method, f"{self.url}{path}", headers=headers, timeout=30, **rest)

    def post(self, path: str, key: str = ADMIN, **body: Any) -> httpx.Response:
        return self.ask("POST", path, key, json=body)

    def done(self, path: str, key: str = ADMIN, **body: Any) -> Any:
        answer = self.post(path, key, **body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refused(self, status: int, path: str, key: str = ADMIN, **body: Any) -> Any:
        answer = self.post(path, key, **body)
        assert answer.status_code == status, answer.text
        return answer.json()["error"]

    def says(self, key: str = USER, **body: Any) -> str:
        fields = {"model": TINY, "prompt": "the cat", "max_tokens": 4, "temperature": 0, **body}
        answer = self.done("/v1/completions", key, **fields)
        text: str = answer["choices"][0]["text"]
        return text

    def state(self, name: str = TINY) -> dict[str, Any]:
        listed = self.ask("GET", "/v1/models", USER).json()["data"]
        state: dict[str, Any] = next(one["status"] for one in listed if one["id"] == name)
        return state

    @contextmanager
    def streaming(self, num_tokens: int, key: str = USER) -> Iterator[Callable[[], str]]:
        """An answer that has begun; what is given reads it to its end, and gives its text's end."""
        body = {"model": TINY, "prompt": "a", "max_tokens": num_tokens, "ignore_eos": True, "stream": True}
        headers = {"authorization": f"Bearer {key}"}
        with httpx.stream(
            "POST", f"{self.url}/v1/completions", json=body, headers=headers, timeout=30
        ) as answer:
            lines = answer.iter_lines()
            assert next(lines).startswith("data: ")

            def rest() -> str:
                *_, last = [line for line in lines if line]
                return last

            yield rest


@contextmanager
def managed(
    models: Sequence[ServedModel], *, store: ModelStore | None = None, keys: KeyRing = KEYS, **settings: Any
) -> Iterator[Managed]:
    """The models behind a server."""
    with running(create_app(models, ServerSettings(keys=keys, **settings), store=store)) as server:
        yield Managed(server)
