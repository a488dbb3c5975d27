"""From a name and flags to a loaded model."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import ruvllm.hub as hub
from ruvllm.cli import terminal
from ruvllm.cli.options import EngineOptions
from ruvllm.hub.progress import Report, wants_bar

if TYPE_CHECKING:
    from ruvllm.llm import LLM

__all__ = ["loading_bar", "open_model"]


def open_model(name: str, engine: EngineOptions, *, quiet: bool) -> "LLM":
    """Load a model, fetching it where it is missing, with a bar on stderr while that takes its time."""
    path = hub.resolve(name, quiet=quiet, cache=engine.cache_dir)
    from ruvllm.llm import LLM

    with loading_bar(f"Loading {name}", quiet=quiet) as report:
        return LLM(str(path), progress=report, **engine.settings.keywords())


@contextmanager
def loading_bar(title: str, *, quiet: bool) -> Iterator[Report]:
    """A bar on stderr, where somebody looks at it; gives what is called with the bytes done and in all."""
    if not wants_bar(quiet=quiet):
        yield lambda done, total: None
        return
    from rich.progress import Progress

    with Progress(console=terminal.err(), transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
