"""`KvCache`: the keys and values of a beginning, shared by all that go on from it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ruvllm._checks import check_integer
from ruvllm.caching.storage import TOKEN_AXIS, Layout
from ruvllm.errors import ConfigError

__all__ = ["KvCache"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class KvCache:
    """Keys and values that nobody changes, so that a copy costs nothing; what goes on from them is a new one.

    Whoever makes one of arrays, which are of one shape, must leave them as they are from there on.

    >>> beginning = KvCache(*np.zeros((2, 2, 1, 4, 3, 8), np.float32))
    >>> longer = beginning.extended(*np.ones((2, 2, 1, 4, 1, 8), np.float32))
    >>> beginning.seq_len, longer.seq_len
    (3, 4)

    Attributes:
        keys: `[layers, batch, heads, tokens, head_dim]`, to be read alone.
        values: As `keys`.
    """

    keys: NDArray[Any]
    values: NDArray[Any]

    def __post_init__(self) -> None:
        self._layout()
        for name, array in (("keys", self.keys), ("values", self.values)):
            view = array.view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

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
        """Another one with those of more tokens behind, of the same layout; this one stays as it is."""
        more = KvCache(keys, values)
        if more._layout() != self._layout():
            raise ConfigError(
                f"keys are {more.keys.dtype} {more.keys.shape}, and they are to go on from {self.keys.dtype} "
                f"{self.keys.shape}; all but the number of tokens must be alike"
            )
        return KvCache(*(np.concatenate(two, TOKEN_AXIS) for two in zip(self, more, strict=True)))

    def truncated(self, seq_len: int) -> "KvCache":
        """Another one with those of the first tokens alone, upon the same arrays."""
        count = check_integer("seq_len", seq_len, 0, self.seq_len)
        return KvCache(*(one[:, :, :, :count] for one in self))

    def _layout(self) -> Layout:
        keys = self.keys
        return Layout.of(keys, self.values, np.shape(keys)[TOKEN_AXIS] if np.ndim(keys) > TOKEN_AXIS else 0)
