"""The measured bounds of this machine."""

from ruvllm import _native
from ruvllm.observability.peaks import InstructionPeak, MachinePeaks, measure_peaks


def test_the_chosen_instruction_set_has_its_bounds() -> None:
    peaks = measure_peaks(1)
    assert peaks.threads == 1
    assert 1e7 < peaks.memory_bytes_per_second < 2e12
    isa = _native.System.detect().isa
    if isa in ("avx512", "avx2", "neon"):
        for operands in ("int8", "f32"):
            best = peaks.best(isa, operands)
            assert best is not None
            assert 1e7 < best.operations_per_second < 1e13


def test_the_best_is_the_fastest_of_its_kind() -> None:
    slow, fast, other = (
        InstructionPeak(isa="avx2", instruction=name, operands=operands, operations_per_second=rate)
        for name, operands, rate in (("a", "int8", 1.0), ("b", "int8", 2.0), ("c", "f32", 3.0))
    )
    peaks = MachinePeaks(threads=1, memory_bytes_per_second=1.0, instructions=(slow, fast, other))
    assert peaks.best("avx2", "int8") is fast
    assert peaks.best("avx2", "f32") is other
    assert peaks.best("neon", "int8") is None
