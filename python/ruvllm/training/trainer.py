"""The steps of a run: gradients of a batch, a step of AdamW, now and then a look at what is held out."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import ruvllm._native as _native
from ruvllm.errors import TrainingError
from ruvllm.training.checkpoint import Checkpoint, RunState, Values
from ruvllm.training.config import TrainingConfig
from ruvllm.training.objectives import Objective
from ruvllm.training.order import Order
from ruvllm.training.schedules import learning_rate_of
from ruvllm.training.values import OnProgress, TrainingProgress

__all__ = ["Trainer", "mean_loss", "values_of"]

# Looks at the held-out examples over a run, where nothing else is said.
LOOKS = 10


@dataclass(slots=True, kw_only=True)
class Trainer:
    """One run.

    Attributes:
        training: The adapter over its model.
        objective: The examples.
        order: Which of them a step takes.
        held_out: Those that are judged by.
        config: Of the run.
        checkpoint: Where it is kept.
        state: Where it stands.
        best: The adapter of the best look so far.
    """

    training: "_native.Training"
    objective: Objective
    order: Order
    held_out: Sequence[int]
    config: TrainingConfig
    checkpoint: Checkpoint
    state: RunState
    best: Values = field(default_factory=dict)

    @property
    def has_given_up(self) -> bool:
        """Whether nothing has become better for too long."""
        return 0 < self.config.patience <= self.state.looks_since_best

    def run(self, on_progress: OnProgress | None) -> None:
        """Take the steps that are left; what `on_progress` raises ends the run, which can be resumed then."""
        while self.state.step < self.order.steps and not self.has_given_up:
            progress = self._step()
            is_last = self.state.step == self.order.steps or self.has_given_up
            if is_last or self.state.step % self.config.checkpoint_every == 0:
                self.checkpoint.save(self.state, self.training, self.best)
            if on_progress is None:
                continue
            try:
                on_progress(progress)
            except BaseException:
                self.checkpoint.save(self.state, self.training, self.best)
                raise

    def _step(self) -> TrainingProgress:
        began, state = time.perf_counter(), self.state
        items = self.order.of_step(state.step)
        loss = self._gradients(items)
        rate = learning_rate_of(self.config, state.step, self.order.steps)
        norm = self.training.step(
            learning_rate=rate,
            weight_decay=self.config.weight_decay,
            max_gradient_norm=self.config.max_grad_norm or None,
            scale=1 / self.objective.weight(items),
        )
        state.step += 1
        state.tokens += sum(map(self.objective.tokens_of, items))
        held_out_loss = self._look()
        state.seconds += time.perf_counter() - began
        return TrainingProgress(
            step=state.step,
            steps=self.order.steps,
            loss=loss,
            held_out_loss=held_out_loss,
            learning_rate=rate,
            gradient_norm=norm,
            tokens=state.tokens,
            seconds=state.seconds,
        )

    def _gradients(self, items: Sequence[int]) -> float:
        """Add up the gradients of a step's examples; gives their mean loss."""
        size, total = self.config.batch_size, 0.0
        for begin in range(0, len(items), size):
            batch = items[begin : begin + size]
            total += self.objective.accumulate(self.training, batch, recompute=self.config.recompute)
        loss = total / self.objective.weight(items)
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss of step {self.state.step + 1} is {loss}; begin anew with a lower learning_rate"
            )
        return loss

    def _look(self) -> float | None:
        """Look at the held-out examples where it is time to, and keep the adapter where it is the best."""
        state, steps = self.state, self.order.steps
        every = self.config.evaluate_every or max(1, steps // LOOKS)
        if not self.held_out or (state.step % every and state.step != steps):
            return None
        loss = mean_loss(self.objective, self.training, self.held_out)
        if state.best_loss is None or loss < state.best_loss:
            state.best_loss, state.best_step, state.looks_since_best = loss, state.step, 0
            self.best = values_of(self.training)
        else:
            state.looks_since_best += 1
        return loss


def mean_loss(objective: Objective, training: "_native.Training", items: Sequence[int]) -> float:
    """The loss of examples, a token or a pair."""
    return objective.losses(training, items) / objective.weight(items)


def values_of(training: "_native.Training") -> Values:
    """The adapter as it is now."""
    return {name: training.read(name) for name, _ in training.tensors()}
