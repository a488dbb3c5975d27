"""Keys and values that are handed on: copies cost nothing, and who goes on changes nobody else's."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from ruvllm import ConfigError, PrefixCache
from ruvllm.caching import KvCache
from tests.caching.arrays import keys_of, values_of

BEGINNING = [1, 2, 3, 4]


def kv_of(tokens: list[int]) -> KvCache:
    return KvCache(keys_of(tokens), values_of(tokens))


def assert_of(kv: KvCache, tokens: list[int]) -> None:
    assert kv.seq_len == len(tokens)
    np.testing.assert_array_equal(kv.keys, keys_of(tokens))
    np.testing.assert_array_equal(kv.values, values_of(tokens))


def last(tokens: list[int], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Of so many tokens at the end, as a model would compute them behind those before."""
    return keys_of(tokens)[:, :, :, -count:], values_of(tokens)[:, :, :, -count:]


def test_each_goes_on_by_itself() -> None:
    cache = PrefixCache()
    cache.insert(BEGINNING, *kv_of(BEGINNING))
    found = cache.lookup([*BEGINNING, 9])
    assert found
    beginning = found.kv_cache
    found.release()
    one, other = [*BEGINNING, 5, 6], [*BEGINNING, 7]
    longer, another = beginning.extended(*last(one, 2)), beginning.extended(*last(other, 1))
    assert_of(longer, one)
    assert_of(another, other)
    assert_of(beginning, BEGINNING)
    for tokens, kv in ((one, longer), (other, another)):
        assert cache.insert(tokens, *kv)
        with cache.lookup([*tokens, 9]) as again:  # type: ignore[union-attr]
            assert_of(again.kv_cache, tokens)


def test_a_part_stands_on_the_same_arrays() -> None:
    kv = kv_of(BEGINNING)
    part = kv.truncated(2)
    assert_of(part, BEGINNING[:2])
    assert np.shares_memory(part.keys, kv.keys)
    assert np.shares_memory(part.values, kv.values)


def test_nobody_changes_them() -> None:
    cache = PrefixCache()
    cache.insert(BEGINNING, *kv_of(BEGINNING))
    with cache.lookup([*BEGINNING, 9]) as found:  # type: ignore[union-attr]
        kv = found.kv_cache
        for array in (kv.keys, kv.values, found.keys, found.values, kv.truncated(1).keys):
            with pytest.raises(ValueError, match="read-only"):
                array[:] = 0
    assert_of(kv, BEGINNING)


def test_what_is_put_into_it_stays() -> None:
    kv = kv_of(BEGINNING)
    with pytest.raises(dataclasses.FrozenInstanceError):
        kv.keys = kv.values  # type: ignore[misc]
    assert_of(kv, BEGINNING)


@pytest.mark.parametrize("count", [-1, 5, 100, True, 1.0])
def test_only_tokens_that_there_are_can_stay(count: Any) -> None:
    with pytest.raises(ConfigError, match=r"seq_len is .*; it must be an integer from 0 to 4"):
        kv_of(BEGINNING).truncated(count)
    assert [kv_of(BEGINNING).truncated(there).seq_len for there in (0, 4)] == [0, 4]


def test_what_goes_on_is_of_the_same_layout() -> None:
    kv = kv_of(BEGINNING)
    keys, values = last([*BEGINNING, 5], 1)
    for change in (
        lambda one: one.astype(np.float64),
        lambda one: one.astype(np.int8),
        lambda one: one[:, :, :1],
        lambda one: one[..., :1],
    ):
        with pytest.raises(ConfigError, match="all but the number of tokens must be alike"):
            kv.extended(change(keys), change(values))
    with pytest.raises(ConfigError, match="both must be alike"):
        kv.extended(keys, values[..., :1])
    assert kv.extended(keys, values).seq_len == 5


def test_arrays_of_other_shapes_are_refused() -> None:
    keys, values = keys_of(BEGINNING), values_of(BEGINNING)
    with pytest.raises(ConfigError, match="values"):
        KvCache(keys, values[:, :, :, :2])
    with pytest.raises(ConfigError, match="keys"):
        KvCache(keys[0], values[0])
    assert repr(kv_of(BEGINNING)) == "KvCache(shape=(2, 1, 3, 4, 2), float32)"
