"""What a request says of the prefix cache: whether it takes part, and from which length on."""

from collections.abc import Iterator

import pytest

from ruvllm import LLM, GenerateParams, Usage
from tests.conftest import FIXTURES


@pytest.fixture
def llm() -> Iterator[LLM]:
    with LLM(FIXTURES / "gguf" / "llama-gqa.gguf", max_context=256) as llm:
        yield llm


def second_time(llm: LLM, tokens: int, **params: int | bool) -> Usage:
    """What a prompt of so many tokens says of the cache when it comes again."""
    settings = GenerateParams(temperature=0.0, max_tokens=1, ignore_eos=True, **params)  # type: ignore[arg-type]
    prompt = [40 + index for index in range(tokens)]
    return [llm.generate(prompt, settings).usage for _ in range(2)][1]


@pytest.mark.parametrize(("tokens", "least", "cached"), [(15, 16, 0), (16, 16, 15), (12, 8, 11), (60, 61, 0)])
def test_shorter_prompts_than_it_says_are_not_cached(llm: LLM, tokens: int, least: int, cached: int) -> None:
    usage = second_time(llm, tokens, min_cache_tokens=least)
    assert usage.cached_tokens == cached
    assert usage.cache_miss == (None if cached else "too_short")
    # Nor was anything kept for others.
    assert (llm.prefix_cache.stats().entries > 0) == bool(cached)


def test_by_default_it_is_sixteen(llm: LLM) -> None:
    assert second_time(llm, 15).cache_miss == "too_short"
    assert second_time(llm, 16).cached_tokens == 15


def test_who_does_not_take_part_has_no_reason_either(llm: LLM) -> None:
    usage = second_time(llm, 60, cache_prefix=False)
    assert (usage.cached_tokens, usage.cache_miss) == (0, None)
    assert llm.prefix_cache.stats().entries == 0


def test_the_pace_of_a_prompt_is_that_of_what_was_computed(llm: LLM) -> None:
    """What came from the cache took no time, and is not counted as if it had."""
    params = GenerateParams(temperature=0.0, max_tokens=1, ignore_eos=True)
    prompt = [40 + index for index in range(60)]
    computed = [llm.generate(prompt, params).timings.computed_prompt_tokens for _ in range(2)]
    assert computed == [60, 1]
