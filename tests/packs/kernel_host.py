"""A host of one kernel on PyPI's `wasmtime`: an independent runtime that lays out memory as README.md of the
kernels says, and nothing more. It is slow per call (about 10 microseconds), and no oracle of speed."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import wasmtime
from numpy.typing import NDArray

PACK = Path(__file__).resolve().parents[2] / "python" / "ruvllm" / "packs" / "kernel-pack-v1.0.0"
PAGE = 1 << 16
DESCRIPTOR_BYTES = 40
INFO_BYTES = 32
CANARY = 0xA5
OK, INVALID_INPUT, INVALID_OUTPUT, INVALID_PARAMS, OUT_OF_MEMORY, NOT_IMPLEMENTED = range(6)
ENGINE = wasmtime.Engine()


def aligned(offset: int) -> int:
    return -(-offset // 16) * 16


@dataclass(frozen=True)
class Info:
    """What `kernel_info` writes."""

    abi_version: int
    info_size: int
    params_size: int
    alignment: int
    heap_base: int
    flags: int


@dataclass
class Layout:
    """Where a call's ranges are: (offset, size) each."""

    input_a: tuple[int, int]
    input_b: tuple[int, int]
    output: tuple[int, int]
    scratch: tuple[int, int]
    params: tuple[int, int]

    def descriptor(self) -> bytes:
        ranges = (self.input_a, self.input_b, self.output, self.scratch, self.params)
        return struct.pack("<10I", *(word for each in ranges for word in each))


class Kernel:
    """One instance of a module of the pack."""

    def __init__(self, path: str, entry_point: str, engine: wasmtime.Engine = ENGINE) -> None:
        self.store = wasmtime.Store(engine)
        module = wasmtime.Module.from_file(engine, str(PACK / path))
        self.exports = wasmtime.Instance(self.store, module, []).exports(self.store)
        self.memory = self.exports["memory"]
        self.heap_base = self.exports["__heap_base"].value(self.store)
        self.entry_point = entry_point

    def call(self, name: str, *arguments: int) -> int:
        # The binding takes signed words.
        words = (argument - (1 << 32) if argument >> 31 else argument for argument in arguments)
        return self.exports[name](self.store, *words)

    def forward(self, descriptor_offset: int) -> int:
        return self.call(self.entry_point, descriptor_offset)

    def info(self) -> Info:
        assert self.call("kernel_info", self.heap_base) == OK
        return Info(*struct.unpack("<8I", self.read(self.heap_base, INFO_BYTES))[:6])

    @property
    def memory_bytes(self) -> int:
        return self.memory.data_len(self.store)

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self.memory.read(self.store, offset, offset + size))

    def write(self, offset: int, data: bytes) -> None:
        self.memory.write(self.store, data, offset)

    def ensure(self, end: int) -> None:
        missing = -(-(end - self.memory_bytes) // PAGE)
        if missing > 0:
            self.memory.grow(self.store, missing)

    def lay_out(
        self, sizes: Sequence[int], scratch: int, params_size: int, *, in_place: bool = False
    ) -> Layout:
        """Descriptor first, then parameters, A, B, output, scratch; each 16 bytes from the next."""
        offset = self.heap_base + aligned(DESCRIPTOR_BYTES) + 16
        ranges = []
        a_size, b_size, output_size = sizes
        for size in (params_size, a_size, b_size, 0 if in_place else output_size, scratch):
            ranges.append((offset if size else 0, size))
            offset = aligned(offset + size) + 16
        params, input_a, input_b, output, scratch_range = ranges
        self.ensure(offset)
        return Layout(input_a, input_b, input_a if in_place else output, scratch_range, params)

    def run(
        self,
        params: bytes,
        a: NDArray,
        b: NDArray | None = None,
        *,
        output: NDArray | int,
        scratch: int = 0,
        in_place: bool = False,
    ) -> bytes:
        """The bytes of the output plane; checks the code, and that nothing else changed but scratch.

        `output` is what the plane holds before, or its size.
        """
        a_bytes, b_bytes = a.tobytes(), b"" if b is None else b.tobytes()
        before = bytes([CANARY]) * output if isinstance(output, int) else output.tobytes()
        layout = self.lay_out(
            (len(a_bytes), len(b_bytes), len(before)), scratch, len(params), in_place=in_place
        )
        end = self.memory_bytes - self.heap_base
        self.write(self.heap_base, bytes([CANARY]) * end)
        self.write(self.heap_base, layout.descriptor())
        for (offset, _), data in (
            (layout.output, before),
            (layout.params, params),
            (layout.input_a, a_bytes),
            (layout.input_b, b_bytes),
        ):
            if data:
                self.write(offset, data)
        expected = bytearray(self.read(self.heap_base, end))
        code = self.forward(self.heap_base)
        assert code == OK, f"{self.entry_point} returned {code}"
        after = self.read(self.heap_base, end)
        result = after[layout.output[0] - self.heap_base :][: len(before)] if before else b""
        for offset, size in (layout.output, layout.scratch):
            begin = offset - self.heap_base
            if size:
                expected[begin : begin + size] = after[begin : begin + size]
        assert after == bytes(expected), "the kernel wrote outside its output and scratch"
        return result
