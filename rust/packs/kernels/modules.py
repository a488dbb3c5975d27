"""The 13 modules of the reference pack: what each is compiled from, and what its entry in the manifest says.

A table and no program: `build.py` compiles from it, `manifest.py` writes it down. The layouts that the shapes
here name in short are described in README.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["MODULES", "Module", "Plane"]

# Epoch ticks of 10 ms: a call takes less than one, but a busy machine may not run the thread for many.
MAX_EPOCH_TICKS = 100
BASELINE = ("simd",)
# A multiply-add that rounds once, where the processor has one.
RELAXED = ("simd", "relaxed-simd")


@dataclass(frozen=True)
class Plane:
    """A tensor in a plane of the descriptor."""

    name: str
    dtype: str
    shape: tuple[str, ...]


@dataclass(frozen=True)
class Module:
    """A module: source and definitions for the compiler, the rest for the manifest.

    `params` are the fields of the C struct in its order; `max_memory_pages` is the module's own maximum, too.
    """

    id: str
    name: str
    category: str
    folder: str
    source: str
    defines: tuple[str, ...]
    entry_point: str
    reference: str
    inputs: tuple[Plane, ...]
    outputs: tuple[Plane, ...]
    params: tuple[tuple[str, str, float | None], ...]
    max_memory_pages: int
    features: tuple[str, ...]

    @property
    def path(self) -> str:
        """Where the module stands in the pack."""
        return f"{self.folder}/{self.id}.wasm"


def rope() -> Iterator[Module]:
    # Pages for [1, 512, 32, 128] and its tables; in f32 with the output in the input's place, else beside it.
    heads = ("batch", "sequence", "heads", "head_dim")
    kinds = (
        ("f32", "rope.c", (), "f32", heads, 256),
        ("f16", "rope.c", ("HALF",), "f16", heads, 136),
        ("q8", "rope_q8.c", (), "q8_block", (*heads[:3], "head_dim/32"), 88),
    )
    for kind, source, defines, dtype, shape, pages in kinds:
        table = ("sequence", "rotary_dims/2")
        yield Module(
            id=f"rope_{kind}",
            name=f"Rotary position embedding, {kind}",
            category="positional_encoding",
            folder="rope",
            source=source,
            defines=defines,
            entry_point="rope_forward",
            reference="rope_reference",
            inputs=(Plane("x", dtype, shape), Plane("cosines", "f32", table), Plane("sines", "f32", table)),
            outputs=(Plane("y", dtype, shape),),
            params=(
                ("batch", "u32", 1),
                ("sequence", "u32", None),
                ("heads", "u32", None),
                ("head_dim", "u32", None),
                ("rotary_dims", "u32", None),
                ("layout", "u32", 0),
            ),
            max_memory_pages=pages,
            features=RELAXED,
        )


def rmsnorm() -> Iterator[Module]:
    # 64 rows of 8192.
    for kind, defines, pages in (("f32", (), 72), ("f16", ("HALF",), 40)):
        shape = ("rows", "columns")
        yield Module(
            id=f"rmsnorm_{kind}",
            name=f"RMS normalization, {kind}",
            category="normalization",
            folder="rmsnorm",
            source="rmsnorm.c",
            defines=defines,
            entry_point="rmsnorm_forward",
            reference="rmsnorm_reference",
            inputs=(Plane("x", kind, shape), Plane("weight", "f32", ("columns",))),
            outputs=(Plane("y", kind, shape),),
            params=(
                ("rows", "u32", None),
                ("columns", "u32", None),
                ("epsilon", "f32", 1e-6),
                ("weight_offset", "f32", 0.0),
                ("partial_sums", "u32", 16),
            ),
            max_memory_pages=pages,
            features=RELAXED,
        )


def swiglu() -> Iterator[Module]:
    # 32 rows of 11008.
    for kind, defines, pages in (("f32", (), 72), ("f16", ("HALF",), 40)):
        shape = ("elements",)
        yield Module(
            id=f"swiglu_{kind}",
            name=f"Gated activation, SiLU or GELU, {kind}",
            category="activation",
            folder="swiglu",
            source="swiglu.c",
            defines=defines,
            entry_point="swiglu_forward",
            reference="swiglu_reference",
            inputs=(Plane("gate", kind, shape), Plane("up", kind, shape)),
            outputs=(Plane("y", kind, shape),),
            params=(("elements", "u32", None), ("activation", "u32", 0)),
            max_memory_pages=pages,
            features=RELAXED,
        )


def kv() -> Iterator[Module]:
    # 512 tokens of 1024 channels.
    for direction, name in (("pack", "Quantization"), ("unpack", "Dequantization")):
        for bits in (4, 8):
            floats = Plane("x", "f32", ("tokens", "channels"))
            groups = Plane(
                "groups", f"q{bits}_group", ("ceil(tokens/32)*channels or tokens*ceil(channels/32)",)
            )
            inputs, outputs = ((floats,), (groups,)) if direction == "pack" else ((groups,), (floats,))
            yield Module(
                id=f"kv_{direction}_q{bits}",
                name=f"{name} of keys and values, {bits} bits",
                category="kv_cache",
                folder="kv",
                source=f"kv_{direction}.c",
                defines=(f"BITS={bits}",),
                entry_point=f"kv_{direction}_forward",
                reference=f"kv_{direction}_reference",
                inputs=inputs,
                outputs=outputs,
                params=(
                    ("tokens", "u32", None),
                    ("channels", "u32", None),
                    ("axis", "u32", 0),
                    ("group", "u32", 32),
                ),
                max_memory_pages=48,
                features=BASELINE,
            )


def lora() -> Iterator[Module]:
    # Rank 64 between 4096 and 14336, 32 tokens.
    for kind, defines, pages in (("f32", (), 112), ("f16", ("HALF",), 80)):
        y = Plane("y", "f32", ("tokens", "outputs"))
        yield Module(
            id=f"lora_apply_{kind}",
            name=f"Low-rank adapter, {kind} weights",
            category="adapter",
            folder="lora",
            source="lora_apply.c",
            defines=defines,
            entry_point="lora_apply_forward",
            reference="lora_apply_reference",
            inputs=(
                Plane("x", "f32", ("tokens", "inputs")),
                Plane("lora_a", kind, ("rank", "inputs")),
                Plane("lora_b", kind, ("outputs", "rank")),
                y,
            ),
            outputs=(y,),
            params=(
                ("tokens", "u32", None),
                ("inputs", "u32", None),
                ("rank", "u32", None),
                ("outputs", "u32", None),
                ("scale", "f32", 1.0),
            ),
            max_memory_pages=pages,
            features=RELAXED,
        )


MODULES = (*rope(), *rmsnorm(), *swiglu(), *kv(), *lora())
