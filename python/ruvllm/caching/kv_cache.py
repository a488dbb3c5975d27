"""`KvCache`: the keys and values of a beginning, shared by all that go on from it."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ruvllm.caching.storage import TOKEN_AXIS, Layout

__all__ = ["KvCache"]


class KvCache:
    """Keys and values that nobody changes, so that a copy costs nothing; what goes on from them is a new one.

    >>> beginning = KvCache(*np.zeros((2, 2, 1, 4, 3, 8), np.float32))
    >>> longer = beginning.extended(*np.ones((2, 2, 1, 4, 1, 8), np.float32))
    >>> beginning.seq_len, longer.seq_len
    (3, 4)

    Attributes:
        keys: `[layers, batch, heads, tokens, head_dim]`, to be read alone.
        values: As `keys`.
    """

    __slots__ = ("keys", "values")

    def __init__(self, keys: NDArray[Any], values: NDArray[Any]) -> None:
        """Of arrays of one shape; whoever has them must leave them as they are from here on."""
        Layout.of(keys, values, np.shape(keys)[TOKEN_AXIS] if np.ndim(keys) > TOKEN_AXIS else 0)
        self.keys, self.values = keys.view(), values.view()
        for one in self:
            one.flags.writeable = False

    def __repr__(self) -> str:
        return f"KvCache(shape={self.keys.shape}, {self.keys.dtype})"

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Keys, then values: `cache.insert(tokens, *kv)`."""
        return iter((self.keys, self.values))

    @property
    def seq_len(self) -> int:
        """For how many tokens."""
        return int(self.keys.shape[TOKEN_AXIS])

    def extended(self, keys: NDArray[Any], values: NDArray[Any]) -> "KvCache":
        """Another one with those of more tokens behind; this one stays as it is."""
        return KvCache(*(np.concatenate(two, TOKEN_AXIS) for two in zip(self, (keys, values), strict=True)))

    def truncated(self, seq_len: int) -> "KvCache":
        """Another one with those of the first tokens alone, upon the same arrays."""
        return KvCache(*(one[:, :, :, :seq_len] for one in self))
