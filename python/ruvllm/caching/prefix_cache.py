"""`PrefixCache`: keys and values that were computed, as NumPy arrays, by the tokens that they belong to."""

import os
import threading
from collections import Counter, OrderedDict
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ruvllm._checks import check_integer, check_type
from ruvllm.caching import storage
from ruvllm.caching.kv_cache import KvCache
from ruvllm.caching.radix_tree import RadixMatch, RadixTree, Tokens, listed
from ruvllm.caching.storage import TOKEN_AXIS, Entry, Layout
from ruvllm.errors import ConfigError, InvalidOperationError, StorageError, TokenizationError
from ruvllm.figures import LoadedPrefixes, PrefixCacheStats

__all__ = ["CachedPrefix", "PrefixCache"]

# By so many first tokens it is remembered what was evicted, and of so many prefixes.
BEGINNING_TOKENS = 16
REMEMBERED = 4096


class CachedPrefix:
    """What a lookup found. Its entries are not evicted until it is released, or nobody holds it.

    Attributes:
        length: For how many tokens there are keys and values.
    """

    def __init__(self, match: RadixMatch, ids: NDArray[np.uint32]) -> None:
        self._match = match
        self._ids = ids
        self._arrays: tuple[NDArray[Any], NDArray[Any]] | None = None
        self.length = len(ids)

    def __repr__(self) -> str:
        return f"CachedPrefix(length={self.length})"

    @property
    def token_ids(self) -> tuple[int, ...]:
        """The tokens that these are the keys and values of."""
        return tuple(self._ids.tolist())

    @property
    def keys(self) -> NDArray[Any]:
        """`[layers, batch, heads, length, head_dim]`; the caller's own, joined when it is first asked for."""
        return self._joined()[0]

    @property
    def values(self) -> NDArray[Any]:
        """As `keys`."""
        return self._joined()[1]

    @property
    def kv_cache(self) -> KvCache:
        """Both, to go on from and to hand on; from here on `keys` and `values` can only be read."""
        for one in self._joined():
            one.flags.writeable = False
        return KvCache(*self._joined())

    def release(self) -> None:
        """Let the entries be evicted again; arrays that were asked for before stay."""
        self._match.release()

    def __enter__(self) -> "CachedPrefix":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _joined(self) -> tuple[NDArray[Any], NDArray[Any]]:
        if self._arrays is None:
            try:
                segments = self._match.segments
            except InvalidOperationError:
                raise InvalidOperationError(
                    "the prefix was released; ask for its keys and values before that"
                ) from None
            keys, values = [], []
            for entry, start, stop in segments:
                part = slice(start - entry.begin, min(stop, self.length) - entry.begin)
                if start < self.length:
                    keys.append(entry.keys[:, :, :, part])
                    values.append(entry.values[:, :, :, part])
            self._arrays = (np.concatenate(keys, TOKEN_AXIS), np.concatenate(values, TOKEN_AXIS))
        return self._arrays


