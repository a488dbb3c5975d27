"""`ruvllm packs bench`: what an operation takes in a pack, and natively.

Both are called from Python, so both times hold what such a call costs, and the pack's the copies into the
sandbox and back. What a pack costs in a generation tells `ruvllm bench --kernel-pack PACK`.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ruvllm.cli import terminal
from ruvllm.cli.command import command, flag
from ruvllm.cli.packs.options import Trust

if TYPE_CHECKING:
    from ruvllm.packs import KernelRuntime

__all__ = ["register"]

Call = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Microseconds of one operation; `native` is `None` where the engine has no such function."""

    operation: str
    shape: str
    pack: float
    native: float | None

    @property
    def ratio(self) -> float | None:
        """How many times the native time the pack takes."""
        return None if self.native is None else self.pack / self.native


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        "bench",
        examples=["ruvllm packs bench", "ruvllm packs bench my-pack --repeat 1000 --json"],
    )(bench)


def bench(
    trust: Trust,
    *,
    pack: Annotated[
        str, typer.Argument(help="A folder, reference, or an installed name.", metavar="PACK")
    ] = "reference",
    repeat: Annotated[
        int, flag("--repeat", "-r", variable="RUVLLM_PACKS_REPEAT", help="Measured calls of each.", min=1)
    ] = 200,
    json: Annotated[bool, flag("--json", help="For programs.")] = False,
) -> None:
    """Time each operation of a pack beside the native one, on one thread, copies included."""
    from ruvllm.packs import KernelRuntime

    runtime = KernelRuntime(pack, trusted_keys=trust.keys())
    timings = measure(runtime, repeat)
    if json:
        rows = [{**asdict(timing), "ratio": timing.ratio} for timing in timings]
        terminal.print_json(
            {"pack": runtime.pack.name, "version": runtime.pack.version, "microseconds": rows}
        )
        return
    terminal.show_table(
        ["kernel", "shape", "pack", "native", "ratio"],
        [
            (
                timing.operation,
                timing.shape,
                f"{timing.pack:.1f} µs",
                "-" if timing.native is None else f"{timing.native:.1f} µs",
                "-" if timing.ratio is None else f"{timing.ratio:.2f}",
            )
            for timing in timings
        ],
        right=["pack", "native", "ratio"],
    )


def measure(runtime: "KernelRuntime", repeat: int) -> list[Timing]:
    """Time the operations whose kernels the pack has."""
    timings = []
    for kernel, shape, in_pack, native in _operations(runtime):
        if kernel in runtime.pack.kernels:
            seconds = _medians([in_pack, *([native] if native else [])], repeat)
            timings.append(
                Timing(
                    operation=kernel,
                    shape=shape,
                    pack=seconds[0] * 1e6,
                    native=seconds[1] * 1e6 if native else None,
                )
            )
    return timings


def _medians(calls: list[Call], repeat: int) -> list[float]:
    """Seconds of each; they take turns, so that what else the machine does meets all of them."""
    from statistics import median

    samples: list[list[float]] = [[] for _ in calls]
    for call in calls:
        call()  # warm-up
    for _ in range(repeat):
        for call, times in zip(calls, samples, strict=True):
            begin = time.perf_counter()
            call()
            times.append(time.perf_counter() - begin)
    return [median(times) for times in samples]


def _operations(runtime: "KernelRuntime") -> list[tuple[str, str, Call, Call | None]]:
    """Kernel, shape, and the call in the pack and natively."""
    import numpy as np

    import ruvllm.kernels as kernels

    rng = np.random.default_rng(0)

    def draw(*shape: int) -> "np.typing.NDArray[np.float32]":
        return rng.standard_normal(shape, dtype=np.float32)

    x, weight, gate, up = draw(1, 4096), draw(4096), draw(11008), draw(11008)
    heads, angles, keys = draw(1, 32, 128), draw(1, 64), draw(32, 1024)
    cosines, sines = np.cos(angles), np.sin(angles)
    packed = {
        bits: runtime.kv_pack(keys, bits) for bits in (4, 8) if f"kv_pack_q{bits}" in runtime.pack.kernels
    }
    lora_a, lora_b, y = draw(16, 4096), draw(4096, 16), draw(1, 4096)
    operations: list[tuple[str, str, Call, Call | None]] = [
        (
            "rmsnorm_f32",
            "1x4096",
            lambda: runtime.rms_norm(x, weight),
            lambda: kernels.rms_norm(x, weight),
        ),
        # The native function computes the angles, too.
        (
            "rope_f32",
            "1x32x128",
            lambda: runtime.rope(heads, cosines, sines),
            lambda: kernels.rope(heads, [1000]),
        ),
        ("swiglu_f32", "11008", lambda: runtime.swiglu(gate, up), lambda: kernels.gate(gate, up)),
        ("kv_pack_q4", "32x1024", lambda: runtime.kv_pack(keys), lambda: kernels.quantize("Q4_1", keys)),
        ("kv_pack_q8", "32x1024", lambda: runtime.kv_pack(keys, 8), None),
        ("lora_apply_f32", "4096x16x4096", lambda: runtime.lora_apply(y, x, lora_a, lora_b), None),
    ]
    for bits, groups in packed.items():
        operations.append(
            (
                f"kv_unpack_q{bits}",
                "32x1024",
                lambda groups=groups: runtime.kv_unpack(groups, (32, 1024)),  # type: ignore[misc]
                None,
            )
        )
    return operations
