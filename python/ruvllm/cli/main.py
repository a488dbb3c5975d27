"""The `ruvllm` command: the list of its commands, and `--version`."""

import sys
from typing import Annotated

import typer

from ruvllm.cli import (
    adapters,
    bank,
    bench,
    bench_serve,
    chat,
    complete,
    decide,
    doctor,
    evaluate,
    imatrix,
    info,
    learn,
    list_models,
    packs,
    prepare,
    pull,
    quantize,
    remove,
    running_models,
    serve,
    train,
)
from ruvllm.cli.foreign import RuvllmGroup

__all__ = ["app", "main"]

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
for module in (
    chat,
    complete,
    serve,
    running_models,
    pull,
    list_models,
    info,
    prepare,
    quantize,
    imatrix,
    evaluate,
    remove,
    bench,
    bench_serve,
    adapters,
    train,
    decide,
    bank,
    learn,
    packs,
    doctor,
):
    module.register(app)


def _print_version(*, asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        from ruvllm.cli import terminal

        terminal.out().print(f"ruvllm {version('ruvllm')}")
        raise typer.Exit


@app.callback()
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
    try:
        app(prog_name="ruvllm")
    except KeyboardInterrupt:
        sys.exit(130)
