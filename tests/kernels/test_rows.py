"""Row kernels against NumPy in double precision, on every instruction set of this machine."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ruvllm import ConfigError, _native, kernels

ISAS = _native.System.detect().available_isas
# Rows of a few hundred: single precision, whatever the order of additions.
TOLERANCE = 2e-5

lengths = st.one_of(st.integers(1, 70), st.sampled_from([127, 128, 129, 576]))
seeds = st.integers(0, 2**32 - 1)
isas = st.sampled_from(ISAS)


def draw(seed: int, *shape: int, scale: float = 3.0) -> NDArray[np.float32]:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


@settings(deadline=None, max_examples=60)
@given(lengths, st.integers(0, 5), seeds, isas)
def test_rms_norm(length: int, rows: int, seed: int, isa: str) -> None:
    x, weight = draw(seed, rows, length), draw(seed + 1, length)
    exact = x.astype(np.float64)
    expected = exact / np.sqrt((exact**2).mean(axis=-1, keepdims=True) + 1e-5) * weight
    actual = kernels.rms_norm(x, weight, 1e-5, isa=isa)
    assert actual.shape == x.shape
    np.testing.assert_allclose(actual, expected, rtol=TOLERANCE, atol=TOLERANCE)


OFFSETS = [0.0, 50.0, -1e3, 1e5, 1e7, -1e7]


@settings(deadline=None, max_examples=120)
@given(lengths, st.integers(0, 5), seeds, isas, st.floats(0.01, 100), st.sampled_from(OFFSETS))
def test_softmax(length: int, rows: int, seed: int, isa: str, scale: float, offset: float) -> None:
    x = draw(seed, rows, length, scale=scale) + np.float32(offset)
    exact = x.astype(np.float64)
    # The share of each without a maximum or a sum of weights: one over how much the others weigh beside it.
    with np.errstate(over="ignore"):
        expected = 1 / np.exp(exact[:, None, :] - exact[:, :, None]).sum(axis=-1)
    actual = kernels.softmax(x, isa=isa)
    np.testing.assert_allclose(actual, expected, rtol=2e-6, atol=1e-12)
    np.testing.assert_allclose(actual.astype(np.float64).sum(axis=-1), 1, rtol=2e-6)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("offset", OFFSETS)
def test_softmax_of_equals_is_equal(isa: str, offset: float) -> None:
    assert kernels.softmax(np.full(1000, offset, np.float32), isa=isa).tolist() == [np.float32(1e-3)] * 1000
    assert kernels.softmax(np.full(2, offset, np.float32), isa=isa).tolist() == [0.5, 0.5]


@settings(deadline=None, max_examples=60)
@given(lengths, seeds, isas, st.sampled_from(["silu", "gelu"]))
def test_gate(length: int, seed: int, isa: str, activation: str) -> None:
    gate, up = draw(seed, length), draw(seed + 1, length)
    exact = gate.astype(np.float64)
    if activation == "silu":
        activated = exact / (1 + np.exp(-exact))
    else:
        activated = exact / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (exact + 0.044715 * exact**3)))
    actual = kernels.gate(gate, up, activation, isa=isa)
    np.testing.assert_allclose(actual, activated * up, rtol=TOLERANCE, atol=TOLERANCE)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 5), st.integers(1, 3), st.integers(1, 40), st.integers(0, 4), seeds, isas)
def test_rope(tokens: int, heads: int, half: int, rest: int, seed: int, isa: str) -> None:
    x = draw(seed, tokens, heads, 2 * half + rest)
    positions = np.random.default_rng(seed).integers(0, 4000, tokens)
    exponents = np.arange(half) / half
    angles = positions[:, None] * 500.0**-exponents
    cosine, sine = np.cos(angles)[:, None], np.sin(angles)[:, None]
    low, high = x[..., :half].astype(np.float64), x[..., half : 2 * half].astype(np.float64)
    actual = kernels.rope(x, positions, base=500.0, dimensions=2 * half, isa=isa)
    turned = [low * cosine - high * sine, high * cosine + low * sine]
    # Exponent, power (by a unit more), frequency and angle are each rounded to single precision, and what the
    # exponent is off the power is off `ln(base)` times as much; what turns is as long as the pair.
    roundings = 2.0**-24 * (4 + np.log(500.0) * exponents)
    allowed = np.hypot(low, high) * ((roundings * angles)[:, None] + 1e-6)
    for part, expected in zip((actual[..., :half], actual[..., half : 2 * half]), turned, strict=True):
        assert (np.abs(part - expected) <= allowed).all()
    np.testing.assert_array_equal(actual[..., 2 * half :], x[..., 2 * half :])


@pytest.mark.parametrize("isa", ISAS)
def test_nan_goes_through_and_infinities_are_taken(isa: str) -> None:
    x = np.float32([[1, np.nan, 2], [-np.inf, 0, -np.inf]])
    assert np.isnan(kernels.softmax(x, isa=isa)[0]).all()
    assert kernels.softmax(x, isa=isa)[1].tolist() == [0, 1, 0]
    assert np.isnan(kernels.rms_norm(x, np.ones(3, np.float32), isa=isa)[0]).all()


def test_what_does_not_fit_is_refused_by_name() -> None:
    x, weight = draw(0, 4, 6), np.ones(6, np.float32)
    refused = {
        "x is of type list": lambda: kernels.softmax([[1.0]]),  # type: ignore[arg-type]
        "x has the type float64": lambda: kernels.rms_norm(x.astype(np.float64), weight),  # type: ignore[arg-type]
        "x is strided": lambda: kernels.rms_norm(x[:, ::2], weight[:3]),
        "weight has the shape": lambda: kernels.rms_norm(x, weight[:5]),
        "epsilon is -1": lambda: kernels.rms_norm(x, weight, -1),
        "its last axis must not be empty": lambda: kernels.softmax(np.zeros((3, 0), np.float32)),
        "up has the shape": lambda: kernels.gate(x, x[:2]),
        "activation 'relu'": lambda: kernels.gate(x, x, "relu"),
        "x has the shape": lambda: kernels.rope(x, [0] * 4),
        "positions has 2 entries": lambda: kernels.rope(draw(0, 3, 1, 4), [0, 1]),
        "positions must be 0 or more": lambda: kernels.rope(draw(0, 1, 1, 4), [-1]),
        "dimensions is 3": lambda: kernels.rope(draw(0, 1, 1, 4), [0], dimensions=3),
        "isa": lambda: kernels.softmax(x, isa="mmx"),
    }
    for message, call in refused.items():
        with pytest.raises(ConfigError) as caught:
            call()
        assert message.split("'")[0] in str(caught.value), message
