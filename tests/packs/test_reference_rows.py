"""RoPE, RMSNorm and the gated activation of the reference pack against NumPy and the engine's own kernels."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ruvllm import _native, kernels
from tests.packs.kernel_cases import kernel
from tests.packs.kernel_host import Kernel

ISAS = _native.System.detect().available_isas
# Partial sums of the engine's RMSNorm by instruction set. With them the bits are the same: machines with one
# of these have a multiply-add that rounds once, and WebAssembly's relaxed one is it.
PARTIAL_SUMS = {
    "avx512": 16,
    "avx512-base": 16,
    "avx2-vnni": 8,
    "avx2": 8,
    "neon-i8mm": 4,
    "neon-dotprod": 4,
    "neon": 4,
}
TWINS = [isa for isa in ISAS if isa in PARTIAL_SUMS]
# Against float64: rows of a few hundred to a few thousand in single precision.
TOLERANCE = 2e-6
HALVES, ADJACENT = 0, 1

lengths = st.one_of(st.integers(1, 200), st.sampled_from([127, 128, 129, 576, 640, 1152, 4096]))
seeds = st.integers(0, 2**32 - 1)
DTYPES = {"f32": np.float32, "f16": np.float16}


def draw(seed: int, *shape: int, scale: float = 3.0) -> NDArray[np.float32]:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def assert_near(actual: NDArray, expected: NDArray, kind: str, tolerance: float = TOLERANCE) -> None:
    """In f16, half a unit in the last place, and what the computation's own error may add."""
    if kind == "f16":
        tolerance += 2**-11
        floor = 2**-25 + tolerance * 1e-3
    else:
        floor = tolerance * 1e-3
    np.testing.assert_allclose(actual.astype(np.float64), expected, rtol=tolerance, atol=floor)


