"""The background loop: makes one adapter of what instant updates left, where that helps."""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from ruvllm.learning.consolidation import Generations, anchored, merged
from ruvllm.learning.tenant_learner import TenantLearner
from ruvllm.learning.tenant_state import TenantState
from ruvllm.learning.values import AdaptationResult

__all__ = ["BackgroundLoop"]

logger = logging.getLogger(__name__)

# While requests run, a turn that is due waits so long at most.
MAX_WAIT_SECONDS = 5.0
LOWEST_PRIORITY = 19


class BackgroundLoop:
    """Consolidates for one tenant, when asked or on a thread of its own; safe to use from many threads.

    A turn measures what it made on answers with feedback: the sum over them of advantage times
    log-likelihood. The best stays of what was made, what there is, and what there was before.
    """

    def __init__(self, learner: TenantLearner, is_busy: Callable[[], bool]) -> None:
        self._learner = learner
        self._is_busy = is_busy
        self._turn = threading.Lock()
        self._since = learner.state.generation
        self._ends = threading.Event()
        self._thread: threading.Thread | None = None

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

    # -- on a thread

    def start(self) -> None:
        """Take turns when they are due, on a thread of low priority, until `stop`; once is enough."""
        with self._turn:
            if self._thread is not None:
                return
            self._ends.clear()
            self._thread = threading.Thread(
                target=self._run, name=f"learning {self._learner.tenant}", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """End the thread, after the turn that it takes. Twice is the same as once."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._ends.set()
            thread.join()

    def _run(self) -> None:
        if sys.platform == "linux":
            # There threads have their own; elsewhere it would be the whole process's.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
        interval = max(0.01, self._learner.config.background_interval_ms / 1000)
        waited = 0.0
        while not self._ends.wait(interval):
            if not self.is_due():
                waited = 0.0
            elif self._is_busy() and waited < MAX_WAIT_SECONDS:
                waited += interval
            else:
                waited = 0.0
                try:
                    self.consolidate()
                except Exception:
                    logger.exception("the background loop of tenant %r failed", self._learner.tenant)
                    return
