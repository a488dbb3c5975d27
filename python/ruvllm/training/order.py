"""Which examples are held out, and which a step takes: a function of the seed, so that nothing is remembered.

What the order follows from is Python's own generator, whose numbers do not change from version to version.
"""

import math
import random
from dataclasses import dataclass

from ruvllm.training.config import TrainingConfig

__all__ = ["Order", "split"]


def split(count: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """The examples to train on and those held out, each in their order; one at least is trained on."""
    held = min(max(1, round(share * count)), count - 1) if share else 0
    shuffled = _shuffled(count, f"held out {seed}")
    return sorted(shuffled[held:]), sorted(shuffled[:held])


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What each step of a run takes: every example once, then again in another order.

    Attributes:
        items: The examples.
        per_step: How many a step takes.
        total: How many all steps take together; the last one may have fewer.
        seed: What the orders follow from.
    """

    items: tuple[int, ...]
    per_step: int
    total: int
    seed: int

    @classmethod
    def of(cls, items: list[int], config: TrainingConfig) -> "Order":
        """That of a run."""
        per_step = config.examples_per_step
        total = config.epochs * len(items) if config.steps is None else config.steps * per_step
        return cls(items=tuple(items), per_step=per_step, total=total, seed=config.seed)

    @property
    def steps(self) -> int:
        """How many there are."""
        return math.ceil(self.total / self.per_step)

    def of_step(self, step: int) -> list[int]:
        """The examples of a step."""
        count = len(self.items)
        places = range(step * self.per_step, min((step + 1) * self.per_step, self.total))
        epochs = {place // count for place in places}
        orders = {epoch: _shuffled(count, f"epoch {epoch} of {self.seed}") for epoch in epochs}
        return [self.items[orders[place // count][place % count]] for place in places]


def _shuffled(count: int, seed: str) -> list[int]:
    places = list(range(count))
    random.Random(seed).shuffle(places)  # noqa: S311 - an order, and no secret
    return places
