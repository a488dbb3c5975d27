"""`ruvllm ps`: the models that a server has loaded."""

import re
from datetime import datetime, timezone
from typing import Annotated, Any

import typer

from ruvllm.cli import terminal
from ruvllm.cli.command import command, flag
from ruvllm.cli.options import RunningServer

__all__ = ["register"]

_FRACTION = re.compile(r"\.\d+")
# Nobody waits so long for a model to go.
NEVER_SECONDS = 10 * 365 * 86_400


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
    """List the models that a server has loaded; `ruvllm list` has those that are on the disk.

    `stays` is how long each stays without being used: `ruvllm serve --idle-unload` says so for all.
    """
    with serving.client() as server:
        models = server.loaded_models()
    if json:
        terminal.print_json({"models": models})
        return
    if not models:
        terminal.note(f"{serving.url} has no model loaded yet: each is loaded when it is first asked")
        return
    terminal.show_table(
        ["name", "size", "context", "quantization", "stays"],
        [
            (
                str(model.get("name", "-")).removesuffix(":latest"),
                _told(model, "size"),
                _told(model, "context_length"),
                _quantization(model.get("details")),
                _time_left(model.get("expires_at")),
            )
            for model in models
        ],
        right=["size", "context"],
    )


def _quantization(details: object) -> str:
    return str((details.get("quantization_level") if isinstance(details, dict) else None) or "-")


def _time_left(expires_at: object) -> str:
    # Other servers write more digits of a second than Python reads.
    plain = _FRACTION.sub("", expires_at) if isinstance(expires_at, str) else ""
    try:
        end = datetime.fromisoformat(plain.replace("Z", "+00:00"))
        seconds = (end - datetime.now(timezone.utc)).total_seconds()
    except (ValueError, TypeError):
        return "-"
    if seconds > NEVER_SECONDS:
        return "always"
    return f"{max(0, round(seconds))} s" if seconds < 120 else f"{round(seconds / 60)} min"


def _told(model: dict[str, Any], name: str) -> str:
    value = model.get(name)
    if not isinstance(value, int):
        return "-"
    return terminal.size(value) if name == "size" else str(value)
