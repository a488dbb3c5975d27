"""What this machine can do at most, measured: the bounds that the engine's speed is a share of."""

from dataclasses import dataclass

from ruvllm.observability.machine_memory import available_memory

__all__ = ["InstructionPeak", "MachinePeaks", "measure_peaks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstructionPeak:
    """The most that an instruction gives, all threads together; a multiply-add is two operations.

    Attributes:
        isas: The instruction sets whose kernels are made of it.
        instruction: The instruction, or those that make one such step together.
        operands: `int8`, `int16` or `f32`.
        operations_per_second: Measured.
    """

    isas: tuple[str, ...]
    instruction: str
    operands: str
    operations_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinePeaks:
    """The bounds of this machine with so many threads."""

    threads: int
    memory_bytes_per_second: float
    instructions: tuple[InstructionPeak, ...]

    def best(self, isa: str, operands: str) -> InstructionPeak | None:
        """The fastest instruction of an instruction set for such numbers; `None` where it has none."""
        fitting = [peak for peak in self.instructions if isa in peak.isas and peak.operands == operands]
        return max(fitting, key=lambda peak: peak.operations_per_second, default=None)


def measure_peaks(threads: int | None = None) -> MachinePeaks:
    """Measure for a second or two, with so many threads or as many as the engine would take.

    Nothing else should run meanwhile, a loaded model that waits aside. Memory is read from 1 GiB or more, an
    eighth of what is free at most; 0 stands where that is too little to tell it from the caches.
    """
    from ruvllm._native import measure_peaks as measure

    peaks = measure(threads, available_memory())
    return MachinePeaks(
        threads=peaks.threads,
        memory_bytes_per_second=peaks.memory_bytes_per_second,
        instructions=tuple(
            InstructionPeak(
                isas=tuple(peak.isas),
                instruction=peak.instruction,
                operands=peak.operands,
                operations_per_second=peak.operations_per_second,
            )
            for peak in peaks.instructions
        ),
    )
