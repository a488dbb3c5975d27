"""Keys and values that are a function of the tokens before them, as a model's are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

LAYERS, BATCH, HEADS, HEAD_DIM = 2, 1, 3, 2
TOKEN_BYTES = 2 * LAYERS * BATCH * HEADS * HEAD_DIM * 4


def keys_of(tokens: Sequence[int]) -> NDArray[np.float32]:
    """`[layers, batch, heads, tokens, head_dim]`: no two places and no two beginnings are alike."""
    states, state = [], 1
    for token in tokens:
        state = (state * 31 + int(token) + 7) % 65_521
        states.append(state)
    places = np.arange(LAYERS * BATCH * HEADS * HEAD_DIM, dtype=np.float32) / 64
    grid = places.reshape(LAYERS, BATCH, HEADS, 1, HEAD_DIM)
    return grid + np.array(states, np.float32).reshape(1, 1, 1, -1, 1)


def values_of(tokens: Sequence[int]) -> NDArray[np.float32]:
    """Others than the keys."""
    return -keys_of(tokens)


def assert_right(found: Any, tokens: Sequence[int]) -> None:
    """What was found is what would be computed."""
    known = tokens[: found.length]
    np.testing.assert_array_equal(found.keys, keys_of(known))
    np.testing.assert_array_equal(found.values, values_of(known))
