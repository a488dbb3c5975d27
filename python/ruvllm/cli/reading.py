"""How a command line is read and its help is shown: typer's commands, with what is ours.

Help explains the flags that are often used and names the others, which `--help-all` explains as well.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from ruvllm.cli import terminal
from ruvllm.cli.foreign import refuse_command, translated
from ruvllm.cli.settings_in_force import naming_the_file, take_file, tell_of_file

__all__ = ["HELP_ALL", "RuvllmCommand", "RuvllmGroup", "told_to_programs"]

HELP_ALL = "--help-all"
SETTINGS = ("Engine", "Server", "Settings of samplers")
"""Panels of help with flags that are mostly left alone ..."""
USUAL = frozenset({"--threads", "--max-context", "--learn"})
"""... but for these."""


@contextmanager
def told_to_programs(*, asked: bool) -> Iterator[None]:
    """What goes wrong is one line of JSON on stdout, too, where a program asked for JSON."""
    try:
        yield
    except (typer.Exit, typer.Abort, BrokenPipeError):
        raise
    except Exception as error:
        if asked:
            # Those of typer name the flag in what they print, and not in their text.
            formatted = getattr(error, "format_message", None)
            message = formatted() if formatted else str(error)
            terminal.print_json_line({"error": {"type": type(error).__name__, "message": message}})
        raise


class RuvllmCommand(TyperCommand):
    """A command that knows llama.cpp's flags, and whose help is short."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line, with the flags of others as ours."""
        before_dashes = args[: args.index("--")] if "--" in args else args
        if HELP_ALL in before_dashes:
            ctx.meta[HELP_ALL] = True
            return super().parse_args(ctx, ["--help"])
        own = {name for parameter in self.params for name in parameter.opts}
        with told_to_programs(asked="--json" in own and "--json" in before_dashes):
            arguments = list(translated(ctx, args))
            if not ctx.resilient_parsing and not {"--help", "-h"} & set(before_dashes):
                take_file(ctx, arguments)
            with naming_the_file(ctx):
                rest = super().parse_args(ctx, arguments)
            tell_of_file(ctx)
            return rest

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Show help, of rare flags the names alone."""
        with self._rare_flags_named(asked_for_all=HELP_ALL in ctx.meta):
            super().format_help(ctx, formatter)

    @contextmanager
    def _rare_flags_named(self, *, asked_for_all: bool) -> Iterator[None]:
        rare: list[Any] = [one for one in self.params if _is_rare(one) and not asked_for_all]
        epilog = self.epilog
        if rare:
            names = ", ".join(one.opts[0] for one in rare)
            self.epilog = f"{epilog or ''}\n\nMore flags, which {HELP_ALL} explains: {names}"
        for one in rare:
            one.hidden = True
        try:
            yield
        finally:
            self.epilog = epilog
            for one in rare:
                one.hidden = False


def _is_rare(parameter: Any) -> bool:
    return getattr(parameter, "rich_help_panel", None) in SETTINGS and parameter.opts[0] not in USUAL


class RuvllmGroup(TyperGroup):
    """A group that answers commands of other programs with its own."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command, or say which one is meant."""
        with told_to_programs(asked="--json" in args):
            if args and args[0] not in self.commands:
                refuse_command(ctx, args[0])
            return super().resolve_command(ctx, args)
