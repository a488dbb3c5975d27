"""What the benchmarks share: the models and threads they run with, how a rate is reported.

RUVLLM_BENCH_MODEL measures one model only: a name of `benches/files.py`, or what `ruvllm pull` takes.
RUVLLM_BENCH_THREADS measures so many threads only; else one, and as many as the engine takes by itself.
"""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from benches import files
from ruvllm import LLM
from ruvllm._native import System

MODEL = os.environ.get("RUVLLM_BENCH_MODEL")
THREADS = os.environ.get("RUVLLM_BENCH_THREADS")

ALL_THREADS = System.detect().threads
MODELS = [MODEL] if MODEL else list(files.NAMES)
THREAD_COUNTS = [int(THREADS)] if THREADS else sorted({1, ALL_THREADS})


@pytest.fixture(scope="module", params=THREAD_COUNTS, ids=lambda threads: f"{threads}t")
def threads(request: pytest.FixtureRequest) -> int:
    """Threads to compute with."""
    return int(request.param)


@pytest.fixture(scope="module", params=MODELS)
def llm(request: pytest.FixtureRequest, threads: int) -> Iterator[LLM]:
    """Each of the benchmarked models in turn; one that is not there is skipped."""
    if request.param in files.NAMES and files.find(request.param) is None:
        pytest.skip(files.how_to_make(request.param))
    with LLM(files.path_of(request.param), threads=threads) as model:
        yield model


def report_rate(benchmark: Any, name: str, amount: float) -> None:
    """Notes `amount` divided by the median time beside the times themselves."""
    if not benchmark.disabled:
        benchmark.extra_info[name] = round(amount / benchmark.stats.stats.median, 1)
