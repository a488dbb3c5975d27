"""The tensors of a safetensors file, in f32 or f16; the file is checked before anything of it is believed.

All of it is read and checked without the interpreter, which a server's other threads need meanwhile, and
each tensor is a view of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ruvllm._native as _native
from ruvllm.adapters.weights import Matrix
from ruvllm.errors import AdapterError, RuvLLMError

__all__ = ["Tensor", "read_tensors"]

# An adapter of rank 512 for a model of 70B is smaller.
MAX_BYTES = 8 * 1024**3
# Names, types and shapes; a tensor has some 200 bytes of it.
MAX_HEAD_BYTES = 8 * 1024**2
_NUMPY: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "F64": np.dtype("<f8"),
    "BF16": np.dtype("<u2"),
}


def _from_bf16(halves: NDArray[np.uint16]) -> NDArray[np.float32]:
    # The upper half of an f32.
    return (halves.astype(np.uint32) << 16).view(np.float32)


_WIDENED: dict[str, Callable[[NDArray[Any]], NDArray[np.float32]]] = {
    "F64": lambda values: values.astype(np.float32),
    "BF16": _from_bf16,
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One of a file.

    Attributes:
        values: Its numbers.
        is_finite: Whether all of them are numbers.
    """

    values: Matrix
    is_finite: bool


def read_tensors(path: Path) -> dict[str, Tensor]:
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
            file.seek(0)
            data = file.read(num_bytes)
        tensors = _native.safetensors_tensors(data)
    except OSError as error:
        raise AdapterError(f"{path} cannot be read: {error.strerror or error}") from error
    except RuvLLMError as error:
        if isinstance(error, AdapterError):
            raise
        raise AdapterError(f"{path} is no whole safetensors file: {error}") from error
    found = {}
    for name, kind, shape, begin, end, is_finite in tensors:
        if kind not in _NUMPY:
            raise AdapterError(f"{path}: tensor {name[:200]!r} is {kind}; F32, F16 and BF16 are read")
        stored = np.frombuffer(data, _NUMPY[kind], (end - begin) // _NUMPY[kind].itemsize, begin)
        values = _WIDENED[kind](stored) if kind in _WIDENED else stored
        found[name] = Tensor(values.reshape(shape), is_finite)
    return found
