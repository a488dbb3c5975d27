"""The operations between products: norm, rotary embedding, softmax, gated activation."""

from typing import Any

import numpy as np
import pytest

from benches.conftest import report_rate
from ruvllm import kernels

HIDDEN, FEED_FORWARD, VOCABULARY = 2048, 8192, 262_144
HEADS, HEAD_DIM = 32, 64


def normal(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Random values, the same ones every time."""
    return np.random.default_rng(1).standard_normal(shape, dtype=np.float32)


@pytest.mark.benchmark(group="rms_norm")
@pytest.mark.parametrize("tokens", [1, 512])
def bench_rms_norm(benchmark: Any, tokens: int) -> None:
    """Rows of 2048."""
    benchmark(kernels.rms_norm, normal(tokens, HIDDEN), normal(HIDDEN))
    report_rate(benchmark, "values_per_second", tokens * HIDDEN)


@pytest.mark.benchmark(group="rope")
@pytest.mark.parametrize("tokens", [1, 512])
def bench_rope(benchmark: Any, tokens: int) -> None:
    """32 heads of 64; the angles are computed too."""
    positions = np.arange(tokens)
    benchmark(kernels.rope, normal(tokens, HEADS, HEAD_DIM), positions)
    report_rate(benchmark, "values_per_second", tokens * HEADS * HEAD_DIM)


@pytest.mark.benchmark(group="gate")
@pytest.mark.parametrize("activation", ["silu", "gelu"])
@pytest.mark.parametrize("tokens", [1, 512])
def bench_gate(benchmark: Any, tokens: int, activation: str) -> None:
    """Rows of 8192."""
    gate, up = normal(tokens, FEED_FORWARD), normal(tokens, FEED_FORWARD)
    benchmark(kernels.gate, gate, up, activation)
    report_rate(benchmark, "values_per_second", tokens * FEED_FORWARD)


@pytest.mark.benchmark(group="softmax")
def bench_softmax(benchmark: Any) -> None:
    """Over Gemma's vocabulary, as a sampler does."""
    benchmark(kernels.softmax, normal(1, VOCABULARY))
    report_rate(benchmark, "values_per_second", VOCABULARY)
