"""Attention of one layer: one query as in decode, many as in prefill; heads of SmolLM2 and of an 8B Llama."""

from typing import Any

import numpy as np
import pytest

from benches.conftest import report_rate
from ruvllm import kernels

SHAPES = {
    "smollm2": kernels.AttentionConfig(num_heads=9, num_kv_heads=3, head_dim=64),
    "llama-8b": kernels.AttentionConfig(num_heads=32, num_kv_heads=8, head_dim=128),
}
PREFILL_CONTEXT, PREFILL_TOKENS = 1024, 256

shapes = pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES.keys())


def normal(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Random values, the same ones every time."""
    return np.random.default_rng(1).standard_normal(shape, dtype=np.float32)


def operations(config: kernels.AttentionConfig, pairs: int) -> int:
    """Multiplications and additions for so many pairs of a query and a key, in every head."""
    return 4 * pairs * config.num_heads * config.head_dim


@pytest.mark.benchmark(group="attention decode")
@pytest.mark.parametrize("context", [512, 2048, 8192])
@pytest.mark.parametrize("kv_format", ["int16", "int8", "k8v4", "q4", "q3"])
@shapes
def bench_decode(benchmark: Any, config: kernels.AttentionConfig, context: int, kv_format: str) -> None:
    """One query over blocks, which are read where they are."""
    blocks = context // kernels.PagedKvCache.block_tokens
    cache = kernels.PagedKvCache(blocks, config.num_kv_heads, config.head_dim, kv_format=kv_format)
    # The blocks of a sequence stand in any order.
    table = np.random.default_rng(2).permutation(blocks).tolist()
    rows = normal(context, config.num_kv_heads, config.head_dim)
    cache.store(table, 0, rows, rows)
    query = normal(config.num_heads, config.head_dim)
    benchmark(kernels.paged_attention, query, cache, table, length=context)
    report_rate(benchmark, "cache_bytes_per_second", blocks * cache.block_bytes)


@pytest.mark.benchmark(group="attention prefill")
@shapes
def bench_prefill(benchmark: Any, config: kernels.AttentionConfig) -> None:
    """The last 256 queries of 1024 positions, keys and values laid into blocks first."""
    queries = normal(PREFILL_TOKENS, config.num_heads, config.head_dim)
    rows = normal(PREFILL_CONTEXT, config.num_kv_heads, config.head_dim)
    result = benchmark(kernels.grouped_query_attention, queries, rows, rows, config)
    assert np.isfinite(result).all()
    before = PREFILL_CONTEXT - PREFILL_TOKENS
    pairs = PREFILL_TOKENS * before + PREFILL_TOKENS * (PREFILL_TOKENS + 1) // 2
    report_rate(benchmark, "operations_per_second", operations(config, pairs))


@pytest.mark.benchmark(group="attention flash")
def bench_flash_one_head(benchmark: Any) -> None:
    """One query and one head over 2048 positions, as the documented function has it."""
    rows = normal(2048, 64)
    benchmark(kernels.flash_attention, normal(64), rows, rows)
    report_rate(benchmark, "operations_per_second", 4 * 2048 * 64)