class PrefixCache:
    """Keys and values by the longest known beginning of a prompt; safe to use from many threads.

    They are kept to the token: prompts that begin alike share what they have in common. Keys and values
    depend on the model, its adapter and its format, so a cache is for one of each; `key` names them, and
    binds a saved file to them. `max_memory_bytes` is a bound on the arrays that are kept.

    >>> cache = PrefixCache(max_memory_bytes=1024**2)
    >>> keys = values = np.zeros((2, 1, 4, 3, 8), np.float32)
    >>> cache.insert([1, 2, 3], keys, values)
    True
    >>> with cache.lookup([1, 2, 7, 8]) as found:
    ...     print(found.length, found.keys.shape)
    2 (2, 1, 4, 2, 8)
    """

    def __init__(
        self, max_memory_bytes: int = 2 * 1024**3, max_entries: int = 100_000, *, key: str = ""
    ) -> None:
        """An empty cache.

        Args:
            max_memory_bytes: The most bytes of keys and values.
            max_entries: The most nodes of the tree; a new prompt may need two.
            key: Model, generation of its adapter, and format of keys and values, in any notation.
        """
        self._max_memory_bytes = check_integer("max_memory_bytes", max_memory_bytes, 0)
        self._max_entries = check_integer("max_entries", max_entries, 2)
        check_type("key", key, str)
        self._key = key
        self._lock = threading.Lock()
        self._tree = RadixTree()
        self._layout: Layout | None = None
        # By identity, in the order of insertion: whatever an entry stands on comes before it.
        self._entries: dict[int, Entry] = {}
        self._bytes = 0
        self._evicted: OrderedDict[bytes, None] = OrderedDict()
        self._counts: Counter[str] = Counter()
        self._miss_reasons: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"PrefixCache(tokens={self._tree.token_count}, bytes={self._bytes})"

    def lookup(self, tokens: Tokens, *, limit: int | None = None) -> CachedPrefix | None:
        """The longest known beginning; `None` where nothing is known.

        Args:
            tokens: The prompt.
            limit: The most tokens to give; by default all but the last one, which must be computed in any
                case, because what follows it is not kept.
        """
        ids = _token_array(tokens)
        wanted = max(len(ids) - 1, 0) if limit is None else min(check_integer("limit", limit, 0), len(ids))
        with self._lock:
            self._counts["lookups"] += 1
            self._counts["lookup_tokens"] += wanted
            match = self._tree.match(ids) if wanted else None
            length = min(match.length, wanted) if match else 0
            if match is None or length == 0:
                self._count_miss(ids, wanted)
                return None
            self._counts["hits" if length == wanted else "partial_hits"] += 1
            self._counts["reused_tokens"] += length
            return CachedPrefix(match, ids[:length].copy())

    def insert(self, tokens: Tokens, keys: NDArray[Any], values: NDArray[Any]) -> bool:
        """Keep what is not known yet, as a copy, evicting others where the bounds demand it.

        Args:
            tokens: The tokens.
            keys: Theirs, `[layers, batch, heads, tokens, head_dim]`.
            values: As `keys`; the first insertion decides about both shapes.

        Returns:
            Whether all of it is known now; `False` where it does not fit.
        """
        ids = _token_array(tokens)
        layout = Layout.of(keys, values, len(ids))
        with self._lock:
            if self._layout is not None and layout != self._layout:
                raise ConfigError(f"keys are {layout}; this cache holds {self._layout}")
            known = self._make_room(ids, layout)
            if known is None:
                self._counts["refused"] += 1
                return False
            if known < len(ids):
                fresh = (np.array(array[:, :, :, known:], order="C") for array in (keys, values))
                self._add(layout, Entry(ids.copy(), known, *fresh))
            return True

    def evict_lru(self) -> bool:
        """Evict the least valuable entry; whether there was one that nobody uses."""
        with self._lock:
            return self._evict()

    def memory_usage(self) -> int:
        """Bytes of the arrays that are kept: a copy counts until the last part of it is evicted."""
        return self._bytes

    def stats(self) -> PrefixCacheStats:
        """Counters since the cache was made, and what it holds now."""
        with self._lock:
            counts = self._counts
            return PrefixCacheStats(
                total_lookups=counts["lookups"],
                cache_hits=counts["hits"],
                partial_hits=counts["partial_hits"],
                cache_misses=self._miss_reasons.total(),
                miss_reasons=dict(self._miss_reasons),
                evictions=counts["evictions"],
                insertions=counts["insertions"],
                refused_insertions=counts["refused"],
                lookup_tokens=counts["lookup_tokens"],
                reused_tokens=counts["reused_tokens"],
                entries=self._tree.node_count,
                tokens=self._tree.token_count,
                pinned_entries=self._tree.pinned,
                memory_usage_bytes=self._bytes,
                max_memory_bytes=self._max_memory_bytes,
            )

    def clear(self) -> None:
        """Forget all that nobody uses. A cache that is empty then takes keys of any shape."""
        with self._lock:
            before = self._counts["evictions"]
            while self._evict():
                pass
            # It was asked for: nothing had to go for something else.
            self._counts["evictions"] = before
            self._evicted.clear()
            if not self._entries:
                self._layout = None

    def save(self, path: str | os.PathLike[str]) -> int:
        """Write the cache to a file, whole or not at all; gives the number of entries.

        The file holds the tokens, so it is as private as the prompts.
        """
        with self._lock:
            layout = self._layout
            entries = [self._known_part(entry) for entry in self._entries.values()]
        storage.write(Path(path), self._key, layout, entries)
        return len(entries)

    def load(self, path: str | os.PathLike[str]) -> LoadedPrefixes:
        """Read a file that `save` wrote, as far as there is room beside what is known.

        `StorageError`, and no change, where it is damaged, of another version, or belongs to another key
        or shape.
        """
        layout, entries = storage.read(Path(path), self._key)
        with self._lock:
            if layout is None:
                return LoadedPrefixes(entries_in_file=0, entries=0, tokens=0)
            if self._layout is not None and layout != self._layout:
                raise StorageError(f"{path} cannot be loaded: it holds {layout}, this cache {self._layout}")
            added = [self._add_loaded(layout, entry) for entry in entries]
        return LoadedPrefixes(entries_in_file=len(entries), entries=sum(map(bool, added)), tokens=sum(added))

    def _make_room(self, ids: NDArray[np.uint32], layout: Layout) -> int | None:
        """Evicts until what is not known of the tokens fits: how many are known; `None` where it cannot."""
        known = self._tree.peek(ids)
        # Makes what leads there the youngest, so that it does not go first.
        self._tree.insert(ids[:known])
        while not self._fits(len(ids) - known, layout):
            is_hopeless = (len(ids) - known) * layout.token_bytes > self._max_memory_bytes
            if is_hopeless or not self._evict():
                return None
            known = self._tree.peek(ids)
        return known

    def _fits(self, num_tokens: int, layout: Layout) -> bool:
        # A split makes two nodes of one.
        return num_tokens == 0 or (
            self._bytes + num_tokens * layout.token_bytes <= self._max_memory_bytes
            and self._tree.node_count + 2 <= self._max_entries
        )

    def _add(self, layout: Layout, entry: Entry) -> None:
        self._tree.insert(entry.tokens, entry)
        self._layout = layout
        self._entries[id(entry)] = entry
        self._bytes += entry.keys.nbytes + entry.values.nbytes
        self._counts["insertions"] += 1

    def _add_loaded(self, layout: Layout, entry: Entry) -> int:
        """Keeps an entry of a file where there is room; how many tokens it added."""
        known = self._tree.peek(entry.tokens)
        num_tokens = len(entry.tokens) - known
        if known < entry.begin or num_tokens == 0 or not self._fits(num_tokens, layout):
            return 0
        if known > entry.begin:
            part = slice(known - entry.begin, None)
            entry = Entry(
                entry.tokens, known, entry.keys[:, :, :, part].copy(), entry.values[:, :, :, part].copy()
            )
        self._add(layout, entry)
        return num_tokens

    def _known_part(self, entry: Entry) -> Entry:
        """What of an entry the tree still leads to; a leaf of it may have been evicted."""
        known = self._tree.peek(entry.tokens)
        part = slice(0, known - entry.begin)
        return Entry(
            entry.tokens[:known], entry.begin, entry.keys[:, :, :, part], entry.values[:, :, :, part]
        )

    def _evict(self) -> bool:
        evicted = self._tree.evict()
        if evicted is None:
            return False
        self._counts["evictions"] += 1
        entry = evicted.payload
        if entry is not None:
            del self._entries[id(entry)]
            self._bytes -= entry.keys.nbytes + entry.values.nbytes
            if entry.begin == 0:
                self._evicted[entry.tokens[:BEGINNING_TOKENS].tobytes()] = None
                if len(self._evicted) > REMEMBERED:
                    self._evicted.popitem(last=False)
        return True

    def _count_miss(self, ids: NDArray[np.uint32], wanted: int) -> None:
        if wanted == 0:
            reason = "too_short"
        elif ids[:BEGINNING_TOKENS].tobytes() in self._evicted:
            reason = "evicted"
        else:
            reason = "unknown_prefix" if self._entries else "empty"
        self._miss_reasons[reason] += 1


def _token_array(tokens: Tokens) -> NDArray[np.uint32]:
    """Token ids as an array, the same one where it has the right type."""
    array = np.asarray(listed(tokens))
    if array.size == 0 and array.ndim == 1:
        return array.astype(np.uint32)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ConfigError(f"tokens are {array.dtype} {array.shape}; they must be one row of integers")
    if array.dtype != np.uint32 and not 0 <= int(array.min()) <= int(array.max()) < 1 << 32:
        raise TokenizationError(f"a token id is outside 0 to {(1 << 32) - 1}")
    return np.ascontiguousarray(array, np.uint32)
