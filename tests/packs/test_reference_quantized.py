"""Halves, 8-bit RoPE, packed keys and values, and adapters of the reference pack against NumPy."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ruvllm import kernels
from tests.packs.kernel_cases import kernel
from tests.packs.kernel_host import Kernel
from tests.packs.test_reference_rows import ADJACENT, HALVES, draw, seeds, turned

ALL_HALVES = np.arange(65536, dtype=np.uint16).view(np.float16)
Q8_BLOCK = np.dtype([("scale", "<f4"), ("values", "i1", 32)])
ALONG_CHANNELS, ALONG_TOKENS = 0, 1


def apply_lora(
    target: Kernel, x: NDArray, a: NDArray, b: NDArray, y: NDArray, scale: float
) -> NDArray[np.float32]:
    params = struct.pack("<4If", len(x), a.shape[1], len(a), len(b), scale)
    weights = np.concatenate([a.ravel(), b.ravel()])
    scratch = 4 * (-(-len(a) // 4) * 4)
    return np.frombuffer(target.run(params, x, weights, output=y, scratch=scratch), np.float32).reshape(
        y.shape
    )


class TestHalves:
    """The conversions, through kernels that do nothing else to these numbers."""

    def test_every_half_is_read_exactly(self) -> None:
        """As the 65536 outputs of an adapter of rank 1."""
        one = np.ones((1, 1), np.float16)
        y = np.zeros((1, 65536), np.float32)
        actual = apply_lora(
            kernel("lora_apply_f16"), np.ones((1, 1), np.float32), one, ALL_HALVES[:, None], y, 1.0
        )
        expected = ALL_HALVES.astype(np.float32)
        np.testing.assert_array_equal(actual[0], expected)

    def test_every_half_survives_being_read_and_written(self) -> None:
        """As heads that do not turn: x * 1 - 0 * 0, the sign of zero included."""
        x = np.concatenate([ALL_HALVES, np.zeros_like(ALL_HALVES)])
        tables = np.concatenate([np.ones(65536, np.float32), np.zeros(65536, np.float32)])
        params = struct.pack("<6I", 1, 1, 1, 2 * 65536, 2 * 65536, HALVES)
        actual = np.frombuffer(kernel("rope_f16").run(params, x, tables, output=x.nbytes), np.uint16)[:65536]
        is_number = ~np.isnan(ALL_HALVES)
        np.testing.assert_array_equal(actual[is_number], ALL_HALVES.view(np.uint16)[is_number])
        assert np.isnan(actual.view(np.float16)[~is_number]).all()

    @staticmethod
    def written(values: NDArray[np.float32]) -> NDArray[np.float16]:
        """As cosines that the pairs (1, 0) are turned by."""
        half = len(values)
        x = np.zeros(2 * half, np.float16)
        x[:half] = 1
        params = struct.pack("<6I", 1, 1, 1, 2 * half, 2 * half, HALVES)
        tables = np.concatenate([values, np.zeros_like(values)])
        return np.frombuffer(kernel("rope_f16").run(params, x, tables, output=x.nbytes), np.float16)[:half]

    def test_floats_are_rounded_as_numpy_does(self) -> None:
        random = np.random.default_rng(5).integers(0, 2**32, 200_000, dtype=np.uint64).astype(np.uint32)
        exact = ALL_HALVES[np.isfinite(ALL_HALVES)].astype(np.float32).view(np.uint32)
        # Every half, what is half-way to the next, and the floats beside both.
        near = np.concatenate([exact + np.uint32(step) for step in (0, 1, 0xFFF, 0x1000, 0x1001, 0xFFFFFFFF)])
        for bits in (random, near):
            values = bits.view(np.float32)
            with np.errstate(over="ignore", invalid="ignore"):
                expected = values.astype(np.float16)
            actual = self.written(values)
            is_number = ~np.isnan(expected)
            np.testing.assert_array_equal(
                actual.view(np.uint16)[is_number], expected.view(np.uint16)[is_number]
            )
            assert np.isnan(actual[~is_number]).all()


class TestRopeQ8:
    @staticmethod
    def encode(x: NDArray[np.float32]) -> NDArray[np.void]:
        blocks = x.reshape(*x.shape[:-1], x.shape[-1] // 32, 32)
        found = np.zeros(blocks.shape[:-1], Q8_BLOCK)
        scale = np.abs(blocks).max(axis=-1, keepdims=True) / np.float32(127)
        found["scale"] = scale[..., 0]
        found["values"] = np.rint(np.divide(blocks, scale, out=np.zeros_like(blocks), where=scale > 0))
        return found

    @staticmethod
    def decode(blocks: NDArray[np.void]) -> NDArray[np.float32]:
        values = blocks["values"].astype(np.float32) * blocks["scale"][..., None]
        return values.reshape(*blocks.shape[:-1], 32 * blocks.shape[-1])

    @staticmethod
    def run(
        x: NDArray[np.void], tables: NDArray[np.float32], half: int, layout: int, **how: bool
    ) -> NDArray[np.void]:
        params = struct.pack("<6I", *x.shape[:3], 32 * x.shape[3], 2 * half, layout)
        output = kernel("rope_q8").run(params, x, tables, output=x.nbytes, scratch=128 * x.shape[3], **how)
        return np.frombuffer(output, Q8_BLOCK).reshape(x.shape)

    @settings(deadline=None, max_examples=40, database=None)
    @given(
        st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 3), st.integers(1, 4)),
        st.floats(0, 1), st.sampled_from([HALVES, ADJACENT]), seeds, st.booleans(),
    )  # fmt: skip
    def test_against_float64(
        self, shape: tuple[int, int, int, int], share: float, layout: int, seed: int, in_place: bool
    ) -> None:
        half = int(share * 16 * shape[3])
        x = self.encode(draw(seed, *shape[:3], 32 * shape[3]))
        angles = np.random.default_rng(seed).uniform(0, 7, (shape[1], half)).astype(np.float32)
        cosines, sines = np.cos(angles), np.sin(angles)
        actual = self.run(x, np.stack([cosines, sines]), half, layout, in_place=in_place)
        expected = turned(self.decode(x), cosines, sines, layout)
        whole = -(-2 * half // 32)
        np.testing.assert_array_equal(actual[..., whole:], x[..., whole:])
        # Half a step of each block, and single precision.
        step = np.repeat(actual["scale"], 32, axis=-1).reshape(expected.shape)
        assert (np.abs(self.decode(actual) - expected) <= 0.5001 * step + 1e-5).all()

    def test_what_is_not_finite_takes_its_block(self) -> None:
        x = self.encode(draw(1, 1, 1, 1, 96))
        x["scale"][..., 0] = np.inf
        table = np.full((2, 1, 16), 0.5, np.float32)
        actual = self.run(x, table, 16, ADJACENT)
        assert np.isnan(actual["scale"][0, 0, 0, 0])
        assert not actual["values"][0, 0, 0, 0].any()
        np.testing.assert_array_equal(actual[..., 1:], x[..., 1:])

    def test_zeros_and_the_smallest_numbers(self) -> None:
        x = self.encode(np.zeros((1, 1, 1, 64), np.float32))
        x["scale"][..., 1], x["values"][..., 1, :] = 1e-45, 127
        actual = self.run(x, np.ones((2, 1, 32), np.float32), 32, ADJACENT)
        assert not actual["scale"][0, 0, 0, 0]
        assert (np.abs(self.decode(actual)) < 1e-36).all()


@pytest.mark.parametrize("bits", [4, 8])
class TestKv:
    @staticmethod
    def groups_of(x: NDArray[np.float32], axis: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Values as [groups, 32] in the order of the pack, and which of them are there."""
        tokens, channels = x.shape
        padded = np.full(
            (-(-tokens // 32) * 32 if axis else tokens, channels if axis else -(-channels // 32) * 32), np.nan
        )
        padded[:tokens, :channels] = x
        present = ~np.isnan(padded)
        if axis == ALONG_CHANNELS:
            return padded.reshape(-1, 32), present.reshape(-1, 32)
        shape = (-1, 32, channels)
        return tuple(each.reshape(shape).transpose(0, 2, 1).reshape(-1, 32) for each in (padded, present))  # type: ignore[return-value]

    @staticmethod
    def layout(bits: int) -> np.dtype:
        return np.dtype([("step", "<f2"), ("minimum", "<f2"), ("codes", "u1", 4 * bits)])

    def codes(self, groups: NDArray[np.void], bits: int) -> NDArray[np.uint8]:
        packed = groups["codes"]
        return np.concatenate([packed & 15, packed >> 4], axis=1) if bits == 4 else packed

    def pack(self, x: NDArray[np.float32], axis: int, bits: int) -> NDArray[np.void]:
        tokens, channels = x.shape
        count = -(-tokens // 32) * channels if axis else tokens * -(-channels // 32)
        size = count * self.layout(bits).itemsize
        packed = kernel(f"kv_pack_q{bits}").run(
            struct.pack("<4I", tokens, channels, axis, 32), x, output=size
        )
        return np.frombuffer(packed, self.layout(bits))

    def unpack(
        self, groups: NDArray[np.void], shape: tuple[int, int], axis: int, bits: int
    ) -> NDArray[np.float32]:
        params = struct.pack("<4I", *shape, axis, 32)
        values = kernel(f"kv_unpack_q{bits}").run(params, groups, output=4 * shape[0] * shape[1])
        return np.frombuffer(values, np.float32).reshape(shape)

    @pytest.mark.parametrize("axis", [ALONG_CHANNELS, ALONG_TOKENS], ids=["values", "keys"])
    def test_there_and_back(self, bits: int, axis: int) -> None:
        levels = 2**bits - 1

        @settings(deadline=None, max_examples=40, database=None)
        @given(
            st.integers(0, 70),
            st.integers(1, 70),
            seeds,
            st.sampled_from([1e-6, 1.0, 100.0]),
            st.sampled_from([0.0, 50.0]),
        )
        def check(tokens: int, channels: int, seed: int, scale: float, shift: float) -> None:
            x = draw(seed, tokens, channels, scale=scale) + np.float32(shift)
            groups = self.pack(x, axis, bits)
            values, present = self.groups_of(x, axis)
            assert len(groups) == len(values)
            if not len(groups):
                return
            # The parameters are the group's minimum and range, as KIVI defines them, in halves.
            smallest, largest = np.nanmin(values, axis=1), np.nanmax(values, axis=1)
            np.testing.assert_array_equal(groups["minimum"], smallest.astype(np.float16))
            step = (largest - smallest) / levels
            np.testing.assert_allclose(groups["step"], step, rtol=2**-10, atol=2**-24)
            codes = self.codes(groups, bits)
            assert not codes[~present].any()
            # Half a step away, but that the halves' rounding may leave a value outside the codes' range.
            decoded = (
                groups["minimum"].astype(np.float64)[:, None]
                + groups["step"].astype(np.float64)[:, None] * codes
            )
            slack = np.abs(smallest) * 2**-11 + levels * (step * 2**-11 + 2**-25) + 2**-25
            bound = (0.501 * groups["step"].astype(np.float64) + slack)[:, None]
            assert (np.abs(decoded - values)[present] <= np.broadcast_to(bound, present.shape)[present]).all()
            # Unpacking is that formula, rounded once.
            unpacked = self.unpack(groups, x.shape, axis, bits)
            np.testing.assert_array_equal(
                self.groups_of(unpacked, axis)[0][present], decoded.astype(np.float32)[present]
            )

        check()

    def test_bits_a_value(self, bits: int) -> None:
        assert self.layout(bits).itemsize * 8 / 32 == bits + 1

    @pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 7e4, -7e4])
    def test_what_does_not_fit_reads_as_nan(self, bits: int, wrong: float) -> None:
        """A value of 70000 fits where it is not the minimum, because its step does. No number is wrong."""
        x = draw(2, 3, 64)
        x[1, 40] = wrong
        groups = self.pack(x, ALONG_CHANNELS, bits)
        unpacked = self.unpack(groups, x.shape, ALONG_CHANNELS, bits)
        in_group = np.zeros(x.shape, bool)
        in_group[1, 32:] = True
        if wrong == 7e4:
            assert np.isfinite(unpacked).all()
            assert abs(unpacked[1, 40] - wrong) < wrong * 2**-10
        else:
            np.testing.assert_array_equal(np.isnan(unpacked), in_group)
            assert np.isnan(groups["minimum"].reshape(3, 2)[1, 1])
            assert not groups["codes"].reshape(3, 2, -1)[1, 1].any()

    def test_equal_values_are_kept_as_they_are(self, bits: int) -> None:
        x = np.full((33, 5), -2.5, np.float32)
        for axis in (ALONG_CHANNELS, ALONG_TOKENS):
            np.testing.assert_array_equal(self.unpack(self.pack(x, axis, bits), x.shape, axis, bits), x)


def test_four_bits_are_the_block_q4_1() -> None:
    """GGML's own format, so the engine's decoder of it reads the same."""
    suite, x = TestKv(), draw(9, 5, 96)
    groups = suite.pack(x, ALONG_CHANNELS, 4)
    decoded = kernels.dequantize("Q4_1", groups.tobytes()).reshape(x.shape)
    np.testing.assert_array_equal(suite.unpack(groups, x.shape, ALONG_CHANNELS, 4), decoded)


@pytest.mark.parametrize(("kind", "dtype"), [("f32", np.float32), ("f16", np.float16)])
class TestLora:
    def test_against_float64(self, kind: str, dtype: type) -> None:
        target = kernel(f"lora_apply_{kind}")
        widths = st.one_of(st.integers(1, 70), st.sampled_from([128, 576]))

        @settings(deadline=None, max_examples=60, database=None)
        @given(st.integers(0, 3), widths, st.integers(1, 20), widths, seeds, st.floats(-2, 2, width=32))
        def check(tokens: int, inputs: int, rank: int, outputs: int, seed: int, scale: float) -> None:
            x, y = draw(seed, tokens, inputs), draw(seed + 1, tokens, outputs)
            a, b = (draw(seed + 2, rank, inputs).astype(dtype), draw(seed + 3, outputs, rank).astype(dtype))
            wide = [each.astype(np.float64) for each in (x, a, b)]
            expected = y + scale * (wide[0] @ wide[1].T) @ wide[2].T
            # A bound on the sums of magnitudes that are added up, in single precision.
            magnitude = np.abs(y) + abs(scale) * (np.abs(wide[0]) @ np.abs(wide[1]).T) @ np.abs(wide[2]).T
            actual = apply_lora(target, x, a, b, y, scale)
            assert (np.abs(actual - expected) <= 2**-20 * magnitude + 1e-30).all()

        check()

    def test_an_adapter_of_zeros_changes_nothing(self, kind: str, dtype: type) -> None:
        y = draw(7, 2, 33)
        a, b = draw(8, 8, 40).astype(dtype), np.zeros((33, 8), dtype)
        np.testing.assert_array_equal(
            apply_lora(kernel(f"lora_apply_{kind}"), draw(9, 2, 40), a, b, y, 2.0), y
        )

    def test_nan_takes_the_outputs_it_reaches(self, kind: str, dtype: type) -> None:
        a, b, y = np.ones((2, 8), dtype), np.ones((9, 2), dtype), np.zeros((2, 9), np.float32)
        b[3, 1] = np.nan
        x = np.ones((2, 8), np.float32)
        x[1, 5] = np.nan
        actual = apply_lora(kernel(f"lora_apply_{kind}"), x, a, b, y, 1.0)
        assert np.isnan(actual[0]).nonzero()[0].tolist() == [3]
        assert np.isnan(actual[1]).all()
