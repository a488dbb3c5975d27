"""Decoding of quantized blocks into float32: what loading and the exact path stand on."""

from typing import Any

import numpy as np
import pytest

from benches.conftest import report_rate
from ruvllm import kernels

VALUES = 1 << 20


@pytest.mark.benchmark(group="dequantize")
@pytest.mark.parametrize("block_type", kernels.block_types(), ids=lambda block_type: block_type.name)
def bench_dequantize(benchmark: Any, block_type: kernels.BlockType) -> None:
    """A million values out of random blocks."""
    size = VALUES // block_type.block_elements * block_type.block_bytes
    data = np.random.default_rng(1).integers(0, 256, size, dtype=np.uint8)
    values = benchmark(kernels.dequantize, block_type.name, data)
    assert values.size == VALUES
    report_rate(benchmark, "values_per_second", VALUES)
