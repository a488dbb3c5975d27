"""The tensors of a safetensors file, in f32 or f16; the file is checked before anything of it is believed.

A tensor at a time, for a server reads adapters while it streams: its other threads need the interpreter.
"""

import json
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from ruvllm.adapters.weights import Matrix
from ruvllm.errors import AdapterError

__all__ = ["read_tensors"]

# An adapter of rank 512 for a model of 70B is smaller.
MAX_BYTES = 8 * 1024**3
# Names, types and shapes; a tensor has some 200 bytes of it.
MAX_HEAD_BYTES = 8 * 1024**2
_NUMPY: dict[str, np.dtype[np.floating[Any]]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "F64": np.dtype("<f8"),
}


def read_tensors(path: Path) -> dict[str, Matrix]:
    """All tensors of a file, by name."""
    try:
        num_bytes = path.stat().st_size
        if num_bytes > MAX_BYTES:
            raise AdapterError(f"{path} has {num_bytes} bytes; an adapter has {MAX_BYTES} at most")
        with path.open("rb") as file:
            head_bytes = int.from_bytes(file.read(8), "little")
            if head_bytes > MAX_HEAD_BYTES:
                raise AdapterError(
                    f"{path} is no adapter's safetensors file: its head has {head_bytes} bytes"
                )
            # Says whether the head is in order, and whether its tensors fill the file.
            with safe_open(path, framework="numpy"):
                head: dict[str, dict[str, Any]] = json.loads(file.read(head_bytes))
            head.pop("__metadata__", None)
            return {
                name: _array(file, 8 + head_bytes, tensor, what=f"{path}: tensor {name[:200]!r}")
                for name, tensor in head.items()
            }
    except OSError as error:
        raise AdapterError(f"{path} cannot be read: {error.strerror or error}") from error
    except (SafetensorError, ValueError) as error:
        raise AdapterError(f"{path} is no whole safetensors file: {error}") from error


def _array(file: BinaryIO, base: int, tensor: dict[str, Any], *, what: str) -> Matrix:
    kind, shape = str(tensor["dtype"]), tuple(tensor["shape"])
    begin, end = tensor["data_offsets"]
    file.seek(base + begin)
    data = file.read(end - begin)
    if kind == "BF16":
        # The upper half of an f32.
        halves = np.frombuffer(data, dtype="<u2").astype(np.uint32)
        values: NDArray[np.float32] = (halves << 16).view(np.float32)
        return values.reshape(shape)
    if kind not in _NUMPY:
        raise AdapterError(f"{what} is {kind}; F32, F16 and BF16 are read")
    stored = np.frombuffer(data, dtype=_NUMPY[kind])
    return (stored.astype(np.float32) if kind == "F64" else stored).reshape(shape)
