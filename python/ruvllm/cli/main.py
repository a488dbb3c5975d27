"""The `ruvllm` command: the table of its commands, and `--version`.

A command's module is imported when the command is called: `ruvllm list` need not wait for the server's.
"""

import importlib
import sys
from collections.abc import Iterable
from functools import cache
from types import MappingProxyType
from typing import Annotated

import typer

from ruvllm.cli.foreign import RuvllmGroup

__all__ = ["MODULES", "main", "whole_app"]

MODULES = MappingProxyType(
    {
        "chat": ("run", "chat"),
        "complete": ("complete",),
        "serve": ("serve",),
        "running_models": ("ps",),
        "pull": ("pull",),
        "list_models": ("list",),
        "info": ("info", "show"),
        "prepare": ("prepare",),
        "quantize": ("quantize",),
        "imatrix": ("imatrix",),
        "evaluate": ("eval",),
        "remove": ("rm",),
        "bench": ("bench",),
        "bench_serve": ("bench-serve",),
        "adapters": ("adapters",),
        "train": ("train",),
        "decide": ("decide", "calibrate"),
        "bank": ("bank",),
        "learn": ("learn",),
        "packs": ("packs",),
        "doctor": ("doctor",),
    }
)
"""The modules of the commands, as help lists them, and the commands that each registers."""


@cache
def whole_app() -> typer.Typer:
    """All commands; help lists them, and an unknown one is compared with them."""
    return _app_of(MODULES)


def _app_of(modules: Iterable[str]) -> typer.Typer:
    app = typer.Typer(
        name="ruvllm",
        cls=RuvllmGroup,
        help="Language models on the CPU you have. Start with: [bold]ruvllm chat[/bold]",
        epilog="Every flag can be set by a variable: RUVLLM_THREADS=4 is --threads 4. "
        "`ruvllm COMMAND --help` has examples.",
        rich_markup_mode="rich",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    app.callback()(_root)
    for name in modules:
        importlib.import_module(f"ruvllm.cli.{name}").register(app)
    return app


def _print_version(*, asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        from ruvllm.cli import terminal

        terminal.out().print(f"ruvllm {version('ruvllm')}")
        raise typer.Exit


def _root(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version.",
            is_eager=True,
            callback=lambda asked: _print_version(asked=asked),
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; what the console script calls."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    called = [module for module, commands in MODULES.items() if name in commands]
    is_enough = bool(called) or name == "--version"
    try:
        (_app_of(called) if is_enough else whole_app())(prog_name="ruvllm")
    except KeyboardInterrupt:
        sys.exit(130)
