"""From a name and flags to a loaded model."""

from typing import TYPE_CHECKING

from ruvllm.cli import terminal
from ruvllm.cli.fetching import fetched
from ruvllm.cli.options import EngineOptions
from ruvllm.hub.progress import loading_bar

if TYPE_CHECKING:
    from ruvllm.llm import LLM

__all__ = ["open_model", "warn_without_template"]


def open_model(name: str, engine: EngineOptions, *, quiet: bool) -> "LLM":
    """Load a model, fetching it where it is missing, with a bar on stderr while that takes its time."""
    path = fetched(name, quiet=quiet, cache=engine.cache_dir, settings=engine.settings)
    from ruvllm.llm import LLM

    with loading_bar(f"Loading {name}", quiet=quiet) as report:
        return LLM(str(path), progress=report, **engine.settings.keywords())


def warn_without_template(llm: "LLM", *, quiet: bool) -> None:
    """Say before a chat that a model may be none to chat with."""
    if not quiet and not llm.brings_chat_template:
        terminal.note(
            f"{llm.name} brings no chat template, so a built-in one is used: it may be a base model, which "
            "continues texts and answers nobody; `ruvllm complete` goes on with them"
        )
