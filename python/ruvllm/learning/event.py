"""What is told of each turn of a tenant's loops."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ruvllm.learning.tenant_state import TenantState
from ruvllm.learning.values import AdaptationResult

__all__ = ["LearningEvent", "Observer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningEvent:
    """One turn of a loop, for whoever keeps a log or the state.

    Attributes:
        state: The tenant's state afterwards.
        generation_before: The generation until then.
        result: What was done.
        completion_id: The answer that it was about, where it was one.
        feedback: What was said of it.
    """

    state: TenantState
    generation_before: int
    result: AdaptationResult
    completion_id: str | None = None
    feedback: float | None = None


Observer: TypeAlias = Callable[[LearningEvent], None]
