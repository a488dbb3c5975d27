"""One tenant's learning: its state, the generations before, and the answers that feedback may come for."""

import numbers
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

import ruvllm._native as _native
from ruvllm.adapters.registry import ChosenAdapters
from ruvllm.errors import InvalidOperationError, NotFoundError, SonaError
from ruvllm.learning.config import SonaLlmConfig
from ruvllm.learning.counters import Counters
from ruvllm.learning.deep_adapters import DeepAdapters
from ruvllm.learning.event import LearningEvent, Observer
from ruvllm.learning.head_updates import HeadUpdate, HeadUpdates
from ruvllm.learning.history import History
from ruvllm.learning.rate import Allowance
from ruvllm.learning.samples import Collected, Latest
from ruvllm.learning.tenant_state import TenantState
from ruvllm.learning.values import AdaptationResult, DeepResult, LearningLoopStats, LoopType, Sample
from ruvllm.runtime.learned import Learned, LearnedHeads, Taken

__all__ = ["TenantLearner", "checked_feedback"]


class TenantLearner:
    """Learns for one tenant of a model. Every method may be called from any thread; `lock` holds them off.

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
        self._updates = HeadUpdates(native, config)
        self._heads = heads
        self._captures = _native.Captures(max_bytes=bounds.capture_bytes, max_tokens=bounds.capture_tokens)
        self._new = TenantState.new(
            tenant,
            hidden=native.hidden_size,
            rank=config.rank(native.hidden_size),
            scale=1.0,
            baseline=bounds.initial_baseline,
        )
        self.lock = threading.RLock()
        self._history = History(self._new, adapters, max_generations=bounds.max_generations)
        self._samples: Latest[Sample] = Latest(
            max_values=config.max_pending_samples, max_bytes=bounds.capture_bytes
        )
        self.collected = Collected(max_samples=config.max_pending_samples, max_bytes=bounds.token_bytes)
        self._allowance = Allowance(bounds.max_feedback_per_minute)
        self._counters = Counters()
        self._observers: list[Observer] = []
        self._is_stopped = False
        self._publish()

    # -- what there is

    @property
    def state(self) -> TenantState:
        """The generation that is in use."""
        with self.lock:
            return self._history.now

    @property
    def captures(self) -> _native.Captures:
        """Where answers are kept until feedback comes."""
        return self._captures

    def generations(self) -> tuple[int, ...]:
        """The numbers of those that can be gone back to, the newest last."""
        with self.lock:
            return tuple(state.generation for state in self._history.earlier)

    def samples(self) -> tuple[Sample, ...]:
        """Answers with feedback, the oldest first, as many as are kept."""
        with self.lock:
            return tuple(self._samples)

    def snapshots(self, since: int) -> tuple[TenantState, ...]:
        """The states after generation `since` that are kept, the present one last."""
        with self.lock:
            return tuple(
                state for state in (*self._history.earlier, self._history.now) if state.generation > since
            )

    def taken(self) -> Taken:
        """What a request takes now."""
        return self._heads.of_evaluation(self.tenant, ())

    def num_bytes(self) -> int:
        """What is kept in memory of answers, of what was asked, and of generations."""
        with self.lock:
            kept = self._history.num_bytes + self._samples.num_bytes
        return kept + self._captures.usage()[1] + self.collected.num_bytes

    def stats(self) -> LearningLoopStats:
        """What was done so far."""
        with self.lock:
            return self._counters.stats(generation=self._history.now.generation, samples=len(self._samples))

    def watch(self, observer: Observer) -> None:
        """Tell `observer` of every turn, in the thread that takes it, which waits for it."""
        with self.lock:
            self._observers.append(observer)

    def unwatch(self, observer: Observer) -> None:
        """Tell it no more."""
        with self.lock:
            self._observers.remove(observer)

    # -- the instant loop

    def has(self, completion_id: str) -> bool:
        """Whether feedback may come for an answer of that name."""
        with self.lock:
            return self._samples.get(completion_id) is not None or self._captures.has(completion_id)

    def feedback(self, completion_id: str, feedback: float) -> AdaptationResult:
        """Learn from what is said of an answer of this tenant, from 0 (bad) to 1 (good)."""
        quality = self._admitted(feedback)
        with self.lock:
            captured = self._kept(completion_id)
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
        with self.lock:
            if prompt is not None:
                self.collected.asked(completion_id, prompt)
            return self._adapt(captured, quality, completion_id)

    def _admitted(self, feedback: float) -> float:
        with self.lock:
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
        update = self._updates.update(before, captured, quality)
        return self._learned(began, before, {completion_id: update})

    def correct(
        self,
        captured: _native.Captured,
        completion_id: str,
        *,
        prompt: Sequence[int],
        given: str | None,
    ) -> AdaptationResult:
        """Learn that an answer would have been good (1), in the place of the one that was `given`, bad (0).

        Each moves half as far as it might alone, so that both together are bounded as one is; they are one
        generation. What was given counts only where it is kept.
        """
        self._admitted(1.0)
        with self.lock:
            began = time.perf_counter()
            before = self._history.now
            self.collected.asked(completion_id, prompt)
            bad = None if given is None else self._kept(given)
            if given is None or bad is None:
                update = self._updates.update(before, captured, 1.0)
                return self._learned(began, before, {completion_id: update})
            down = self._updates.update(before, bad, 0.0, share=0.5)
            up = self._updates.update(down.state, captured, 1.0, share=0.5)
            gain = self.judge(captured, up.state)[0] - self.judge(captured, before)[0]
            updates = before.updates + (down.applied or up.applied)
            state = replace(up.state, feedback=before.feedback + 1, updates=updates)
            up = replace(up, state=state, logprob_change=gain)
            return self._learned(began, before, {given: down, completion_id: up})

    def _kept(self, completion_id: str) -> "_native.Captured | None":
        known = self._samples.get(completion_id)
        return self._captures.take(completion_id) or (None if known is None else known.captured)

    def _learned(
        self, began: float, before: TenantState, updates: Mapping[str, HeadUpdate]
    ) -> AdaptationResult:
        """Use what one feedback made, by the names of the answers, the last of which it was about."""
        *others, (completion_id, last) = updates.items()
        applied = any(one.applied for one in updates.values())
        if applied:
            self._succeed(last.state)
        else:
            self._history.now = last.state
        latency_us = (time.perf_counter() - began) * 1e6
        notes = [] if last.applied else [last.why_not]
        notes += [f"the answer that was given: {one.logprob_change:+.3f} nats a token" for _, one in others]
        generation = self._history.now.generation
        result = AdaptationResult(
            applied=applied,
            loop_type="instant",
            latency_us=latency_us,
            quality_delta=last.advantage,
            samples_used=len(updates),
            notes=tuple(notes),
            logprob_change=last.logprob_change,
            divergence=sum(one.divergence for one in updates.values()),
            drift=last.drift,
            generation=generation,
        )
        self._counters.instant(latency_us, last.quality)
        for name, one in updates.items():
            sample = Sample(
                captured=one.captured, quality=one.quality, advantage=one.advantage, generation=generation
            )
            self._samples.put(name, sample, one.captured.num_bytes)
            self.collected.rated(name, one.captured.token_ids, one.quality)
        self._tell(before, result, completion_id, last.quality)
        return result

    # -- generations

    def rollback(self, steps: int = 1, *, of: int | None = None) -> AdaptationResult:
        """Go back so many generations; the next requests are as they were then, to the bit.

        It is a generation of its own, so that numbers only count up. With `of` only if that generation is
        still the present one: an `InvalidOperationError` where another came after it.
        """
        began = time.perf_counter()
        with self.lock:
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
        with self.lock:
            before = self._history.now
            self._succeed(self._new)
            self._samples.clear()
            self.collected.clear()
            return self._replaced("reset", before, began, "nothing is learned")

    def restore(self, state: TenantState, earlier: Sequence[TenantState] = ()) -> None:
        """Go on from a state that was kept elsewhere, such as on disk; `earlier` can be gone back to.

        Where the deep loop's adapter of one cannot be had, that is left out, and said in the log.
        """
        with self.lock:
            self._history.restore(state, earlier)
            self._publish()

    def consolidated(
        self, state: TenantState | None, result: AdaptationResult, *, of_generation: int
    ) -> AdaptationResult:
        """Take over what the background loop has made of a generation, where that is still in use.

        It is another generation; of what was there the feedback and what is expected are kept.
        """
        with self.lock:
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
        with self.lock:
            return self._history.next_number

    def deepened(
        self, result: DeepResult, number: int, adapters: ChosenAdapters | None, *, keeps_head: bool
    ) -> DeepResult:
        """Take over what the deep loop has made, where it made something.

        What feedback taught meanwhile stays where the head's adapter does. Answers that the background loop
        would measure by are let go: they were given without what there is now.
        """
        with self.lock:
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
        return self._updates.judge(captured, state)

    def stop(self) -> None:
        """Let the tenant's requests be as if nothing had ever been learned; the state stays."""
        with self.lock:
            self._is_stopped = True
            self._heads.publish(self.tenant, None)
            self._history.unload_adapters()

    # -- what all of these do; under the lock

    def _succeed(self, state: TenantState) -> None:
        """Make it the next generation, which requests take from here on."""
        self._history.succeed(state)
        self._publish()

    def _publish(self) -> None:
        if self._is_stopped:
            return
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


def checked_feedback(feedback: object) -> float:
    """The feedback as a number from 0 to 1; a `SonaError` for anything else, NaN included."""
    is_number = isinstance(feedback, numbers.Real) and not isinstance(feedback, bool)
    if not is_number or not 0.0 <= float(cast("float", feedback)) <= 1.0:
        raise SonaError(f"feedback is {feedback!r}; it must be a number from 0 (bad) to 1 (good)")
    return float(cast("float", feedback))
