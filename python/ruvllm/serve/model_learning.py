"""Learning on one served model, for each of its tenants; a folder keeps it, where there is one.

Nothing here is of the event loop: updates take a millisecond and a write to the disk, a correction a pass
through the model.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from ruvllm.errors import ConfigError, OverloadedError
from ruvllm.learning.config import SonaLlmConfig
from ruvllm.learning.deep_turns import DeepTurns
from ruvllm.learning.keeping import LearningKeeper
from ruvllm.learning.tenant_learner import TenantLearner
from ruvllm.learning.values import AdaptationResult, LearningMemory, LearningTurns
from ruvllm.llm import LLM
from ruvllm.serve.settings import ServerSettings

__all__ = ["ModelLearning", "Teaching"]


@dataclass(frozen=True, slots=True)
class Teaching:
    """How tenants teach the models of a server.

    Attributes:
        config: How each learns.
        max_tenants: So many may teach a model.
        in_background: Whether what feedback left is made one adapter now and then.
    """

    config: SonaLlmConfig = field(default_factory=SonaLlmConfig)
    max_tenants: int = 64
    in_background: bool = True

    @classmethod
    def of(cls, settings: ServerSettings) -> "Teaching":
        """As a server's settings say."""
        config = SonaLlmConfig(
            background_interval_ms=settings.learn_interval * 1000,
            background_min_samples=settings.learn_samples,
        )
        return cls(config, settings.learn_tenants, in_background=settings.learn_interval > 0)


class ModelLearning:
    """What the tenants of one model learn. Of all threads."""

    def __init__(self, llm: LLM, folder: Path | None, teaching: Teaching) -> None:
        """Begin, with what the folder has; `StorageError` where it cannot be used for this model."""
        self._llm = llm
        self._teaching = teaching
        self._keeper = None
        self._deep = DeepTurns(llm.learning)
        llm.learning.max_tenants = teaching.max_tenants
        if folder is not None:
            try:
                self._keeper = LearningKeeper(
                    llm.learning, folder, llm.model_info.path, config=teaching.config
                )
            except OverloadedError as error:
                raise ConfigError(f"{folder}: {error.message}; raise learn_tenants") from error
        for tenant in llm.learning.tenants():
            self.begin(tenant)

    def learns_for(self, tenant: str) -> bool:
        """Whether a tenant's answers are kept for feedback already."""
        return tenant in self._llm.learning.tenants()

    @property
    def num_tenants(self) -> int:
        """How many learn."""
        return len(self._llm.learning.tenants())

    def begin(self, tenant: str) -> TenantLearner:
        """Learn for a tenant, or go on."""
        learning = self._llm.learning
        if self._keeper is not None:
            learner = self._keeper.follow(tenant)
        elif self.learns_for(tenant):
            learner = learning.learner(tenant)
        else:
            learner = learning.learner(tenant, self._teaching.config)
        if self._teaching.in_background:
            learning.background_thread.add(learning.background(tenant))
        return learner

    def go_on_from(self, tenant: str, folder: Path) -> None:
        """Go on from what another server keeps of a tenant in its folder, where that is newer."""
        if self._keeper is not None:
            self.begin(tenant)
            self._keeper.go_on_from(tenant, folder)

    def check_room(self, tenant: str) -> None:
        """`OverloadedError` where nothing is learned for a tenant since too many others learn."""
        if not self.learns_for(tenant):
            self._llm.learning.check_room(tenant)

    def memory(self) -> LearningMemory:
        """What all of it takes."""
        return self._llm.learning.memory()

    def turns(self) -> LearningTurns:
        """How often the loops behind ran, of all tenants."""
        return self._llm.learning.turns()

    def feedback(self, tenant: str, kept_as: str, answer: str, quality: float) -> AdaptationResult:
        """Learn from what is said of an answer that is kept; `answer` is what the journal calls it."""
        learner = self.begin(tenant)
        with self._telling(answer):
            return learner.feedback(kept_as, quality)

    def correct(
        self, tenant: str, prompt: Sequence[int], text: str, *, kept_as: str, answer: str
    ) -> AdaptationResult:
        """Learn that a text would have been right, and what was kept wrong: one pass, then an update."""
        learner = self.begin(tenant)
        tokens = self._llm.tokenize(text, add_bos=False, parse_special=False)
        captured = self._llm.learning.captured(tenant, prompt, tokens)
        with self._telling(answer):
            return learner.correct(captured, f"corrected-{uuid4().hex}", prompt=prompt, given=kept_as)

    def consolidate(self, tenant: str) -> AdaptationResult:
        """Take a turn of the background loop now."""
        self.begin(tenant)
        with self._telling(None):
            return self._llm.learning.background(tenant).consolidate()

    def train(self, tenant: str) -> int:
        """Begin a turn of the deep loop, which takes minutes; gives how many answers there are for it."""
        self.begin(tenant)
        return self._deep.begin(tenant)

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
                "pending_samples": 0,
                "background_turns": 0,
                "deep": None,
            }
        learner = self._llm.learning.learner(tenant)
        state, stats = learner.state, learner.stats()
        return {
            "generation": state.generation,
            "updates": state.updates,
            "feedback": state.feedback,
            "refused": stats.refused,
            "baseline": state.baseline,
            "can_undo": len(learner.generations()),
            "pending_samples": stats.pending_samples,
            "background_turns": stats.background_count,
            "deep": self._deep.status(tenant),
        }

    def would_be_lost(self) -> str | None:
        """What would be gone if the model were given up now; `None` where all is kept."""
        if self._deep.is_running:
            return "all its layers are being trained, which takes minutes and ends by itself"
        if self._keeper is not None:
            return None
        learning = self._llm.learning
        taught = sum(learning.learner(tenant).state.feedback > 0 for tenant in learning.tenants())
        if not taught:
            return None
        who = "a tenant" if taught == 1 else f"{taught} tenants"
        return f"{who} taught it, which is kept in memory alone: --learn-dir FOLDER keeps it"

    def close(self) -> None:
        """End what is being trained, and write what waits; what is learned later is not kept."""
        self._deep.close()
        if self._keeper is not None:
            self._keeper.close()

    @contextmanager
    def _telling(self, answer: str | None) -> Iterator[None]:
        if self._keeper is None:
            yield
        else:
            with self._keeper.telling(answer):
                yield
