"""What 64 streams over a tape leave behind: nothing that grows with the tokens they make."""

import asyncio
from pathlib import Path

from benches import replay
from benches.replay_backend import replay_backend
from ruvllm import LLM, AsyncEngine
from tests.conftest import FIXTURES

TINY = FIXTURES / "gguf" / "llama-gqa.gguf"


def test_every_token_of_every_stream_is_counted() -> None:
    requests = [([1, 2, 3 + number % 5], replay.exactly(1 + number % 4)) for number in range(100)]

    async def run(llm: LLM) -> list[int]:
        return [tokens async for tokens in replay.serve(AsyncEngine(llm), requests, 7)]

    with replay_backend(), LLM(TINY, backend="replay:seed=1") as llm:
        made = asyncio.run(run(llm))
    assert sorted(made) == sorted(params.max_tokens for _, params in requests)


def test_memory_stays_where_it_is(smollm2_path: Path) -> None:
    """A part of `make bench-replay`: once the cache is full, before its half, nothing is kept of a token.

    What allocators do now and then stands beside fewer tokens here than in the whole one.
    """
    with replay_backend():
        growth = replay.load(smollm2_path, "many tokens", answer=100, tokens=20_000, requests=1 << 60)
    assert growth is None or growth < 100
