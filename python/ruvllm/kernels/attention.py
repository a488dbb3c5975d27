"""Attention over keys and values in one piece, or in blocks behind a table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import ruvllm._native as _native
from ruvllm._checks import Interval, check_integer, check_number, check_type
from ruvllm.errors import ConfigError
from ruvllm.kernels.arrays import float_array, require

__all__ = [
    "AttentionConfig",
    "PagedKvCache",
    "flash_attention",
    "grouped_query_attention",
    "multi_query_attention",
    "paged_attention",
]

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionConfig:
    """The heads of an attention layer.

    Attributes:
        num_heads: Query heads.
        num_kv_heads: Key-value heads, which the query heads share evenly.
        head_dim: Width of a head.
        causal: Whether a query sees only positions up to its own.
        scale: Factor on query times key; `None` is `1 / sqrt(head_dim)`.
        soft_cap: Scores become `soft_cap * tanh(score / soft_cap)`.
        window: A query sees this many positions, its own included.
    """

    num_heads: int = 32
    num_kv_heads: int = 8
    head_dim: int = 128
    causal: bool = True
    scale: float | None = None
    soft_cap: float | None = None
    window: int | None = None

    def __post_init__(self) -> None:
        for name in ("num_heads", "num_kv_heads", "head_dim"):
            check_integer(name, getattr(self, name), 1)
        check_type("causal", self.causal, bool)
        if self.num_heads % self.num_kv_heads:
            raise ConfigError(
                f"num_heads is {self.num_heads}; it must be a multiple of num_kv_heads, {self.num_kv_heads}"
            )
        if self.scale is not None:
            check_number("scale", self.scale, Interval(-math.inf, math.inf))
        if self.soft_cap is not None:
            check_number("soft_cap", self.soft_cap, Interval(0, math.inf, low_included=False))
        if self.window is not None:
            check_integer("window", self.window, 1)

    def gqa_ratio(self) -> int:
        """How many query heads share a key-value head.

        >>> AttentionConfig().gqa_ratio()
        4
        """
        return self.num_heads // self.num_kv_heads

    def effective_scale(self) -> float:
        """The factor on query times key.

        >>> AttentionConfig(head_dim=64).effective_scale()
        0.125
        """
        return 1 / math.sqrt(self.head_dim) if self.scale is None else self.scale


class PagedKvCache:
    """Keys and values in blocks of `block_tokens` tokens, in the engine's own layout.

    A sequence's block table says which blocks hold its positions: position `p` is in block
    `block_table[p // block_tokens]`. Numbers are stored as `kv_format` says: `f32`, or `int16`, `int8`,
    `k8v4` (keys of 8 bits, values of 4), `q4` or `q3`, which keep integers and, for each token and head, one
    scale of the key and one of the value. Heads are rounded up to a multiple of sixteen dimensions.
    """

    block_tokens: int = _native.KvBlocks.BLOCK_TOKENS

    def __init__(
        self, num_blocks: int, num_kv_heads: int, head_dim: int, *, kv_format: str = "int16"
    ) -> None:
        check_integer("num_blocks", num_blocks, 1)
        check_integer("num_kv_heads", num_kv_heads, 1)
        check_integer("head_dim", head_dim, 1)
        self.num_kv_heads = num_kv_heads
        self.head_dim = head_dim
        self._native = _native.KvBlocks(num_blocks, num_kv_heads, head_dim, kv_format)

    @property
    def num_blocks(self) -> int:
        """How many blocks there are."""
        return self._native.size[0]

    @property
    def block_bytes(self) -> int:
        """Bytes of a block, keys and values of all heads, with their scales where the format has some.

        >>> PagedKvCache(1, 3, 64).block_bytes, PagedKvCache(1, 3, 64, kv_format="int8").block_bytes
        (12672, 6528)
        """
        return self._native.size[1]

    def store(self, block_table: Sequence[int], position: int, keys: Array, values: Array) -> None:
        """Write keys and values `[tokens, num_kv_heads, head_dim]` from `position` on."""
        check_integer("position", position, 0)
        for name, array in (("keys", keys), ("values", values)):
            float_array(name, array, dimensions=(3,))
            wanted = (keys.shape[0], self.num_kv_heads, self.head_dim)
            require(array.shape == wanted, f"{name} has the shape {array.shape}; it must be {wanted}")
        if keys.size:
            self._native.store(_table(block_table), position, keys, values)


def flash_attention(  # noqa: PLR0913  the documented ones and what the kernel has
    query: Array,
    key: Array,
    value: Array,
    *,
    scale: float | None = None,
    causal: bool = True,
    query_start: int | None = None,
    soft_cap: float | None = None,
    window: int | None = None,
    isa: str | None = None,
) -> Array:
    """Attention in one pass over the keys, without a matrix of scores.

    `query` is one `[head_dim]` with `key` and `value` `[kv_len, head_dim]`; or it is many,
    `[tokens, heads, head_dim]`, with `[kv_len, kv_heads, head_dim]`. By default the queries are the last
    positions of the keys, so that one query sees every key. Keys and values are laid into the engine's
    blocks first.

    >>> one = np.ones(4, np.float32)
    >>> flash_attention(one, np.eye(4, dtype=np.float32), np.eye(4, dtype=np.float32)).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    float_array("query", query, dimensions=(1, 3))
    wanted = 2 if query.ndim == 1 else 3
    for name, array in (("key", key), ("value", value)):
        float_array(name, array, dimensions=(wanted,))
    queries = query.reshape(1, 1, -1) if query.ndim == 1 else query
    keys, values = (array.reshape(array.shape[0], -1, array.shape[-1]) for array in (key, value))
    config = AttentionConfig(
        num_heads=queries.shape[1],
        num_kv_heads=keys.shape[1],
        head_dim=queries.shape[2],
        causal=causal,
        scale=scale,
        soft_cap=soft_cap,
        window=window,
    )
    return _contiguous(queries, keys, values, config, query_start, isa).reshape(query.shape)


