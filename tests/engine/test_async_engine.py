"""`AsyncEngine`: the same answers as `LLM`, many at once, cancelled by their tasks."""

import asyncio
import time

import numpy as np
import pytest

from ruvllm import LLM, AsyncEngine, GenerateParams
from ruvllm.errors import InvalidOperationError
from tests.conftest import FIXTURES

PARAMS = GenerateParams(temperature=0.0, max_tokens=12, ignore_eos=True)
TINY = FIXTURES / "gguf" / "llama-gqa.gguf"


async def test_it_gives_what_the_model_gives(tiny_gguf: LLM) -> None:
    engine = AsyncEngine(tiny_gguf)
    prompts = [f"day {number} of the voyage" for number in range(20)]
    answers = await asyncio.gather(*(engine.generate(prompt, PARAMS, tenant="t") for prompt in prompts))
    assert [one.token_ids for one in answers] == [
        tiny_gguf.generate(one, PARAMS).token_ids for one in prompts
    ]
    texts = "".join([chunk.text async for chunk in engine.stream(prompts[0], PARAMS)])
    assert texts == answers[0].text
    assert np.array_equal(await engine.embed(prompts[0]), tiny_gguf.embed(prompts[0]))
    await engine.aclose()
    # It was loaded elsewhere, and goes on.
    assert tiny_gguf.generate(prompts[0], PARAMS).token_ids == answers[0].token_ids


@pytest.mark.real_model
async def test_a_conversation(smollm2: LLM) -> None:
    answer = await AsyncEngine(smollm2).chat("Name a colour.", PARAMS)
    assert answer.token_ids == smollm2.chat("Name a colour.", PARAMS).token_ids


async def test_what_it_loads_it_closes() -> None:
    async with AsyncEngine(TINY, max_context=64) as engine:
        assert engine.llm.model_info.max_context == 64
        await engine.generate("one", PARAMS)
    with pytest.raises(InvalidOperationError, match="closed"):
        await engine.generate("two", PARAMS)


async def test_cancelling_the_task_ends_the_request(tiny_gguf: LLM) -> None:
    engine = AsyncEngine(tiny_gguf)
    long = GenerateParams(temperature=0.0, max_tokens=400, ignore_eos=True)
    task = asyncio.create_task(engine.generate("without end", long))
    while not tiny_gguf.memory_stats().running_requests and not task.done():
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    end = time.monotonic() + 5
    while tiny_gguf.memory_stats().running_requests:
        assert time.monotonic() < end, "it goes on"
        await asyncio.sleep(0.005)
