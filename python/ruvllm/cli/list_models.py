"""`ruvllm list`: what is here."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

import ruvllm.hub as hub
from ruvllm.cli import terminal
from ruvllm.cli.command import command, flag
from ruvllm.cli.options import CacheOptions
from ruvllm.errors import InvalidOperationError
from ruvllm.observability.machine_memory import MachineMemory

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        "list",
        examples=[
            "ruvllm list                            models on this machine",
            "ruvllm list --json | jq -r '.models[].name'",
            "ruvllm list --available                short names that can be pulled",
            "ruvllm list --fits                     those that fit into the memory that is free now",
        ],
    )(list_models)


def list_models(
    cache: CacheOptions,
    *,
    available: Annotated[
        bool,
        flag("--available", variable="RUVLLM_LIST_AVAILABLE", help="Short names instead of what is here."),
    ] = False,
    fits: Annotated[
        bool,
        flag(
            "--fits",
            variable="RUVLLM_LIST_FITS",
            help="Of the short names those that fit into the memory that is free now.",
        ),
    ] = False,
    json: Annotated[bool, flag("--json", help="For programs.")] = False,
) -> None:
    """List the models on this machine, Ollama's and LM Studio's as well, the newest first."""
    if available or fits:
        _available(_that_fit() if fits else list(hub.DEFAULT_REGISTRY), json=json)
        return
    models = hub.list(cache=cache.cache_dir)
    if json:
        rows = [asdict(model) | {"modified": model.modified.isoformat()} for model in models]
        terminal.print_json({"models": rows})
        return
    if not models:
        terminal.note("no models here yet; fetch one with `ruvllm pull smollm2-135m`")
        return
    terminal.show_table(
        ["name", "quantization", "size", "source", "modified"],
        [
            (
                model.name,
                model.quantization or "-",
                terminal.size(model.size_bytes),
                model.source,
                model.modified.astimezone().strftime("%Y-%m-%d %H:%M"),
            )
            for model in models
        ],
        right=["size"],
    )
    for owner in dict.fromkeys(hub.owner_of(model.path) for model in models):
        if owner:
            terminal.note(f"{owner.name}'s lie in {owner.folder}, and are opened there")


def _that_fit() -> list[hub.Entry]:
    free = MachineMemory.now().available_bytes
    if free is None:
        raise InvalidOperationError("this system does not tell how much memory is free: leave out --fits")
    return [entry for entry in hub.DEFAULT_REGISTRY if hub.needed_bytes(entry) <= free]


def _available(entries: list[hub.Entry], *, json: bool) -> None:
    if json:
        terminal.print_json({"models": [_facts(entry) for entry in entries]})
        return
    terminal.show_table(
        ["name", "quantization", "size", "memory", "licence", "what"],
        [
            (
                entry.name,
                entry.quantization,
                terminal.size(entry.size_bytes),
                terminal.size(hub.needed_bytes(entry)),
                entry.licence,
                entry.description,
            )
            for entry in entries
        ],
        right=["size", "memory"],
    )
    terminal.note(
        "sizes of the Hub's files are about; memory is weights, keys and values of a context of 4096 tokens. "
        "And any org/repo of the Hugging Face Hub with GGUF or safetensors files"
    )


def _facts(entry: hub.Entry) -> dict[str, Any]:
    facts = asdict(entry) | {
        "size_bytes": entry.size_bytes,
        "memory_bytes": hub.needed_bytes(entry),
        "licence": entry.licence,
        "licence_url": entry.licence_url,
    }
    facts.pop("terms", None)
    return facts
