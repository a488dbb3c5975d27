"""A request gets the same tokens whatever happens around it: what makes caching and batching safe."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ruvllm import LLM, Dry, DynamicTemperature, GenerateParams, Mirostat, Xtc
from ruvllm.config import Limits, PrefixCacheConfig

STORY = "Once upon a time there was a lighthouse keeper who collected old maps of the sea. " * 3
QUESTIONS = [f"On day {number} he found a map of island {number * 7}, and then" for number in range(16)]
GREEDY = GenerateParams(temperature=0.0, max_tokens=24, ignore_eos=True)
DRAWN = GenerateParams(temperature=1.0, top_p=1.0, seed=11, max_tokens=24, ignore_eos=True)
# What looks back, what remembers from token to token, and what throws a coin.
SAMPLERS = replace(
    DRAWN,
    dry=Dry(allowed_length=1),
    xtc=Xtc(threshold=0.02),
    dynamic_temperature=DynamicTemperature(range=0.5),
    mirostat=Mirostat(tau=4, eta=0.3),
    typical_p=0.95,
    top_n_sigma=3,
)
WAYS = {"greedy": GREEDY, "drawn": DRAWN, "samplers": SAMPLERS}
# What each model gives each way, asked once.
ALONE: dict[tuple[Path, GenerateParams], list[tuple[int, ...]]] = {}


@pytest.fixture(params=[pytest.param(name, id=name) for name in WAYS])
def params(request: pytest.FixtureRequest) -> GenerateParams:
    return WAYS[request.param]


@pytest.fixture(scope="module", params=["tiny", pytest.param("smollm2", marks=pytest.mark.real_model)])
def path(request: pytest.FixtureRequest) -> Path:
    if request.param == "tiny":
        return Path(__file__).parents[1] / "fixtures" / "gguf" / "llama-gqa.gguf"
    return request.getfixturevalue("smollm2_path")


@pytest.fixture
def llm(path: Path) -> Iterator[LLM]:
    with LLM(path, max_context=512) as llm:
        yield llm


def prompts(llm: LLM) -> list[list[int]]:
    return [llm.tokenize(STORY + question)[:400] for question in QUESTIONS]


def alone(llm: LLM, params: GenerateParams) -> list[tuple[int, ...]]:
    """What each prompt gives by itself, computed from its first token to its last."""
    fresh = replace(params, cache_prefix=False)
    key = (llm.model_info.path, fresh)
    if key not in ALONE:
        answers = [llm.generate(prompt, fresh) for prompt in prompts(llm)]
        assert all(answer.usage.cached_tokens == 0 and answer.usage.cache_miss is None for answer in answers)
        ALONE[key] = [answer.token_ids for answer in answers]
    return ALONE[key]


def together(llm: LLM, params: GenerateParams) -> list[tuple[int, ...]]:
    return [answer.token_ids for answer in llm.generate(prompts(llm), params)]


def each_more_urgent(llm: LLM, params: GenerateParams) -> list[tuple[int, ...]]:
    """Each of a higher priority than those that make their answers, and for which it leaves no room."""
    streams, begun = [], []
    for index, prompt in enumerate(prompts(llm)):
        streams.append(llm.stream(prompt, params, priority=index))
        begun.append(next(streams[-1]))
    wholes = [[chunk, *stream] for chunk, stream in zip(begun, streams, strict=True)]
    return [tuple(token for chunk in chunks for token in chunk.token_ids) for chunks in wholes]


def test_batched_with_fifteen_others(llm: LLM, params: GenerateParams) -> None:
    assert together(llm, replace(params, cache_prefix=False)) == alone(llm, params)


def test_cached_and_partly_cached(llm: LLM, params: GenerateParams) -> None:
    expected = alone(llm, params)
    partly = [llm.generate(prompt, params) for prompt in prompts(llm)]
    assert [answer.token_ids for answer in partly] == expected
    shared = min(answer.usage.cached_tokens for answer in partly[1:])
    assert shared >= 40, "the story was computed again"
    wholly = [llm.generate(prompt, params) for prompt in prompts(llm)]
    assert [answer.token_ids for answer in wholly] == expected
    assert all(answer.usage.cached_tokens == answer.usage.prompt_tokens - 1 for answer in wholly)
    assert together(llm, params) == expected


def test_begun_together_with_the_same_uncached_prefix(llm: LLM, params: GenerateParams) -> None:
    expected = alone(llm, params)
    assert together(llm, params) == expected
    stats = llm.prefix_cache.stats()
    assert stats.reused_tokens >= 15 * 40, "the story was computed more than once"


def test_after_eviction(path: Path, params: GenerateParams) -> None:
    with LLM(path, max_context=512) as llm:
        expected = alone(llm, params)
        budget = llm.pool_stats().block_bytes * 33
    config = PrefixCacheConfig(high_watermark=0.6, low_watermark=0.5)
    with LLM(path, max_context=512, kv_cache_bytes=budget, prefix_cache=config) as llm:
        for _ in range(2):
            assert [llm.generate(prompt, params).token_ids for prompt in prompts(llm)] == expected
        assert llm.prefix_cache.stats().evictions > 0


@pytest.mark.parametrize("swap_bytes", [0, None])
@pytest.mark.parametrize("cache_prefix", [True, False])
def test_after_preemption(
    path: Path, params: GenerateParams, swap_bytes: int | None, cache_prefix: bool
) -> None:
    with LLM(path, max_context=512) as llm:
        if llm.model_info.num_layers < 10:
            # The tiny model would have made a short answer before the next request could disturb it.
            params = replace(params, max_tokens=500 - max(map(len, prompts(llm))))
        expected = alone(llm, params)
        longest = max(map(len, prompts(llm))) + params.max_tokens
        # Four prompts fit, their answers do not.
        block_bytes = llm.pool_stats().block_bytes
        budget = block_bytes * (1 + 4 * -(-(longest - params.max_tokens) // 16))
    config = PrefixCacheConfig(swap_bytes=swap_bytes)
    limits = Limits(growth_tokens=0, max_running=2)
    with LLM(path, max_context=longest, kv_cache_bytes=budget, prefix_cache=config, limits=limits) as llm:
        # On a fast machine an answer may be made before the next request comes.
        for _ in range(20):
            assert each_more_urgent(llm, replace(params, cache_prefix=cache_prefix)) == expected
            stats = llm.memory_stats()
            if stats.preemptions:
                break
        assert stats.preemptions > 0, "nobody was set aside, so the test shows nothing"
        pool = llm.pool_stats()
        assert pool.free_blocks + pool.cached_blocks == pool.total_blocks
        assert pool.swapped_bytes == 0


def test_after_a_restart_with_a_saved_cache(path: Path, params: GenerateParams, tmp_path: Path) -> None:
    with LLM(path, max_context=512) as llm:
        expected = alone(llm, params)
        together(llm, params)
        entries = llm.prefix_cache.save(tmp_path / "prefixes")
        assert entries == llm.prefix_cache.stats().entries > 0
    with LLM(path, max_context=512) as llm:
        loaded = llm.prefix_cache.load(tmp_path / "prefixes")
        assert loaded.entries == loaded.entries_in_file == entries
        answers = [llm.generate(prompt, params) for prompt in prompts(llm)]
        assert [answer.token_ids for answer in answers] == expected
        assert all(answer.usage.cached_tokens == answer.usage.prompt_tokens - 1 for answer in answers)
