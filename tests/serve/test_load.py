"""Many clients at the same time, some of which leave: every answer comes, nothing stays behind."""

import asyncio
import random
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from ruvllm import LLM
from ruvllm.config import Limits
from ruvllm.errors import OverloadedError
from ruvllm.serve import create_app
from ruvllm.serve.errors import api_error
from tests.serve.conftest import REAL, TINY
from tests.serve.raw import assert_nothing_left
from tests.serve.running import RunningServer, running
from tests.support.faulty_engine import faulty

CLIENTS = 32
REQUESTS = 1000
# The whole process with its 32 clients may grow by so much over the requests, once it is warm.
GROWTH_BYTES = 24 * 1024 * 1024
HI: Any = [{"role": "user", "content": "hi"}]


@dataclass
class Tally:
    """What became of the requests."""

    answered: int = 0
    left: int = 0
    failed: list[str] = field(default_factory=list)


class Clients:
    """Thirty-two clients that ask one short thing after the other; one request in ten is abandoned."""

    def __init__(self, server: RunningServer, model: str, seed: int) -> None:
        self._server = server
        self._model = model
        self._random = random.Random(seed)
        self.tally = Tally()

    async def run(self, requests: int) -> None:
        todo = iter(range(requests))
        limits = httpx.Limits(max_connections=CLIENTS)
        async with httpx.AsyncClient(base_url=self._server.url, timeout=60, limits=limits) as client:
            await asyncio.gather(*(self._ask_all(client, todo) for _ in range(CLIENTS)))

    async def _ask_all(self, client: httpx.AsyncClient, todo: Any) -> None:
        for _ in todo:
            try:
                await self._ask(client)
            except httpx.HTTPError as error:
                self.tally.failed.append(repr(error))

    def _request(self) -> tuple[str, dict[str, Any]]:
        pick = self._random
        body: dict[str, Any] = {"model": self._model, "max_tokens": pick.randrange(1, 24)}
        if pick.random() < 0.1:
            return "/v1/embeddings", {"model": self._model, "input": f"number {pick.randrange(50)}"}
        if pick.random() < 0.5:
            return "/v1/chat/completions", {**body, "messages": HI, "n": pick.choice([1, 1, 1, 2])}
        return "/v1/completions", {**body, "prompt": "the cat " * pick.randrange(1, 20)}

    async def _ask(self, client: httpx.AsyncClient) -> None:
        path, body = self._request()
        leaves = self._random.random() < 0.1
        if path != "/v1/embeddings" and self._random.random() < 0.5:
            await self._stream(client, path, {**body, "stream": True}, leaves=leaves)
            return
        work = asyncio.ensure_future(client.post(path, json=body))
        if leaves:
            await asyncio.wait({work}, timeout=self._random.random() * 0.01)
            if work.cancel():
                self.tally.left += 1
                await asyncio.wait({work})
                return
        self._note((await work).status_code)

    async def _stream(
        self, client: httpx.AsyncClient, path: str, body: dict[str, Any], *, leaves: bool
    ) -> None:
        async with client.stream("POST", path, json=body) as response:
            last = ""
            async for line in response.aiter_lines():
                last = line or last
                if leaves:
                    self.tally.left += 1
                    return
            self._note(response.status_code if last == "data: [DONE]" else 0)

    def _note(self, status: int) -> None:
        if status == 200:
            self.tally.answered += 1
        else:
            self.tally.failed.append(str(status))


def beside_the_cache(llm: LLM) -> int:
    """The process's memory but for the prefix cache, which keeps what was answered, up to its own bound."""
    return llm.memory_stats().resident_bytes - llm.prefix_cache.stats().memory_usage_bytes


async def check_load(server: RunningServer, llm: LLM, model: str, requests: int) -> None:
    """Warm up, then ask, and look at what is left."""
    await Clients(server, model, seed=1).run(requests // 2)
    assert_nothing_left(llm)
    before = beside_the_cache(llm)
    clients = Clients(server, model, seed=2)
    await clients.run(requests)
    tally = clients.tally
    assert not tally.failed, tally.failed[:10]
    assert tally.answered + tally.left == requests
    assert tally.left > requests // 30, "too few left to test anything"
    assert_nothing_left(llm)
    grown = beside_the_cache(llm) - before
    assert grown < GROWTH_BYTES, f"the process grew by {grown} bytes, the prefix cache not counted"


@pytest.mark.timeout(180)
async def test_a_thousand_requests_from_thirty_two_clients(
    tiny_server: RunningServer, tiny_chat: LLM
) -> None:
    began = time.monotonic()
    await check_load(tiny_server, tiny_chat, TINY, REQUESTS)
    assert time.monotonic() - began < 120


@pytest.mark.slow
@pytest.mark.real_model
@pytest.mark.timeout(900)
async def test_a_thousand_requests_to_a_real_model(real_server: RunningServer, smollm2: LLM) -> None:
    await check_load(real_server, smollm2, REAL, REQUESTS)


def refused_requests(server: RunningServer) -> int:
    text = httpx.get(f"{server.url}/metrics").text
    return sum(
        int(float(count))
        for count in re.findall(r'^ruvllm:http_requests_total\{.*status="429"\} (\S+)$', text, re.MULTILINE)
    )


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("seconds", "header"), [(0.2, "1"), (7.4, "7"), (83.6, "84")])
def test_a_client_is_told_when_to_come_back(seconds: float, header: str) -> None:
    refused = api_error(OverloadedError.full(waiting=2, retry_after_seconds=seconds))
    assert (refused.status_code, refused.headers) == (429, {"retry-after": header})


async def test_too_many_are_told_to_come_back_and_do(tiny_chat_path: Path) -> None:
    """OpenAI's client comes back by itself after the time that it is told."""
    limits = Limits(max_running=2, max_waiting=4)
    with (
        LLM(tiny_chat_path, limits=limits) as llm,
        faulty(llm) as engine,
        running(create_app({TINY: llm})) as server,
    ):
        engine.step_seconds = 0.005
        refused = []

        async def note(response: httpx.Response) -> None:
            if response.status_code == 429:
                refused.append(response)

        http = openai.DefaultAsyncHttpxClient(event_hooks={"response": [note]})
        async with openai.AsyncOpenAI(
            base_url=server.api, api_key="none", max_retries=20, http_client=http
        ) as client:

            async def ask(number: int) -> str:
                answer = await client.chat.completions.create(
                    model=TINY, messages=HI, max_tokens=5 + number % 5, seed=number
                )
                return answer.choices[0].finish_reason

            reasons = await asyncio.gather(*(ask(number) for number in range(CLIENTS)))
        assert set(reasons) <= {"length", "stop"}
        assert refused, "nobody was refused, so nothing was tested"
        assert refused_requests(server) == len(refused)
        for response in refused:
            assert 1 <= int(response.headers["retry-after"]) <= 60
            assert response.json()["error"]["code"] == "overloaded"
            assert response.json()["error"]["type"] == "rate_limit_error"
        assert_nothing_left(llm)


async def test_an_answer_that_is_refused_takes_the_others_of_its_request_back(tiny_chat_path: Path) -> None:
    limits = Limits(max_running=2, max_waiting=4)
    with LLM(tiny_chat_path, limits=limits) as llm, running(create_app({TINY: llm})) as server:
        body = {"model": TINY, "prompt": "hi", "n": 16, "max_tokens": 400, "ignore_eos": True}
        for stream in (False, True):
            answer = httpx.post(f"{server.api}/completions", json={**body, "stream": stream})
            assert answer.status_code == 429
        assert_nothing_left(llm)
