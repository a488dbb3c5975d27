"""The background loop: makes one adapter of what instant updates left, where that helps."""

import threading
import time
from dataclasses import replace

from ruvllm.learning.consolidation import Generations, anchored, merged
from ruvllm.learning.tenant_learner import TenantLearner
from ruvllm.learning.tenant_state import TenantState
from ruvllm.learning.values import AdaptationResult

__all__ = ["BackgroundLoop"]


class BackgroundLoop:
    """Consolidates for one tenant; safe to use from many threads.

    A turn measures what it made on answers with feedback: the sum over them of advantage times
    log-likelihood. The best stays of what was made, what there is, and what there was before.
    """

    def __init__(self, learner: TenantLearner) -> None:
        self._learner = learner
        self._turn = threading.Lock()
        self._since = learner.state.generation

    @property
    def tenant(self) -> str:
        """Whose it is."""
        return self._learner.tenant

    @property
    def interval(self) -> float:
        """Seconds between two turns at the least."""
        return self._learner.config.background_interval_ms / 1000

    def wait(self) -> None:
        """Wait for the turn that is being taken, where one is."""
        with self._turn:
            return

    def is_due(self) -> bool:
        """Whether enough waits for it, and long enough."""
        config, stats = self._learner.config, self._learner.stats()
        waited = stats.last_background_secs
        return stats.pending_samples >= config.background_min_samples and (
            waited is None or waited * 1000 >= config.background_interval_ms
        )

    def maybe(self) -> AdaptationResult | None:
        """Take a turn if one is due."""
        return self.consolidate() if self.is_due() else None

    def consolidate(self) -> AdaptationResult:
        """Take a turn."""
        with self._turn:
            began = time.perf_counter()
            states, samples = self._states(), self._learner.samples()
            if not states or not samples:
                return self._done(began, None, "nothing was learned since the last time", (0, 0))
            # What led to a generation; those that no feedback led to are as good as is expected.
            quality = {sample.generation: sample.quality for sample in samples}
            generations = Generations(
                states=states,
                qualities=[quality.get(state.generation, state.baseline) for state in states],
            )
            strategy, present = self._learner.config.consolidation_strategy, states[-1]
            before = replace(present, a=present.anchor_a, b=present.anchor_b)
            candidates = {
                strategy.value: merged(strategy, generations),
                "the present one": anchored(present),
                "the one before": before,
            }
            replay = samples[-self._learner.config.sona.replay_samples :]
            worth = {
                name: sum(one.advantage * self._learner.judge(one.captured, state)[0] for one in replay)
                for name, state in candidates.items()
            }
            best = max(candidates, key=worth.__getitem__)
            note, counts = f"kept: {best}", (len(samples), present.generation)
            return self._done(began, candidates[best], note, counts)

    def _states(self) -> tuple[TenantState, ...]:
        """The generations since the last time that stand on the same layers as the present one."""
        states = self._learner.snapshots(self._since)
        return tuple(one for one in states if one.deep == states[-1].deep)

    def _done(
        self, began: float, state: TenantState | None, note: str, counts: tuple[int, int]
    ) -> AdaptationResult:
        """Hands the outcome over; `counts` are the samples and the generation that it was made of."""
        num_samples, generation = counts
        made = AdaptationResult(
            applied=state is not None,
            loop_type="background",
            latency_us=(time.perf_counter() - began) * 1e6,
            samples_used=num_samples,
            notes=(note,),
        )
        result = self._learner.consolidated(state, made, of_generation=generation)
        if result.applied:
            self._since = result.generation
        return result
