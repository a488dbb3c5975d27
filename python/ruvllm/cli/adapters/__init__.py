"""`ruvllm adapters`: low-rank adapters, looked at, merged, written, and changed in a server that runs."""

import typer

from ruvllm.cli.adapters import folders, serving

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands as a group."""
    group = typer.Typer(
        help="Low-rank adapters (LoRA): folders of PEFT's, and those of a server that runs.",
        epilog="`ruvllm adapters COMMAND --help` has examples.",
        no_args_is_help=True,
        rich_markup_mode="rich",
    )
    for module in (serving, folders):
        module.register(group)
    app.add_typer(group, name="adapters")
