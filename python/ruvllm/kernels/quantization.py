"""The engine's kernels as functions over numpy arrays."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ruvllm._native as _native
from ruvllm.errors import ConfigError

__all__ = ["BlockType", "block_types", "dequantize", "quantize"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockType:
    """A tensor type: so many values in so many bytes."""

    name: str
    block_elements: int
    block_bytes: int


def block_types() -> tuple[BlockType, ...]:
    """Every tensor type that the engine reads."""
    return tuple(
        BlockType(name=name, block_elements=elements, block_bytes=size)
        for name, elements, size in _native.block_types()
    )


def dequantize(
    type_name: str, data: NDArray[np.uint8] | bytes, shape: Sequence[int] | None = None
) -> NDArray[np.float32]:
    """Decode blocks of a tensor type into float32 values, shaped as `shape` or flat.

    >>> float(dequantize("F16", np.float16([1.5]).tobytes())[0])
    1.5
    """
    values = _native.dequantize(type_name, _as_bytes(data))
    if shape is None:
        return values
    if any(size < 0 for size in shape) or math.prod(shape) != values.size:
        raise ConfigError(f"shape is {tuple(shape)}; the data holds {values.size} values")
    return values.reshape(tuple(shape))


def quantize(type_name: str, values: Any) -> NDArray[np.uint8]:
    """Encode float values, flattened, into blocks of a tensor type; `ConfigError` where it has no encoder.

    >>> quantize("Q8_0", np.zeros(32)).size
    34
    """
    return _native.quantize(type_name, np.ascontiguousarray(values, dtype=np.float32).reshape(-1))


def _as_bytes(data: NDArray[np.uint8] | bytes) -> NDArray[np.uint8]:
    if isinstance(data, bytes | bytearray | memoryview):
        return np.frombuffer(data, dtype=np.uint8)
    if data.dtype != np.uint8:
        raise ConfigError(f"data has the type {data.dtype}; it must be uint8 (see numpy's `view`)")
    return np.ascontiguousarray(data).reshape(-1)
