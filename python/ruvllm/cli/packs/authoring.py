"""`ruvllm packs keygen` and `sign`: the author's side."""

from pathlib import Path
from typing import Annotated

import typer

from ruvllm.cli import terminal
from ruvllm.cli.command import CommonOptions, command, flag

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(
        app,
        "keygen",
        examples=[
            "ruvllm packs keygen ~/my-pack.key    prints the public half: ed25519:...",
            "ruvllm packs keygen ~/my-pack.key > my-pack.pub",
        ],
    )(keygen)
    command(
        app,
        "sign",
        examples=[
            "ruvllm packs sign ./my-pack --key ~/my-pack.key",
            "ruvllm packs sign ./my-pack --key ~/my-pack.key && ruvllm packs verify ./my-pack",
        ],
    )(sign)


def keygen(
    path: Annotated[Path, typer.Argument(help="A file that is not there yet.", metavar="FILE")],
    common: CommonOptions,
) -> None:
    """Make a private key that only you can read, and print its public half.

    Keep the file out of every repository: who has it can sign packs in your name.
    """
    from ruvllm.packs import make_key

    terminal.print_text(f"{make_key(path)}\n")
    if not common.quiet:
        terminal.note(f"the private key is in {path}; the line above goes to those who trust you")


def sign(
    folder: Annotated[Path, typer.Argument(help="The pack's folder.", metavar="FOLDER")],
    common: CommonOptions,
    *,
    key: Annotated[
        Path, flag("--key", "-k", variable="RUVLLM_PACKS_KEY", help="The private key, as keygen wrote it.")
    ],
) -> None:
    """Check the hashes of a pack's manifest, and sign it as it is."""
    from ruvllm.packs import sign_pack

    public = sign_pack(folder, key)
    terminal.print_text(f"{public}\n")
    if not common.quiet:
        terminal.note(f"signed; now: ruvllm packs verify {folder} --trusted-keys {public}")
