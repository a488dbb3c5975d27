"""What the kernels accept: float32, side by side, of a shape that fits."""

import numpy as np
from numpy.typing import NDArray

from ruvllm.errors import ConfigError

__all__ = ["float_array", "require"]


def float_array(
    name: str, value: object, *, dimensions: tuple[int, ...] | None = None
) -> NDArray[np.float32]:
    """`value` itself, if it is a C-contiguous float32 array of one of these numbers of dimensions."""
    if not isinstance(value, np.ndarray):
        raise ConfigError(f"{name} is of type {type(value).__name__}; it must be a NumPy array of float32")
    if value.dtype != np.float32:
        raise ConfigError(f"{name} has the type {value.dtype}; it must be float32 (see numpy's `astype`)")
    if not value.flags.c_contiguous:
        raise ConfigError(
            f"{name} is strided, of shape {value.shape}; it must be contiguous (numpy's `ascontiguousarray`)"
        )
    if dimensions is not None and value.ndim not in dimensions:
        wanted = " or ".join(str(count) for count in dimensions)
        raise ConfigError(f"{name} has the shape {value.shape}; it must have {wanted} dimensions")
    return value


def require(holds: object, message: str) -> None:
    """`ConfigError` unless it holds."""
    if not holds:
        raise ConfigError(message)
