"""`ruvllm bench --profile`: where the time goes, beside this machine's bounds.

Decode reads every weight once for a token, so its products are measured in bytes a second, beside the memory.
Prefill uses a weight for many tokens, so there it is operations a second, beside the instruction for them.
Weights that a cache still holds can be read faster than the memory gives them.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ruvllm.cli import terminal

if TYPE_CHECKING:
    from ruvllm.llm import LLM
    from ruvllm.observability.peaks import MachinePeaks
    from ruvllm.observability.profile import OperationTime, StepProfile

__all__ = ["Phase", "Row", "print_profiles", "profile_phase", "profiles_as_json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One operation, per prefill or per decode step; only products have a `rate` and a share of a peak."""

    operation: str
    calls: float
    microseconds: float
    share: float
    rate: float | None
    share_of_peak: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A prefill or a decode step by operation.

    Attributes:
        phase: `prefill` or `decode`.
        tokens: Tokens of it.
        microseconds: Its length.
        unit: What `rate` is in: 1e9 operations or 1e9 bytes a second.
        rows: In the order of a step.
    """

    phase: str
    tokens: int
    microseconds: float
    unit: str
    rows: tuple[Row, ...]


def profile_phase(
    llm: "LLM", peaks: "MachinePeaks", prefill_tokens: int | None, runs: list[Callable[[], Any]]
) -> Phase:
    """Record `runs`: each a prefill of so many tokens, or with `None` generating from one token."""
    llm.start_profile()
    for run in runs:
        run()
    profile = llm.take_profile()
    if prefill_tokens is not None:
        return _phase(profile, "prefill", prefill_tokens, len(runs), _Prefill(peaks, llm.model_info.isa))
    return _phase(profile, "decode", 1, profile.steps, _Decode(peaks))


@dataclass(frozen=True, slots=True)
class _Prefill:
    """Operations a second, and the time that the instructions alone would take."""

    peaks: "MachinePeaks"
    isa: str
    unit = "GOP/s"

    def amount(self, time: "OperationTime") -> float:
        return sum(time.operations.values())

    def least_seconds(self, time: "OperationTime") -> float | None:
        seconds = 0.0
        for operands, count in time.operations.items():
            peak = self.peaks.best(self.isa, operands) if count else None
            if count and peak is None:
                return None
            seconds += count / peak.operations_per_second if peak else 0.0
        return seconds


@dataclass(frozen=True, slots=True)
class _Decode:
    """Bytes a second, and the time that reading them alone would take."""

    peaks: "MachinePeaks"
    unit = "GB/s"

    def amount(self, time: "OperationTime") -> float:
        return time.weight_bytes

    def least_seconds(self, time: "OperationTime") -> float | None:
        memory = self.peaks.memory_bytes_per_second
        return time.weight_bytes / memory if memory else None


def _phase(profile: "StepProfile", name: str, tokens: int, divisor: int, bound: _Prefill | _Decode) -> Phase:
    divisor = max(divisor, 1)
    rows = tuple(_row(time, profile.seconds, divisor, bound) for time in profile.times)
    return Phase(
        phase=name,
        tokens=tokens,
        microseconds=profile.seconds / divisor * 1e6,
        unit=bound.unit,
        rows=rows,
    )


def _row(time: "OperationTime", all_seconds: float, divisor: int, bound: _Prefill | _Decode) -> Row:
    amount, seconds = bound.amount(time), time.seconds
    is_product = amount > 0 and seconds > 0
    least = bound.least_seconds(time) if is_product else None
    return Row(
        operation=time.operation,
        calls=time.calls / divisor,
        microseconds=seconds / divisor * 1e6,
        share=seconds / all_seconds if all_seconds else 0.0,
        rate=amount / seconds / 1e9 if is_product else None,
        share_of_peak=least / seconds if least is not None else None,
    )


def profiles_as_json(phases: list[Phase], peaks: "MachinePeaks") -> dict[str, Any]:
    """Return them for programs."""
    return {"peaks": asdict(peaks), "profiles": [asdict(phase) for phase in phases]}


def print_profiles(phases: list[Phase], peaks: "MachinePeaks", isa: str) -> None:
    """Print a table of each."""
    for phase in phases:
        what = f"prefill of {phase.tokens} tokens" if phase.phase == "prefill" else "decode step"
        terminal.out().print(f"\n{what}: {phase.microseconds:.0f} µs", style="bold")
        columns = ["operation", "calls", "µs", "share", phase.unit, "of peak"]
        rows = [
            (
                row.operation,
                f"{row.calls:g}",
                f"{row.microseconds:.1f}",
                f"{row.share:.1%}",
                "" if row.rate is None else f"{row.rate:.1f}",
                "" if row.share_of_peak is None else f"{row.share_of_peak:.0%}",
            )
            for row in phase.rows
        ]
        terminal.show_table(columns, rows, right=columns[1:])
    bounds = [f"memory {peaks.memory_bytes_per_second / 1e9:.1f} GB/s"] + [
        f"{operands} {peak.operations_per_second / 1e9:.0f} GOP/s ({peak.instruction})"
        for operands in ("int8", "int16", "f32")
        if (peak := peaks.best(isa, operands))
    ]
    terminal.out().print(f"\npeaks with {peaks.threads} threads: {', '.join(bounds)}", markup=False)
