"""The cache under any operations: it gives what would be computed, and stays within its bounds."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from ruvllm import PrefixCache
from ruvllm.caching import CachedPrefix
from tests.caching.arrays import TOKEN_BYTES, assert_right, keys_of, values_of

MOST_TOKENS, MOST_ENTRIES = 24, 9
TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=10).map(tuple)
Held = tuple[tuple[int, ...], CachedPrefix]


def new_cache() -> PrefixCache:
    return PrefixCache(MOST_TOKENS * TOKEN_BYTES, MOST_ENTRIES, key="a model")


class CacheMachine(RuleBasedStateMachine):
    """Prompts come, are used, and have to go."""

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.cache = new_cache()
        self.inserted: set[tuple[int, ...]] = set()
        self.in_use: list[Held] = []

    @rule(tokens=TOKENS)
    def insert(self, tokens: tuple[int, ...]) -> None:
        is_known = self.cache.insert(tokens, keys_of(tokens), values_of(tokens))
        self.inserted.add(tokens)
        # Ten tokens fit by themselves; what is in use may stand in the way.
        assert is_known or self.in_use
        if is_known:
            with self.cache.lookup(tokens, limit=len(tokens)) as found:
                assert found.length == len(tokens)
                assert_right(found, tokens)

    @rule(tokens=TOKENS, limit=st.none() | st.integers(0, 12))
    def lookup(self, tokens: tuple[int, ...], limit: int | None) -> None:
        most = len(tokens) - 1 if limit is None else min(limit, len(tokens))
        found = self.cache.lookup(tokens, limit=limit)
        if found is not None:
            assert 1 <= found.length <= most
            assert any(known[: found.length] == tokens[: found.length] for known in self.inserted)
            assert_right(found, tokens)

    @rule(target=held, tokens=TOKENS)
    def use(self, tokens: tuple[int, ...]) -> Held | None:
        found = self.cache.lookup(tokens, limit=len(tokens))
        if found is None:
            return None
        self.in_use.append((tokens, found))
        return self.in_use[-1]

    @rule(one=consumes(held))
    def release(self, one: Held | None) -> None:
        if one is not None:
            self.in_use.remove(one)
            one[1].release()

    @rule()
    def evict(self) -> None:
        before = self.cache.stats().entries
        assert self.cache.evict_lru() == (self.cache.stats().entries == before - 1)
        assert self.cache.stats().entries >= before - 1

    @rule()
    def clear(self) -> None:
        self.cache.clear()
        assert self.in_use or self.cache.memory_usage() == self.cache.stats().tokens == 0

    @rule()
    def save_and_load(self) -> None:
        other = new_cache()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "prefixes"
            written = self.cache.save(path)
            loaded = other.load(path)
        assert loaded.entries_in_file == written
        assert loaded.tokens == other.stats().tokens == self.cache.stats().tokens
        for tokens in self.inserted:
            ours, theirs = (cache.lookup(tokens, limit=len(tokens)) for cache in (self.cache, other))
            assert (ours is None) == (theirs is None)
            if ours and theirs:
                assert ours.length == theirs.length
                assert_right(theirs, tokens)

    @invariant()
    def bounds_hold(self) -> None:
        stats = self.cache.stats()
        assert stats.tokens * TOKEN_BYTES <= self.cache.memory_usage() <= MOST_TOKENS * TOKEN_BYTES
        assert stats.memory_usage_bytes == self.cache.memory_usage()
        assert stats.entries <= MOST_ENTRIES
        assert stats.pinned_entries == len(self.in_use)
        assert stats.total_lookups == stats.cache_hits + stats.partial_hits + stats.cache_misses

    @invariant()
    def what_is_in_use_stays(self) -> None:
        for tokens, found in self.in_use:
            again = self.cache.lookup(tokens, limit=len(tokens))
            assert again is not None
            assert again.length >= found.length
            assert_right(found, tokens)

    def teardown(self) -> None:
        for _, found in self.in_use:
            found.release()
        while self.cache.evict_lru():
            pass
        assert self.cache.memory_usage() == self.cache.stats().entries == 0


CacheMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
TestCache = CacheMachine.TestCase
