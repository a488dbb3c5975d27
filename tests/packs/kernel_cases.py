"""A small valid call of each kernel of the reference pack, for tests that go over all of them."""

import json
import struct
from dataclasses import dataclass

import wasmtime

from tests.packs.kernel_host import ENGINE, PACK, Kernel, Layout

MANIFEST = json.loads((PACK / "kernels.json").read_text(encoding="utf-8"))
ENTRIES = {entry["id"]: entry for entry in MANIFEST["kernels"]}


@dataclass(frozen=True)
class Case:
    """Parameters, and the bytes that they ask of A, B, output and scratch."""

    params: tuple[int | float, ...]
    params_format: str
    sizes: tuple[int, int, int]
    scratch: int = 0

    @property
    def packed_params(self) -> bytes:
        return struct.pack(self.params_format, *self.params)


def cases() -> dict[str, Case]:
    found = {}
    for kind, size in (("f32", 4), ("f16", 2)):
        # Two positions of three heads of 40, of which 36 turn.
        found[f"rope_{kind}"] = Case((1, 2, 3, 40, 36, 0), "<6I", (240 * size, 288, 240 * size))
        found[f"rmsnorm_{kind}"] = Case((3, 50, 1e-6, 0.0, 16), "<IIffI", (150 * size, 200, 150 * size))
        found[f"swiglu_{kind}"] = Case((75, 0), "<II", (75 * size,) * 3)
        # Rank 5 between 40 and 7, for two tokens.
        found[f"lora_apply_{kind}"] = Case((2, 40, 5, 7, 0.5), "<4If", (320, 235 * size, 56), 32)
    found["rope_q8"] = Case((1, 2, 3, 64, 32, 0), "<6I", (432, 256, 432), 256)
    for bits in (4, 8):
        group = 4 + 4 * bits
        found[f"kv_pack_q{bits}"] = Case((3, 40, 0, 32), "<4I", (480, 0, 6 * group))
        found[f"kv_unpack_q{bits}"] = Case((3, 40, 1, 32), "<4I", (40 * group, 0, 480))
    return found


CASES = cases()


def kernel(name: str, engine: wasmtime.Engine = ENGINE) -> Kernel:
    return Kernel(ENTRIES[name]["path"], ENTRIES[name]["entry_point"], engine)


def place(target: Kernel, case: Case) -> Layout:
    """Writes descriptor and parameters of the case; tensors are what the memory holds."""
    layout = target.lay_out(case.sizes, case.scratch, len(case.packed_params))
    target.write(target.heap_base, layout.descriptor())
    target.write(layout.params[0], case.packed_params)
    return layout
