"""What this machine can do at most, measured: the bounds that the engine's speed is a share of."""

from dataclasses import dataclass

__all__ = ["InstructionPeak", "MachinePeaks", "measure_peaks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstructionPeak:
    """The most that an instruction gives, all threads together; a multiply-add is two operations.

    Attributes:
        isa: The instruction set whose kernels are made of it.
        instruction: The instruction, or those that make one such step together.
        operands: `int8`, `int16` or `f32`.
        operations_per_second: Measured.
    """

    isa: str
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
        fitting = [peak for peak in self.instructions if (peak.isa, peak.operands) == (isa, operands)]
        return max(fitting, key=lambda peak: peak.operations_per_second, default=None)


def measure_peaks(threads: int | None = None) -> MachinePeaks:
    """Measure for about a second, with so many threads or as many as the engine would take.

    Nothing else should run meanwhile, a loaded model that waits aside.
    """
    from ruvllm._native import measure_peaks as measure

    peaks = measure(threads)
    return MachinePeaks(
        threads=peaks.threads,
        memory_bytes_per_second=peaks.memory_bytes_per_second,
        instructions=tuple(
            InstructionPeak(
                isa=peak.isa,
                instruction=peak.instruction,
                operands=peak.operands,
                operations_per_second=peak.operations_per_second,
            )
            for peak in peaks.instructions
        ),
    )
