"""A folder of PEFT's: `adapter_config.json` and `adapter_model.safetensors`, read whole or refused whole."""

import re
from pathlib import Path

from ruvllm.adapters.peft_config import PeftConfig, read_config
from ruvllm.adapters.reasons import TOLD, cannot_be_honoured
from ruvllm.adapters.tensors import Tensor, read_tensors
from ruvllm.adapters.weights import AdapterWeights, Part
from ruvllm.errors import AdapterError

__all__ = ["CONFIG", "WEIGHTS", "read_peft"]

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MODULES = frozenset(
    {
        "q_proj", "k_proj", "v_proj", "qkv_proj", "o_proj",
        "gate_proj", "up_proj", "gate_up_proj", "down_proj",
    }
)  # fmt: skip
_KEY = re.compile(
    r"base_model\.model\.(?P<module>(?:[a-z_]+\.){0,4}layers\.(?P<layer>[0-9]{1,5})"
    r"\.(?:self_attn|mlp)\.(?P<name>[a-z_]+))\.lora_(?P<half>[AB])(?:\.default)?\.weight"
)


def read_peft(folder: Path) -> AdapterWeights:
    """Read one; `AdapterError` says all that speaks against it."""
    config = read_config(folder / CONFIG)
    path = folder / WEIGHTS
    if not path.is_file():
        others = sorted(one.name for one in folder.glob("adapter_model*"))
        found = f"; it has {', '.join(others[:TOLD])}, which is not read" if others else ""
        raise AdapterError(f"{folder} has no {WEIGHTS}{found}")
    reasons: list[str] = []
    halves = _halves(read_tensors(path), reasons)
    parts = [_part(key, found, config, reasons) for key, found in sorted(halves.items())]
    if not parts and not reasons:
        reasons.append("it has no tensors")
    if reasons:
        raise cannot_be_honoured(path, reasons)
    whole = [part for part in parts if part is not None]
    return AdapterWeights(parts=tuple(whole), base_model=config.base_model, source=folder)


def _halves(tensors: dict[str, Tensor], reasons: list[str]) -> dict[tuple[int, str, str], dict[str, Tensor]]:
    """The two matrices of each map, by layer, name and the whole name."""
    halves: dict[tuple[int, str, str], dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        found = _KEY.fullmatch(key)
        if found is None or found["name"] not in MODULES:
            reasons.append(f"tensor {key[:200]!r} is of a kind that is not read")
            continue
        place = (int(found["layer"]), found["name"], found["module"])
        halves.setdefault(place, {})[found["half"]] = tensor
    return halves


def _part(
    key: tuple[int, str, str],
    halves: dict[str, Tensor],
    config: PeftConfig,
    reasons: list[str],
) -> Part | None:
    layer, name, module = key
    missing = [half for half in "AB" if half not in halves]
    if missing:
        reasons.append(f"{module} has no lora_{missing[0]}")
        return None
    a, b = halves["A"].values, halves["B"].values
    rank = config.rank_of(module)
    if a.ndim != 2 or b.ndim != 2 or a.shape[0] != rank or b.shape[1] != rank:
        reasons.append(
            f"{module} has shapes {list(a.shape)} and {list(b.shape)}, of rank {rank} by the config"
        )
        return None
    if not config.is_targeted(module, layer):
        reasons.append(f"{module} has tensors and is no target by the config")
        return None
    if not (halves["A"].is_finite and halves["B"].is_finite):
        reasons.append(f"{module} has values that are not finite")
        return None
    return Part(layer=layer, module=name, a=a, b=b, scale=config.scale_of(module))
