"""What the model held of given tokens, against the logits themselves; and how a task stops waiting for it."""

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from ruvllm import LLM, AsyncEngine, GenerateParams
from ruvllm.errors import ConfigError, OutOfMemoryError
from tests.conftest import FIXTURES
from tests.engine.test_cancelling import LONG, wait_until_free

TEXT = "You may copy and distribute verbatim copies of this license document, but changing it is not allowed."


def log_softmax(logits: np.ndarray) -> np.ndarray:
    exact = logits.astype(np.float64)
    exact -= exact.max(axis=1, keepdims=True)
    return exact - np.log(np.exp(exact).sum(axis=1, keepdims=True))


def check_against_logits(llm: LLM, ids: list[int], count: int) -> None:
    expected = log_softmax(llm.logits(ids))
    entries = llm.token_logprobs(ids, top_logprobs=count)
    assert [entry.token_id for entry in entries] == ids[1:]
    for row, entry in zip(expected, entries, strict=False):
        assert entry.logprob == pytest.approx(row[entry.token_id], abs=1e-5)
        # Equal ones by the lower id, as a stable sort of what falls has it.
        ranked = np.argsort(-row, kind="stable")[:count]
        assert [token for token, _ in entry.top_logprobs] == ranked.tolist()
        np.testing.assert_allclose([value for _, value in entry.top_logprobs], row[ranked], atol=1e-5)
    np.testing.assert_array_equal(llm.score(ids), np.float32([-entry.logprob for entry in entries]))


@pytest.mark.parametrize("count", [0, 1, 5, 20])
def test_they_are_those_of_the_logits(tiny_gguf: LLM, count: int) -> None:
    check_against_logits(tiny_gguf, tiny_gguf.tokenize(TEXT), count)


@pytest.mark.real_model
def test_they_are_those_of_the_logits_of_a_real_model(smollm2: LLM) -> None:
    check_against_logits(smollm2, smollm2.tokenize(TEXT), 20)


def test_they_are_those_of_a_generation(tiny_gguf: LLM) -> None:
    """The second way to the same numbers: tokens asked for their logprobs as they are made. Penalties and
    temperature change which are made, and not what is said of them."""
    ids = tiny_gguf.tokenize(TEXT)
    params = GenerateParams(temperature=1.5, repetition_penalty=1.3, seed=1, max_tokens=8, logprobs=3)
    made = tiny_gguf.generate(ids, params)
    assert made.logprobs is not None
    found = tiny_gguf.token_logprobs([*ids, *made.token_ids], top_logprobs=3)[len(ids) - 1 :]
    for one, other in zip(made.logprobs, found, strict=True):
        assert one.token_id == other.token_id
        assert [token for token, _ in one.top_logprobs] == [token for token, _ in other.top_logprobs]
        assert one.logprob == pytest.approx(other.logprob, abs=1e-4)


async def test_they_do_not_depend_on_what_else_runs(tiny_gguf: LLM) -> None:
    ids = tiny_gguf.tokenize(TEXT)
    alone = [tiny_gguf.token_logprobs(ids[start:], top_logprobs=4) for start in range(6)]
    vectors = tiny_gguf.embed([ids[start:] for start in range(6)])
    engine = AsyncEngine(tiny_gguf)
    noise = [
        asyncio.create_task(engine.generate(f"voyage {number}", GenerateParams(max_tokens=40, seed=number)))
        for number in range(6)
    ]
    scores = [engine.token_logprobs(ids[start:], top_logprobs=4, tenant="t") for start in range(6)]
    embeddings = [engine.embed(ids[start:], priority=start) for start in range(6)]
    assert await asyncio.gather(*scores) == alone
    np.testing.assert_array_equal(await asyncio.gather(*embeddings), vectors)
    np.testing.assert_array_equal(await engine.embed([ids[start:] for start in range(6)]), vectors)
    await asyncio.gather(*noise)


@pytest.mark.real_model
@pytest.mark.parametrize(
    "start",
    [
        lambda engine: engine.token_logprobs(LONG, top_logprobs=5),
        lambda engine: engine.embed(LONG),
        lambda engine: engine.embed([LONG, LONG, LONG]),
    ],
    ids=["token_logprobs", "embed", "embed_many"],
)
async def test_cancelling_the_task_ends_the_request(
    smollm2: LLM, start: Callable[[AsyncEngine], Awaitable[object]]
) -> None:
    async def wait() -> None:
        await start(AsyncEngine(smollm2))

    waiter = asyncio.create_task(wait())
    while not smollm2.memory_stats().running_requests and not waiter.done():
        await asyncio.sleep(0.005)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    # Some seconds of work were ahead.
    await asyncio.to_thread(wait_until_free, smollm2, 1.0)
    assert not smollm2.memory_stats().waiting_requests


async def test_errors_reach_the_task(tiny_gguf: LLM) -> None:
    engine = AsyncEngine(tiny_gguf)
    with pytest.raises(ConfigError, match="scoring needs at least 2"):
        await engine.token_logprobs([5])
    with pytest.raises(ConfigError, match="must be a list of token ids"):
        await engine.token_logprobs("a text")  # type: ignore[arg-type]


def test_a_tenant_pays_for_evaluations() -> None:
    with LLM(FIXTURES / "gguf" / "llama-gqa.gguf") as llm:
        ids = llm.tokenize(TEXT)
        alone = llm.token_logprobs(ids)
        llm.set_quota("small", 1)
        with pytest.raises(OutOfMemoryError, match="quota"):
            llm.token_logprobs(ids, tenant="small")
        with pytest.raises(OutOfMemoryError, match="quota"):
            llm.embed(TEXT, tenant="small")
        assert llm.token_logprobs(ids, tenant="large") == alone
        paid = {one.tenant: one.peak_bytes for one in llm.pool_stats().tenants}
        assert paid["large"] > 0
