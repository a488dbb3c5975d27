"""A Hugging Face folder as a configuration and float64 arrays."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray

Weights = dict[str, NDArray[np.float64]]


def read_config(folder: Path) -> dict[str, Any]:
    """The content of config.json."""
    return json.loads((folder / "config.json").read_text())


def read_weights(folder: Path) -> Weights:
    """Every tensor of the folder: of one file, or of the shards that the index names."""
    index = folder / "model.safetensors.index.json"
    files = {"model.safetensors"}
    if index.exists():
        files = set(json.loads(index.read_text())["weight_map"].values())
    weights: Weights = {}
    for name in sorted(files):
        for tensor, view in safetensors.deserialize((folder / name).read_bytes()):
            assert tensor not in weights, tensor
            weights[tensor] = _values(view).reshape(view["shape"])
    return weights


def _values(view: dict[str, Any]) -> NDArray[np.float64]:
    raw, kind = bytes(view["data"]), view["dtype"]
    if kind == "BF16":  # the upper half of a float32
        return (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return np.frombuffer(raw, {"F64": np.float64, "F32": np.float32, "F16": np.float16}[kind]).astype(
        np.float64
    )
