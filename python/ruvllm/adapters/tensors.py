"""The tensors of a safetensors file as f32 arrays; the file is checked before anything of it is believed."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize

from ruvllm.errors import AdapterError

__all__ = ["read_tensors"]

# An adapter of rank 512 for a model of 70B is smaller.
MAX_BYTES = 8 * 1024**3
_NUMPY: dict[str, np.dtype[np.floating[Any]]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "F64": np.dtype("<f8"),
}


def read_tensors(path: Path) -> dict[str, NDArray[np.float32]]:
    """All tensors of a file, by name."""
    try:
        num_bytes = path.stat().st_size
        if num_bytes > MAX_BYTES:
            raise AdapterError(f"{path} has {num_bytes} bytes; an adapter has {MAX_BYTES} at most")
        found: list[tuple[str, dict[str, Any]]] = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
    except OSError as error:
        raise AdapterError(f"{path} cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise AdapterError(f"{path} is no whole safetensors file: {error}") from error
    return {name: _array(path, name, tensor) for name, tensor in found}


def _array(path: Path, name: str, tensor: dict[str, Any]) -> NDArray[np.float32]:
    kind, data, shape = str(tensor["dtype"]), tensor["data"], tuple(tensor["shape"])
    if kind == "BF16":
        # The upper half of an f32.
        halves = np.frombuffer(data, dtype="<u2").astype(np.uint32)
        values: NDArray[np.float32] = (halves << 16).view(np.float32)
        return values.reshape(shape)
    if kind not in _NUMPY:
        raise AdapterError(f"{path}: tensor {name[:200]!r} is {kind}; F32, F16 and BF16 are read")
    values = np.frombuffer(data, dtype=_NUMPY[kind]).astype(np.float32)
    return values.reshape(shape)
