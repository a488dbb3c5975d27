"""Quantizers: the simple formats as the package `gguf` makes them, bit for bit; what all of them promise."""

from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from ruvllm import kernels
from ruvllm.errors import ConfigError

SIMPLE = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]
SEARCHED = ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"]
# Of a step, beside the largest magnitude; and what a search may cut off.
BOUNDS = {"Q2_K": 1.0, "Q3_K": 0.375, "Q4_K": 0.2, "Q5_K": 0.1, "Q6_K": 0.047, "IQ4_NL": 0.28, "IQ4_XS": 0.28}
BOUNDS |= {"Q4_0": 0.13, "Q4_1": 0.07, "Q5_0": 0.065, "Q5_1": 0.035, "Q8_0": 0.005}
SIZES = {one.name: one for one in kernels.block_types()}
values_of_weights = arrays(
    np.float32, 512, elements=st.floats(-100, 100, width=32, allow_subnormal=True), fill=st.nothing()
)


@pytest.mark.parametrize("name", SIMPLE)
@settings(max_examples=50, deadline=None)
@given(values=values_of_weights, exponent=st.integers(-20, 8))
def test_the_simple_ones_equal_the_package_gguf(
    name: str, values: NDArray[np.float32], exponent: int
) -> None:
    # A minimum of zero may have either sign in a block with zeros of both.
    scaled = np.float32(values * np.float32(2.0**exponent)) + np.float32(0)
    # A step so small that there is no number for its inverse, which meets zeros: the package warns.
    with np.errstate(over="ignore", invalid="ignore"):
        expected = gguf.quants.quantize(scaled, gguf.GGMLQuantizationType[name])
    assert np.array_equal(kernels.quantize(name, scaled), expected.reshape(-1))


@pytest.mark.parametrize("name", SIMPLE + SEARCHED)
@settings(max_examples=25, deadline=None)
@given(values=values_of_weights)
def test_values_come_back_and_once_more(name: str, values: NDArray[np.float32]) -> None:
    blocks = kernels.quantize(name, values)
    assert blocks.size == values.size // SIZES[name].block_elements * SIZES[name].block_bytes
    once = kernels.dequantize(name, blocks)
    for part, stored in zip(np.split(values, 2), np.split(once, 2), strict=True):
        assert np.abs(part - stored).max() <= BOUNDS[name] * np.abs(part).max() + 1e-4
    twice = kernels.dequantize(name, kernels.quantize(name, once))
    if name in SIMPLE:
        # To the resolution of half precision, in which a minimum beside a scale is stored.
        assert np.allclose(once, twice, rtol=1e-3, atol=1e-3 * float(np.abs(values).max()))
    else:
        half = float(np.abs(values).max()) / 1000
        assert np.linalg.norm(once - twice) <= np.linalg.norm(once - values) + half * values.size**0.5


@pytest.mark.parametrize("name", SEARCHED)
@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused(name: str, broken: float) -> None:
    values: Any = np.ones(512, dtype=np.float32)
    values[300] = broken
    with pytest.raises(ConfigError, match=f"value 300 is not finite: {name}"):
        kernels.quantize(name, values)


@pytest.mark.parametrize("type_name", ["IQ3_S", "TQ1_0", "TQ2_0"])
@given(seed=st.integers(0, 2**32 - 1))
def test_types_that_are_only_read(type_name: str, seed: int) -> None:
    """Any bytes are what the package `gguf` says, bit for bit, but where a scale is no number."""
    size = SIZES[type_name].block_bytes
    data = np.random.default_rng(seed).integers(0, 256, 4 * size, np.uint8)
    blocks = data.reshape(4, size)
    # The scale's exponent, so that it is finite.
    place = {"IQ3_S": 1, "TQ1_0": 53, "TQ2_0": 65}[type_name]
    blocks[:, place] &= 0xBF
    expected = gguf.dequantize(data, gguf.GGMLQuantizationType[type_name])
    found = kernels.dequantize(type_name, data)
    np.testing.assert_array_equal(found.view(np.uint32), expected.astype("<f4").view(np.uint32))
    with pytest.raises(ConfigError, match=f"no encoder for {type_name}"):
        kernels.quantize(type_name, np.zeros(256, np.float32))
