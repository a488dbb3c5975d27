"""What callers may give as a prompt, checked before anything is computed."""

import numbers
from collections.abc import Iterable, KeysView, Mapping, Sequence, Set
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from ruvllm.errors import ConfigError, ContextLengthError
from ruvllm.token_lists import check_token_list

__all__ = ["Prompt", "check_room", "check_tokens", "is_conversation", "prompts_of"]

Prompt: TypeAlias = str | Sequence[int] | NDArray[np.integer[Any]]
"""A text, or token ids that are taken as they are."""


def prompts_of(given: object, name: str = "prompt") -> tuple[list[Any], int | None]:
    """The prompts of what a caller gave, and how many there are; `None` where it is one and no list of them.

    One is a text, a row of token ids or a conversation; a list of them is any other iterable, in its order. A
    list without anything is one of no prompts.
    """
    if isinstance(given, str):
        return [given], None
    items = _items(given, name)
    is_array = isinstance(items, np.ndarray)
    # Arrays of objects may hold texts, lists or integers.
    if is_array and items.dtype.kind in "biufc":
        return ([items], None) if items.ndim < 2 else (list(items), len(items))
    first = next(iter(items), None)
    if isinstance(first, numbers.Integral | Mapping):
        return [items], None
    for index, item in enumerate(items):
        if not isinstance(item, str | Sequence | np.ndarray):
            kind = type(item).__name__
            raise ConfigError(f"the {name} at index {index} is a {kind}; it must be text or a list")
    return list(items), len(items)


def _items(given: object, name: str) -> Any:
    """A sequence of what was given; a Series, a generator and the like as a list."""
    kind = type(given).__name__
    if isinstance(given, Mapping):
        raise ConfigError(f"the {name} is a {kind}; a message stands in a list: [{{'role': ..., ...}}]")
    if isinstance(given, KeysView):
        # A view of keys is a set that has an order, the dict's.
        return list(given)
    if isinstance(given, Set):
        raise ConfigError(f"the {name} is a {kind}, whose answers would have no order; give a list")
    if hasattr(given, "columns") or (not isinstance(given, np.ndarray) and getattr(given, "ndim", 1) == 2):
        raise ConfigError(f"the {name} is a {kind}, a table; give one column of it: table['prompt']")
    is_row = isinstance(given, Sequence | np.ndarray)
    if isinstance(given, bytes | bytearray | memoryview) or not (is_row or isinstance(given, Iterable)):
        raise ConfigError(f"the {name} is a {kind}; it must be text (a str), token ids or a list of these")
    if isinstance(given, np.ndarray) and not given.ndim:
        # No row: what token ids are, says what is wrong with it.
        return given if given.dtype.kind in "biufc" else check_token_list("token_ids", given)
    return given if is_row else list(cast("Iterable[object]", given))


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
