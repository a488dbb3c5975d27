"""Prefill and decode through the public interface, as a caller feels them."""

from typing import Any

import pytest

from benches.conftest import report_rate
from benches.workloads import exactly, token_ids
from ruvllm import LLM
from ruvllm.runtime.streams import CompletionStream

ROUNDS = 3
GENERATED_TOKENS = 32

pytestmark = [pytest.mark.real_model, pytest.mark.timeout(600)]


def start(llm: LLM, prompt_tokens: int, max_tokens: int) -> CompletionStream:
    """A greedy answer of exactly so many tokens, begun."""
    prompt = token_ids(prompt_tokens, llm.model_info.vocab_size)
    params = exactly(max_tokens)
    return llm.stream(prompt, params)


def finish(stream: CompletionStream, prompt_tokens: int, max_tokens: int) -> None:
    """The rest of the answer, which must be what was asked for."""
    usage = stream.completion().usage
    assert (usage.prompt_tokens, usage.cached_tokens) == (prompt_tokens, 0)
    assert usage.completion_tokens == max_tokens


@pytest.mark.benchmark(group="prefill")
@pytest.mark.parametrize("prompt_tokens", [32, 128, 512, 2048])
def bench_prefill(benchmark: Any, llm: LLM, prompt_tokens: int) -> None:
    """Until the first token after so many others."""

    def prefill() -> None:
        finish(start(llm, prompt_tokens, 1), prompt_tokens, 1)

    benchmark.pedantic(prefill, rounds=ROUNDS, warmup_rounds=1 if prompt_tokens < 2048 else 0)
    report_rate(benchmark, "tokens_per_second", prompt_tokens)


@pytest.mark.benchmark(group="decode")
@pytest.mark.parametrize("context", [16, 512, 2048])
def bench_decode(benchmark: Any, llm: LLM, context: int) -> None:
    """32 tokens one by one after a context of so many; its prefill is not timed."""

    def prefill() -> tuple[tuple[CompletionStream, int, int], dict[str, Any]]:
        stream = start(llm, context, GENERATED_TOKENS + 1)
        next(stream)
        return (stream, context, GENERATED_TOKENS + 1), {}

    benchmark.pedantic(finish, setup=prefill, rounds=ROUNDS, warmup_rounds=1 if context < 2048 else 0)
    report_rate(benchmark, "tokens_per_second", GENERATED_TOKENS)
