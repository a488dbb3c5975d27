"""What the cache promises one by one: bounds, copies, counters, refusals, threads."""

import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from ruvllm import ConfigError, PrefixCache, RadixTree, TokenizationError
from ruvllm.caching.prefix_cache import REMEMBERED
from ruvllm.errors import InvalidOperationError
from tests.caching.arrays import TOKEN_BYTES, assert_right, keys_of, values_of


def insert(cache: PrefixCache, tokens: list[int]) -> bool:
    return cache.insert(tokens, keys_of(tokens), values_of(tokens))


def known(cache: PrefixCache, tokens: list[int]) -> int:
    found = cache.lookup(tokens, limit=len(tokens))
    return found.length if found else 0


def test_a_part_of_an_entry_is_reused() -> None:
    cache = PrefixCache()
    insert(cache, [1, 2, 3, 4])
    insert(cache, [1, 2, 9])
    found = cache.lookup([1, 2, 9, 5, 6])
    assert found
    assert found.length == 3
    assert found.keys.shape == (2, 1, 3, 3, 2)
    assert found.token_ids == (1, 2, 9)
    assert repr(found) == "CachedPrefix(length=3)"
    assert_right(found, [1, 2, 9])


def test_the_last_token_is_left_to_compute() -> None:
    cache = PrefixCache()
    insert(cache, [1, 2, 3])
    found = cache.lookup([1, 2, 3])
    assert found
    assert found.length == 2
    assert_right(found, [1, 2, 3])
    assert known(cache, [1, 2, 3]) == 3
    shorter = cache.lookup([1, 2, 3], limit=1)
    assert shorter
    assert shorter.keys.shape[3] == 1


def test_arrays_are_copies_both_ways() -> None:
    cache = PrefixCache()
    keys, values = keys_of([1, 2, 3]), values_of([1, 2, 3])
    cache.insert([1, 2, 3], keys, values)
    keys[:] = values[:] = 0
    first = cache.lookup([1, 2, 3, 4])
    assert first
    assert_right(first, [1, 2, 3])
    first.keys[:] = 0
    second = cache.lookup([1, 2, 3, 4])
    assert second
    assert_right(second, [1, 2, 3])


def test_only_what_is_not_known_takes_memory() -> None:
    cache = PrefixCache()
    insert(cache, [1, 2, 3, 4])
    insert(cache, [1, 2, 3, 9])
    insert(cache, [1, 2])
    assert cache.memory_usage() == 5 * TOKEN_BYTES
    assert cache.stats().insertions == 2


def test_memory_usage_is_what_numpy_holds() -> None:
    numpy_only = tracemalloc.DomainFilter(inclusive=True, domain=np.lib.tracemalloc_domain)
    tokens = list(range(2000))
    keys, values = keys_of(tokens), values_of(tokens)
    cache = PrefixCache()

    def held() -> int:
        traces = tracemalloc.take_snapshot().filter_traces([numpy_only]).traces
        return sum(trace.size for trace in traces)

    tracemalloc.start()
    try:
        cache.insert(tokens, keys, values)
        insert(cache, [*tokens[:1000], 5])
        assert abs(held() - cache.memory_usage()) < 20_000
        # Half of the first entry goes, but its arrays are whole until the other half goes too.
        cache.evict_lru()
        assert cache.stats().tokens == 1001
        assert cache.memory_usage() == 2001 * TOKEN_BYTES
        assert abs(held() - cache.memory_usage()) < 20_000
        cache.clear()
        assert cache.memory_usage() == 0
        assert held() < 20_000
    finally:
        tracemalloc.stop()


def test_the_budget_is_a_bound() -> None:
    cache = PrefixCache(5 * TOKEN_BYTES)
    assert insert(cache, [1, 2, 3])
    assert insert(cache, [4, 5])
    assert insert(cache, [6, 7])
    assert cache.memory_usage() == 4 * TOKEN_BYTES
    assert [known(cache, tokens) for tokens in ([1, 2, 3], [4, 5], [6, 7])] == [0, 2, 2]


