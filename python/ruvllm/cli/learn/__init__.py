"""`ruvllm learn`: what tenants taught a model, looked at, undone, taken out; in a folder or over a server."""

import typer

from ruvllm.cli.learn import serving, stored

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands as a group."""
    group = typer.Typer(
        help="Learning: what feedback taught a model that is served with --learn.",
        epilog="`ruvllm learn COMMAND --help` has examples.",
        no_args_is_help=True,
        rich_markup_mode="rich",
    )
    for module in (serving, stored):
        module.register(group)
    app.add_typer(group, name="learn")
