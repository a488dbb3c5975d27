"""Random matrices in the formats of model files: any bits, but for the scales, which keep the numbers small.

How long a product takes does not depend on the numbers, as long as all of them are finite. They spread by
`SPREAD` in every format, so that models of different formats differ in nothing else.
"""

from functools import cache

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind
from numpy.typing import NDArray

__all__ = ["SPREAD", "matrix_bytes", "random_matrix"]

SPREAD = 0.0037
"""The standard deviation of the weights, about."""

# Where a block has scales in f16, and how large each is beside the first. The offset of Q4_K takes away what
# its numbers of 4 bits are on average. Everything else in these blocks is an integer, and may be any.
SCALES: dict[Kind, tuple[tuple[int, float], ...]] = {
    Kind.Q4_0: ((0, 1.0),),
    Kind.Q8_0: ((0, 1.0),),
    Kind.Q4_K: ((0, 1.0), (2, 7.5)),
    Kind.Q6_K: ((208, 1.0),),
    Kind.IQ4_XS: ((0, 1.0),),
}
# Of an f16 number sign, mantissa and the lowest bit of the exponent are drawn: 2^-9 to 2^-7 of either sign.
F16_DRAWN, F16_SET = np.uint16(0x87FF), np.uint16(0x1800)
SAMPLED_BLOCKS = 512


def matrix_bytes(kind: Kind, rows: int, columns: int) -> int:
    """What a matrix takes in a file."""
    numbers, size = gguf.GGML_QUANT_SIZES[kind]
    if columns % numbers:
        raise ValueError(
            f"{kind.name} has blocks of {numbers} numbers, which do not divide {columns} columns"
        )
    return rows * columns // numbers * size


def random_matrix(kind: Kind, rows: int, columns: int, numbers: np.random.Generator) -> NDArray[np.uint8]:
    """The bytes of a matrix, row by row."""
    drawn = numbers.integers(0, 256, matrix_bytes(kind, rows, columns), np.uint8)
    if kind == Kind.F16:
        bits = drawn.view("<u2")
        bits &= F16_DRAWN
        bits |= F16_SET
    else:
        _set_scales(drawn, kind, SPREAD / _spread_of_units(kind))
    return drawn.reshape(rows, -1)


def _set_scales(drawn: NDArray[np.uint8], kind: Kind, scale: float) -> None:
    blocks = drawn.reshape(-1, gguf.GGML_QUANT_SIZES[kind][1])
    for offset, relative in SCALES[kind]:
        # Files are little-endian, whatever the machine is.
        blocks[:, offset : offset + 2] = np.frombuffer(np.array(scale * relative, "<f2").tobytes(), np.uint8)


@cache
def _spread_of_units(kind: Kind) -> float:
    """The standard deviation of random blocks whose scale is one, as the package `gguf` reads them."""
    size = gguf.GGML_QUANT_SIZES[kind][1]
    blocks = np.random.default_rng(0).integers(0, 256, SAMPLED_BLOCKS * size, np.uint8)
    _set_scales(blocks, kind, 1.0)
    return float(gguf.dequantize(blocks.reshape(SAMPLED_BLOCKS, size), kind).std())
