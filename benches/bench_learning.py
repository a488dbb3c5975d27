"""Learning while serving: an update from captured states, and a token with capture on or what was learned."""

from typing import Any

import pytest

from benches.conftest import report_rate
from benches.learning import ANSWER, BUSY, MADE, PROMPT
from benches.workloads import token_ids
from ruvllm import LLM, SonaLlm, SonaLlmConfig


@pytest.mark.benchmark(group="learning_update")
def bench_update(benchmark: Any, llm: LLM) -> None:
    """Of an answer of 64 tokens, up and down in turn."""
    sona = SonaLlm(llm, SonaLlmConfig(sona=BUSY), tenant="update")
    answer = sona.generate(token_ids(PROMPT, llm.model_info.vocab_size), MADE)
    turns = iter(range(1 << 30))
    benchmark(lambda: sona.feedback(answer.completion_id, next(turns) % 2))
    report_rate(benchmark, "updates_per_second", 1)


@pytest.mark.benchmark(group="learning_decode")
@pytest.mark.parametrize("tenant", ["none", "capture", "learned"])
def bench_decode(benchmark: Any, llm: LLM, tenant: str) -> None:
    """Without learning, with capture, and with an adapter too."""
    prompt = token_ids(PROMPT, llm.model_info.vocab_size)
    if tenant != "none":
        sona = SonaLlm(llm, tenant=tenant)
        if tenant == "learned":
            sona.feedback(sona.generate(prompt, MADE).completion_id, 1.0)
    benchmark.pedantic(lambda: llm.generate(prompt, MADE, tenant=tenant), rounds=5, warmup_rounds=1)
    report_rate(benchmark, "tokens_per_second", ANSWER)
