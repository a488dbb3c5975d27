"""The table of the commands, and `--version`.

A command's module is imported when the command is called: `ruvllm list` need not wait for the server's.
"""

import importlib
from collections.abc import Iterable, Sequence
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any

import typer
from typer.main import get_command

from ruvllm.cli.config_file import Commands, setting_names
from ruvllm.cli.reading import RuvllmGroup

__all__ = ["MODULES", "app_for", "commands_by_words", "common_setting_names", "whole_app"]

MODULES = MappingProxyType(
    {
        "chat": ("run", "chat"),
        "complete": ("complete",),
        "serve": ("serve",),
        "running_models": ("ps",),
        "stop": ("stop",),
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
        epilog="Every flag can be set by a variable: RUVLLM_THREADS=4 is --threads 4; or in a file. "
        "`ruvllm COMMAND --help` has examples.",
        rich_markup_mode="rich",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"], "obj": _COMMANDS},
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


@cache
def commands_by_words() -> dict[tuple[str, ...], Any]:
    """All commands, those of groups as well, by the words that call them."""
    found: dict[tuple[str, ...], Any] = {}
    waiting: list[tuple[tuple[str, ...], Any]] = [((), get_command(whole_app()))]
    while waiting:
        words, group = waiting.pop()
        for name, one in group.commands.items():
            called = (*words, name)
            found[called] = one
            if hasattr(one, "commands"):
                waiting.append((called, one))
    return found


def common_setting_names() -> set[str]:
    """What a file of settings may say outside of tables: what some command has a flag for."""
    return {name for one in commands_by_words().values() for name in setting_names(one.params)}


_COMMANDS = Commands(
    frozenset(command for commands in MODULES.values() for command in commands), common_setting_names
)


def app_for(arguments: Sequence[str]) -> typer.Typer:
    """The command that a command line calls, or all where it calls none: help, or a slip."""
    name = arguments[0] if arguments else ""
    called = [module for module, commands in MODULES.items() if name in commands]
    return _app_of(called) if called or name == "--version" else whole_app()
