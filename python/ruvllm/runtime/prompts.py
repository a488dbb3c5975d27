"""What callers may give as a prompt, checked before anything is computed."""

import numbers
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from ruvllm.errors import ConfigError, ContextLengthError
from ruvllm.token_lists import check_token_list

__all__ = ["Prompt", "check_room", "check_tokens", "is_conversation", "is_one_prompt"]

Prompt: TypeAlias = str | Sequence[int] | NDArray[np.integer[Any]]
"""A text, or token ids that are taken as they are."""


def is_one_prompt(prompt: object) -> bool:
    """Whether it is a text or one list of token ids, not a list of such."""
    if isinstance(prompt, str):
        return True
    if isinstance(prompt, np.ndarray) and prompt.dtype.kind in "biufc":
        return prompt.ndim < 2
    # Arrays of objects may hold texts, lists or integers.
    is_list = isinstance(prompt, Sequence) or (isinstance(prompt, np.ndarray) and prompt.ndim > 0)
    if isinstance(prompt, bytes | bytearray | memoryview) or not is_list:
        kind = type(prompt).__name__
        raise ConfigError(f"the prompt is a {kind}; it must be text (a str), token ids or a list of these")
    first = next(iter(cast("Sequence[object]", prompt)), 0)
    return isinstance(first, numbers.Integral)


def is_conversation(prompt: object) -> bool:
    """Whether it is a list of messages."""
    return isinstance(prompt, Sequence) and bool(prompt) and isinstance(prompt[0], Mapping)


def check_tokens(token_ids: object, vocab_size: int) -> list[int]:
    """The token ids as integers; `ConfigError` where there are none or the model does not know one."""
    checked = check_token_list("token_ids", token_ids)
    if not checked:
        raise ConfigError("the prompt is empty; it must have at least one token")
    if min(checked) < 0 or max(checked) >= vocab_size:
        index, token = next((i, t) for i, t in enumerate(checked) if not 0 <= t < vocab_size)
        raise ConfigError(f"token_ids[{index}] is {token}; it must be from 0 to {vocab_size - 1}")
    return checked


def check_room(prompt_tokens: int, max_context: int) -> int:
    """How many tokens an answer may have; `ContextLengthError` for a prompt that leaves no room for one."""
    if prompt_tokens >= max_context:
        raise ContextLengthError.exceeded(
            prompt_tokens=prompt_tokens, max_context=max_context, room=" and needs room for one more"
        )
    return max_context - prompt_tokens
