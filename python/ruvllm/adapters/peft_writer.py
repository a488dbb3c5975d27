"""Writes an adapter as PEFT does, for `peft`, vLLM and llama.cpp's converter to load."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from ruvllm.adapters.peft_folder import CONFIG, WEIGHTS
from ruvllm.adapters.weights import AdapterWeights
from ruvllm.errors import AdapterError
from ruvllm.whole_file import creating

__all__ = ["write_peft"]

_ATTENTION = frozenset({"q_proj", "k_proj", "v_proj", "qkv_proj", "o_proj"})


def write_peft(weights: AdapterWeights, folder: Path) -> None:
    """Write a folder; one that has an adapter already is an error.

    The scale of each map is in its B, so that `lora_alpha` is the rank. Where maps have different ranks, the
    largest is `r`, and `rank_pattern` has the others.
    """
    if any(part.in_file_order for part in weights.parts):
        raise AdapterError("rows of Q and K of this adapter stand as in a GGUF file; PEFT has another order")
    folder.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG, WEIGHTS):
        if (folder / name).exists():
            raise AdapterError(f"{folder / name} exists; an adapter is not written over another")
    tensors = {}
    for part in weights.parts:
        name = f"base_model.model.{_name(part.layer, part.module)}"
        tensors[f"{name}.lora_A.weight"] = np.ascontiguousarray(part.a, np.float32)
        tensors[f"{name}.lora_B.weight"] = np.ascontiguousarray(np.float32(part.scale) * part.b, np.float32)
    rank = weights.max_rank
    others = {_name(part.layer, part.module): part.rank for part in weights.parts if part.rank != rank}
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": weights.base_model,
        "r": rank,
        "lora_alpha": rank,
        "rank_pattern": others,
        "alpha_pattern": others,
        "target_modules": _targets(weights),
        "bias": "none",
        "lora_dropout": 0.0,
        "use_rslora": False,
        "use_dora": False,
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    with creating(folder / WEIGHTS) as file:
        file.write(save(tensors, metadata={"format": "pt"}))
    # Last: a folder without it is no adapter.
    with creating(folder / CONFIG) as file:
        file.write(json.dumps(settings, indent=2).encode() + b"\n")


def _targets(weights: AdapterWeights) -> list[str]:
    """Maps of all layers by their last names; where one lacks some by whole ones: else `peft` makes some."""
    found = {(part.layer, part.module) for part in weights.parts}
    layers = range(1 + max(part.layer for part in weights.parts))
    if found == {(layer, module) for layer in layers for module in weights.modules}:
        return list(weights.modules)
    return [_name(layer, module) for layer, module in sorted(found)]


def _name(layer: int, module: str) -> str:
    part = "self_attn" if module in _ATTENTION else "mlp"
    return f"model.layers.{layer}.{part}.{module}"
