"""Who is told how loading goes: a function of the caller's, or a bar where a person looks."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeAlias

from ruvllm.errors import ConfigError
from ruvllm.hub.progress import Report, loading_bar, wants_bar

__all__ = ["Progress", "checked_progress", "reporting"]

Progress: TypeAlias = Callable[[int, int], None] | bool | None
"""True is a bar where a person looks, False is none (and `None`, which older programs give, is False), a
function is called with the bytes done and in all."""


def checked_progress(progress: object) -> Callable[[int, int], None] | bool:
    """The same without `None`; `ConfigError` for what is no `Progress`."""
    if progress is None:
        return False
    if not (isinstance(progress, bool) or callable(progress)):
        raise ConfigError(f"progress is {progress!r}; it must be True, False or a function of two numbers")
    return progress


def reporting(progress: Progress, name: str) -> AbstractContextManager[Report | None]:
    """What loading calls, `None` where nobody is told."""
    if callable(progress):
        return nullcontext(progress)
    if not wants_bar(quiet=not progress):
        # The engine then asks for no lock of the interpreter while it loads.
        return nullcontext(None)
    return loading_bar(f"Loading {name}", quiet=False)
