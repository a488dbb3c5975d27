"""The engine's kernels as functions over NumPy arrays.

They are what the engine itself computes with, on the best instruction set of this machine, or the one that
`isa` names (see `ruvllm doctor`). Float arrays are float32 and C-contiguous and are read in place: nothing is
cast or copied behind your back, and what does not fit is a `ConfigError`. The interpreter is free meanwhile.
"""

from ruvllm.kernels.matrices import PackedMatrix, matmul, pack
from ruvllm.kernels.quantization import BlockType, block_types, dequantize, quantize
from ruvllm.kernels.rows import gate, rms_norm, rope, softmax

__all__ = [
    "BlockType",
    "PackedMatrix",
    "block_types",
    "dequantize",
    "gate",
    "matmul",
    "pack",
    "quantize",
    "rms_norm",
    "rope",
    "softmax",
]