def test_what_cannot_fit_drives_nothing_out() -> None:
    cache = PrefixCache(3 * TOKEN_BYTES)
    insert(cache, [1, 2, 3])
    assert not insert(cache, [4, 5, 6, 7])
    assert known(cache, [1, 2, 3]) == 3
    assert cache.stats().refused_insertions == 1


def test_the_budget_is_the_engine_s_by_default() -> None:
    """Two gibibytes, as `PrefixCacheConfig` says of the cache in the engine."""
    assert PrefixCache().stats().max_memory_bytes == 2 * 1024**3


def test_entries_are_bounded_too() -> None:
    cache = PrefixCache(max_entries=3)
    for token in range(10):
        assert insert(cache, [token, 1])
    assert cache.stats().entries <= 3
    assert known(cache, [9, 1]) == 2


def test_the_fewest_entries_hold_a_prompt() -> None:
    cache = PrefixCache(max_entries=2)
    assert insert(cache, [1, 2])
    assert insert(cache, [3, 4])
    assert (known(cache, [1, 2]), known(cache, [3, 4])) == (0, 2)


def test_so_many_evicted_prefixes_are_remembered_and_no_more() -> None:
    cache = PrefixCache(TOKEN_BYTES)
    for token in range(REMEMBERED + 1):
        insert(cache, [token])
    assert known(cache, [0]) == 0
    assert cache.stats().miss_reasons == {"evicted": 1}
    insert(cache, [REMEMBERED + 1])
    assert known(cache, [0]) == known(cache, [1]) == 0
    assert cache.stats().miss_reasons == {"evicted": 2, "unknown_prefix": 1}


def test_what_is_in_use_is_not_evicted() -> None:
    cache = PrefixCache(3 * TOKEN_BYTES)
    insert(cache, [1, 2, 3])
    found = cache.lookup([1, 2, 3, 4])
    assert found
    assert not insert(cache, [5, 6])
    assert not cache.evict_lru()
    cache.clear()
    assert cache.stats().pinned_entries == 1
    assert_right(found, [1, 2, 3])
    found.release()
    assert insert(cache, [5, 6])
    assert cache.stats().pinned_entries == 0


def test_a_new_prompt_does_not_drive_out_its_own_beginning() -> None:
    cache = PrefixCache(6 * TOKEN_BYTES)
    insert(cache, [1, 2, 3])
    insert(cache, [7, 8, 9])
    assert insert(cache, [1, 2, 3, 4])
    assert [known(cache, tokens) for tokens in ([1, 2, 3, 4], [7, 8, 9])] == [4, 0]
    assert cache.stats().evictions == 1


def test_after_release_only_arrays_that_were_read_are_there() -> None:
    cache = PrefixCache()
    insert(cache, [1, 2, 3])
    with cache.lookup([1, 2, 3, 4]) as read, cache.lookup([1, 2, 3, 4]) as unread:
        _ = read.keys
    assert_right(read, [1, 2, 3])
    with pytest.raises(InvalidOperationError, match="was released"):
        _ = unread.keys


def test_counters() -> None:
    cache = PrefixCache(4 * TOKEN_BYTES)
    cache.lookup([1, 2])
    insert(cache, [1, 2, 3, 4])
    cache.lookup([1, 2, 3, 4])
    cache.lookup([1, 2, 9, 9])
    cache.lookup([9, 9])
    cache.lookup([1])
    cache.evict_lru()
    insert(cache, [7, 7])
    cache.lookup([1, 2, 3, 4])
    stats = cache.stats()
    assert (stats.total_lookups, stats.cache_hits, stats.partial_hits, stats.cache_misses) == (6, 1, 1, 4)
    assert stats.miss_reasons == {"empty": 1, "unknown_prefix": 1, "too_short": 1, "evicted": 1}
    assert (stats.evictions, stats.insertions, stats.refused_insertions) == (1, 2, 0)
    assert (stats.lookup_tokens, stats.reused_tokens) == (1 + 3 + 3 + 1 + 0 + 3, 3 + 2)
    assert (stats.entries, stats.tokens, stats.max_memory_bytes) == (1, 2, 4 * TOKEN_BYTES)
    assert stats.hit_rate == pytest.approx(1 / 3)


