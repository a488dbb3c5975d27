"""Attention against NumPy in double precision: shared heads, windows, soft caps, any width and set."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ruvllm import ConfigError, _native, kernels
from ruvllm.kernels import AttentionConfig, PagedKvCache

ISAS = _native.System.detect().available_isas
Floats = NDArray[np.float32]


def draw(seed: int, *shape: int) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def reference(queries: Floats, keys: Floats, values: Floats, config: AttentionConfig, start: int) -> Floats:
    """The textbook's softmax over all scores at once."""
    group = config.gqa_ratio()
    output = np.empty(queries.shape)
    for token, head in np.ndindex(queries.shape[:2]):
        position = start + token if config.causal else len(keys) - 1
        first = 0 if config.window is None else max(0, position + 1 - config.window)
        seen = slice(first, position + 1)
        scores = (
            keys[seen, head // group].astype(np.float64) @ queries[token, head] * config.effective_scale()
        )
        if config.soft_cap is not None:
            scores = config.soft_cap * np.tanh(scores / config.soft_cap)
        weights = np.exp(scores - scores.max())
        output[token, head] = weights @ values[seen, head // group].astype(np.float64) / weights.sum()
    return output.astype(np.float32)


configs = st.builds(
    lambda kv_heads, group, head_dim, **rest: AttentionConfig(
        num_heads=kv_heads * group, num_kv_heads=kv_heads, head_dim=head_dim, **rest
    ),
    st.integers(1, 3),
    st.integers(1, 4),
    st.one_of(st.integers(1, 40), st.sampled_from([64, 80, 128])),
    causal=st.booleans(),
    scale=st.one_of(st.none(), st.floats(0.01, 1)),
    soft_cap=st.one_of(st.none(), st.floats(1, 50)),
    window=st.one_of(st.none(), st.integers(1, 60)),
)


@settings(deadline=None, max_examples=80)
@given(configs, st.integers(1, 20), st.integers(0, 300), st.integers(0, 2**32 - 1), st.sampled_from(ISAS))
def test_grouped_queries(config: AttentionConfig, tokens: int, before: int, seed: int, isa: str) -> None:
    queries = draw(seed, tokens, config.num_heads, config.head_dim)
    keys = draw(seed + 1, before + tokens, config.num_kv_heads, config.head_dim)
    values = draw(seed + 2, before + tokens, config.num_kv_heads, config.head_dim)
    expected = reference(queries, keys, values, config, before)
    actual = kernels.grouped_query_attention(queries, keys, values, config, isa=isa)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=3e-5)
    last = kernels.grouped_query_attention(queries[-1], keys, values, config, isa=isa)
    np.testing.assert_array_equal(last, actual[-1])


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 70), st.integers(1, 600), st.integers(0, 2**32 - 1), st.sampled_from(ISAS))
def test_one_query_sees_every_key(head_dim: int, length: int, seed: int, isa: str) -> None:
    query, key, value = (
        draw(seed, head_dim),
        draw(seed + 1, length, head_dim),
        draw(seed + 2, length, head_dim),
    )
    config = AttentionConfig(num_heads=1, num_kv_heads=1, head_dim=head_dim)
    expected = reference(query[None, None], key[:, None], value[:, None], config, length - 1)[0, 0]
    actual = kernels.flash_attention(query, key, value, isa=isa)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=3e-5)
    many = AttentionConfig(num_heads=1, num_kv_heads=1, head_dim=head_dim)
    np.testing.assert_array_equal(
        kernels.multi_query_attention(query[None], key, value, many, isa=isa)[0], actual
    )


def test_queries_in_the_middle() -> None:
    queries, keys, values = draw(1, 3, 2, 16), draw(2, 40, 2, 16), draw(3, 40, 2, 16)
    config = AttentionConfig(num_heads=2, num_kv_heads=2, head_dim=16)
    actual = kernels.flash_attention(queries, keys, values, query_start=7)
    np.testing.assert_allclose(actual, reference(queries, keys, values, config, 7), rtol=0, atol=3e-5)


@pytest.mark.parametrize(
    ("kv_format", "tolerance"),
    [("f32", 3e-5), ("int16", 1e-3), ("int8", 3e-2), ("k8v4", 2e-1), ("q4", 4e-1), ("q3", 8e-1)],
)
def test_blocks_in_any_order(kv_format: str, tolerance: float) -> None:
    config = AttentionConfig(num_heads=6, num_kv_heads=2, head_dim=20)
    cache = PagedKvCache(12, 2, 20, kv_format=kv_format)
    keys, values, queries = draw(1, 70, 2, 20), draw(2, 70, 2, 20), draw(3, 5, 6, 20)
    table = [7, 2, 11, 0, 5]
    for begin, end in [(0, 3), (3, 40), (40, 70)]:
        cache.store(table, begin, keys[begin:end], values[begin:end])
    actual = kernels.paged_attention(queries, cache, table, length=70)
    np.testing.assert_allclose(actual, reference(queries, keys, values, config, 65), rtol=0, atol=tolerance)
    one = kernels.paged_attention(queries[2], cache, table, length=68)
    np.testing.assert_array_equal(one, actual[2])


