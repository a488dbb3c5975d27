"""`ruvllm packs verify` and `list`: is a pack to be trusted, and which are there."""

from dataclasses import asdict
from typing import Annotated

import typer

from ruvllm.cli import terminal
from ruvllm.cli.command import command, flag
from ruvllm.cli.packs.options import PackArgument, Trust
from ruvllm.errors import PackError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(
        app,
        "verify",
        examples=[
            "ruvllm packs verify ./my-pack",
            "ruvllm packs verify ./my-pack --trusted-keys ed25519:m/9W4xO8...",
            "ruvllm packs verify reference --json | jq -r .digest",
        ],
    )(verify)
    command(
        app,
        "list",
        examples=["ruvllm packs list", "ruvllm packs list --json | jq -r '.packs[].name'"],
    )(list_packs)


def verify(
    pack: PackArgument,
    trust: Trust,
    *,
    json: Annotated[bool, flag("--json", help="For programs.")] = False,
) -> None:
    """Check a pack's signature, hashes and versions, compile it, compare it with the native kernels.

    Ends with 1 and the reason where it is refused. Nothing is installed or activated.
    """
    from ruvllm.packs import KernelPack, find_pack

    try:
        verified = KernelPack.verify(find_pack(pack), trust.keys())
    except PackError as error:
        if json:
            terminal.print_json({"verified": False, "reason": error.reason, "message": str(error)})
        terminal.error(f"refused: {error.reason}: {error}")
        raise typer.Exit(1) from None
    if json:
        fields = ("path", "name", "version", "signer", "digest", "kernels")
        values = asdict(verified)
        terminal.print_json({"verified": True, **{name: values[name] for name in fields}})
        return
    terminal.show_pairs(
        [
            ("pack", f"{verified.name} {verified.version}"),
            ("signed by", verified.signer),
            ("manifest", verified.digest),
            ("kernels", ", ".join(verified.kernels)),
        ]
    )


def list_packs(*, json: Annotated[bool, flag("--json", help="For programs.")] = False) -> None:
    """List the installed packs and the one in the package. They are verified when they are loaded."""
    from ruvllm.packs import PackStore, reference_pack
    from ruvllm.packs.store import REFERENCE

    installed = PackStore().list()
    if json:
        rows = [
            {"name": one.name, "version": one.version, "path": one.path, "chosen": one.is_chosen}
            for one in installed
        ]
        terminal.print_json({"reference": reference_pack(), "packs": rows})
        return
    terminal.show_table(
        ["name", "version", "chosen", "path"],
        [
            (REFERENCE, "-", "-", str(reference_pack())),
            *((one.name, one.version, "*" if one.is_chosen else "", str(one.path)) for one in installed),
        ],
    )
