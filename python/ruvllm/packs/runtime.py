"""Single kernels of a pack over NumPy arrays: to test one, and to see what it computes.

Arrays are C-contiguous and are copied into the sandbox and back. What does not fit is a `ConfigError`, what
the kernel refuses or fails at a `KernelError`: unlike in an engine, nothing is computed natively instead. The
planes and parameters are those of `rust/packs/kernels/README.md`.
"""

import os
import struct
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import ruvllm._native as _native
from ruvllm._checks import check_integer
from ruvllm.errors import ConfigError, PackError
from ruvllm.kernels.arrays import float_array, require
from ruvllm.packs.pack import KernelPack, native_packs
from ruvllm.packs.store import REFERENCE, find_pack

__all__ = ["KernelRuntime"]

Array = NDArray[Any]
GROUP = 32
# Bytes of a group of 32 keys or values: f16 step, f16 minimum, codes; and of a block of q8: f32 scale, codes.
GROUP_BYTES = {4: 20, 8: 36}
Q8_BLOCK_BYTES = 36


class KernelRuntime:
    """The kernels of one verified pack.

    runtime = KernelRuntime()
    runtime.rms_norm(np.float32([[3, 4]]), np.ones(2, np.float32), 0.0)
    """

    def __init__(
        self, pack: str | os.PathLike[str] = REFERENCE, *, trusted_keys: Iterable[str] | None = None
    ) -> None:
        """Verify a pack: a folder, `reference`, or the name of an installed one."""
        self._path = find_pack(pack)
        self._native = native_packs(trusted_keys)
        self._kernels: dict[str, _native.PackKernel] = {}
        self.pack = KernelPack.of(self._native.verify(os.fspath(self._path)), self._path)

    def call(
        self,
        kernel_id: str,
        params: bytes,
        planes: tuple[Array, Array | None, Array],
        *,
        scratch_bytes: int = 0,
    ) -> NDArray[np.uint8]:
        """Call a kernel; gives the bytes of its output plane.

        Args:
            kernel_id: As the manifest has it.
            params: The bytes of its parameters.
            planes: A, B (or none), and the output as it is before; all stay as they are.
            scratch_bytes: Room for the kernel to work in.
        """
        a, b, output = planes
        kernel = self._kernels.get(kernel_id)
        if kernel is None:
            if kernel_id not in self.pack.kernels:
                raise PackError.refused(
                    "MissingKernel",
                    f"the pack {self.pack.name} has no kernel {kernel_id!r}; it has "
                    f"{', '.join(self.pack.kernels)}",
                )
            kernel = self._kernels[kernel_id] = self._native.kernel(os.fspath(self._path), kernel_id)
        b_bytes = None if b is None else _bytes_of(b)
        return kernel.call(_bytes_of(a), b_bytes, params, _bytes_of(output), scratch_bytes)

    def rms_norm(
        self,
        x: Array,
        weight: NDArray[np.float32],
        epsilon: float = 1e-6,
        *,
        weight_offset: float = 0.0,
        partial_sums: int = 16,
    ) -> Array:
        """`x / sqrt(mean(x**2) + epsilon) * (weight + weight_offset)` over the last axis; f32 or f16.

        `partial_sums` is the order of additions: 16 as AVX-512 does it, 8 as AVX2, 4 as NEON.
        """
        kind = _kind("x", x)
        float_array("weight", weight, dimensions=(1,))
        columns = weight.size
        require(
            x.ndim > 0 and x.shape[-1] == columns and columns > 0,
            f"weight has the shape {weight.shape}; it must fit the last axis of x, whose shape is {x.shape}",
        )
        params = struct.pack("<IIffI", x.size // columns, columns, epsilon, weight_offset, partial_sums)
        return self._like(x, self.call(f"rmsnorm_{kind}", params, (x, weight, x)))

    def rope(
        self,
        x: Array,
        cosines: NDArray[np.float32],
        sines: NDArray[np.float32],
        *,
        layout: Literal["halves", "adjacent"] = "halves",
    ) -> Array:
        """Rotary embedding of `x`, `[sequence, heads, head_dim]` or `[batch, sequence, heads, head_dim]`.

        Args:
            x: f32 or f16; or uint8 for q8, with blocks of 36 bytes for every 32 dimensions of a head.
            cosines: `[sequence, rotary_dims / 2]`.
            sines: Likewise.
            layout: `halves` turns dimension i with i + rotary_dims / 2, `adjacent` 2i with 2i + 1.
        """
        kind = "q8" if getattr(x, "dtype", None) == np.uint8 else _kind("x", x)
        float_array("cosines", cosines, dimensions=(2,))
        float_array("sines", sines, dimensions=(2,))
        if x.ndim not in (3, 4) or not x.flags.c_contiguous:
            raise ConfigError(f"x has the shape {x.shape}; it must be contiguous, of 3 or 4 dimensions")
        batch, sequence, heads, width = (1, *x.shape)[-4:]
        head_dim = width // Q8_BLOCK_BYTES * GROUP if kind == "q8" else width
        require(
            cosines.shape == sines.shape and cosines.shape[0] == sequence,
            f"cosines and sines have the shapes {cosines.shape} and {sines.shape}; both must have "
            f"{sequence} rows, one for each place of the sequence",
        )
        turned = 2 * cosines.shape[1]
        params = struct.pack("<6I", batch, sequence, heads, head_dim, turned, _layout(layout))
        tables = np.concatenate([cosines.reshape(-1), sines.reshape(-1)])
        scratch_bytes = 4 * head_dim if kind == "q8" else 0
        plane = self.call(f"rope_{kind}", params, (x, tables, x), scratch_bytes=scratch_bytes)
        return self._like(x, plane)

    def swiglu(self, gate: Array, up: Array, activation: Literal["silu", "gelu"] = "silu") -> Array:
        """`activation(gate) * up`, f32 or f16."""
        kind = _kind("gate", gate)
        require(
            _kind("up", up) == kind and gate.shape == up.shape,
            f"up is {up.dtype} of the shape {up.shape}; it must be as gate, {gate.dtype} of {gate.shape}",
        )
        require(activation in ("silu", "gelu"), f"activation is {activation!r}; it must be silu or gelu")
        params = struct.pack("<II", gate.size, int(activation == "gelu"))
        return self._like(gate, self.call(f"swiglu_{kind}", params, (gate, up, gate)))

    def kv_pack(
        self, x: NDArray[np.float32], bits: int = 4, *, axis: Literal["channels", "tokens"] = "channels"
    ) -> NDArray[np.uint8]:
        """Keys or values `[tokens, channels]` as groups of 32 codes of 4 or 8 bits.

        Gives `[tokens, groups of channels, bytes]`, or along `tokens` `[groups of tokens, channels, bytes]`.
        """
        float_array("x", x, dimensions=(2,))
        require(bits in GROUP_BYTES, f"bits is {bits}; it must be 4 or 8")
        shape = (*_groups(x.shape[0], x.shape[1], axis), GROUP_BYTES[bits])
        params = struct.pack("<4I", *x.shape, _axis(axis), GROUP)
        output = np.zeros(shape, np.uint8)
        return self.call(f"kv_pack_q{bits}", params, (x, None, output)).reshape(shape)

    def kv_unpack(
        self,
        groups: NDArray[np.uint8],
        shape: tuple[int, int],
        *,
        axis: Literal["channels", "tokens"] = "channels",
    ) -> NDArray[np.float32]:
        """What `kv_pack` packed, as `[tokens, channels]`, which is `shape`."""
        tokens, channels = (check_integer("shape", one, 0) for one in shape)
        of_bytes = {num_bytes: bits for bits, num_bytes in GROUP_BYTES.items()}
        bits = of_bytes.get(groups.shape[-1]) if groups.ndim == 3 else None
        if bits is None or groups.dtype != np.uint8 or groups.shape[:2] != _groups(tokens, channels, axis):
            raise ConfigError(
                f"groups is {groups.dtype} of the shape {groups.shape}; it must be uint8, as kv_pack gives "
                f"it for {tokens} tokens of {channels} channels along {axis}"
            )
        output = np.zeros((tokens, channels), np.float32)
        params = struct.pack("<4I", tokens, channels, _axis(axis), GROUP)
        return self._like(output, self.call(f"kv_unpack_q{bits}", params, (groups, None, output)))

    def lora_apply(
        self, y: NDArray[np.float32], x: NDArray[np.float32], lora_a: Array, lora_b: Array, scale: float = 1.0
    ) -> NDArray[np.float32]:
        """`y + scale * (x lora_a^T) lora_b^T`, with the two matrices as PEFT stores them, f32 or f16.

        `x` is `[tokens, inputs]`, `lora_a` `[rank, inputs]`, `lora_b` `[outputs, rank]`, and `y` `[tokens,
        outputs]`.
        """
        kind = _kind("lora_a", lora_a)
        float_array("x", x, dimensions=(2,))
        float_array("y", y, dimensions=(2,))
        shapes = (y.shape, x.shape, lora_a.shape, lora_b.shape)
        (tokens, outputs), inputs, rank = y.shape, x.shape[1], lora_a.size // max(1, x.shape[1])
        require(
            _kind("lora_b", lora_b) == kind
            and shapes == ((tokens, outputs), (tokens, inputs), (rank, inputs), (outputs, rank)),
            f"y, x, lora_a, lora_b have the shapes {shapes}; they must be [tokens, outputs], "
            "[tokens, inputs], [rank, inputs], [outputs, rank], both matrices of one type",
        )
        params = struct.pack("<4If", tokens, inputs, rank, outputs, scale)
        matrices = np.concatenate([lora_a.reshape(-1), lora_b.reshape(-1)])
        scratch_bytes = 16 * -(-rank // 4)
        plane = self.call(f"lora_apply_{kind}", params, (x, matrices, y), scratch_bytes=scratch_bytes)
        return self._like(y, plane)

    @staticmethod
    def _like(shape_of: Array, plane: NDArray[np.uint8]) -> Array:
        return plane.view(shape_of.dtype).reshape(shape_of.shape)


def _bytes_of(array: Array) -> NDArray[np.uint8]:
    if not array.flags.c_contiguous:
        raise ConfigError(f"an array is strided, of shape {array.shape}; planes must be contiguous")
    return array.reshape(-1).view(np.uint8)


def _kind(name: str, array: object) -> str:
    if isinstance(array, np.ndarray) and array.dtype in (np.float16, np.float32):
        require(array.flags.c_contiguous, f"{name} is strided, of shape {array.shape}; it must be contiguous")
        return "f16" if array.dtype == np.float16 else "f32"
    what = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
    raise ConfigError(f"{name} is of type {what}; it must be an array of float32 or float16")


def _layout(layout: str) -> int:
    require(layout in ("halves", "adjacent"), f"layout is {layout!r}; it must be halves or adjacent")
    return int(layout == "adjacent")


def _axis(axis: str) -> int:
    require(axis in ("channels", "tokens"), f"axis is {axis!r}; it must be channels or tokens")
    return int(axis == "tokens")


def _groups(tokens: int, channels: int, axis: str) -> tuple[int, int]:
    if _axis(axis):
        return -(-tokens // GROUP), channels
    return tokens, -(-channels // GROUP)
