"""`ruvllm packs install`, `activate` and `rollback`: which version a pack's name means.

They change what the next start of a model takes; a server that runs keeps the pack that it has.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from ruvllm.cli import terminal
from ruvllm.cli.command import CommonOptions, command, flag
from ruvllm.cli.packs.options import PackNameArgument, Trust

if TYPE_CHECKING:
    from ruvllm.packs import InstalledPack, PackStore

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(
        app,
        "install",
        examples=[
            "ruvllm packs install ./my-pack",
            "ruvllm packs install ./my-pack && ruvllm serve --kernel-pack my-pack",
        ],
    )(install)
    command(
        app,
        "activate",
        examples=[
            "ruvllm packs activate my-pack@1.2.0",
            "ruvllm packs activate my-pack@1.1.0 --allow-downgrade",
        ],
    )(activate)
    command(
        app,
        "rollback",
        examples=["ruvllm packs rollback my-pack    to the version before", "ruvllm packs list"],
    )(rollback)


def install(
    folder: Annotated[str, typer.Argument(help="The pack's folder.", metavar="FOLDER")],
    trust: Trust,
    common: CommonOptions,
) -> None:
    """Verify a pack and copy it into the data folder. Its name's first version is chosen at once."""
    from ruvllm.packs import PackStore

    pack = PackStore().install(folder, trust.keys())
    terminal.print_text(f"{pack.name}@{pack.version}\n")
    if not common.quiet:
        terminal.note(
            f"use it with --kernel-pack {pack.name}"
            if pack.is_chosen
            else f"{pack.name} still means another version: ruvllm packs activate {pack.name}@{pack.version}"
        )


def activate(
    name: PackNameArgument,
    trust: Trust,
    *,
    allow_downgrade: Annotated[
        bool,
        flag(
            "--allow-downgrade",
            variable="RUVLLM_PACKS_ALLOW_DOWNGRADE",
            help="Go to an older version than was active, whose faults may be known.",
        ),
    ] = False,
) -> None:
    """Have a pack's name mean this version, from the next start of a model on, after verifying it again."""
    from ruvllm.packs import PackStore

    store = PackStore()
    _choose(store, store.find(name), trust, allow_downgrade=allow_downgrade)


def rollback(
    name: Annotated[str, typer.Argument(help="The pack's name.", metavar="NAME")], trust: Trust
) -> None:
    """Have a pack's name mean the version before again, from the next start of a model on."""
    from ruvllm.packs import PackStore

    store = PackStore()
    _choose(store, store.previous(name), trust, allow_downgrade=True)


def _choose(store: "PackStore", pack: "InstalledPack", trust: Trust, *, allow_downgrade: bool) -> None:
    """Activate it here once, so that it is verified and the floor of its name says what may come."""
    from ruvllm.packs import KernelManager

    manager = KernelManager(trust.keys(), floors=store.floors)
    manager.activate(pack.path, allow_downgrade=allow_downgrade)
    store.choose(pack.name, pack.version)
    terminal.print_text(f"{pack.name}@{pack.version}\n")
