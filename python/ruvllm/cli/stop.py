"""`ruvllm stop`: have a server give a model up, and its memory back."""

from typing import Annotated

import typer

from ruvllm.cli import terminal
from ruvllm.cli.command import CommonOptions, command
from ruvllm.cli.options import RunningServer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        "stop",
        examples=[
            "ruvllm stop smollm2-135m               of `ruvllm serve` on this machine",
            "RUVLLM_API_KEY=sk-... ruvllm stop small --url http://10.0.0.7:8000",
        ],
    )(stop)


def stop(
    models: Annotated[
        list[str], typer.Argument(help="Names, as `ruvllm ps` shows them.", metavar="MODEL...")
    ],
    serving: RunningServer,
    common: CommonOptions,
) -> None:
    """Have a server give models up; each is loaded again when a request asks for it.

    No request is cut off: one that runs is waited for, some seconds, and then the model stays loaded, which
    ends the command with 1. A server of ours wants an admin key. The server itself is ended by Ctrl-C.
    """
    with serving.client() as server:
        for model in models:
            server.unload(model)
            if not common.quiet:
                terminal.note(f"{model} is not loaded any more")
