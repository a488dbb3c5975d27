"""What goes into learning and comes out of it: results, counters, samples."""

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from ruvllm.training.values import TrainingResult

if TYPE_CHECKING:
    import ruvllm._native as _native

__all__ = [
    "AdaptationResult",
    "ConsolidationStrategy",
    "DeepResult",
    "LearningLoopStats",
    "LearningMemory",
    "LearningTurns",
    "LoopType",
    "Sample",
]

LoopType: TypeAlias = Literal["instant", "background", "deep", "rollback", "reset"]
"""What changed a tenant's adapter, or would have."""


class ConsolidationStrategy(enum.Enum):
    """How the background loop makes one adapter of those that instant updates left since the last time.

    `EwcMerge` keeps of each number's way from the anchor the share that its importance has; `Average` takes
    the mean of the generations' matrices; `QualityWeighted` the mean weighted by the quality of the feedback
    that led to each; `BestOnly` the mean of the best fifth; `Ensemble` the mean of what they add, as the
    nearest map of the same rank.
    """

    EwcMerge = "ewc_merge"
    Average = "average"
    QualityWeighted = "quality_weighted"
    BestOnly = "best_only"
    Ensemble = "ensemble"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptationResult:
    """What one turn of a loop did.

    Attributes:
        applied: Whether the tenant's adapter changed.
        loop_type: Which loop it was.
        latency_us: How long the update took, given the captured states: without the pass that captures those
            of a response that was not generated here.
        quality_delta: The quality of the feedback, less the one that was expected.
        samples_used: How many answers it looked at.
        notes: What is worth saying, such as why nothing changed.
        logprob_change: How much likelier the answers' tokens became, in nats a token, by the captured states.
        divergence: How far the probabilities there moved, in nats a token (Kullback-Leibler).
        drift: How far they are from those without an adapter.
        generation: The tenant's generation afterwards.
    """

    applied: bool
    loop_type: LoopType
    latency_us: float
    quality_delta: float = 0.0
    samples_used: int = 0
    notes: tuple[str, ...] = ()
    logprob_change: float = 0.0
    divergence: float = 0.0
    drift: float = 0.0
    generation: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepResult(AdaptationResult):
    """What a turn of the deep loop did; what is measured is by answers that were kept out of training.

    Attributes:
        adapter: What `llm.adapters` calls what was made; `None` where requests stay as they are.
        judged: Answers that were kept out.
        logprob_before: The mean log-probability of their tokens, as requests had them until then.
        logprob_after: The same by what was made, whether it is used or not.
        training: How training went; `None` where there was too little for it.
    """

    adapter: str | None = None
    judged: int = 0
    logprob_before: float | None = None
    logprob_after: float | None = None
    training: TrainingResult | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningLoopStats:
    """What a tenant's loops did so far.

    Attributes:
        instant_count: Feedbacks that were taken in, whether they changed anything or not.
        instant_avg_latency_us: What one took on the average; 0 where there was none.
        background_count: Turns of the background loop.
        background_avg_latency_ms: Likewise.
        deep_count: Turns of the deep loop.
        deep_avg_latency_secs: Likewise.
        total_samples: Answers with feedback.
        accumulated_quality: The sum of the qualities since the deep loop ran last.
        pending_samples: Answers that wait for the background loop.
        last_background_secs: Seconds since it ran; `None` where it did not.
        last_deep_secs: Likewise.
        generation: The generation that is in use.
        refused: Feedbacks that were refused.
    """

    instant_count: int = 0
    instant_avg_latency_us: float = 0.0
    background_count: int = 0
    background_avg_latency_ms: float = 0.0
    deep_count: int = 0
    deep_avg_latency_secs: float = 0.0
    total_samples: int = 0
    accumulated_quality: float = 0.0
    pending_samples: int = 0
    last_background_secs: float | None = None
    last_deep_secs: float | None = None
    generation: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningMemory:
    """What learning takes of the memory.

    Attributes:
        tenants: How many learn.
        max_tenants: How many may.
        num_bytes: Of answers, of what was asked, and of generations; adapters of deep loops stand in the pool
            of all adapters.
    """

    tenants: int
    max_tenants: int
    num_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningTurns:
    """How often loops ran, of all tenants of a model together."""

    background: int
    deep: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """An answer with its feedback.

    Attributes:
        captured: Its states and candidates.
        quality: What the feedback said.
        advantage: What that was worth, beside what was expected.
        generation: The tenant's generation after it.
    """

    captured: "_native.Captured"
    quality: float
    advantage: float
    generation: int
