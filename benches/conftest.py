"""What the benchmarks share: the model, how a rate is reported."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from ruvllm import LLM

MODEL = os.environ.get("RUVLLM_BENCH_MODEL", "smollm2-135m")
THREADS = int(os.environ.get("RUVLLM_BENCH_THREADS", "0")) or None


@pytest.fixture(scope="session")
def llm() -> Iterator[LLM]:
    """The benchmarked model: RUVLLM_BENCH_MODEL on RUVLLM_BENCH_THREADS threads."""
    with LLM(MODEL, threads=THREADS) as model:
        yield model


def report_rate(benchmark: Any, name: str, amount: float) -> None:
    """Notes `amount` divided by the median time beside the times themselves."""
    if not benchmark.disabled:
        benchmark.extra_info[name] = round(amount / benchmark.stats.stats.median, 1)
