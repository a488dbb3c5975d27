"""Small things to train on: sums for a tiny model, and what one needs to look into a run."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ruvllm._native as _native
from ruvllm.adapters import read_peft
from ruvllm.training import TrainableModel

__all__ = ["SUMS", "begun", "matrices", "same"]

SUMS: list[dict[str, Any]] = [
    {"prompt": f"the sum of {n} and {n}", "completion": f" is {2 * n} of course"} for n in range(24)
]


def begun(model: TrainableModel, **settings: Any) -> _native.Training:
    """An adapter of some maps that does nothing yet."""
    given = {"rank": 2, "alpha": 4.0, "modules": ["q_proj", "v_proj", "down_proj"], "seed": 5, **settings}
    return _native.Training(model.native, **given)


def matrices(folder: Path) -> dict[str, NDArray[Any]]:
    """All tensors of an adapter's folder, by layer, map and half."""
    found = {}
    for part in read_peft(folder).parts:
        found[f"{part.layer}.{part.module}.A"] = part.a
        found[f"{part.layer}.{part.module}.B"] = np.float32(part.scale) * part.b
    return found


def same(first: Path, second: Path) -> bool:
    """Whether two adapters have the same numbers, bit for bit."""
    one, other = matrices(first), matrices(second)
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
