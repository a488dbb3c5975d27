"""Learning on one served model, for each of its tenants; a folder keeps it, where there is one.

Nothing here is of the event loop: updates take a millisecond and a write to the disk, a correction a pass
through the model.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from ruvllm.learning.keeping import LearningKeeper
from ruvllm.learning.tenant_learner import TenantLearner
from ruvllm.learning.values import AdaptationResult
from ruvllm.llm import LLM

__all__ = ["ModelLearning"]


class ModelLearning:
    """What the tenants of one model learn. Of all threads."""

    def __init__(self, llm: LLM, folder: Path | None) -> None:
        """Begin, with what the folder has; `StorageError` where it cannot be used for this model."""
        self._llm = llm
        self._keeper = None
        if folder is not None:
            self._keeper = LearningKeeper(llm.learning, folder, llm.model_info.path)

    def learns_for(self, tenant: str) -> bool:
        """Whether a tenant's answers are kept for feedback already."""
        return tenant in self._llm.learning.tenants()

    @property
    def num_tenants(self) -> int:
        """How many learn."""
        return len(self._llm.learning.tenants())

    def begin(self, tenant: str) -> TenantLearner:
        """Learn for a tenant, or go on."""
        if self._keeper is not None:
            return self._keeper.follow(tenant)
        return self._llm.learning.learner(tenant)

    def feedback(self, tenant: str, kept_as: str, answer: str, quality: float) -> AdaptationResult:
        """Learn from what is said of an answer that is kept; `answer` is what the journal calls it."""
        learner = self.begin(tenant)
        with self._telling(answer):
            return learner.feedback(kept_as, quality)

    def correct(self, tenant: str, prompt: Sequence[int], text: str, answer: str) -> AdaptationResult:
        """Learn that a text would have been the right answer: one pass through the model, then an update."""
        learner = self.begin(tenant)
        tokens = self._llm.tokenize(text, add_bos=False, parse_special=False)
        captured = self._llm.learning.captured(tenant, prompt, tokens)
        with self._telling(answer):
            return learner.adapt(captured, f"corrected-{uuid4().hex}", 1.0)

    def rollback(self, tenant: str, steps: int, of: int | None) -> AdaptationResult:
        """Undo changes; with `of` only if that is still the present generation."""
        learner = self.begin(tenant)
        with self._telling(None):
            return learner.rollback(steps, of=of)

    def status(self, tenant: str) -> dict[str, Any]:
        """What a tenant has learned; nothing begins by that."""
        if not self.learns_for(tenant):
            return {
                "generation": 0,
                "updates": 0,
                "feedback": 0,
                "refused": 0,
                "baseline": None,
                "can_undo": 0,
            }
        learner = self._llm.learning.learner(tenant)
        state = learner.state
        return {
            "generation": state.generation,
            "updates": state.updates,
            "feedback": state.feedback,
            "refused": learner.stats().refused,
            "baseline": state.baseline,
            "can_undo": len(learner.generations()),
        }

    def close(self) -> None:
        """Write what waits; what is learned later is not kept."""
        if self._keeper is not None:
            self._keeper.close()

    @contextmanager
    def _telling(self, answer: str | None) -> Iterator[None]:
        if self._keeper is None:
            yield
        else:
            with self._keeper.telling(answer):
                yield
