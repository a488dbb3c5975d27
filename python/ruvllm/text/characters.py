"""Halves of characters: a text may hold some, from broken bytes or JSON's escapes; no model reads one."""

from collections.abc import Iterator
from contextlib import contextmanager

from ruvllm.errors import TokenizationError

__all__ = ["of_whole_characters"]

AROUND_CHARACTERS = 20


@contextmanager
def of_whole_characters(what: str) -> Iterator[None]:
    """Say of `what`, written as UTF-8 in here, where it has half of a character: `TokenizationError`."""
    try:
        yield
    except UnicodeEncodeError as error:
        around = error.object[max(0, error.start - AROUND_CHARACTERS) : error.start + AROUND_CHARACTERS]
        raise TokenizationError(
            f"{what} has half of a character (the surrogate {error.object[error.start]!a}) in {around!a}: "
            "leave it out"
        ) from None
