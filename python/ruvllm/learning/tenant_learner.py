"""One tenant's learning: its state, the generations before, and the answers that feedback may come for."""

import numbers
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

import ruvllm._native as _native
from ruvllm.adapters.registry import ChosenAdapters
from ruvllm.errors import InvalidOperationError, NotFoundError, SonaError
from ruvllm.learning.config import SonaLlmConfig
from ruvllm.learning.counters import Counters
from ruvllm.learning.deep_adapters import DeepAdapters
from ruvllm.learning.event import LearningEvent, Observer
from ruvllm.learning.history import History
from ruvllm.learning.rate import Allowance
from ruvllm.learning.samples import Collected, Latest
from ruvllm.learning.tenant_state import MATRICES, TenantState
from ruvllm.learning.values import AdaptationResult, DeepResult, LearningLoopStats, LoopType, Sample
from ruvllm.runtime.learned import Learned, LearnedHeads, Taken

__all__ = ["TenantLearner", "checked_feedback"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limits:
    """What the update reads."""

    max_divergence: float
    max_drift: float
    ewc_lambda: float
    fisher_decay: float
    steps: int


class TenantLearner:
    """Learns for one tenant of a model. Every method may be called from any thread.

    What requests take is published with each generation; a request keeps the one that it began with.
    """

    def __init__(
        self,
        native: _native.Model,
        heads: LearnedHeads,
        adapters: DeepAdapters,
        tenant: str,
        config: SonaLlmConfig,
    ) -> None:
        self.tenant = tenant
        self.config = config
        bounds = config.sona
        self._native = _native.HeadLearner(native)
        self._heads = heads
        self._captures = _native.Captures(max_bytes=bounds.capture_bytes, max_tokens=bounds.capture_tokens)
        self._limits = _Limits(
            max_divergence=config.instant_lr,
            max_drift=bounds.max_drift,
            ewc_lambda=bounds.ewc_lambda,
            fisher_decay=bounds.fisher_decay,
            steps=bounds.steps,
        )
        self._new = TenantState.new(
            tenant,
            hidden=native.hidden_size,
            rank=config.rank(native.hidden_size),
            scale=1.0,
            baseline=bounds.initial_baseline,
        )
        self._lock = threading.RLock()
        self._history = History(self._new, adapters, max_generations=bounds.max_generations)
        self._samples: Latest[Sample] = Latest(
            max_values=config.max_pending_samples, max_bytes=bounds.capture_bytes
        )
        self.collected = Collected(max_samples=config.max_pending_samples, max_bytes=bounds.token_bytes)
        self._allowance = Allowance(bounds.max_feedback_per_minute)
        self._counters = Counters()
        self._observers: list[Observer] = []
        self._publish()

    # -- what there is

    @property
    def state(self) -> TenantState:
        """The generation that is in use."""
        with self._lock:
            return self._history.now

    @property
    def captures(self) -> _native.Captures:
        """Where answers are kept until feedback comes."""
        return self._captures

    def generations(self) -> tuple[int, ...]:
        """The numbers of those that can be gone back to, the newest last."""
        with self._lock:
            return tuple(state.generation for state in self._history.earlier)

    def samples(self) -> tuple[Sample, ...]:
        """Answers with feedback, the oldest first, as many as are kept."""
        with self._lock:
            return tuple(self._samples)

    def snapshots(self, since: int) -> tuple[TenantState, ...]:
        """The states after generation `since` that are kept, the present one last."""
        with self._lock:
            return tuple(
                state for state in (*self._history.earlier, self._history.now) if state.generation > since
            )

    def taken(self) -> Taken:
        """What a request takes now."""
        return self._heads.of_evaluation(self.tenant, ())

    def num_bytes(self) -> int:
        """What is kept in memory of answers, of what was asked, and of generations."""
        with self._lock:
            kept = self._history.num_bytes + self._samples.num_bytes
        return kept + self._captures.usage()[1] + self.collected.num_bytes

    def stats(self) -> LearningLoopStats:
        """What was done so far."""
        with self._lock:
            return self._counters.stats(generation=self._history.now.generation, samples=len(self._samples))

    def watch(self, observer: Observer) -> None:
        """Tell `observer` of every turn, in the thread that takes it, which waits for it."""
        with self._lock:
            self._observers.append(observer)

    # -- the instant loop

    def has(self, completion_id: str) -> bool:
        """Whether feedback may come for an answer of that name."""
        with self._lock:
            return self._samples.get(completion_id) is not None or self._captures.has(completion_id)

    def feedback(self, completion_id: str, feedback: float) -> AdaptationResult:
        """Learn from what is said of an answer of this tenant, from 0 (bad) to 1 (good)."""
        quality = self._admitted(feedback)
        with self._lock:
            captured = self._captures.take(completion_id)
            known = self._samples.get(completion_id)
            if captured is None and known is not None:
                captured = known.captured
            if captured is None:
                self._counters.refused += 1
                raise NotFoundError(
                    f"no answer {completion_id!r} of tenant {self.tenant!r} waits for feedback: it is not "
                    "known, another tenant's, without tokens, or not kept any more"
                )
            return self._adapt(captured, quality, completion_id)

    def adapt(
        self,
        captured: _native.Captured,
        completion_id: str,
        feedback: float,
        *,
        prompt: Sequence[int] | None = None,
    ) -> AdaptationResult:
        """The same of an answer whose states are at hand; with what was asked the deep loop has it, too."""
        quality = self._admitted(feedback)
        with self._lock:
            if prompt is not None:
                self.collected.asked(completion_id, prompt)
            return self._adapt(captured, quality, completion_id)

    def _admitted(self, feedback: float) -> float:
        with self._lock:
            try:
                quality = checked_feedback(feedback)
                self._allowance.take()
            except Exception:
                self._counters.refused += 1
                raise
        return quality

    def _adapt(self, captured: _native.Captured, quality: float, completion_id: str) -> AdaptationResult:
        began = time.perf_counter()
        before = self._history.now
        advantage = max(-1.0, min(1.0, quality - before.baseline))
        applied, figures, scale, arrays = self._native.update(captured, advantage, before, self._limits)
        rate = self.config.sona.baseline_rate
        counted = replace(
            before,
            baseline=before.baseline + rate * (quality - before.baseline),
            feedback=before.feedback + 1,
        )
        if applied:
            matrices: dict[str, Any] = dict(zip(MATRICES, map(self._matrix, arrays), strict=True))
            self._succeed(replace(counted, scale=scale, updates=before.updates + 1, **matrices))
        else:
            self._history.now = counted
        latency_us = (time.perf_counter() - began) * 1e6
        gain, divergence, drift = figures
        result = AdaptationResult(
            applied=applied,
            loop_type="instant",
            latency_us=latency_us,
            quality_delta=advantage,
            samples_used=1,
            notes=() if applied else (_why_not(advantage),),
            logprob_change=gain,
            divergence=divergence,
            drift=drift,
            generation=self._history.now.generation,
        )
        self._counters.instant(latency_us, quality)
        sample = Sample(
            captured=captured,
            quality=quality,
            advantage=advantage,
            generation=self._history.now.generation,
        )
        self._samples.put(completion_id, sample, captured.num_bytes)
        self.collected.rated(completion_id, captured.token_ids, quality)
        self._tell(before, result, completion_id, quality)
        return result

    # -- generations

    def rollback(self, steps: int = 1, *, of: int | None = None) -> AdaptationResult:
        """Go back so many generations; the next requests are as they were then, to the bit.

        It is a generation of its own, so that numbers only count up. With `of` only if that generation is
        still the present one: an `InvalidOperationError` where another came after it.
        """
        began = time.perf_counter()
        with self._lock:
            before = self._history.now
            if of is not None and of != before.generation:
                raise InvalidOperationError(
                    f"generation {of} is not the present one any more, which is {before.generation}"
                )
            earlier = self._history.back(steps)
            self._publish()
            return self._replaced("rollback", before, began, f"as generation {earlier.generation}")

    def reset(self) -> AdaptationResult:
        """Forget what was learned; a rollback brings it back."""
        began = time.perf_counter()
        with self._lock:
            before = self._history.now
            self._succeed(self._new)
            self._samples.clear()
            self.collected.clear()
            return self._replaced("reset", before, began, "nothing is learned")

    def restore(self, state: TenantState, earlier: Sequence[TenantState] = ()) -> None:
        """Go on from a state that was kept elsewhere, such as on disk; `earlier` can be gone back to.

        Where the deep loop's adapter of one cannot be had, that is left out, and said in the log.
        """
        with self._lock:
            self._history.restore(state, earlier)
            self._publish()

    def consolidated(
        self, state: TenantState | None, result: AdaptationResult, *, of_generation: int
    ) -> AdaptationResult:
        """Take over what the background loop has made of a generation, where that is still in use.

        It is another generation; of what was there the feedback and what is expected are kept.
        """
        with self._lock:
            before = self._history.now
            if state is not None and before.generation == of_generation:
                self._succeed(replace(state, baseline=before.baseline, feedback=before.feedback))
            elif state is not None:
                result = replace(result, applied=False, notes=("feedback came in between",))
            result = replace(result, generation=self._history.now.generation)
            self._counters.background(result.latency_us / 1000)
            self._tell(before, result, None, None)
            return result

    def next_generation(self) -> int:
        """A number that no generation has yet."""
        with self._lock:
            return self._history.next_number

    def deepened(
        self, result: DeepResult, number: int, adapters: ChosenAdapters | None, *, keeps_head: bool
    ) -> DeepResult:
        """Take over what the deep loop has made, where it made something.

        What feedback taught meanwhile stays where the head's adapter does. Answers that the background loop
        would measure by are let go: they were given without what there is now.
        """
        with self._lock:
            before = self._history.now
            if adapters is not None:
                counts = {name: getattr(before, name) for name in ("baseline", "feedback", "updates")}
                head = before if keeps_head else replace(self._new, **counts)
                self._history.stand_on(number, adapters)
                self._succeed(replace(head, deep=number))
                self._samples.clear()
            result = replace(result, generation=self._history.now.generation)
            self._counters.deep(result.latency_us / 1e6)
            self._tell(before, result, None, None)
            return result

    def judge(self, captured: _native.Captured, state: TenantState) -> tuple[float, float]:
        """The mean log-probability of an answer's tokens under a state, and its drift there."""
        return self._native.judge(captured, state)

    def stop(self) -> None:
        """Let the tenant's requests be as if nothing had ever been learned; the state stays."""
        self._heads.publish(self.tenant, None)
        with self._lock:
            self._history.unload_adapters()

    # -- what all of these do; under the lock

    def _succeed(self, state: TenantState) -> None:
        """Make it the next generation, which requests take from here on."""
        self._history.succeed(state)
        self._publish()

    def _publish(self) -> None:
        state = self._history.now
        # Without it the bits are those of a request that nobody learns for.
        head = _native.HeadAdapter(state.a, state.b, state.scale) if state.b.any() else None
        self._heads.publish(
            self.tenant,
            Learned(
                head=head,
                captures=self._captures,
                adapters=self._history.adapters,
                asked=self.collected.asked,
            ),
        )

    def _replaced(
        self, loop_type: LoopType, before: TenantState, began: float, note: str
    ) -> AdaptationResult:
        result = AdaptationResult(
            applied=True,
            loop_type=loop_type,
            latency_us=(time.perf_counter() - began) * 1e6,
            notes=(note,),
            generation=self._history.now.generation,
        )
        self._tell(before, result, None, None)
        return result

    def _tell(
        self,
        before: TenantState,
        result: AdaptationResult,
        completion_id: str | None,
        feedback: float | None,
    ) -> None:
        event = LearningEvent(
            state=self._history.now,
            generation_before=before.generation,
            result=result,
            completion_id=completion_id,
            feedback=feedback,
        )
        for observer in self._observers:
            observer(event)
        # When the state that does not name them is on the disk.
        self._history.forget_adapters()

    def _matrix(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        matrix = values.reshape(self._new.a.shape)
        matrix.flags.writeable = False
        return matrix


def checked_feedback(feedback: object) -> float:
    """The feedback as a number from 0 to 1; a `SonaError` for anything else, NaN included."""
    is_number = isinstance(feedback, numbers.Real) and not isinstance(feedback, bool)
    if not is_number or not 0.0 <= float(cast("float", feedback)) <= 1.0:
        raise SonaError(f"feedback is {feedback!r}; it must be a number from 0 (bad) to 1 (good)")
    return float(cast("float", feedback))


def _why_not(advantage: float) -> str:
    if advantage == 0.0:
        return "the quality is what was expected"
    return "no step keeps the bounds on divergence and drift and what must not be forgotten"
