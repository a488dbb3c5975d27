"""Operations over the rows of an array: norm, softmax, gated activation, rotary embedding."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ruvllm._native as _native
from ruvllm.errors import ConfigError
from ruvllm.kernels.arrays import float_array, require

__all__ = ["gate", "rms_norm", "rope", "softmax"]


def rms_norm(
    x: NDArray[np.float32], weight: NDArray[np.float32], epsilon: float = 1e-6, *, isa: str | None = None
) -> NDArray[np.float32]:
    """`x / sqrt(mean(x**2) + epsilon) * weight` over the last axis.

    >>> rms_norm(np.float32([[3, 4]]), np.ones(2, np.float32), 0.0).round(4).tolist()
    [[0.8485000133514404, 1.1313999891281128]]
    """
    float_array("x", x)
    float_array("weight", weight, dimensions=(1,))
    require(
        x.ndim > 0 and x.shape[-1] == weight.size and weight.size > 0,
        f"weight has the shape {weight.shape}; it must fit the last axis of x, whose shape is {x.shape}",
    )
    require(epsilon >= 0.0, f"epsilon is {epsilon}; it must be 0 or more")
    return _native.rms_norm(x, weight, epsilon, isa).reshape(x.shape)


def softmax(x: NDArray[np.float32], *, isa: str | None = None) -> NDArray[np.float32]:
    """Softmax over the last axis, stable under any offset.

    >>> softmax(np.float32([1000, 1000])).tolist()
    [0.5, 0.5]
    """
    float_array("x", x)
    require(x.ndim > 0 and x.shape[-1] > 0, f"x has the shape {x.shape}; its last axis must not be empty")
    return _native.softmax(x, x.shape[-1], isa).reshape(x.shape)


def gate(
    gate: NDArray[np.float32], up: NDArray[np.float32], activation: str = "silu", *, isa: str | None = None
) -> NDArray[np.float32]:
    """`activation(gate) * up`: SwiGLU with `silu`, GeGLU with `gelu` (its tanh form).

    >>> gate(np.float32([0, 100]), np.float32([5, 2])).tolist()
    [0.0, 200.0]
    """
    float_array("gate", gate)
    float_array("up", up)
    require(gate.shape == up.shape, f"up has the shape {up.shape}; it must be that of gate, {gate.shape}")
    return _native.gate(gate, up, activation, isa).reshape(gate.shape)


def rope(
    x: NDArray[np.float32],
    positions: Sequence[int] | NDArray[np.integer[Any]],
    *,
    base: float = 10000.0,
    dimensions: int | None = None,
    isa: str | None = None,
) -> NDArray[np.float32]:
    """Rotary embedding of `x`, `[tokens, heads, head_dim]`: dimension `i` turns with `i + dimensions / 2`.

    Args:
        x: The heads of each token.
        positions: One position a token.
        base: The first pair turns by 1 radian a position, the last by almost `1 / base`.
        dimensions: How many dimensions of a head turn; all of them by default.
        isa: The instruction set; the best of this machine by default.
    """
    float_array("x", x, dimensions=(3,))
    tokens, _, head_dim = x.shape
    places = [int(position) for position in positions]
    require(len(places) == tokens, f"positions has {len(places)} entries; x has {tokens} tokens")
    require(all(place >= 0 for place in places), "positions must be 0 or more")
    require(base > 0.0, f"base is {base}; it must be above 0")
    turned = head_dim if dimensions is None else dimensions
    if not 0 <= turned <= head_dim or turned % 2:
        raise ConfigError(f"dimensions is {turned}; it must be even and at most head_dim, {head_dim}")
    if x.size == 0:
        return np.zeros(x.shape, np.float32)
    return _native.rope(x, places, head_dim, (turned, base), isa).reshape(x.shape)
