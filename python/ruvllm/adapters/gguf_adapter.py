"""An adapter as a GGUF file, as llama.cpp's converter writes it: read whole or refused whole."""

import math
import re
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

import ruvllm._native as _native
from ruvllm.adapters.reasons import cannot_be_honoured
from ruvllm.adapters.tensors import MAX_BYTES
from ruvllm.adapters.weights import MAX_RANK, AdapterWeights, Matrix, Part
from ruvllm.errors import AdapterError, RuvLLMError

__all__ = ["read_gguf"]

# PEFT's names of the maps.
_MODULES = {
    "attn_q": "q_proj",
    "attn_k": "k_proj",
    "attn_v": "v_proj",
    "attn_qkv": "qkv_proj",
    "attn_output": "o_proj",
    "ffn_gate": "gate_proj",
    "ffn_up": "up_proj",
    "ffn_down": "down_proj",
}
# Files of these have gate over up in what others call up.
_GATE_IS_IN_UP = frozenset({"phi3"})
_TENSOR = re.compile(r"blk\.(?P<layer>[0-9]{1,5})\.(?P<map>[a-z_]+)\.weight\.lora_(?P<half>[ab])")
# What is not read, with what it means.
_REFUSED = {
    "adapter.alora.invocation_tokens": "an adapter of some positions alone",
    "split.count": "one of several files",
}


def read_gguf(path: Path) -> AdapterWeights:
    """Read one; `AdapterError` says all that speaks against it."""
    try:
        num_bytes = path.stat().st_size
        if num_bytes > MAX_BYTES:
            raise AdapterError(f"{path} has {num_bytes} bytes; an adapter has {MAX_BYTES} at most")
        file = _native.GgufFile.open(path)
    except AdapterError:
        raise
    except OSError as error:
        raise AdapterError(f"{path} cannot be read: {error.strerror or error}") from error
    except RuvLLMError as error:
        raise AdapterError(f"{path} is no whole GGUF file: {error}") from error
    if file is None:
        raise AdapterError(f"{path} is no GGUF file")
    reader = _Reader(file)
    weights = reader.weights(path)
    if reader.reasons:
        raise cannot_be_honoured(path, reader.reasons)
    return weights


class _Reader:
    """Collects what it reads, and what is wrong with it."""

    def __init__(self, file: "_native.GgufFile") -> None:
        self._file = file
        self._keys = frozenset(file.keys())
        self.reasons: list[str] = []

    def weights(self, path: Path) -> AdapterWeights:
        for key, wanted in (("general.type", "adapter"), ("adapter.type", "lora")):
            if (found := self._file.value(key)) != wanted:
                self.reasons.append(f"{key} is {found!r}, it must be {wanted!r}")
        self.reasons += [f"{key} is set: {what}" for key, what in _REFUSED.items() if key in self._keys]
        architecture = self._file.value("general.architecture")
        if not isinstance(architecture, str):
            self.reasons.append(f"general.architecture is {architecture!r}, it must be a text")
        alpha = self._alpha()
        # What is no adapter at all, or what a model has, is told of in one sentence.
        parts = [] if self.reasons else self._parts(alpha, gate_is_in_up=architecture in _GATE_IS_IN_UP)
        if not parts and not self.reasons:
            self.reasons.append("it has no tensors")
        name = self._file.value("general.base_model.0.name")
        return AdapterWeights(
            parts=tuple(parts),
            base_model=name if isinstance(name, str) else None,
            architecture=str(architecture),
            source=path,
        )

    def _alpha(self) -> float:
        key = "adapter.lora.alpha"
        alpha = self._file.value(key)
        if isinstance(alpha, float) and math.isfinite(alpha):
            return alpha
        if key in self._keys:
            self.reasons.append(f"{key} is {alpha!r}, it must be a finite number")
        return 0.0

    def _parts(self, alpha: float, *, gate_is_in_up: bool) -> list[Part]:
        halves: dict[tuple[int, str], dict[str, Matrix]] = {}
        for name, kind, shape in self._file.tensors():
            found = _TENSOR.fullmatch(name)
            if found is None or found["map"] not in _MODULES:
                self.reasons.append(f"tensor {name[:200]!r} is of a kind that is not read")
                continue
            module = _MODULES[found["map"]]
            if module == "up_proj" and gate_is_in_up:
                module = "gate_up_proj"
            tensor = self._tensor(name, kind, shape)
            if tensor is not None:
                halves.setdefault((int(found["layer"]), module), {})[found["half"]] = tensor
        if self.reasons:
            return []
        found_parts = [self._part(place, two, alpha) for place, two in sorted(halves.items())]
        return [part for part in found_parts if part is not None]

    def _tensor(self, name: str, kind: str, shape: list[int]) -> Matrix | None:
        # One that is listed has bytes.
        data = cast("NDArray[np.uint8]", self._file.data(name))
        try:
            values = _native.dequantize(kind, data)
        except RuvLLMError as error:
            self.reasons.append(f"tensor {name!r} cannot be read: {error}")
            return None
        if not np.isfinite(values).all():
            self.reasons.append(f"tensor {name!r} has values that are not finite")
            return None
        return values.reshape(shape)

    def _part(self, place: tuple[int, str], halves: dict[str, Matrix], alpha: float) -> Part | None:
        what = f"{place[1]} of layer {place[0]}"
        missing = [half for half in "ab" if half not in halves]
        if missing:
            self.reasons.append(f"{what} has no lora_{missing[0]}")
            return None
        a, b = halves["a"], halves["b"]
        if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1]:
            self.reasons.append(f"{what} has shapes {list(a.shape)} and {list(b.shape)}, of no one rank")
            return None
        if a.shape[0] > MAX_RANK:
            self.reasons.append(f"{what} has rank {a.shape[0]}; at most {MAX_RANK} is read")
            return None
        # Without an alpha, or with 0, the product is added as it is.
        scale = alpha / a.shape[0] if alpha else 1.0
        return Part(layer=place[0], module=place[1], a=a, b=b, scale=scale, in_file_order=True)
