"""Keys and values of one layer in two tiers: the engine's blocks and kernels over NumPy arrays."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

import ruvllm._native as _native
from ruvllm._checks import check_integer, check_type
from ruvllm.config import KvCacheConfig
from ruvllm.kernels.arrays import float_array, require
from ruvllm.kv_precisions import store_format, tail_format
from ruvllm.types import Precision

__all__ = ["CacheQuantization", "KvCacheStats", "TwoTierKvCache"]

Array = NDArray[np.float32]
BLOCK_TOKENS: int = _native.KvBlocks.BLOCK_TOKENS
# The first block of a text draws weight from all that follows, whatever it says: it stays, where a cache has
# so many blocks at least.
BLOCKS_WITH_A_SINK = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheQuantization:
    """How a cache of two tiers keeps its tokens from now on.

    >>> CacheQuantization(tail_length=64, store_precision=Precision.Q8).tail_precision.name
    'FP16'

    Attributes:
        tail_length: So many newest tokens stay at `tail_precision`.
        tail_precision: FP32, FP16 or Q8.
        store_precision: How older tokens are kept: these, or Q4.
    """

    tail_length: int = 256
    tail_precision: Precision = Precision.FP16
    store_precision: Precision = Precision.Q4

    def __post_init__(self) -> None:
        check_integer("tail_length", self.tail_length, 0)
        check_type("tail_precision", self.tail_precision, Precision)
        check_type("store_precision", self.store_precision, Precision)
        tail_format(self.tail_precision)
        store_format(self.store_precision)


@dataclass(frozen=True, slots=True, kw_only=True)
class KvCacheStats:
    """What a cache holds.

    Attributes:
        total_tokens: Tokens in all.
        tail_tokens: Those that are read from the tail.
        store_tokens: Those that are read from the store.
        tail_bytes: Bytes of the tail's blocks, scales included.
        store_bytes: Bytes of the store's blocks, which have every token from the beginning, the tail's too.
        compression_ratio: Bytes of all tokens as f16 over what both tiers take; 1 of an empty cache.
    """

    total_tokens: int
    tail_tokens: int
    store_tokens: int
    tail_bytes: int
    store_bytes: int
    compression_ratio: float


class TwoTierKvCache:
    """Keys and values of one layer: the newest tokens precise, the older ones packed.

    Tokens leave the tail `migration_batch` at a time. Every token is packed into the store when it comes, out
    of what was given and not out of what the tail made of it; leaving the tail then changes which is read.
    Past `max_tokens` the oldest go, a block of sixteen at a time; of 64 and more the first block stays.

    >>> cache = TwoTierKvCache(KvCacheConfig(tail_length=32, num_kv_heads=1, head_dim=16, migration_batch=16))
    >>> rows = np.ones((100, 1, 16), np.float32)
    >>> cache.append(rows, rows)
    >>> cache.stats().tail_tokens, cache.stats().store_tokens
    (36, 64)
    >>> cache.attend(np.ones((2, 16), np.float32)).shape
    (2, 16)
    """

    def __init__(self, config: KvCacheConfig | None = None) -> None:
        self.config = KvCacheConfig() if config is None else config
        check_type("config", self.config, KvCacheConfig)
        most = self.config.max_tokens
        require(most >= BLOCK_TOKENS, f"max_tokens is {most}; a block has {BLOCK_TOKENS} tokens")
        self._make_tiers()

    def __repr__(self) -> str:
        stats = self.stats()
        return f"TwoTierKvCache(tail_tokens={stats.tail_tokens}, store_tokens={stats.store_tokens})"

    def _make_tiers(self) -> None:
        config = self.config
        rows = -(-config.max_tokens // BLOCK_TOKENS)
        self._sinks = 1 if config.max_tokens >= BLOCKS_WITH_A_SINK * BLOCK_TOKENS else 0
        # Whole blocks go: what may stay of the oldest must leave room for those that come.
        self._step = min(config.migration_batch, config.max_tokens - (self._sinks + 1) * BLOCK_TOKENS + 1)
        # Its border lies somewhere in a block, and so does its end.
        near = -(-(config.tail_length + config.migration_batch + self._step) // BLOCK_TOKENS) + 1
        heads = (config.num_kv_heads, config.head_dim)
        self._store = _Tier(rows, heads, store_format(config.store_precision))
        self._tail = _Tier(min(near, rows), heads, tail_format(config.tail_precision))
        self._total = 0
        # Positions from here on are read from the tail.
        self._border = 0

    def append(self, keys: Array, values: Array) -> None:
        """Add keys and values, `[tokens, num_kv_heads, head_dim]`, or of one token without `tokens`."""
        keys, values = self._rows("keys", keys), self._rows("values", values)
        require(keys.shape == values.shape, f"values has the shape {values.shape}, keys {keys.shape}")
        for first in range(0, len(keys), self._step):
            self._append(keys[first : first + self._step], values[first : first + self._step])

    def _append(self, keys: Array, values: Array) -> None:
        self._evict(len(keys))
        self._store.write(self._total, keys, values)
        if self.config.tail_length:
            self._tail.write(self._total, keys, values)
        self._total += len(keys)
        over = self._total - self._border - self.config.tail_length
        if not self.config.tail_length:
            self._border = self._total
        elif over > 0:
            self._border += over - over % self.config.migration_batch
            self._tail.let_go(self._border // BLOCK_TOKENS)

    def _evict(self, coming: int) -> None:
        """The oldest go until the coming ones fit."""
        first = self._sinks * BLOCK_TOKENS
        while self._total + coming > self.config.max_tokens:
            self._store.remove(self._sinks)
            self._tail.remove(self._sinks)
            self._total -= BLOCK_TOKENS
            # Where the tail began in the block that goes, it begins behind it now.
            self._border = max(min(self._border, first), self._border - BLOCK_TOKENS)

    def get_all_kv(self) -> tuple[Array, Array]:
        """All keys and values from the oldest on, `[tokens, num_kv_heads, head_dim]`, in float32."""
        parts = [self._store.read(0, self._border), self._tail.read(self._border, self._total)]
        keys, values = (np.concatenate(side) for side in zip(*parts, strict=True))
        return keys, values

    def attend(self, query: Array, scale: float | None = None, *, isa: str | None = None) -> Array:
        """Attention of the newest position, `[num_heads, head_dim]`, over all tokens of both tiers.

        `num_heads` is a multiple of `num_kv_heads`; `scale` is 1 over the root of `head_dim` by default.
        """
        float_array("query", query, dimensions=(2,))
        require(self._total, "the cache is empty")
        factor = 1 / math.sqrt(self.config.head_dim) if scale is None else scale
        shape = (query.shape[0], factor, None, None)
        near = self._total - self._border
        tail = (self._tail.native, self._tail.table, near) if near else None
        last = ([(1, self._total - 1)], self._store.table)
        return self._store.native.attend(query, shape, last, isa, tail).reshape(query.shape)

    def stats(self) -> KvCacheStats:
        """What it holds."""
        held = self._tail.bytes + self._store.bytes
        as_halves = self._total * self.config.num_kv_heads * self.config.head_dim * 2 * 2
        return KvCacheStats(
            total_tokens=self._total,
            tail_tokens=self._total - self._border,
            store_tokens=self._border,
            tail_bytes=self._tail.bytes,
            store_bytes=self._store.bytes,
            compression_ratio=as_halves / held if held else 1.0,
        )

    def clear(self) -> None:
        """Forget all tokens."""
        self._make_tiers()

    def update_policy(self, policy: CacheQuantization) -> None:
        """Keep tokens as this says, those that are held too; what was rounded away does not come back."""
        check_type("policy", policy, CacheQuantization)
        keys, values = self.get_all_kv()
        self.config = replace(
            self.config,
            tail_length=policy.tail_length,
            tail_precision=policy.tail_precision,
            store_precision=policy.store_precision,
        )
        self._make_tiers()
        self.append(keys, values)

    def _rows(self, name: str, rows: Array) -> Array:
        float_array(name, rows, dimensions=(2, 3))
        wanted = (self.config.num_kv_heads, self.config.head_dim)
        require(rows.shape[-2:] == wanted, f"{name} has the shape {rows.shape}; a token has {wanted}")
        return rows.reshape(-1, *wanted)


class _Tier:
    """Blocks of one format, and which of them hold the rows of sixteen tokens."""

    def __init__(self, blocks: int, heads: tuple[int, int], kv_format: str) -> None:
        self.native = _native.KvBlocks(blocks, *heads, kv_format)
        self.table: list[int] = []
        self._heads = heads
        # Blocks that were in use and are not; those from `_fresh` on never were.
        self._freed: list[int] = []
        self._fresh = 0
        self._passed = 0

    @property
    def bytes(self) -> int:
        _, block_bytes = self.native.size
        return (self._fresh - len(self._freed)) * block_bytes

    def write(self, position: int, keys: Array, values: Array) -> None:
        for _ in range(len(self.table) * BLOCK_TOKENS, position + len(keys), BLOCK_TOKENS):
            self.table.append(self._take())
        self.native.store(self.table, position, np.ascontiguousarray(keys), np.ascontiguousarray(values))

    def read(self, begin: int, end: int) -> tuple[Array, Array]:
        if begin == end:
            empty = np.zeros((0, *self._heads), np.float32)
            return empty, empty
        keys, values = self.native.rows(self.table, begin, end)
        return keys.reshape(-1, *self._heads), values.reshape(-1, *self._heads)

    def let_go(self, rows: int) -> None:
        """The blocks of the first rows are free for others."""
        for row in range(self._passed, rows):
            self._free(self.table[row])
            self.table[row] = _native.KvBlocks.NO_BLOCK
        self._passed = max(self._passed, rows)

    def remove(self, row: int) -> None:
        """A row goes, and those behind it move up."""
        if row < len(self.table):
            self._free(self.table.pop(row))
            self._passed -= row < self._passed

    def _take(self) -> int:
        if self._freed:
            return self._freed.pop()
        self._fresh += 1
        return self._fresh - 1

    def _free(self, block: int) -> None:
        if block != _native.KvBlocks.NO_BLOCK:
            self._freed.append(block)
