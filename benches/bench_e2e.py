"""Prefill and decode through the public interface, as a caller feels them."""

from typing import Any

import pytest

from benches.conftest import report_rate
from benches.workloads import token_ids
from ruvllm import LLM, Completion, GenerateParams

PROMPT_TOKENS = 512
GENERATED_TOKENS = 64

pytestmark = [pytest.mark.real_model, pytest.mark.timeout(600)]


def complete(llm: LLM, prompt: list[int], max_tokens: int) -> Completion:
    """A greedy answer of exactly so many tokens."""
    params = GenerateParams(max_tokens=max_tokens, temperature=0.0, repetition_penalty=1.0, ignore_eos=True)
    result = llm.generate(prompt, params)
    assert isinstance(result, Completion)
    assert result.usage.completion_tokens == max_tokens
    return result


@pytest.mark.benchmark(group="prefill")
def bench_prefill_512(benchmark: Any, llm: LLM) -> None:
    """Until the first token after 512 others."""
    prompt = token_ids(PROMPT_TOKENS, llm.model_info.vocab_size)
    benchmark.pedantic(complete, args=(llm, prompt, 1), rounds=5, warmup_rounds=1)
    report_rate(benchmark, "tokens_per_second", PROMPT_TOKENS)


@pytest.mark.benchmark(group="decode")
def bench_decode_64(benchmark: Any, llm: LLM) -> None:
    """64 tokens after a prompt of one."""
    prompt = token_ids(1, llm.model_info.vocab_size)
    benchmark.pedantic(complete, args=(llm, prompt, GENERATED_TOKENS), rounds=5, warmup_rounds=1)
    report_rate(benchmark, "tokens_per_second", GENERATED_TOKENS)
