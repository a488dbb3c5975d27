"""`ruvllm list`: what is here."""

from dataclasses import asdict
from typing import Annotated

import typer

import ruvllm.hub as hub
from ruvllm.cli import terminal
from ruvllm.cli.command import command, flag
from ruvllm.cli.options import CacheOptions

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
        ],
    )(list_models)


def list_models(
    cache: CacheOptions,
    *,
    available: Annotated[
        bool,
        flag("--available", variable="RUVLLM_LIST_AVAILABLE", help="Short names instead of what is here."),
    ] = False,
    json: Annotated[bool, flag("--json", help="For programs.")] = False,
) -> None:
    """List the models on this machine, the newest first."""
    if available:
        _available(json=json)
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


def _available(*, json: bool) -> None:
    if json:
        rows = [asdict(entry) | {"size_bytes": entry.size_bytes} for entry in hub.DEFAULT_REGISTRY]
        terminal.print_json({"models": rows})
        return
    terminal.show_table(
        ["name", "quantization", "size", "licence", "what"],
        [
            (
                entry.name,
                entry.quantization,
                terminal.size(entry.size_bytes),
                entry.licence,
                entry.description,
            )
            for entry in hub.DEFAULT_REGISTRY
        ],
        right=["size"],
    )
    terminal.note("and any org/repo of the Hugging Face Hub with GGUF or safetensors files")
