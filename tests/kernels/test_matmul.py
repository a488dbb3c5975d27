"""Packed products against NumPy in double precision: every tensor type, every instruction set."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ruvllm import ConfigError, _native, kernels

ISAS = _native.System.detect().available_isas
# Types that have an encoder; blocks of 256 need rows of 256.
ENCODED = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]
# What 8-bit (or 14-bit) activations cost a sum of some hundred products, relative to the largest.
ROUNDED = {"F32": 2e-5, "F16": 3e-4, "BF16": 3e-4}


def draw(seed: int, *shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def exact_product(
    x: NDArray[np.float32], weights: NDArray[np.float32], type_name: str
) -> NDArray[np.float64]:
    stored = kernels.dequantize(type_name, kernels.quantize(type_name, weights), weights.shape)
    return x.astype(np.float64) @ stored.astype(np.float64).T


@settings(deadline=None, max_examples=80)
@given(
    st.sampled_from(ENCODED),
    st.integers(1, 50),
    st.integers(1, 12),
    st.integers(1, 30),
    st.integers(0, 2**32 - 1),
    st.sampled_from(ISAS),
)
def test_products(type_name: str, rows: int, blocks: int, tokens: int, seed: int, isa: str) -> None:
    weights, x = draw(seed, rows, 32 * blocks), draw(seed + 1, tokens, 32 * blocks)
    packed = kernels.pack(weights, type_name)
    assert (packed.shape, packed.type_name) == (weights.shape, type_name)
    expected = exact_product(x, weights, type_name)
    largest = np.abs(expected).max()
    exact = kernels.matmul(x, packed, activations="f32", isa=isa)
    np.testing.assert_allclose(exact, expected, rtol=0, atol=2e-5 * largest)
    # The tolerance is of a standard deviation of the sum, which a few rows may not reach. Rounding to 8 bits
    # has one of half a percent of that: of thousands of sums some are four of them off, and none seven.
    scale = max(largest, 1.75 * np.sqrt(32 * blocks))
    fast = kernels.matmul(x, packed, isa=isa)
    np.testing.assert_allclose(fast, expected, rtol=0, atol=ROUNDED.get(type_name, 0.02) * scale)


def random_blocks(
    kind: kernels.BlockType, seed: int, rows: int, columns: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Random bytes, and what they stand for."""
    generator = np.random.default_rng(seed)
    data = generator.integers(0, 256, rows * columns // kind.block_elements * kind.block_bytes, np.uint8)
    # Exponents of f16 scales in the middle of their range wherever two bytes could be one.
    data = data & np.uint8(0x3B) if kind.name not in ("F32", "BF16") else data & np.uint8(0x3F)
    return data, kernels.dequantize(kind.name, data, (rows, columns)).astype(np.float64)


@pytest.mark.parametrize("kind", kernels.block_types(), ids=lambda kind: kind.name)
def test_products_of_random_blocks(kind: kernels.BlockType) -> None:
    """Types without an encoder, too: random bytes whose values are finite."""
    rows, columns = 19, 512
    for seed in range(8):
        data, stored = random_blocks(kind, seed, rows, columns)
        assert np.isfinite(stored).all(), "nothing could be compared"
        assert 0 < np.abs(stored).max() <= 1e6
        x = draw(seed, 5, columns)
        expected = x.astype(np.float64) @ stored.T
        packed = kernels.pack(data, kind.name, (rows, columns))
        scale = np.abs(stored).max() * np.sqrt(columns)
        for isa in ISAS:
            exact = kernels.matmul(x, packed, activations="f32", isa=isa)
            np.testing.assert_allclose(exact, expected, rtol=0, atol=2e-5 * scale)
            fast = kernels.matmul(x, packed, isa=isa)
            np.testing.assert_allclose(fast, expected, rtol=0, atol=0.02 * scale)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("type_name", ["Q4_1", "Q5_0", "Q8_0", "F16", "F32"])
def test_a_row_is_the_same_alone_and_in_company(isa: str, type_name: str) -> None:
    weights, x = draw(1, 33, 96), draw(2, 31, 96)
    packed = kernels.pack(weights, type_name)
    together = kernels.matmul(x, packed, isa=isa)
    alone = [kernels.matmul(row, packed, isa=isa) for row in x]
    np.testing.assert_array_equal(together, np.stack(alone))


def test_other_threads_run_meanwhile() -> None:
    packed = kernels.pack(draw(0, 1024, 1024))
    x = draw(1, 2000, 1024)
    running, counted = threading.Event(), []

    def count() -> None:
        running.wait()
        while running.is_set():
            counted.append(1)

    counter = threading.Thread(target=count)
    counter.start()
    running.set()
    before = len(counted)
    kernels.matmul(x, packed, isa="scalar" if "portable" not in ISAS else "portable")
    during = len(counted) - before
    running.clear()
    counter.join()
    # With the interpreter held the thread would get no turn before the product is done.
    assert during > 1000


def test_what_does_not_fit_is_refused_by_name() -> None:
    packed = kernels.pack(draw(0, 4, 64), "Q8_0")
    broken = kernels.quantize("Q8_0", np.ones(64)).copy()
    broken[34:36] = [0x00, 0x7E]  # the second block's scale: NaN
    refused = {
        "its last axis must be 64": lambda: kernels.matmul(draw(0, 3, 63), packed),
        "x has the type float64": lambda: kernels.matmul(np.zeros((2, 64)), packed),  # type: ignore[arg-type]
        "x is strided": lambda: kernels.matmul(draw(0, 64, 64).T, packed),
        "activations": lambda: kernels.matmul(draw(0, 3, 64), packed, activations="int4"),
        "weights has the shape": lambda: kernels.pack(draw(0, 64), "Q8_0"),
        "raw blocks need their rows and columns": lambda: kernels.pack(b"", "Q8_0"),
        "do not divide into Q8_0 blocks": lambda: kernels.pack(bytes(34), "Q8_0", (1, 31)),
        "need 68 bytes": lambda: kernels.pack(bytes(34), "Q8_0", (1, 64)),
        "type_name": lambda: kernels.pack(draw(0, 1, 32), "Q9"),
        "not finite": lambda: kernels.pack(broken, "Q8_0", (1, 64)),
        "block 1 of the Q8_0 data": lambda: kernels.dequantize("Q8_0", broken),
    }
    for message, call in refused.items():
        with pytest.raises(ConfigError) as caught:
            call()
        assert message in str(caught.value), message