@pytest.fixture(scope="module", params=["f32", "f16"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


class TestRmsNorm:
    @staticmethod
    def run(
        target: Kernel,
        x: NDArray,
        weight: NDArray,
        epsilon: float = 1e-5,
        offset: float = 0.0,
        sums: int = 16,
        **how: bool,
    ) -> NDArray:
        params = struct.pack("<IIffI", *x.shape, epsilon, offset, sums)
        return np.frombuffer(target.run(params, x, weight, output=x.nbytes, **how), x.dtype).reshape(x.shape)

    def test_against_float64(self, kind: str) -> None:
        target = kernel(f"rmsnorm_{kind}")

        @settings(deadline=None, max_examples=40, database=None)
        @given(
            lengths,
            st.integers(0, 5),
            seeds,
            st.sampled_from([4, 8, 16]),
            st.sampled_from([0.0, 1.0]),
            st.booleans(),
        )
        def check(length: int, rows: int, seed: int, sums: int, offset: float, in_place: bool) -> None:
            x, weight = draw(seed, rows, length).astype(DTYPES[kind]), draw(seed + 1, length)
            exact = x.astype(np.float64)
            expected = exact / np.sqrt((exact**2).mean(axis=-1, keepdims=True) + 1e-5)
            expected *= weight.astype(np.float64) + offset
            actual = self.run(target, x, weight, offset=offset, sums=sums, in_place=in_place)
            assert_near(actual, expected, kind)

        check()

    @pytest.mark.parametrize("isa", TWINS)
    @pytest.mark.parametrize("length", [1, 31, 64, 100, 128, 333, 576, 4096])
    def test_the_engines_bits(self, isa: str, length: int) -> None:
        x, weight = draw(length, 4, length), draw(1, length)
        actual = self.run(kernel("rmsnorm_f32"), x, weight, sums=PARTIAL_SUMS[isa])
        np.testing.assert_array_equal(actual, kernels.rms_norm(x, weight, 1e-5, isa=isa))

    def test_nan_takes_its_row_and_an_infinity_becomes_nan(self, kind: str) -> None:
        x = np.array([[1, np.nan, 2], [1, np.inf, 2], [3, 4, 0]], DTYPES[kind])
        actual = self.run(kernel(f"rmsnorm_{kind}"), x, np.ones(3, np.float32))
        assert np.isnan(actual[0]).all()
        np.testing.assert_array_equal(actual[1], [0, np.nan, 0])
        assert np.isfinite(actual[2]).all()

    def test_zeros_stay_zero_without_epsilon_they_are_nan(self, kind: str) -> None:
        target, x, weight = (
            kernel(f"rmsnorm_{kind}"),
            np.zeros((1, 40), DTYPES[kind]),
            np.ones(40, np.float32),
        )
        assert not self.run(target, x, weight).any()
        assert np.isnan(self.run(target, x, weight, epsilon=0.0)).all()


class TestGate:
    @staticmethod
    def run(target: Kernel, gate: NDArray, up: NDArray, activation: int, **how: bool) -> NDArray:
        params = struct.pack("<II", gate.size, activation)
        return np.frombuffer(target.run(params, gate, up, output=gate.nbytes, **how), gate.dtype)

    @staticmethod
    def exact(gate: NDArray, activation: int) -> NDArray[np.float64]:
        wide = gate.astype(np.float64)
        inner = wide if activation == 0 else 2 * np.sqrt(2 / np.pi) * (wide + 0.044715 * wide**3)
        with np.errstate(over="ignore"):
            return wide / (1 + np.exp(-inner))

    @pytest.mark.parametrize("activation", [0, 1], ids=["silu", "gelu"])
    def test_against_float64(self, kind: str, activation: int) -> None:
        target = kernel(f"swiglu_{kind}")

        @settings(deadline=None, max_examples=40, database=None)
        @given(lengths, seeds, st.floats(0.1, 20), st.booleans())
        def check(length: int, seed: int, scale: float, in_place: bool) -> None:
            gate = draw(seed, length, scale=scale).astype(DTYPES[kind])
            up = draw(seed + 1, length).astype(DTYPES[kind])
            expected = self.exact(gate, activation) * up.astype(np.float64)
            # GELU's exponent, up to 87, is itself rounded to single precision: 87 * 2^-23 at worst.
            actual = self.run(target, gate, up, activation, in_place=in_place)
            assert_near(actual, expected, kind, 1e-5)

        check()

    @pytest.mark.parametrize("isa", TWINS)
    @pytest.mark.parametrize(("activation", "name"), [(0, "silu"), (1, "gelu")])
    def test_the_engines_bits(self, isa: str, activation: int, name: str) -> None:
        edges = np.float32([0, -0.0, 87, -87, 88, -88, 89, 200, -200, 1e-40, -1e-40, np.inf, np.nan])
        gate = np.concatenate([edges, draw(3, 2000, scale=8)])
        up = draw(4, gate.size)
        actual = self.run(kernel("swiglu_f32"), gate, up, activation)
        np.testing.assert_array_equal(actual, kernels.gate(gate, up, name, isa=isa))

    def test_what_is_not_finite(self, kind: str) -> None:
        gate = np.array([np.nan, np.inf, -np.inf, 1, 1], DTYPES[kind])
        up = np.array([1, 1, 1, np.nan, np.inf], DTYPES[kind])
        actual = self.run(kernel(f"swiglu_{kind}"), gate, up, 0)
        # The logistic function of -inf is e^-88 and not 0, as in the engine.
        np.testing.assert_array_equal(actual, [np.nan, np.inf, -np.inf, np.nan, np.inf])


def turned(
    x: NDArray, cosines: NDArray[np.float32], sines: NDArray[np.float32], layout: int
) -> NDArray[np.float64]:
    """x [batch, sequence, heads, head_dim], tables [sequence, half], in float64 and with complex numbers."""
    half = cosines.shape[1]
    result = x.astype(np.float64)
    low, high = (
        (slice(0, half), slice(half, 2 * half))
        if layout == HALVES
        else (slice(0, 2 * half, 2), slice(1, 2 * half, 2))
    )
    angles = (cosines.astype(np.float64) + 1j * sines.astype(np.float64))[None, :, None]
    pairs = (result[..., low] + 1j * result[..., high]) * angles
    result[..., low], result[..., high] = pairs.real, pairs.imag
    return result


class TestRope:
    @staticmethod
    def run(
        target: Kernel, x: NDArray, cosines: NDArray, sines: NDArray, layout: int, **how: bool
    ) -> NDArray:
        params = struct.pack("<6I", *x.shape, 2 * cosines.shape[1], layout)
        tables = np.stack([cosines, sines])
        return np.frombuffer(target.run(params, x, tables, output=x.nbytes, **how), x.dtype).reshape(x.shape)

    @pytest.mark.parametrize("layout", [HALVES, ADJACENT], ids=["halves", "adjacent"])
    def test_against_float64(self, kind: str, layout: int) -> None:
        target = kernel(f"rope_{kind}")
        shapes = st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 3))

        @settings(deadline=None, max_examples=60, database=None)
        @given(shapes, st.integers(0, 70), st.integers(0, 40), seeds, st.booleans())
        def check(shape: tuple[int, int, int], half: int, rest: int, seed: int, in_place: bool) -> None:
            x = draw(seed, *shape, max(2 * half + rest, 1)).astype(DTYPES[kind])
            angles = np.random.default_rng(seed).uniform(0, 7, (shape[1], half))
            cosines, sines = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
            actual = self.run(target, x, cosines, sines, layout, in_place=in_place)
            expected = turned(x, cosines, sines, layout)
            # Two products that may cancel: an absolute error of the size of their roundings.
            precision = 2**-22 if kind == "f32" else 2**-10
            np.testing.assert_allclose(
                actual, expected, rtol=0, atol=precision * (np.abs(x).max(initial=0) + 1)
            )
            np.testing.assert_array_equal(actual[..., 2 * half :], x[..., 2 * half :])

        check()

    @pytest.mark.parametrize("isa", TWINS)
    @pytest.mark.parametrize(
        ("heads", "head_dim", "half"), [(9, 64, 32), (2, 80, 20), (3, 38, 17), (1, 256, 128)]
    )
    def test_the_engines_bits(self, isa: str, heads: int, head_dim: int, half: int) -> None:
        positions = np.array([0, 1, 7, 500, 4001])
        x = draw(half, 5, heads, head_dim)
        # The engine's own cosines and sines: what it makes of the pairs (1, 0).
        ones = np.zeros((5, 1, 2 * half), np.float32)
        ones[..., :half] = 1
        tables = kernels.rope(ones, positions, isa=isa)[:, 0]
        expected = kernels.rope(x, positions, dimensions=2 * half, isa=isa)
        actual = self.run(kernel("rope_f32"), x[None], tables[:, :half], tables[:, half:], HALVES)
        np.testing.assert_array_equal(actual[0], expected)
        # The same pairs side by side, as in a file whose rows were never reordered.
        order = np.concatenate(
            [np.stack([np.arange(half), np.arange(half) + half], 1).ravel(), np.arange(2 * half, head_dim)]
        )
        adjacent = np.ascontiguousarray(x[None][..., order])
        actual = self.run(kernel("rope_f32"), adjacent, tables[:, :half], tables[:, half:], ADJACENT)
        np.testing.assert_array_equal(actual[0], expected[..., order])

    def test_nan_stays_in_its_pair(self, kind: str) -> None:
        x = np.ones((1, 1, 1, 8), DTYPES[kind])
        x[..., 1] = np.nan
        table = np.full((1, 3), 0.5, np.float32)
        actual = self.run(kernel(f"rope_{kind}"), x, table, table, HALVES)
        assert np.isnan(actual[0, 0, 0]).tolist() == [False, True, False, False, True, False, False, False]
