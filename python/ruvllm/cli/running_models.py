"""`ruvllm ps`: the models that a server has loaded."""

from typing import Annotated, Any

import typer

from ruvllm.cli import terminal
from ruvllm.cli.command import command, flag
from ruvllm.cli.options import RunningServer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        "ps",
        examples=[
            "ruvllm ps                              of `ruvllm serve` on this machine",
            "ruvllm ps --url http://127.0.0.1:11434 of Ollama's server",
            "ruvllm ps --json | jq -r '.models[].name'",
        ],
    )(running_models)


def running_models(
    serving: RunningServer, *, json: Annotated[bool, flag("--json", help="For programs.")] = False
) -> None:
    """List the models that a server has loaded; `ruvllm list` has those that are on the disk."""
    with serving.client() as server:
        models = server.loaded_models()
    if json:
        terminal.print_json({"models": models})
        return
    if not models:
        terminal.note(f"{serving.url} has no model loaded yet: each is loaded when it is first asked")
        return
    terminal.show_table(
        ["name", "size", "context", "quantization"],
        [
            (
                str(model.get("name", "-")).removesuffix(":latest"),
                _told(model, "size"),
                _told(model, "context_length"),
                _quantization(model.get("details")),
            )
            for model in models
        ],
        right=["size", "context"],
    )


def _quantization(details: object) -> str:
    return str((details.get("quantization_level") if isinstance(details, dict) else None) or "-")


def _told(model: dict[str, Any], name: str) -> str:
    value = model.get(name)
    if not isinstance(value, int):
        return "-"
    return terminal.size(value) if name == "size" else str(value)
