"""What attention does not take is refused by name, with what it is and what it must be."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ruvllm import ConfigError
from ruvllm.kernels import (
    AttentionConfig,
    PagedKvCache,
    flash_attention,
    grouped_query_attention,
    paged_attention,
)

CONFIG = AttentionConfig(num_heads=4, num_kv_heads=2, head_dim=8)
TABLE = [3, 0]


def draw(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def cache() -> PagedKvCache:
    blocks = PagedKvCache(4, 2, 8)
    blocks.store(TABLE, 0, draw(20, 2, 8), draw(20, 2, 8))
    return blocks


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("num_heads", 0, "num_heads is 0; it must be an integer, 1 or more"),
        ("num_heads", True, "num_heads is True"),
        ("num_heads", 12, "num_heads is 12; it must be a multiple of num_kv_heads, 8"),
        ("num_kv_heads", 1.5, "num_kv_heads is 1.5"),
        ("head_dim", -1, "head_dim is -1"),
        ("head_dim", "wide", "head_dim is 'wide'"),
        ("causal", 1, "causal is 1; it must be a bool"),
        ("scale", math.nan, "scale is nan"),
        ("scale", math.inf, "scale is inf"),
        ("scale", "much", "scale is 'much'"),
        ("soft_cap", -5, "soft_cap is -5"),
        ("soft_cap", math.nan, "soft_cap is nan"),
        ("window", 0, "window is 0"),
        ("window", 2.5, "window is 2.5"),
    ],
)
def test_configurations(field: str, value: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        AttentionConfig(**{field: value})
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"query": draw(2, 4, 8).astype(np.float64)}, "query"),
        ({"query": draw(2, 4, 16)[..., ::2]}, "query"),
        ({"query": draw(2, 3, 8)}, "multiple"),
        ({"key": draw(5, 2, 7)}, "keys"),
        ({"value": draw(4, 2, 8)}, "values"),
        ({"key": draw(5, 8)}, "key"),
        ({"key": draw(1, 2, 8), "value": draw(1, 2, 8)}, "query_start"),
        ({"query_start": 4}, "query_start is 4"),
        ({"isa": "mmx"}, "mmx"),
    ],
)
def test_flash_attention(changed: dict[str, Any], words: str) -> None:
    rows = draw(5, 2, 8)
    arguments = {"query": draw(2, 4, 8), "key": rows, "value": rows}
    assert flash_attention(**arguments).shape == (2, 4, 8)
    with pytest.raises(ConfigError) as caught:
        flash_attention(**{**arguments, **changed})
    assert words in str(caught.value)


def test_heads_that_are_not_the_configurations() -> None:
    rows = draw(5, 2, 8)
    with pytest.raises(ConfigError, match="queries"):
        grouped_query_attention(draw(2, 6, 8), rows, rows, CONFIG)
    with pytest.raises(ConfigError, match="keys"):
        grouped_query_attention(draw(2, 4, 8), draw(5, 4, 8), rows, CONFIG)


@pytest.mark.parametrize(
    ("table", "length", "words"),
    [
        (TABLE, 0, "length is 0"),
        (TABLE, 33, "33"),
        ([3], 20, "block"),
        ([3, 4], 20, "4"),
        ([3, -1], 20, "numbered from 0"),
    ],
)
def test_blocks(table: list[int], length: int, words: str) -> None:
    blocks, query = cache(), draw(4, 8)
    assert paged_attention(query, blocks, TABLE, length=20).shape == (4, 8)
    with pytest.raises(ConfigError) as caught:
        paged_attention(query, blocks, table, length=length)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("table", "position", "keys", "words"),
    [
        (TABLE, -1, draw(2, 2, 8), "position is -1"),
        (TABLE, 31, draw(2, 2, 8), "block"),
        ([3, 3], 15, draw(2, 2, 8), "3"),
        ([9], 0, draw(2, 2, 8), "9"),
        (TABLE, 0, draw(2, 3, 8), "keys"),
    ],
)
def test_stores(table: list[int], position: int, keys: NDArray[np.float32], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        cache().store(table, position, keys, keys)
    assert words in str(caught.value)