def grouped_query_attention(
    queries: Array, keys: Array, values: Array, config: AttentionConfig, *, isa: str | None = None
) -> Array:
    """Attention of `[num_heads, head_dim]`, or of many tokens, over `[kv_len, num_kv_heads, head_dim]`.

    The queries are the last positions of the keys.
    """
    float_array("queries", queries, dimensions=(2, 3))
    many = queries.reshape(-1, *queries.shape[-2:])
    return _contiguous(many, keys, values, config, None, isa).reshape(queries.shape)


def multi_query_attention(
    queries: Array, key: Array, value: Array, config: AttentionConfig, *, isa: str | None = None
) -> Array:
    """Attention of `[num_heads, head_dim]`, or of many tokens, over the one head of `[kv_len, head_dim]`."""
    require(config.num_kv_heads == 1, f"num_kv_heads is {config.num_kv_heads}; multi-query attention has 1")
    for name, array in (("key", key), ("value", value)):
        float_array(name, array, dimensions=(2,))
    return grouped_query_attention(queries, key[:, None], value[:, None], config, isa=isa)


def paged_attention(  # noqa: PLR0913  as above
    query: Array,
    cache: PagedKvCache,
    block_table: Sequence[int],
    *,
    length: int,
    scale: float | None = None,
    soft_cap: float | None = None,
    window: int | None = None,
    isa: str | None = None,
) -> Array:
    """Attention of the last of `length` positions, `[num_heads, head_dim]`, or of many last ones."""
    float_array("query", query, dimensions=(2, 3))
    queries = query.reshape(-1, *query.shape[-2:])
    config = AttentionConfig(
        num_heads=queries.shape[1],
        num_kv_heads=cache.num_kv_heads,
        head_dim=cache.head_dim,
        scale=scale,
        soft_cap=soft_cap,
        window=window,
    )
    require(
        queries.shape[2] == cache.head_dim,
        f"query has the shape {query.shape}; a head of the cache has {cache.head_dim} dimensions",
    )
    tokens = queries.shape[0]
    require(length >= tokens, f"length is {length}; there are {tokens} queries")
    return _attend(
        cache._native, queries, config, [(tokens, length - tokens)], _table(block_table), isa
    ).reshape(query.shape)


def _contiguous(
    queries: Array,
    keys: Array,
    values: Array,
    config: AttentionConfig,
    query_start: int | None,
    isa: str | None,
) -> Array:
    for name, array in (("keys", keys), ("values", values)):
        float_array(name, array, dimensions=(3,))
        wanted = (keys.shape[0], config.num_kv_heads, config.head_dim)
        require(array.shape == wanted, f"{name} has the shape {array.shape}; it must be {wanted}")
    tokens, length = queries.shape[0], keys.shape[0]
    shape = (config.num_heads, config.head_dim)
    require(queries.shape[1:] == shape, f"queries has the shape {queries.shape}; a token has {shape}")
    start = length - tokens if query_start is None else query_start
    if not 0 <= start <= length - tokens:
        raise ConfigError(
            f"query_start is {start}; {tokens} queries have to lie among the {length} positions of the keys"
        )
    if tokens == 0:
        return np.zeros(queries.shape, np.float32)
    # Without causality every query is at the last position, a sequence of its own.
    sequences = [(tokens, start)] if config.causal else [(1, length - 1)] * tokens
    blocks = -(-length // PagedKvCache.block_tokens)
    cache = PagedKvCache(blocks, config.num_kv_heads, config.head_dim, kv_format="f32")
    table = list(range(blocks))
    cache.store(table, 0, keys, values)
    return _attend(cache._native, queries, config, sequences, table, isa)


def _attend(
    native: _native.KvBlocks,
    queries: Array,
    config: AttentionConfig,
    sequences: list[tuple[int, int]],
    table: list[int],
    isa: str | None,
) -> Array:
    shape = (config.num_heads, config.effective_scale(), config.soft_cap, config.window)
    return native.attend(queries, shape, (sequences, table), isa, None)


def _table(block_table: Sequence[int]) -> list[int]:
    blocks = [int(block) for block in block_table]
    require(all(0 <= block < 2**32 for block in blocks), "block_table: blocks are numbered from 0")
    return blocks
