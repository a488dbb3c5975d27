"""What may be given as token ids: the check that all who take some share."""

import numbers
from collections.abc import Sequence

import numpy as np

from ruvllm.errors import ConfigError

__all__ = ["check_token_list"]


def check_token_list(name: str, value: object) -> list[int]:
    """The value as a list of integers; `ConfigError` for all else, bytes and bools among it.

    Python counts these as numbers too, but who gives them means a text, or a mask.
    """
    if isinstance(value, list) and set(map(type, value)) <= {int}:
        # What comes from a tokenizer or a client, at the speed of the interpreter's own loops.
        return list(value)
    if isinstance(value, bytes | bytearray | memoryview):
        raise ConfigError(
            f"{name} is a {type(value).__name__}; it must be a list of token ids, or text: decode it first"
        )
    if isinstance(value, np.ndarray):
        if value.ndim != 1 or (value.size and value.dtype.kind not in "iuO"):
            shape = f"{value.dtype} array of shape {value.shape}"
            raise ConfigError(f"{name} is a {shape}; it must be a row of integers")
        value = value.tolist()
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ConfigError(f"{name} is a {type(value).__name__}; it must be a list of token ids")
    for index, token in enumerate(value):
        if isinstance(token, bool) or not isinstance(token, numbers.Integral):
            raise ConfigError(f"{name}[{index}] is {token!r}; it must be an integer")
    return [int(token) for token in value]
