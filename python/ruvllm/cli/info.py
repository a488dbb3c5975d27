"""`ruvllm info`: what a model is."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

import ruvllm.hub as hub
from ruvllm.cli import terminal
from ruvllm.cli.command import CommonOptions, command, flag
from ruvllm.cli.opening import open_model
from ruvllm.cli.options import EngineOptions, ModelArgument

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        "info",
        examples=[
            "ruvllm info smollm2-135m",
            "ruvllm info ./model.gguf --json | jq .architecture",
        ],
    )(info)


def info(
    model: ModelArgument,
    engine: EngineOptions,
    common: CommonOptions,
    *,
    json: Annotated[bool, flag("--json", help="For programs.")] = False,
) -> None:
    """Load a model and tell what it is. It is fetched if it is not here."""
    with open_model(model, engine, quiet=common.quiet) as llm:
        facts: dict[str, Any] = asdict(llm.model_info)
        facts["size"] = llm.model_info.size.name.lower()
    facts["device"] = str(getattr(llm.model_info.device, "kind", llm.model_info.device))
    facts["path"] = str(facts["path"])
    if entry := hub.DEFAULT_REGISTRY.find(model):
        facts["licence"] = f"{entry.licence} ({entry.licence_url})"
    if json:
        terminal.print_json(facts)
        return
    terminal.show_pairs((name.replace("_", " "), _written(name, value)) for name, value in facts.items())


def _written(name: str, value: object) -> str:
    if isinstance(value, int) and name.endswith("_bytes"):
        return terminal.size(value)
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else str(value)
