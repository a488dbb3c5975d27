"""From a name and flags to a loaded model."""

from typing import TYPE_CHECKING

import ruvllm.hub as hub
from ruvllm.cli.options import EngineOptions
from ruvllm.hub.progress import loading_bar

if TYPE_CHECKING:
    from ruvllm.llm import LLM

__all__ = ["open_model"]


def open_model(name: str, engine: EngineOptions, *, quiet: bool) -> "LLM":
    """Load a model, fetching it where it is missing, with a bar on stderr while that takes its time."""
    path = hub.resolve(name, quiet=quiet, cache=engine.cache_dir)
    from ruvllm.llm import LLM

    with loading_bar(f"Loading {name}", quiet=quiet) as report:
        return LLM(str(path), progress=report, **engine.settings.keywords())
