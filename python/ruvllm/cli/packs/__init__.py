"""`ruvllm packs`: kernel packs, verified, installed, chosen, measured, signed."""

import typer

from ruvllm.cli.packs import authoring, installing, timing, verifying

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands as a group."""
    group = typer.Typer(
        help="Kernel packs: signed WebAssembly kernels that the engine computes with, in a sandbox.",
        epilog="`ruvllm packs COMMAND --help` has examples.",
        no_args_is_help=True,
        rich_markup_mode="rich",
    )
    for module in (verifying, installing, timing, authoring):
        module.register(group)
    app.add_typer(group, name="packs")
