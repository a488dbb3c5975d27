"""`ruvllm rm`: delete fetched models."""

import sys
from typing import Annotated

import typer

import ruvllm.hub as hub
from ruvllm.cli import terminal
from ruvllm.cli.command import CommonOptions, command, flag
from ruvllm.cli.options import CacheOptions

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        "rm",
        examples=[
            "ruvllm rm smollm2-135m",
            "ruvllm rm org/repo:Q8_0                one quantization",
            "ruvllm rm org/repo                     all that is here of it",
        ],
    )(remove)


def remove(
    models: Annotated[
        list[str], typer.Argument(help="Names, as `ruvllm list` shows them.", metavar="MODEL...")
    ],
    cache: CacheOptions,
    common: CommonOptions,
    *,
    yes: Annotated[bool, flag("--yes", "-y", variable="RUVLLM_RM_YES", help="Do not ask.")] = False,
) -> None:
    """Delete fetched models. Asks first on a terminal; other programs may use the Hub's cache as well."""
    for name in models:
        asks = not yes and sys.stdin is not None and sys.stdin.isatty()
        if asks and not typer.confirm(f"Delete {name}?", err=True):
            raise typer.Exit(1)
        removed = hub.remove(name, cache=cache.cache_dir)
        if not common.quiet:
            freed = sum(model.size_bytes for model in removed)
            names = ", ".join(model.name for model in removed) or name
            terminal.note(f"deleted {names}: {terminal.size(freed)}")
