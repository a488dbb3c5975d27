"""`ruvllm adapters info`, `merge` and `export`: adapters as folders, without a model or a server."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ruvllm.cli import terminal
from ruvllm.cli.command import CommonOptions, command, flag
from ruvllm.errors import ConfigError

if TYPE_CHECKING:
    from ruvllm.adapters import AdapterWeights, MergeMethod

__all__ = ["register"]

_FolderArgument = Annotated[
    Path,
    typer.Argument(
        help="A folder with adapter_config.json and adapter_model.safetensors, or a GGUF file.",
        metavar="FOLDER",
    ),
]
_OutArgument = Annotated[
    Path, typer.Argument(help="The folder to write; it must have no adapter.", metavar="OUT")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Merging:
    """How several become one; docs/adapters.md has what the methods do."""

    method: Annotated[
        str,
        flag(
            "--method",
            variable="RUVLLM_ADAPTERS_METHOD",
            help="linear, task_arithmetic, average, slerp, ties, dare or dare_ties.",
        ),
    ] = "linear"
    density: Annotated[
        float,
        flag(
            "--density",
            variable="RUVLLM_ADAPTERS_DENSITY",
            help="What part of the numbers ties and dare keep.",
            min=0.0,
            max=1.0,
        ),
    ] = 0.5
    rank: Annotated[
        int | None,
        flag(
            "--rank",
            variable="RUVLLM_ADAPTERS_RANK",
            help="The result's rank, where it is not exact; the largest of theirs by default.",
            min=1,
        ),
    ] = None
    seed: Annotated[
        int, flag("--seed", variable="RUVLLM_ADAPTERS_SEED", help="Decides what dare drops.", min=0)
    ] = 0

    def checked_method(self) -> "MergeMethod":
        """The method, which is one that there is."""
        from ruvllm.adapters import MERGE_METHODS

        found = next((one for one in MERGE_METHODS if one == self.method), None)
        if found is None:
            raise ConfigError(f"--method is {self.method!r}; it must be one of {', '.join(MERGE_METHODS)}")
        return found


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(
        app,
        "info",
        examples=[
            "ruvllm adapters info adapters/tone",
            "ruvllm adapters info adapters/tone --json | jq .rank",
        ],
    )(info)
    command(
        app,
        "merge",
        examples=[
            "ruvllm adapters merge adapters/both adapters/tone=0.7 adapters/law=0.3",
            "ruvllm adapters merge adapters/both adapters/tone adapters/law --method ties --density 0.2",
        ],
    )(merge)
    command(
        app,
        "export",
        examples=[
            "ruvllm adapters export adapters/tone plain/tone",
            "ruvllm adapters export adapters/rslora plain && ls plain",
        ],
    )(export)


def info(
    folder: _FolderArgument, *, json: Annotated[bool, flag("--json", help="For programs.")] = False
) -> None:
    """Read an adapter, whole, and tell what it is."""
    weights = _read(folder)
    layers = sorted({part.layer for part in weights.parts})
    facts = {
        "rank": weights.max_rank,
        "modules": list(weights.modules),
        "layers": layers,
        "parameters": sum(part.a.size + part.b.size for part in weights.parts),
        "base_model": weights.base_model,
        "path": str(folder),
    }
    if json:
        terminal.print_json(facts)
        return
    shown = {
        **facts,
        "modules": ", ".join(weights.modules),
        "layers": f"{len(layers)} ({layers[0]} to {layers[-1]})",
    }
    terminal.show_pairs((name.replace("_", " "), str(value)) for name, value in shown.items())


def merge(
    out: _OutArgument,
    adapters: Annotated[
        list[str],
        typer.Argument(help="Folders, each with its weight, or 1.", metavar="FOLDER[=WEIGHT]..."),
    ],
    merging: Merging,
    common: CommonOptions,
) -> None:
    """Make one adapter of several, and write it as a folder that peft, vLLM and `ruvllm serve` load."""
    from ruvllm.adapters import merge as merged
    from ruvllm.adapters import write_peft

    method = merging.checked_method()
    given = [_with_weight(one) for one in adapters]
    weights = merged(given, method, density=merging.density, rank=merging.rank, seed=merging.seed)
    write_peft(weights, out)
    terminal.print_text(f"{out}\n")
    if not common.quiet:
        terminal.note(f"{method} of {len(given)} adapters, of rank {weights.max_rank}")


def export(folder: _FolderArgument, out: _OutArgument) -> None:
    """Write an adapter anew in the plainest form: in F32, with its scales in its matrices."""
    from ruvllm.adapters import write_peft

    write_peft(_read(folder), out)
    terminal.print_text(f"{out}\n")


def _with_weight(given: str) -> tuple["AdapterWeights", float]:
    folder, separator, weight = given.rpartition("=")
    if not separator or Path(given).exists():
        return _read(Path(given)), 1.0
    try:
        return _read(Path(folder)), float(weight)
    except ValueError:
        raise ConfigError(f"{given!r}: {weight!r} is no weight; give FOLDER=0.7") from None


def _read(folder: Path) -> "AdapterWeights":
    from ruvllm.adapters import read_adapter

    return read_adapter(folder)
