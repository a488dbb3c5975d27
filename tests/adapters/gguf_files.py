"""Writes adapters as GGUF files with the PyPI package `gguf`, as llama.cpp's converter does, whole or broken.

What that does is a few lines: tensors by their names in GGUF, rows of Q and K turned, head by head, where
those of the model are, and the alpha of the configuration.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from tests.adapters.peft_files import Tensors

__all__ = ["KEYS", "as_in_gguf", "from_folder", "write"]

_NAMES = {
    "q_proj": "attn_q",
    "k_proj": "attn_k",
    "v_proj": "attn_v",
    "qkv_proj": "attn_qkv",
    "o_proj": "attn_output",
    "gate_proj": "ffn_gate",
    "up_proj": "ffn_up",
    "gate_up_proj": "ffn_up",
    "down_proj": "ffn_down",
}
# Of all tiny models of the fixtures with as many in Q and K.
_HEADS = {"q_proj": 4, "k_proj": 2}
# Keys with their values, as far as a test does not say otherwise.
KEYS: dict[str, Any] = {
    "general.type": "adapter",
    "general.architecture": "llama",
    "adapter.type": "lora",
    "adapter.lora.alpha": 8.0,
}


def as_in_gguf(tensors: Tensors, *, is_turned: bool = True) -> Tensors:
    """PEFT's matrices by their names in GGUF."""
    found: Tensors = {}
    for key, tensor in tensors.items():
        parts = key.split(".")
        layer, module, half = parts[4], parts[6], parts[7]
        if is_turned and half == "lora_B" and module in _HEADS:
            tensor = _turned(tensor, _HEADS[module])
        found[f"blk.{layer}.{_NAMES[module]}.weight.{half.lower()}"] = tensor
    return found


def from_folder(folder: Path) -> Tensors:
    """The matrices of a folder of PEFT's, by their names in GGUF."""
    return as_in_gguf(load_file(folder / "adapter_model.safetensors"))


def write(path: Path, tensors: Tensors, keys: Mapping[str, Any] = KEYS, *, kind: str = "F32") -> Path:
    """A file; tensors whose rows are no whole blocks of the kind are F32, as the converter has them."""
    wanted = gguf.GGMLQuantizationType[kind]
    # An empty architecture is none.
    writer = gguf.GGUFWriter(path, str(keys.get("general.architecture", "")))
    for key, value in keys.items():
        if key != "general.architecture":
            _add(writer, key, value)
    for name, tensor in tensors.items():
        if not np.issubdtype(tensor.dtype, np.floating):
            writer.add_tensor(name, tensor)
            continue
        fits = tensor.ndim > 0 and tensor.shape[-1] % gguf.GGML_QUANT_SIZES[wanted][0] == 0
        own = wanted if fits else gguf.GGMLQuantizationType.F32
        writer.add_tensor(name, gguf.quants.quantize(tensor.astype(np.float32), own), raw_dtype=own)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: gguf.GGUFWriter, key: str, value: object) -> None:
    if isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    else:
        writer.add_array(key, value)  # type: ignore[arg-type]


def _turned(rows: NDArray[Any], heads: int) -> NDArray[Any]:
    """A head's two halves become pairs."""
    width = rows.shape[0] // heads
    return rows.reshape(heads, 2, width // 2, -1).swapaxes(1, 2).reshape(rows.shape)