def test_clearing_is_no_eviction() -> None:
    cache = PrefixCache()
    insert(cache, [1, 2])
    cache.clear()
    assert (cache.stats().evictions, cache.stats().entries) == (0, 0)
    cache.lookup([1, 2, 3])
    assert cache.stats().miss_reasons == {"empty": 1}
    half = keys_of([1]).astype(np.float16)
    assert cache.insert([1], half, half)


GOOD = keys_of([1, 2, 3])


@pytest.mark.parametrize(
    ("keys", "values", "message"),
    [
        (GOOD[0], GOOD, "keys is .1, 3, 3, 2.; it must be an array"),
        (GOOD, [1, 2], "values is list; it must be an array"),
        (GOOD[:, :, :, :2], GOOD, "keys has 2 tokens, and 3 token ids"),
        (GOOD, GOOD[:1], "both must be alike"),
        (GOOD, GOOD.astype(np.float64), "both must be alike"),
        (GOOD.astype(object), GOOD.astype(object), "keys are object; they must be floats or integers"),
        (GOOD[:0], GOOD[:0], "only the tokens may be none"),
        (GOOD[:1], GOOD[:1], r"float32 \[1, 1, .+; this cache holds float32 \[2, 1, 3, tokens, 2\]"),
        (GOOD.astype(np.int8), GOOD.astype(np.int8), "int8 .+; this cache holds float32"),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit(keys: np.ndarray, values: np.ndarray, message: str) -> None:
    cache = PrefixCache()
    insert(cache, [7, 8])
    with pytest.raises(ConfigError, match=message):
        cache.insert([1, 2, 3], keys, values)
    assert cache.memory_usage() == 2 * TOKEN_BYTES


@pytest.mark.parametrize(
    "settings", [{"max_memory_bytes": -1}, {"max_entries": 1}, {"max_entries": 2.5}, {"key": 7}]
)
def test_settings_outside_their_range(settings: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        PrefixCache(**settings)


def test_tokens_that_are_none() -> None:
    cache = PrefixCache()
    for token in (-1, 2**32):
        with pytest.raises(TokenizationError, match="outside 0 to"):
            cache.lookup([1, token])
    refused = {
        r"tokens\[0\] is 1.5": [1.5],
        r"tokens\[0\] is \[1\]": [[1]],
        "tokens is a str": "ab",
        r"tokens\[0\] is True": [True],
        "tokens is a bytearray": bytearray(b"ab"),
        "tokens is a float64 array": np.array([1.5]),
        r"tokens are int64 \(1, 1\)": np.array([[1]]),
    }
    for words, tokens in refused.items():
        with pytest.raises(ConfigError, match=words):
            cache.lookup(tokens)
    with pytest.raises(ConfigError, match="limit"):
        cache.lookup([1], limit=-1)
    assert cache.lookup([]) is None
    assert insert(cache, [])


@pytest.fixture
def switches_often() -> Iterator[None]:
    """Threads take turns so fast that what is not guarded is hit."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("switches_often")
def test_many_threads() -> None:
    cache = PrefixCache(40 * TOKEN_BYTES, 20)
    errors: list[BaseException] = []
    start = threading.Barrier(8)

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        start.wait()
        try:
            for _ in range(500):
                tokens = random.integers(0, 3, random.integers(1, 12)).tolist()
                insert(cache, tokens)
                if found := cache.lookup(tokens):
                    with found:
                        cache.evict_lru()
                        assert_right(found, tokens)
                assert cache.memory_usage() <= 40 * TOKEN_BYTES
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert cache.stats().pinned_entries == 0
    cache.clear()
    assert cache.memory_usage() == 0


def test_no_thread_takes_the_room_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = PrefixCache(20 * TOKEN_BYTES)
    over: list[int] = []
    insert_at_once = RadixTree.insert

    def insert_later(tree: RadixTree, tokens: Any, payload: Any = None) -> int:
        time.sleep(0.001)
        return insert_at_once(tree, tokens, payload)

    def work(seed: int) -> None:
        for token in range(5):
            insert(cache, [10 * seed + token] * 9)
            if cache.memory_usage() > 20 * TOKEN_BYTES:
                over.append(cache.memory_usage())

    monkeypatch.setattr(RadixTree, "insert", insert_later)
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not over
    assert cache.stats().insertions == 40
