"""What one answer with feedback makes of a tenant's state: a bounded step of the adapter before the head."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ruvllm._native as _native
from ruvllm.learning.config import SonaLlmConfig
from ruvllm.learning.tenant_state import MATRICES, TenantState

__all__ = ["HeadUpdate", "HeadUpdates"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadUpdate:
    """An update that was made, and that nothing uses yet.

    Attributes:
        captured: The answer.
        quality: What was said of it.
        advantage: What that was worth, beside what was expected.
        state: The state with it; without another generation's number.
        applied: Whether its matrices are others.
        logprob_change: How much likelier the answer's tokens became.
        divergence: How far the probabilities there moved.
        drift: How far they are from those without an adapter.
    """

    captured: "_native.Captured"
    quality: float
    advantage: float
    state: TenantState
    applied: bool
    logprob_change: float
    divergence: float
    drift: float

    @property
    def why_not(self) -> str:
        """Why nothing moved."""
        if self.advantage == 0.0:
            return "the quality is what was expected"
        return "no step keeps the bounds on divergence and drift and what must not be forgotten"


class HeadUpdates:
    """Makes updates of one model's states, one at a time."""

    def __init__(self, native: "_native.Model", config: SonaLlmConfig) -> None:
        self._native = _native.HeadLearner(native)
        self._baseline_rate = config.sona.baseline_rate
        self._max_divergence = config.instant_lr
        bounds = config.sona
        self._others = (bounds.max_drift, bounds.ewc_lambda, bounds.fisher_decay, bounds.steps)

    def update(
        self, before: TenantState, captured: "_native.Captured", quality: float, *, share: float = 1.0
    ) -> HeadUpdate:
        """The update of an answer of that quality; `share` is how much of the divergence it may have."""
        advantage = max(-1.0, min(1.0, quality - before.baseline))
        limits = (share * self._max_divergence, *self._others)
        applied, (gain, divergence, drift), scale, arrays = self._native.update(
            captured, advantage, before, limits
        )
        state = replace(
            before,
            baseline=before.baseline + self._baseline_rate * (quality - before.baseline),
            feedback=before.feedback + 1,
        )
        if applied:
            shaped = (_fixed(values, before.a.shape) for values in arrays)
            matrices: dict[str, Any] = dict(zip(MATRICES, shaped, strict=True))
            state = replace(state, scale=scale, updates=before.updates + 1, **matrices)
        return HeadUpdate(
            captured=captured,
            quality=quality,
            advantage=advantage,
            state=state,
            applied=applied,
            logprob_change=gain,
            divergence=divergence,
            drift=drift,
        )

    def judge(self, captured: "_native.Captured", state: TenantState) -> tuple[float, float]:
        """The mean log-probability of an answer's tokens under a state, and its drift there."""
        return self._native.judge(captured, state)


def _fixed(values: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    matrix = values.reshape(shape)
    matrix.flags.writeable = False
    return matrix
