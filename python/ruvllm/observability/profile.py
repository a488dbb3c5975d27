"""Where the time of the engine's steps goes, by operation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ruvllm._native as _native

__all__ = ["OperationTime", "StepProfile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationTime:
    """What one operation took, without the operations inside it.

    Attributes:
        operation: Its name.
        calls: How often it began.
        seconds: In all.
        operations: Multiplications and additions of its products: of `int8`, `int16`, `f32`.
        weight_bytes: Bytes of weights that its products read.
    """

    operation: str
    calls: int
    seconds: float
    operations: Mapping[str, int]
    weight_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepProfile:
    """What was recorded, in the order of a step; the times add up to that of the steps."""

    steps: int
    tokens: int
    times: tuple[OperationTime, ...]

    @property
    def seconds(self) -> float:
        """All of it."""
        return sum(time.seconds for time in self.times)

    @classmethod
    def of(cls, profile: "_native.Profile") -> "StepProfile":
        """Take over what the engine recorded."""
        return cls(
            steps=profile.steps,
            tokens=profile.tokens,
            times=tuple(
                OperationTime(
                    operation=time.operation,
                    calls=time.calls,
                    seconds=time.nanoseconds / 1e9,
                    operations=dict(time.operations),
                    weight_bytes=time.weight_bytes,
                )
                for time in profile.times
            ),
        )
