"""`TwoTierKvCache` beside a softmax in NumPy and a list of rows: what is read from where, and what goes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import ruvllm._native as _native
from ruvllm import CacheQuantization, ConfigError, KvCacheConfig, KvCacheStats, Precision, TwoTierKvCache

Floats = NDArray[np.float32]
FP32, FP16, Q8, Q4 = Precision.FP32, Precision.FP16, Precision.Q8, Precision.Q4
HEADS, DIM = 2, 32


def config(tail_length: int, tail: Precision = FP16, store: Precision = Q4) -> KvCacheConfig:
    return KvCacheConfig(
        tail_length=tail_length,
        tail_precision=tail,
        store_precision=store,
        migration_batch=16,
        num_kv_heads=HEADS,
        head_dim=DIM,
    )


def draw(seed: int, *shape: int) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def attention(query: Floats, keys: Floats, values: Floats, scale: float) -> Floats:
    """Of query heads that share key-value heads evenly, in f64."""
    group = len(query) // HEADS
    rows = []
    for head, row in enumerate(query.astype(np.float64)):
        scores = keys[:, head // group] @ row * scale
        weights = np.exp(scores - scores.max())
        rows.append(weights / weights.sum() @ values[:, head // group])
    return np.asarray(rows, np.float32)


def matrix() -> Floats:
    """Hadamard's, by doubling."""
    rows = np.ones((1, 1))
    while len(rows) < DIM:
        rows = np.block([[rows, rows], [rows, -rows]])
    return (rows / np.sqrt(DIM)).astype(np.float32)


def as_bytes(rows: Floats) -> Floats:
    """What is left of turned rows whose largest magnitude became 127."""
    turned = rows @ matrix()
    unit = np.abs(turned).max(axis=-1, keepdims=True) / 127
    return (np.rint(turned / unit) * unit @ matrix()).astype(np.float32)


def test_what_left_the_tail_is_rounded_and_the_rest_is_not() -> None:
    cache = TwoTierKvCache(config(40, FP32, Q8))
    keys, values = draw(1, 300, HEADS, DIM), draw(2, 300, HEADS, DIM)
    cache.append(keys, values)
    stats = cache.stats()
    assert (stats.total_tokens, stats.tail_tokens, stats.store_tokens) == (300, 44, 256)
    expected_keys, expected_values = (
        np.concatenate([as_bytes(rows[:256]), rows[256:]]) for rows in (keys, values)
    )
    query = draw(3, 6, DIM)
    exact = attention(query, expected_keys, expected_values, 0.5)
    np.testing.assert_allclose(cache.attend(query, 0.5), exact, rtol=0, atol=2e-4)
    # The two differ by much more than that: of rounding all, and of rounding none.
    for others in ((as_bytes(keys), as_bytes(values)), (keys, values)):
        assert np.abs(attention(query, *others, 0.5) - exact).max() > 1e-3
    for found, expected in zip(cache.get_all_kv(), (expected_keys, expected_values), strict=True):
        # Sums in another order may round a number the other way, and then its head differs a little.
        is_off = np.abs(found - expected).max(axis=-1) > 1e-5
        assert is_off.mean() < 0.01
        assert np.abs(found - expected).max() < 0.02


@pytest.mark.parametrize(
    ("tail", "store", "tolerance"),
    [(FP16, Q4, 0.3), (FP16, Q8, 0.03), (Q8, Q4, 0.3), (FP32, FP16, 1e-3), (FP16, FP32, 1e-3)],
)
def test_attention_over_both_tiers(tail: Precision, store: Precision, tolerance: float) -> None:
    cache = TwoTierKvCache(config(64, tail, store))
    keys, values, query = draw(1, 500, HEADS, DIM), draw(2, 500, HEADS, DIM), draw(3, 4, DIM)
    for row in range(500):
        cache.append(keys[row], values[row])
        if row in (0, 63, 64, 200, 499):
            seen = attention(query, keys[: row + 1], values[: row + 1], DIM**-0.5)
            np.testing.assert_allclose(cache.attend(query), seen, rtol=0, atol=tolerance)


