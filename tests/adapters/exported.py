"""Adapters that RuvLLM writes, which `peft` has loaded once: what it computed with them is recorded."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from safetensors.numpy import load_file

from ruvllm.adapters import AdapterWeights, merge, read_peft, write_peft

__all__ = ["EXPORTED", "given", "written"]

ADAPTERS = Path(__file__).parents[1] / "fixtures" / "adapters"


def _read(name: str) -> AdapterWeights:
    return read_peft(ADAPTERS / name / "adapter")


def _merged() -> AdapterWeights:
    return merge([(_read("lora-all-r4"), 0.75), (_read("lora-rs-r8"), -0.5)], "task_arithmetic")


def _of_several_ranks() -> AdapterWeights:
    """4 everywhere, but 12 where the other has something as well; the values of one layer nowhere."""
    all_of_it, other = _read("lora-all-r4"), _read("lora-rs-r8")
    some = AdapterWeights(
        parts=tuple(part for part in other.parts if (part.layer, part.module[0]) in {(0, "v"), (2, "d")})
    )
    most = AdapterWeights(
        parts=tuple(part for part in all_of_it.parts if (part.layer, part.module[0]) != (1, "v"))
    )
    return merge([(most, 1.0), (some, 1.0)], "task_arithmetic")


EXPORTED: dict[str, Callable[[], AdapterWeights]] = {
    "as-read": lambda: _read("lora-all-r4"),
    "merged": _merged,
    "of-several-ranks": _of_several_ranks,
}


def written(name: str, folder: Path) -> Path:
    """A folder with one of them."""
    write_peft(EXPORTED[name](), folder)
    return folder


def given(folder: Path) -> str:
    """Names what a folder holds: all its matrices, bit by bit, and its settings."""
    digest = hashlib.sha256()
    for key, matrix in sorted(load_file(folder / "adapter_model.safetensors").items()):
        digest.update(f"{key}/{matrix.dtype}/{matrix.shape}/".encode() + matrix.tobytes())
    settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    digest.update(json.dumps(settings, sort_keys=True).encode())
    return digest.hexdigest()
