"""Matrix products with packed weights, as every linear map of a model computes them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

import ruvllm._native as _native
from ruvllm.errors import ConfigError
from ruvllm.kernels.arrays import float_array, require
from ruvllm.kernels.quantization import quantize

__all__ = ["PackedMatrix", "matmul", "pack"]


class PackedMatrix:
    """Weights `[rows, columns]` in the layout that the kernels stream; made by `pack`."""

    def __init__(self, native: _native.PackedMatrix) -> None:
        self._native = native

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs and inputs."""
        return self._native.rows, self._native.columns

    @property
    def type_name(self) -> str:
        """The tensor type that was packed."""
        return self._native.type_name

    @property
    def num_bytes(self) -> int:
        """Bytes in memory."""
        return self._native.num_bytes

    def __repr__(self) -> str:
        rows, columns = self.shape
        return f"PackedMatrix({rows} x {columns}, {self.type_name}, {self.num_bytes} bytes)"


def pack(
    weights: NDArray[np.float32] | NDArray[np.uint8] | bytes,
    type_name: str = "F32",
    shape: Sequence[int] | None = None,
) -> PackedMatrix:
    """Pack a matrix of outputs times inputs.

    Args:
        weights: float32 values `[rows, columns]`, encoded as `type_name`; or raw blocks of that type.
        type_name: A tensor type, see `block_types()`.
        shape: Rows and columns, for raw blocks.

    >>> pack(np.eye(2, dtype=np.float32)).shape
    (2, 2)
    """
    if isinstance(weights, np.ndarray) and weights.dtype != np.uint8:
        values = float_array("weights", weights, dimensions=(2,))
        require(
            shape is None or tuple(shape) == values.shape, f"shape is {shape}; weights has {values.shape}"
        )
        return PackedMatrix(_native.PackedMatrix(type_name, quantize(type_name, values), *values.shape))
    if shape is None or len(shape) != 2 or any(size < 0 for size in shape):
        raise ConfigError(f"shape is {shape}; raw blocks need their rows and columns")
    data = weights.view(np.uint8) if isinstance(weights, np.ndarray) else np.frombuffer(weights, np.uint8)
    return PackedMatrix(_native.PackedMatrix(type_name, data, *shape))


def matmul(
    x: NDArray[np.float32], weights: PackedMatrix, *, activations: str = "auto", isa: str | None = None
) -> NDArray[np.float32]:
    """`x @ weights.T` over the last axis of `x`.

    With `activations="auto"` rows meet quantized weights in 8 bits and 16-bit weights in 14 bits, as in the
    engine; `"f32"` rounds nothing.

    >>> matmul(np.float32([[1, 2]]), pack(np.float32([[3, 4]]))).tolist()
    [[11.0]]
    """
    float_array("x", x)
    rows, columns = weights.shape
    require(
        x.ndim > 0 and x.shape[-1] == columns, f"x has the shape {x.shape}; its last axis must be {columns}"
    )
    product = weights._native.multiply(x, activations, isa)
    return product.reshape((*x.shape[:-1], rows))
