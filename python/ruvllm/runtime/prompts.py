"""What callers may give as a prompt, checked before anything is computed."""

import numbers
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ruvllm.errors import ConfigError

__all__ = ["Prompt", "check_tokens", "is_one_prompt"]

Prompt: TypeAlias = str | Sequence[int] | NDArray[np.integer[Any]]
"""A text, or token ids that are taken as they are."""


def is_one_prompt(prompt: object) -> bool:
    """Whether it is a text or one list of token ids, not a list of such."""
    if isinstance(prompt, str):
        return True
    if not isinstance(prompt, Sequence | np.ndarray):
        raise ConfigError(f"the prompt is a {type(prompt).__name__}; it must be text, token ids or a list")
    return not len(prompt) or isinstance(prompt[0], numbers.Integral)


def check_tokens(token_ids: object, vocab_size: int) -> list[int]:
    """The token ids as integers; `ConfigError` where there are none or the model does not know one."""
    if not isinstance(token_ids, Sequence | np.ndarray) or isinstance(token_ids, str):
        raise ConfigError(f"token_ids is a {type(token_ids).__name__}; it must be a list of token ids")
    if not len(token_ids):
        raise ConfigError("the prompt is empty; it must have at least one token")
    # What comes from a tokenizer or a client, at the speed of the interpreter's own loops.
    are_plain = isinstance(token_ids, list) and set(map(type, token_ids)) == {int}
    if are_plain and min(token_ids) >= 0 and max(token_ids) < vocab_size:
        return list(token_ids)
    checked = []
    for index, token in enumerate(token_ids):
        if not isinstance(token, numbers.Integral) or not 0 <= int(token) < vocab_size:
            raise ConfigError(f"token_ids[{index}] is {token!r}; it must be from 0 to {vocab_size - 1}")
        checked.append(int(token))
    return checked
