"""Connections as clients use them: ids, raw answers, many streams at once, kept alive."""

import asyncio
import time

import httpx
import openai
import pytest

from tests.serve.conftest import REAL, TINY
from tests.serve.running import RunningServer


def test_request_ids_are_given_and_kept(tiny, tiny_server: RunningServer) -> None:
    raw = tiny.chat.completions.with_raw_response.create(
        model=TINY, messages=[{"role": "user", "content": "the cat"}], max_tokens=2
    )
    assert raw.headers["x-request-id"].startswith("req_")
    assert raw.parse()._request_id == raw.headers["x-request-id"]
    assert int(raw.headers["openai-processing-ms"]) >= 0
    own = httpx.get(f"{tiny_server.url}/health", headers={"x-request-id": "mine-17"})
    assert own.headers["x-request-id"] == "mine-17"
    made_up = httpx.get(f"{tiny_server.url}/health", headers={"x-request-id": "a b\tc" * 50})
    assert made_up.headers["x-request-id"].startswith("req_")
    lost = httpx.get(f"{tiny_server.url}/nothing", headers={"x-request-id": "mine-18"})
    assert lost.headers["x-request-id"] == "mine-18"


def test_one_connection_serves_request_after_request(tiny_server: RunningServer) -> None:
    body = {"model": TINY, "prompt": "the cat", "max_tokens": 3, "stream": True}
    with httpx.Client(limits=httpx.Limits(max_connections=1)) as client:
        sockets = set()
        for _ in range(3):
            with client.stream("POST", f"{tiny_server.api}/completions", json=body) as response:
                assert list(response.iter_lines())[-2] == "data: [DONE]"
                sockets.add(response.extensions["network_stream"].get_extra_info("client_addr"))
            assert client.get(f"{tiny_server.url}/health").status_code == 200
    assert len(sockets) == 1


@pytest.mark.alone
@pytest.mark.real_model
async def test_sixteen_streams_at_once_keep_apart(real_server: RunningServer) -> None:
    """Each is to go on with its own row of numbers; together they take less than one after the other."""
    prompts = [", ".join(str(start + step) for step in range(6)) + "," for start in range(10, 26)]

    async with openai.AsyncOpenAI(base_url=real_server.api, api_key="none") as client:

        async def ask(prompt: str) -> str:
            chunks = await client.completions.create(
                model=REAL, prompt=prompt, max_tokens=24, temperature=0, stream=True
            )
            return "".join([chunk.choices[0].text async for chunk in chunks])

        began = time.perf_counter()
        alone = [await ask(prompt) for prompt in prompts]
        in_turn = time.perf_counter() - began
        began = time.perf_counter()
        together = await asyncio.gather(*(ask(prompt) for prompt in prompts))
        at_once = time.perf_counter() - began
    assert together == alone
    assert len(set(alone)) == len(prompts)
    assert at_once < in_turn


def test_heads_and_preflights_without_cors(tiny_server: RunningServer) -> None:
    headers = {"origin": "https://example.org", "access-control-request-method": "POST"}
    preflight = httpx.options(f"{tiny_server.api}/chat/completions", headers=headers)
    assert preflight.status_code == 405
    assert "access-control-allow-origin" not in preflight.headers
    answer = httpx.get(f"{tiny_server.url}/health", headers={"origin": "https://example.org"})
    assert "access-control-allow-origin" not in answer.headers
