"""The engine's kernels as functions over NumPy arrays.

They are what the engine itself computes with, on the best instruction set of this machine, or the one that
`isa` names (see `ruvllm doctor`). Float arrays are float32 and C-contiguous and are read in place: nothing is
cast or copied behind your back, and what does not fit is a `ConfigError`. The interpreter is free meanwhile.
"""

from ruvllm.kernels.attention import (
    AttentionConfig,
    PagedKvCache,
    flash_attention,
    grouped_query_attention,
    multi_query_attention,
    paged_attention,
)
from ruvllm.kernels.matrices import PackedMatrix, matmul, pack
from ruvllm.kernels.quantization import BlockType, block_types, dequantize, quantize
from ruvllm.kernels.rows import gate, rms_norm, rope, softmax
from ruvllm.kernels.two_tier_cache import CacheQuantization, KvCacheStats, TwoTierKvCache

__all__ = [
    "AttentionConfig",
    "BlockType",
    "CacheQuantization",
    "KvCacheStats",
    "PackedMatrix",
    "PagedKvCache",
    "TwoTierKvCache",
    "block_types",
    "dequantize",
    "flash_attention",
    "gate",
    "grouped_query_attention",
    "matmul",
    "multi_query_attention",
    "pack",
    "paged_attention",
    "quantize",
    "rms_norm",
    "rope",
    "softmax",
]
