"""From a name to the files of its model; what will be fetched is said before it is."""

from pathlib import Path
from typing import TYPE_CHECKING

import ruvllm.hub as hub
from ruvllm.cli import terminal
from ruvllm.errors import NotFoundError

if TYPE_CHECKING:
    from ruvllm.engine_settings import EngineSettings

__all__ = ["fetched", "say_what_it_is"]


def fetched(name: str, *, quiet: bool, cache: Path | None, settings: "EngineSettings | None" = None) -> Path:
    """The file or folder of a model, which is fetched where it is not on this machine.

    With the settings that it is to be loaded with, what their backend refuses is refused before that.
    """
    if settings is not None:
        from ruvllm.runtime.backend import chosen_backend

        chosen_backend(settings)
    if not quiet:
        try:
            path = hub.find(name, cache=cache)
        except NotFoundError:
            say_what_it_is(name)
        else:
            _say_whose(name, path)
    return hub.resolve(name, quiet=quiet, cache=cache)


def _say_whose(name: str, path: Path) -> None:
    """A name of the Hub may be answered with what another program fetched, in its own quantization."""
    is_the_hubs = isinstance(hub.parse(name, hub.DEFAULT_REGISTRY), hub.HubModel)
    if is_the_hubs and (owner := hub.owner_of(path)):
        terminal.note(f"{name}: {owner.name}'s file {path}; `ruvllm pull {name}` fetches the Hub's")


def say_what_it_is(name: str) -> None:
    """Size and licence of a model with a short name, on stderr; of others the Hub says it as it fetches."""
    entry = hub.DEFAULT_REGISTRY.find(name)
    if entry is not None and not isinstance(hub.parse(name, hub.DEFAULT_REGISTRY), hub.OllamaModel):
        about = "about " if isinstance(entry, hub.HubEntry) else ""
        size = terminal.size(entry.size_bytes)
        terminal.note(f"{entry.name}: {about}{size}, licence {entry.licence} ({entry.licence_url})")