def test_bytes_are_counted_with_scales_and_in_blocks() -> None:
    cache = TwoTierKvCache(KvCacheConfig(tail_length=64, num_kv_heads=8, head_dim=128, migration_batch=16))
    assert cache.stats() == KvCacheStats(
        total_tokens=0, tail_tokens=0, store_tokens=0, tail_bytes=0, store_bytes=0, compression_ratio=1.0
    )
    rows = draw(1, 1600, 8, 128)
    cache.append(rows, rows)
    stats = cache.stats()
    # Sixteen tokens of eight heads: 4 bits a number and two scales of 32 bits; 16 bits a number in the tail.
    assert stats.store_bytes == 100 * 16 * 8 * (128 * 2 // 2 + 2 * 4)
    assert stats.tail_bytes == 4 * 16 * 8 * (128 * 2 * 2 + 2 * 4)
    as_halves = 1600 * 8 * 128 * 2 * 2
    assert stats.compression_ratio == as_halves / (stats.store_bytes + stats.tail_bytes)
    assert stats.compression_ratio > 3.2
    cache.clear()
    assert cache.stats().total_tokens == cache.stats().store_bytes == 0


@given(
    lengths=st.lists(st.integers(1, 70), max_size=12),
    tail=st.integers(0, 220),
    batch=st.integers(1, 70),
    most=st.integers(16, 220),
)
@settings(max_examples=200, deadline=None)
def test_any_life_keeps_the_newest_tokens(lengths: list[int], tail: int, batch: int, most: int) -> None:
    kept = KvCacheConfig(
        tail_length=min(tail, most),
        tail_precision=FP32,
        store_precision=FP32,
        migration_batch=batch,
        max_tokens=most,
        num_kv_heads=1,
        head_dim=4,
    )
    cache = TwoTierKvCache(kept)
    rows = draw(7, sum(lengths), 1, 4)
    begin = 0
    for length in lengths:
        cache.append(rows[begin : begin + length], -rows[begin : begin + length])
        begin += length
        stats, (keys, values) = cache.stats(), cache.get_all_kv()
        total = stats.total_tokens
        # The newest, and of long caches the first block; whole blocks went.
        first = 16 if most >= 64 and begin > total else 0
        assert most - 16 < total <= most or total == begin
        assert stats.tail_tokens + stats.store_tokens == total == len(keys)
        assert min(total - first, kept.tail_length) <= stats.tail_tokens < max(1, kept.tail_length + batch)
        newest = rows[begin - (total - first) : begin]
        np.testing.assert_array_equal(keys, np.concatenate([rows[:first], newest]))
        np.testing.assert_array_equal(values, -keys)
    if begin:
        query = draw(8, 1, 4)
        scores = keys[:, 0] @ query[0] / 2
        weights = np.exp(scores - scores.max())
        expected = weights / weights.sum() @ values[:, 0]
        np.testing.assert_allclose(cache.attend(query)[0], expected, rtol=0, atol=1e-5)


def test_a_policy_holds_for_what_is_held() -> None:
    cache = TwoTierKvCache(config(100))
    keys, values = draw(1, 200, HEADS, DIM), draw(2, 200, HEADS, DIM)
    cache.append(keys, values)
    before = cache.stats()
    cache.update_policy(CacheQuantization(tail_length=16, tail_precision=FP16, store_precision=Q8))
    after = cache.stats()
    assert (before.total_tokens, after.total_tokens) == (200, 200)
    assert after.tail_tokens < before.tail_tokens
    assert after.store_bytes > before.store_bytes
    # What had been of 4 bits stays as rough as it was; what was in the tail has 8 bits now.
    error = np.abs(cache.get_all_kv()[0] - keys).max(axis=(1, 2))
    assert error[:90].mean() > 0.1
    assert error[110:].max() < 0.05
    assert cache.config.store_precision is Q8


def test_a_life_in_single_tokens() -> None:
    """The tail begins in the block that goes, beside the one that stays."""
    kept = KvCacheConfig(
        tail_length=35,
        tail_precision=FP32,
        store_precision=FP32,
        migration_batch=1,
        max_tokens=65,
        num_kv_heads=1,
        head_dim=4,
    )
    cache, rows = TwoTierKvCache(kept), draw(7, 150, 1, 4)
    for end in range(1, 151):
        cache.append(rows[end - 1], -rows[end - 1])
        total = cache.stats().total_tokens
        first = 16 if total < end else 0
        expected = np.concatenate([rows[:first], rows[end - (total - first) : end]])
        np.testing.assert_array_equal(cache.get_all_kv()[0], expected)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="a tail in BF16 cannot be kept; it may be FP16, FP32, Q8"):
        TwoTierKvCache(KvCacheConfig(tail_precision=Precision.BF16))
    with pytest.raises(ConfigError, match="a store in Q4K cannot be kept; it may be FP16, FP32, Q8, Q4"):
        CacheQuantization(store_precision=Precision.Q4K)
    with pytest.raises(ConfigError, match="max_tokens is 15; a block has 16 tokens"):
        TwoTierKvCache(KvCacheConfig(tail_length=0, max_tokens=15))
    cache = TwoTierKvCache(config(40))
    with pytest.raises(ConfigError, match="the cache is empty"):
        cache.attend(draw(1, 2, DIM))
    with pytest.raises(ConfigError, match="a token has"):
        cache.append(draw(1, 3, HEADS + 1, DIM), draw(1, 3, HEADS + 1, DIM))
    with pytest.raises(ConfigError, match="values has the shape"):
        cache.append(draw(1, 3, HEADS, DIM), draw(1, 4, HEADS, DIM))
    cache.append(draw(1, 3, HEADS, DIM), draw(2, 3, HEADS, DIM))
    with pytest.raises(ConfigError, match="queries"):
        cache.attend(draw(1, 2, DIM + 1))
    with pytest.raises(ConfigError, match="3 query heads"):
        cache.attend(draw(1, 3, DIM))


def test_a_tail_that_does_not_go_with_its_store_is_refused() -> None:
    store, wider = _native.KvBlocks(2, 1, 16, "q4"), _native.KvBlocks(2, 1, 32, "int8")
    query, shape = draw(1, 1, 16), (1, 1.0, None, None)
    refused: list[tuple[str, tuple[_native.KvBlocks, list[int], int]]] = [
        ("a tail has blocks of its own", (store, [0], 3)),
        ("a tail of 3 tokens, 1 heads of 32, beside 1 heads of 16", (wider, [0], 3)),
        ("a tail of 0 tokens", (_native.KvBlocks(2, 1, 16, "int8"), [0], 0)),
        ("block 5 is not among 2", (_native.KvBlocks(2, 1, 16, "int8"), [5], 3)),
    ]
    for message, tail in refused:
        with pytest.raises(ConfigError, match=message):
            store.attend(query, shape, ([(1, 2)], [0]), None, tail)
    with pytest.raises(ConfigError, match="is not among 2"):
        store.attend(query, shape, ([(1, 2)], [_native.KvBlocks.NO_BLOCK]), None, None)
