"""The learning rate of each step: a rise at first, then constant, a line, half a cosine, or one cycle.

Steps count from 0. The rate of step `s` is the one that the step itself is taken with.
"""

import math

from ruvllm.training.config import LearningRateSchedule, TrainingConfig

__all__ = ["CYCLE_RISE", "learning_rate_of", "warmup_steps_of"]

# The part of a run in which OneCycle rises.
CYCLE_RISE = 0.3
# The part of a run that a warm-up takes at most.
MOST_WARMUP = 10


def warmup_steps_of(config: TrainingConfig, steps: int) -> int:
    """How many steps the rise takes."""
    if config.schedule is LearningRateSchedule.OneCycle:
        return 0
    return min(config.warmup_steps, steps // MOST_WARMUP)


def learning_rate_of(config: TrainingConfig, step: int, steps: int) -> float:
    """The learning rate of a step, of so many in all."""
    peak, floor = config.learning_rate, config.min_learning_rate
    if config.schedule is LearningRateSchedule.OneCycle:
        return _one_cycle(config, step, steps)
    warmup = warmup_steps_of(config, steps)
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    done = (step - warmup) / (steps - warmup)
    if config.schedule is LearningRateSchedule.Linear:
        return peak + (floor - peak) * done
    if config.schedule is LearningRateSchedule.Cosine:
        return _between(peak, floor, done)
    return peak


def _one_cycle(config: TrainingConfig, step: int, steps: int) -> float:
    """From `learning_rate` up to `max_learning_rate`, and down to `min_learning_rate` at the last step."""
    top = CYCLE_RISE * steps - 1
    if step < top:
        return _between(config.learning_rate, config.max_learning_rate, step / top)
    done = (step - top) / (steps - 1 - top)
    return _between(config.max_learning_rate, config.min_learning_rate, done)


def _between(begin: float, end: float, share: float) -> float:
    """Half a cosine from one number to another."""
    return end + (begin - end) * (1 + math.cos(math.pi * share)) / 2
