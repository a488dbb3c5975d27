"""Writes folders as PEFT does, for a tiny model, whole or broken in one way."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

__all__ = ["BASE", "Tensors", "config", "key", "tensors", "write"]

Tensors = dict[str, NDArray[Any]]

# `llama-gqa` of the fixtures.
LAYERS, HIDDEN, FEED_FORWARD, QUERIES, KEYS = 3, 64, 96, 64, 32
BASE = {
    "q_proj": ("self_attn", HIDDEN, QUERIES),
    "k_proj": ("self_attn", HIDDEN, KEYS),
    "v_proj": ("self_attn", HIDDEN, KEYS),
    "o_proj": ("self_attn", QUERIES, HIDDEN),
    "gate_proj": ("mlp", HIDDEN, FEED_FORWARD),
    "up_proj": ("mlp", HIDDEN, FEED_FORWARD),
    "down_proj": ("mlp", FEED_FORWARD, HIDDEN),
}


def config(**changes: Any) -> dict[str, Any]:
    """A configuration that is in order, but for the changes."""
    return {
        "peft_type": "LORA",
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["q_proj", "v_proj"],
        "bias": "none",
        "use_dora": False,
        **changes,
    }


def key(layer: int, module: str, half: str) -> str:
    """The name of a tensor."""
    return f"base_model.model.model.layers.{layer}.{BASE[module][0]}.{module}.lora_{half}.weight"


def tensors(
    modules: tuple[str, ...] = ("q_proj", "v_proj"),
    *,
    rank: int = 4,
    layers: tuple[int, ...] = tuple(range(LAYERS)),
    seed: int = 0,
) -> Tensors:
    """Both matrices of some modules of some layers."""
    numbers = np.random.default_rng(seed)
    made: Tensors = {}
    for layer in layers:
        for module in modules:
            _, inputs, outputs = BASE[module]
            for half, shape in (("A", (rank, inputs)), ("B", (outputs, rank))):
                made[key(layer, module, half)] = 0.1 * numbers.standard_normal(shape, dtype=np.float32)
    return made


def write(folder: Path, settings: Mapping[str, Any], given: Tensors) -> Path:
    """A folder with both files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    save_file(given, folder / "adapter_model.safetensors")
    return folder
