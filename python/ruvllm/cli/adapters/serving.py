"""`ruvllm adapters load`, `list` and `unload`: which adapters a server has that runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ruvllm.cli import terminal
from ruvllm.cli.command import CommonOptions, command, flag
from ruvllm.cli.options import RunningServer

__all__ = ["register"]

_NameArgument = Annotated[str, typer.Argument(help="What requests give as `model`.", metavar="NAME")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changing(RunningServer):
    """Which server, and which model of it is to be changed."""

    model: Annotated[
        str | None,
        flag(
            "--model",
            "-m",
            variable="RUVLLM_ADAPTERS_MODEL",
            help="The model that it is for, by its name there; else the first.",
            metavar="MODEL",
        ),
    ] = None


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(
        app,
        "load",
        examples=[
            "ruvllm serve --adapter-dir adapters &",
            "ruvllm adapters load tone adapters/tone",
            "ruvllm adapters load tone adapters/tone-2 --replace    running requests keep the old one",
        ],
    )(load)
    command(
        app,
        "list",
        examples=["ruvllm adapters list", "ruvllm adapters list --json --url http://10.0.0.7:8000"],
    )(list_adapters)
    command(
        app,
        "unload",
        examples=["ruvllm adapters unload tone", "ruvllm adapters unload tone --model other"],
    )(unload)


def load(
    name: _NameArgument,
    folder: Annotated[
        str,
        typer.Argument(
            help="A folder of PEFT's, or a GGUF file, on the server's machine, in its --adapter-dir.",
            metavar="FOLDER",
        ),
    ],
    changing: Changing,
    common: CommonOptions,
    *,
    replace: Annotated[
        bool,
        flag("--replace", variable="RUVLLM_ADAPTERS_REPLACE", help="Also where the name is known already."),
    ] = False,
) -> None:
    """Have a server that runs load an adapter, for which nothing waits. Takes an admin key, if any."""
    with changing.client() as server:
        # What is relative is meant from here, as long as here is there.
        is_here = server.address.is_local and Path(folder).exists()
        path = str(Path(folder).absolute()) if is_here else folder
        server.load_adapter(name, path, replace=replace, model=changing.model)
    if not common.quiet:
        terminal.note(f"{name} is loaded: requests ask for it as their model")


def list_adapters(
    serving: RunningServer,
    *,
    json: Annotated[bool, flag("--json", help="For programs.")] = False,
) -> None:
    """List the adapters of a server that runs."""
    with serving.client() as server:
        adapters = server.adapters()
    if json:
        terminal.print_json(adapters)
        return
    columns = ("NAME", "MODEL", "RANK", "SIZE", "GENERATION")
    rows = [
        (
            str(one.get("id")),
            str(one.get("base")),
            str(one.get("rank")),
            terminal.size(int(one.get("bytes", 0))),
            str(one.get("generation"))[:12],
        )
        for one in adapters
    ]
    terminal.show_table(columns, rows, right=("RANK", "SIZE"))


def unload(name: _NameArgument, changing: Changing, common: CommonOptions) -> None:
    """Have a server that runs forget an adapter. Requests that run keep it. Takes an admin key, too."""
    with changing.client() as server:
        server.unload_adapter(name, model=changing.model)
    if not common.quiet:
        terminal.note(f"{name} is unloaded")
