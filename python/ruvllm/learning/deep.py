"""The deep loop: trains a low-rank adapter of all layers on a tenant's own answers, where that helps."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeAlias

from ruvllm.errors import InvalidOperationError, SonaError
from ruvllm.learning.deep_adapters import DeepAdapters
from ruvllm.learning.tenant_learner import TenantLearner
from ruvllm.learning.values import DeepResult
from ruvllm.runtime.evaluations import Evaluations
from ruvllm.runtime.learned import Taken
from ruvllm.runtime.open_model import OpenModel
from ruvllm.runtime.request import Terms
from ruvllm.training import TokenSample, TrainableModel, TrainingConfig, TrainingSample, train
from ruvllm.training.encoding import Example
from ruvllm.training.order import split
from ruvllm.training.records import read_records
from ruvllm.training.run import encoder_of
from ruvllm.training.values import OnProgress, TrainingProgress, TrainingResult

__all__ = ["DeepLoop", "DeepSample"]

DeepSample: TypeAlias = TrainingSample | TokenSample

# Between two steps, while requests run, it waits so long at most.
MAX_WAIT_SECONDS = 5.0
LOOK_SECONDS = 0.02
# Answers with feedback count from this quality on, where no config says otherwise.
GOOD = 0.5
# One to train on and one to judge by.
FEWEST = 2
JUDGED_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class _Material:
    """Samples that can be trained on, and the others, which judge."""

    trained: list[DeepSample]
    judged: list[Example]


class DeepLoop:
    """Takes a tenant's deep turns, one at a time; of all threads.

    What it makes is measured by answers that were kept out of training, with what feedback taught the head
    and without, beside what the tenant's requests have now. The best stays.
    """

    def __init__(
        self, learner: TenantLearner, model: OpenModel, adapters: DeepAdapters, is_busy: Callable[[], bool]
    ) -> None:
        self._learner = learner
        self._model = model
        self._adapters = adapters
        self._is_busy = is_busy
        self._turn = threading.Lock()
        self._ends = threading.Event()
        self._progress: TrainingProgress | None = None

    @property
    def progress(self) -> TrainingProgress | None:
        """The last step of the turn that is being taken; `None` where none is."""
        return self._progress

    def default_config(self) -> TrainingConfig:
        """What is trained by, where nothing else is said."""
        config = self._learner.config
        rank = config.sona.base_lora_rank
        return config.training or replace(
            TrainingConfig.realtime(), rank=rank, alpha=2.0 * rank, quality_threshold=GOOD
        )

    def samples(self, config: TrainingConfig | None = None) -> list[TokenSample]:
        """The tenant's answers that a turn would train on and judge by."""
        threshold = (config or self.default_config()).quality_threshold
        return [one for one in self._learner.collected.samples() if one.quality >= threshold]

    def optimize(
        self,
        samples: Sequence[DeepSample] | None = None,
        config: TrainingConfig | None = None,
        on_progress: OnProgress | None = None,
    ) -> DeepResult:
        """Take a turn: with these samples, or with the tenant's own."""
        with self._taking_turn():
            began = time.perf_counter()
            config = config or self.default_config()
            material = self._material(self.samples(config) if samples is None else samples, config)
            return self._made(began, material, config, on_progress)

    def stop(self) -> None:
        """End the turn that is being taken, after its step; another one may begin."""
        self._ends.set()
        with self._turn:
            self._ends.clear()

    # -- a turn

    @contextmanager
    def _taking_turn(self) -> Iterator[None]:
        if not self._turn.acquire(blocking=False):
            raise InvalidOperationError(f"the deep loop of tenant {self._learner.tenant!r} trains already")
        try:
            yield
        finally:
            self._progress = None
            self._turn.release()

    def _material(self, samples: Sequence[DeepSample], config: TrainingConfig) -> _Material:
        encoder = encoder_of(TrainableModel.of(self._model), config)
        given = list(samples)
        usable: list[tuple[DeepSample, Example]] = []
        for sample, record in zip(given, read_records(given) if given else (), strict=True):
            usable += [(sample, example) for example in encoder.conversations([record])]
        if len(usable) < FEWEST:
            raise SonaError(
                f"{len(usable)} of {len(given)} samples can be trained on, with a quality of "
                f"{config.quality_threshold} at least; there must be {FEWEST}: one to train on, one to judge"
            )
        trained, judged = split(len(usable), config.held_out or JUDGED_SHARE, config.seed)
        most = self._learner.config.sona.replay_samples
        return _Material(
            [usable[index][0] for index in trained], [usable[index][1] for index in judged[-most:]]
        )

    def _made(
        self, began: float, material: _Material, config: TrainingConfig, on_progress: OnProgress | None
    ) -> DeepResult:
        learner, number = self._learner, self._learner.next_generation()
        with self._adapters.place(learner.tenant, number) as place:
            trained = train(
                self._model, material.trained, config, out=place, on_progress=self._told(on_progress)
            )
            adapters = self._adapters.load(learner.tenant, number, place)
        adopted = False
        try:
            # What feedback taught while it trained counts as well.
            present = learner.taken()
            before = self._likelihood(material.judged, present)
            alone = self._likelihood(material.judged, Taken(adapters))
            both = alone
            if present.head is not None:
                both = self._likelihood(material.judged, Taken(adapters, present.head))
            keeps_head = both > alone
            adopted = max(both, alone) > before
            result = self._result(began, trained, material, (before, max(both, alone)), adopted=adopted)
            if adopted:
                result = replace(result, adapter=self._adapters.name(learner.tenant, number))
            return learner.deepened(result, number, adapters if adopted else None, keeps_head=keeps_head)
        finally:
            if not adopted:
                self._adapters.forget(learner.tenant, number)

    def _result(
        self,
        began: float,
        trained: TrainingResult,
        material: _Material,
        logprobs: tuple[float, float],
        *,
        adopted: bool,
    ) -> DeepResult:
        before, after = logprobs
        note = "kept: the present one does better on the answers that were kept out of training"
        return DeepResult(
            applied=adopted,
            loop_type="deep",
            latency_us=(time.perf_counter() - began) * 1e6,
            samples_used=len(material.trained) + len(material.judged),
            notes=() if adopted else (note,),
            logprob_change=after - before if adopted else 0.0,
            judged=len(material.judged),
            logprob_before=before,
            logprob_after=after,
            training=trained,
        )

    def _likelihood(self, examples: Sequence[Example], taken: Taken) -> float:
        """The mean log-probability of the answers' tokens, for a request that takes this."""
        evaluations, terms = Evaluations(self._model, list), Terms(self._learner.tenant)
        total, count = 0.0, 0
        for example in examples:
            told = evaluations.judged(example.whole, terms, taken).wait()
            shares = example.shares[:, 0]
            total += sum(one.logprob * float(share) for one, share in zip(told, shares, strict=True))
            count += example.answer_tokens
        return total / max(1, count)

    def _told(self, on_progress: OnProgress | None) -> OnProgress:
        """After each step: tells of it, lets requests go first, and ends where it shall."""

        def told(progress: TrainingProgress) -> None:
            self._progress = progress
            if on_progress is not None:
                on_progress(progress)
            until = time.monotonic() + MAX_WAIT_SECONDS
            while self._is_busy() and time.monotonic() < until and not self._ends.is_set():
                time.sleep(LOOK_SECONDS)
            if self._ends.is_set():
                raise InvalidOperationError("the deep loop was ended; nothing has changed")

        return told
