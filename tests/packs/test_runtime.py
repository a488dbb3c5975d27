"""Single kernels through `KernelRuntime`: the arguments arrive where they belong, and failures are told.

What the kernels compute is held more closely in the tests of the reference pack's modules.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ruvllm.errors import ConfigError, KernelError, PackError
from ruvllm.packs import KernelRuntime
from tests.packs.pack_copies import TRUSTED, copy_pack

# In f16 half a unit in the last place; in f32 what sums of a few hundred numbers round.
TOLERANCE = {np.float32: 2e-6, np.float16: 2**-10}
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float16])
rng = np.random.default_rng(0)


@pytest.fixture(scope="module")
def runtime() -> KernelRuntime:
    return KernelRuntime()


def draw(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return rng.standard_normal(shape).astype(dtype)


def near(actual: np.ndarray, expected: np.ndarray, like: np.ndarray) -> None:
    assert (actual.dtype, actual.shape) == (like.dtype, like.shape)
    tolerance = TOLERANCE[like.dtype.type]
    np.testing.assert_allclose(actual.astype(np.float64), expected, rtol=tolerance, atol=tolerance)


@DTYPES
def test_rms_norm(runtime: KernelRuntime, dtype: Any) -> None:
    x, weight = draw(2, 3, 50, dtype=dtype), draw(50)
    wide = x.astype(np.float64)
    expected = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-3) * (weight + 1.0)
    near(runtime.rms_norm(x, weight, 1e-3, weight_offset=1.0, partial_sums=8), expected, x)


@DTYPES
@pytest.mark.parametrize("layout", ["halves", "adjacent"])
def test_rope(runtime: KernelRuntime, dtype: Any, layout: Any) -> None:
    """Against complex numbers: a pair is turned by its angle; what does not turn keeps its bits."""
    x, angles = draw(2, 5, 3, 40, dtype=dtype), draw(5, 18)
    turned = x[..., :36].astype(np.float64)
    first, second = (
        (turned[..., :18], turned[..., 18:]) if layout == "halves" else (turned[..., ::2], turned[..., 1::2])
    )
    pairs = (first + 1j * second) * np.exp(1j * angles.astype(np.float64))[None, :, None, :]
    expected = x.astype(np.float64)
    if layout == "halves":
        expected[..., :18], expected[..., 18:36] = pairs.real, pairs.imag
    else:
        expected[..., :36:2], expected[..., 1:36:2] = pairs.real, pairs.imag
    actual = runtime.rope(x, np.cos(angles), np.sin(angles), layout=layout)
    near(actual, expected, x)
    assert actual[..., 36:].tobytes() == x[..., 36:].tobytes()
    assert np.array_equal(runtime.rope(x[0], np.cos(angles), np.sin(angles), layout=layout), actual[0])


def test_rope_of_8_bits(runtime: KernelRuntime) -> None:
    block = np.dtype([("scale", "<f4"), ("values", "i1", 32)])
    blocks = np.zeros((1, 2, 3, 2), block)
    blocks["scale"], blocks["values"] = 0.01, rng.integers(-127, 128, (1, 2, 3, 2, 32))
    x = (blocks["scale"][..., None] * blocks["values"]).reshape(1, 2, 3, 64)
    angles = draw(2, 32)
    actual = runtime.rope(blocks.view(np.uint8).reshape(1, 2, 3, 72), np.cos(angles), np.sin(angles))
    found = np.ascontiguousarray(actual).view(block).reshape(1, 2, 3, 2)
    values = (found["scale"][..., None] * found["values"]).reshape(x.shape)
    expected = runtime.rope(x, np.cos(angles), np.sin(angles))
    # Half a step of the largest value that a block can have.
    np.testing.assert_allclose(values, expected, atol=0.01 * 127 * np.sqrt(2) / 127 / 2 * 1.01)


@DTYPES
def test_swiglu(runtime: KernelRuntime, dtype: Any) -> None:
    gate, up = draw(3, 75, dtype=dtype), draw(3, 75, dtype=dtype)
    wide = gate.astype(np.float64)
    near(runtime.swiglu(gate, up), wide / (1 + np.exp(-wide)) * up.astype(np.float64), gate)
    inner = np.sqrt(2 / np.pi) * (wide + 0.044715 * wide**3)
    gelu = 0.5 * wide * (1 + np.tanh(inner)) * up.astype(np.float64)
    near(runtime.swiglu(gate, up, "gelu"), gelu, gate)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("axis", ["channels", "tokens"])
def test_keys_and_values(runtime: KernelRuntime, bits: int, axis: Any) -> None:
    x = draw(70, 40)
    groups = runtime.kv_pack(x, bits, axis=axis)
    assert groups.shape[:2] == ((70, 2) if axis == "channels" else (3, 40))
    values = runtime.kv_unpack(groups, (70, 40), axis=axis)
    assert values.shape == x.shape
    # Half a step of a group, whose range is at most that of all; minimum and step are f16.
    step = (x.max() - x.min()) / (2**bits - 1)
    assert np.abs(values - x).max() <= step / 2 + 2**-10 * np.abs(x).max() * 2


@DTYPES
def test_an_adapter_is_added(runtime: KernelRuntime, dtype: Any) -> None:
    x, y = draw(2, 40), draw(2, 7)
    lora_a, lora_b = draw(5, 40, dtype=dtype), draw(7, 5, dtype=dtype)
    before = y.copy()
    wide = x.astype(np.float64) @ lora_a.T.astype(np.float64) @ lora_b.T.astype(np.float64)
    actual = runtime.lora_apply(y, x, lora_a, lora_b, 0.5)
    np.testing.assert_allclose(actual, before + 0.5 * wide, rtol=1e-5, atol=1e-5)
    assert np.array_equal(y, before)


def test_the_order_of_additions_is_the_kernels(runtime: KernelRuntime) -> None:
    """Else `partial_sums` would be a parameter that does nothing."""
    x, weight = draw(64, 576), np.ones(576, np.float32)
    results = {runtime.rms_norm(x, weight, partial_sums=sums).tobytes() for sums in (16, 8, 4)}
    assert len(results) == 3


def test_an_error_code_is_told(runtime: KernelRuntime) -> None:
    with pytest.raises(KernelError, match="code 3") as caught:
        runtime.rms_norm(draw(1, 32), draw(32), partial_sums=5)
    assert (caught.value.kind, caught.value.code) == ("KernelTrap", 3)
    # The next call is fine.
    assert runtime.rms_norm(draw(1, 32), draw(32)).shape == (1, 32)


def test_more_than_the_pack_may_have(runtime: KernelRuntime) -> None:
    x = np.zeros((4096, 4096), np.float32)
    with pytest.raises(KernelError, match="bytes") as caught:
        runtime.rms_norm(x, np.ones(4096, np.float32))
    assert caught.value.kind == "TooLarge"


def test_what_does_not_fit_is_refused(runtime: KernelRuntime) -> None:
    x, weight = draw(2, 32), draw(32)
    refusals = [
        lambda: runtime.rms_norm(x.astype(np.float64), weight),
        lambda: runtime.rms_norm(x[:, ::2], weight[:16]),
        lambda: runtime.rms_norm(x, weight[:16]),
        lambda: runtime.rms_norm([1.0], weight),  # type: ignore[arg-type]
        lambda: runtime.rope(x, weight, weight),
        lambda: runtime.rope(draw(2, 3, 8), draw(2, 4), draw(2, 3)),
        lambda: runtime.rope(draw(2, 3, 8), draw(2, 4), draw(2, 4), layout="both"),  # type: ignore[arg-type]
        lambda: runtime.swiglu(x, x[:1]),
        lambda: runtime.swiglu(x, x.astype(np.float16)),
        lambda: runtime.swiglu(x, x, "relu"),  # type: ignore[arg-type]
        lambda: runtime.kv_pack(x, 3),
        lambda: runtime.kv_pack(x, 4, axis="heads"),  # type: ignore[arg-type]
        lambda: runtime.kv_unpack(runtime.kv_pack(x), (3, 32)),
        lambda: runtime.lora_apply(x, x, draw(5, 32), draw(31, 5)),
    ]
    for refusal in refusals:
        with pytest.raises(ConfigError):
            refusal()


def test_a_kernel_that_the_pack_lacks(tmp_path: Path) -> None:
    def change(manifest: dict) -> None:
        manifest["kernels"] = [one for one in manifest["kernels"] if one["id"] != "swiglu_f16"]
        del manifest["fallbacks"]["swiglu_f16"]

    runtime = KernelRuntime(copy_pack(tmp_path / "pack", change=change), trusted_keys=[TRUSTED])
    with pytest.raises(PackError, match="no kernel 'swiglu_f16'"):
        runtime.swiglu(draw(3, dtype=np.float16), draw(3, dtype=np.float16))