def turned(rows: Floats) -> Floats:
    """Every four of a head's twenty numbers turned: four is the largest power of two that divides twenty."""
    matrix = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2
    return (rows.reshape(*rows.shape[:-1], 5, 4) @ matrix).reshape(rows.shape).astype(np.float32)


def as_bytes(rows: Floats) -> Floats:
    """What is left of turned rows whose largest magnitude became 127, and the rest whole beside it."""
    rows = turned(rows)
    unit = np.abs(rows).max(axis=-1, keepdims=True) / np.float32(127)
    return turned((np.rint(rows / np.where(unit == 0, 1, unit)) * unit).astype(np.float32))


@pytest.mark.parametrize("isa", ISAS)
def test_blocks_of_bytes_hold_what_rounding_leaves(isa: str) -> None:
    config = AttentionConfig(num_heads=6, num_kv_heads=2, head_dim=20, soft_cap=20.0)
    cache = PagedKvCache(30, 2, 20, kv_format="int8")
    # Tokens and heads differ in size, and one token is all zeros.
    sizes = np.random.default_rng(4).uniform(0.01, 3, (400, 2, 1)).astype(np.float32)
    keys, values = draw(1, 400, 2, 20) * sizes, draw(2, 400, 2, 20) * sizes[::-1]
    keys[7], values[7] = 0, 0
    table = np.random.default_rng(5).permutation(30)[:25].tolist()
    for begin, end in [(0, 3), (3, 40), (40, 400)]:
        cache.store(table, begin, keys[begin:end], values[begin:end])
    queries = draw(3, 5, 6, 20)
    actual = kernels.paged_attention(queries, cache, table, length=400, soft_cap=20.0, isa=isa)
    rounded = reference(queries, as_bytes(keys), as_bytes(values), config, 395)
    # Queries and weights are integers too, of 16 bits: beside what is lost by bytes that is little.
    np.testing.assert_allclose(actual, rounded, rtol=0, atol=1e-3)
    given = reference(queries, keys, values, config, 395)
    assert np.square(actual - rounded).mean() < 0.1**2 * np.square(actual - given).mean()
    assert 1e-4 < np.abs(actual - given).max() < 0.01 * np.abs(values).max()
    one = kernels.paged_attention(queries[2], cache, table, length=398, soft_cap=20.0, isa=isa)
    np.testing.assert_array_equal(one, actual[2])


def test_bytes_of_a_block() -> None:
    names = ("f32", "int16", "int8", "k8v4", "q4", "q3")
    sizes = {name: PagedKvCache(1, 3, 64, kv_format=name).block_bytes for name in names}
    # Keys and values of sixteen tokens; beside integers a scale of four bytes for each, or of one.
    scales = 3 * 2 * 16 * 4
    assert sizes == {
        "f32": 4 * 6144,
        "int16": 2 * 6144 + scales,
        "int8": 6144 + scales,
        "k8v4": 4608 + scales,
        "q4": 3072 + scales,
        "q3": 2304 + scales // 4,
    }


def test_the_documented_config() -> None:
    config = AttentionConfig()
    assert (config.num_heads, config.num_kv_heads, config.head_dim, config.causal) == (32, 8, 128, True)
    assert config.gqa_ratio() == 4
    assert config.effective_scale() == pytest.approx(1 / np.sqrt(128))
    assert AttentionConfig(scale=0.5).effective_scale() == 0.5


def test_what_does_not_fit_is_refused_by_name() -> None:
    x, config = draw(0, 4, 2, 8), AttentionConfig(num_heads=2, num_kv_heads=2, head_dim=8)
    cache = PagedKvCache(2, 2, 8)
    refused = {
        "num_heads is 3": lambda: AttentionConfig(num_heads=3, num_kv_heads=2),
        "head_dim is 0": lambda: AttentionConfig(head_dim=0),
        "scale is nan": lambda: AttentionConfig(scale=float("nan")),
        "window is 0": lambda: AttentionConfig(window=0),
        "soft_cap is -1": lambda: AttentionConfig(soft_cap=-1.0),
        "query has the type float64": lambda: kernels.flash_attention(x.astype(np.float64), x, x),
        "key has the shape": lambda: kernels.flash_attention(x, x[0], x),
        "values has the shape": lambda: kernels.flash_attention(x, x, x[:3]),
        "queries has the shape": lambda: kernels.grouped_query_attention(x[:, :1].copy(), x, x, config),
        "query is strided": lambda: kernels.flash_attention(x[:, ::2], x, x),
        "query_start is 1": lambda: kernels.flash_attention(x, x, x, query_start=1),
        "multi-query attention has 1": lambda: kernels.multi_query_attention(x[0], x[:, 0], x[:, 0], config),
        "num_blocks is 0": lambda: PagedKvCache(0, 1, 8),
        "position is -1": lambda: cache.store([0], -1, x, x),
        "block 2 is not among 2": lambda: cache.store([2], 0, x, x),
        "block 1 stands there twice": lambda: cache.store([1, 1], 0, x, x),
        "17 positions need 2 blocks": lambda: cache.store([1], 13, x, x),
        "length is 3": lambda: kernels.paged_attention(x, cache, [0], length=3),
        "kv_format": lambda: PagedKvCache(1, 1, 8, kv_format="q5"),
    }
    for message, call in refused.items():
        with pytest.raises(ConfigError) as caught:
            call()
        assert message in str(caught.value), message
