"""Which examples are held out and which a step takes: whatever was taken before, the seed says it."""

from collections import Counter

import pytest

from ruvllm.training import TrainingConfig
from ruvllm.training.order import Order, split


@pytest.mark.parametrize(
    ("count", "share", "held"), [(100, 0.1, 10), (5, 0.1, 1), (2, 0.9, 1), (1, 0.5, 0), (8, 0, 0)]
)
def test_the_share_is_held_out(count: int, share: float, held: int) -> None:
    trained, held_out = split(count, share, seed=3)
    assert len(held_out) == held
    assert sorted(trained + held_out) == list(range(count))


def test_another_seed_holds_out_others() -> None:
    assert split(100, 0.1, 0) == split(100, 0.1, 0)
    assert split(100, 0.1, 0)[1] != split(100, 0.1, 1)[1]


RECORDED = [[12, 14, 11, 13, 10], [14, 10, 13, 12, 11]]


def order(count: int, **settings: int) -> Order:
    return Order.of([10 + item for item in range(count)], TrainingConfig(**settings))


def test_each_epoch_takes_every_example_once() -> None:
    found = order(7, epochs=3, batch_size=2, gradient_accumulation=2)
    assert found.steps == 6  # 21 examples, four at a time: the last step has one
    taken = [item for step in range(found.steps) for item in found.of_step(step)]
    assert [len(found.of_step(step)) for step in range(6)] == [4, 4, 4, 4, 4, 1]
    for epoch in range(3):
        assert sorted(taken[7 * epoch : 7 * epoch + 7]) == list(range(10, 17))
    assert taken[:7] != taken[7:14] != taken[14:]


def test_steps_stand_above_epochs_and_are_whole() -> None:
    found = order(3, steps=4, epochs=9, batch_size=5, gradient_accumulation=1)
    assert found.steps == 4
    counts = Counter(item for step in range(4) for item in found.of_step(step))
    assert sum(counts.values()) == 20
    assert set(counts.values()) <= {6, 7}


def test_the_order_is_that_of_the_seed() -> None:
    """As it was written down: a checkpoint of today goes on the same in years."""
    assert [order(5, epochs=1, gradient_accumulation=5, seed=seed).of_step(0) for seed in (0, 1)] == RECORDED
