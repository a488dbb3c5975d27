"""Products with packed weights: one row as in decode, some as in a batch, many as in prefill."""

from typing import Any

import numpy as np
import pytest

from benches.conftest import report_rate
from benches.workloads import random_blocks
from ruvllm import kernels

# More bytes than a cache holds, in every type.
ROWS, COLUMNS = 16384, 4096
TYPES = ["Q4_0", "Q4_1", "Q5_0", "Q8_0", "Q4_K", "Q6_K", "MXFP4", "F16", "F32"]


@pytest.fixture(scope="module", params=TYPES)
def weights(request: pytest.FixtureRequest) -> kernels.PackedMatrix:
    """A large matrix of each type."""
    [kind] = [kind for kind in kernels.block_types() if kind.name == request.param]
    return kernels.pack(random_blocks(kind, ROWS * COLUMNS), kind.name, (ROWS, COLUMNS))


@pytest.mark.benchmark(group="matmul")
@pytest.mark.parametrize("tokens", [1, 8, 128])
def bench_matmul(benchmark: Any, weights: kernels.PackedMatrix, tokens: int) -> None:
    """So many rows times the matrix, their conversion to integers included."""
    x = np.random.default_rng(2).standard_normal((tokens, COLUMNS), dtype=np.float32)
    result = benchmark.pedantic(kernels.matmul, args=(x, weights), rounds=10, warmup_rounds=2)
    assert result.shape == (tokens, ROWS)
    assert np.isfinite(result).all()
    report_rate(benchmark, "weight_bytes_per_second", weights.num_bytes)
    report_rate(benchmark, "operations_per_second", 2 * tokens * ROWS * COLUMNS)
