"""`ruvllm info` and `ruvllm show`, the same under two names: what a model is."""

from collections import Counter
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import ruvllm.hub as hub
from ruvllm.cli import terminal
from ruvllm.cli.command import command, flag
from ruvllm.cli.options import CacheOptions, ModelArgument

if TYPE_CHECKING:
    import ruvllm._native as _native

__all__ = ["register"]

# Types with less of the weights than this are left out for people: norms are F32 in every file.
LEAST_SHARE = 0.005


def register(app: typer.Typer) -> None:
    """Add the command under both of its names; `show` is what Ollama's users type."""
    for name in ("info", "show"):
        command(
            app,
            name,
            examples=[
                f"ruvllm {name} smollm2-135m",
                f"ruvllm {name} ./model.gguf --json | jq .architecture",
                "ruvllm doctor smollm2-135m             whether it fits here, and how it is best run",
            ],
        )(info)


def info(
    model: ModelArgument,
    cache: CacheOptions,
    *,
    json: Annotated[bool, flag("--json", help="For programs.")] = False,
) -> None:
    """Tell what a model on this machine is; `info` and `show` are the same.

    Only the head of its files is read; nothing is loaded or fetched.
    """
    path = hub.find(model, cache=cache.cache_dir)
    import ruvllm._native as _native

    facts = _facts(_native.ModelHeader.read(path, "auto"), path)
    is_ollamas = isinstance(hub.parse(model, hub.DEFAULT_REGISTRY), hub.OllamaModel)
    if not is_ollamas and (entry := hub.DEFAULT_REGISTRY.find(model)):
        facts["licence"] = f"{entry.licence} ({entry.licence_url})"
    recommended = hub.recommended_for(path)
    if json:
        terminal.print_json(facts | ({"recommended": recommended.given} if recommended.given else {}))
        return
    if recommended.given:
        facts["recommended"] = recommended
    terminal.show_pairs((name.replace("_", " "), _written(name, value)) for name, value in facts.items())


def _facts(header: "_native.ModelHeader", path: Path) -> dict[str, Any]:
    num_parameters, file_bytes = header.sizes
    num_heads, num_kv_heads, head_dim = header.heads
    return {
        "name": header.name or hub.called(path, hub.DEFAULT_REGISTRY),
        "path": str(path),
        "architecture": header.architecture,
        # Mixtures are known by their files' names alone: most weights of a Q4_K_M may be Q5_0.
        "quantization": _in_name(path) or header.quantization,
        "weight_types": _weight_types(header),
        "num_parameters": num_parameters,
        "vocab_size": header.vocab_size,
        "hidden_size": header.hidden_size,
        "num_layers": header.num_layers,
        "num_heads": num_heads,
        "num_kv_heads": num_kv_heads,
        "head_dim": head_dim,
        "model_max_context": header.max_context,
        "file_bytes": file_bytes,
    }


def _in_name(path: Path) -> str | None:
    return hub.quantization_of(path.name) if path.suffix.lower() == ".gguf" else None


def _weight_types(header: "_native.ModelHeader") -> dict[str, float]:
    """The share of the weights that each type of tensors has, the most first."""
    counts: Counter[str] = Counter()
    for _, type_name, shape in header.tensors():
        counts[type_name] += prod(shape)
    total = max(counts.total(), 1)  # every tensor may be empty
    return {name: count / total for name, count in counts.most_common()}


def _written(name: str, value: object) -> str:
    if isinstance(value, hub.Recommended):
        return value.told()
    if isinstance(value, dict):
        return ", ".join(f"{kind} {share:.0%}" for kind, share in value.items() if share >= LEAST_SHARE)
    if isinstance(value, int) and name.endswith("_bytes"):
        return terminal.size(value)
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else str(value)
