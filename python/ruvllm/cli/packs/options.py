"""What the commands of packs share."""

from dataclasses import dataclass
from typing import Annotated

import typer

from ruvllm.cli.command import flag

__all__ = ["PackArgument", "PackNameArgument", "Trust"]

PackArgument = Annotated[
    str, typer.Argument(help="A folder, reference, or an installed NAME or NAME@VERSION.", metavar="PACK")
]
PackNameArgument = Annotated[
    str, typer.Argument(help="As `ruvllm packs list` shows it.", metavar="NAME[@VERSION]")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom to believe besides the keys that are trusted already."""

    trusted_keys: Annotated[
        list[str] | None,
        flag(
            "--trusted-keys",
            help="Also trust ed25519:KEY, this once; may be given again. Its variable trusts it everywhere.",
        ),
    ] = None

    def keys(self) -> tuple[str, ...]:
        """The keys of the flag, and the default ones."""
        from ruvllm.packs.trust import default_trusted_keys, split_keys

        return tuple(dict.fromkeys([*default_trusted_keys(), *split_keys(self.trusted_keys or ())]))
