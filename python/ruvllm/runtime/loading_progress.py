"""Who is told how loading goes: a function of the caller's, or a bar where a person looks."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeAlias

from ruvllm.errors import ConfigError
from ruvllm.hub.progress import Report, loading_bar, wants_bar

__all__ = ["Progress", "reporting"]

Progress: TypeAlias = Callable[[int, int], None] | bool
"""True is a bar where a person looks, False is none, a function is called with the bytes done and in all."""


def reporting(progress: Progress, name: str) -> AbstractContextManager[Report | None]:
    """What loading calls, `None` where nobody is told; `ConfigError` for what is no `Progress`."""
    if callable(progress):
        return nullcontext(progress)
    if not isinstance(progress, bool):
        raise ConfigError(f"progress is {progress!r}; it must be True, False or a function of two numbers")
    if not wants_bar(quiet=not progress):
        # The engine then asks for no lock of the interpreter while it loads.
        return nullcontext(None)
    return loading_bar(f"Loading {name}", quiet=False)
