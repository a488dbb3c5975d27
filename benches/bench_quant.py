"""Decoding of quantized blocks into float32: what loading and the exact path stand on."""

from typing import Any

import pytest

from benches.conftest import report_rate
from benches.workloads import random_blocks
from ruvllm import kernels

VALUES = 1 << 20


@pytest.mark.benchmark(group="dequantize")
@pytest.mark.parametrize("block_type", kernels.block_types(), ids=lambda block_type: block_type.name)
def bench_dequantize(benchmark: Any, block_type: kernels.BlockType) -> None:
    """A million values out of random blocks."""
    data = random_blocks(block_type, VALUES)
    values = benchmark(kernels.dequantize, block_type.name, data)
    assert values.size == VALUES
    report_rate(benchmark, "values_per_second", VALUES)
