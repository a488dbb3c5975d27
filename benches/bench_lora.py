"""MicroLoRA on vectors of 4096: forward, adapt and apply, and the same under EWC."""

from typing import Any

import numpy as np
import pytest

from benches.conftest import report_rate
from ruvllm import AdaptFeedback, MicroLoRA, MicroLoraConfig, TargetModule

HIDDEN = 4096
MODULE = TargetModule.QProj


def normal(seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Random values, the same ones every time."""
    return np.random.default_rng(seed).standard_normal(HIDDEN, dtype=np.float32)


@pytest.fixture(params=[1, 2], ids=lambda rank: f"rank{rank}")
def micro(request: pytest.FixtureRequest) -> MicroLoRA:
    """One that has learned something: B is not 0."""
    made = MicroLoRA(MicroLoraConfig(in_features=HIDDEN, out_features=HIDDEN, rank=request.param))
    made.adapt(normal(1), AdaptFeedback(1.0, normal(2)))
    made.apply_updates(0.01)
    return made


@pytest.mark.benchmark(group="micro_lora_forward")
def bench_forward(benchmark: Any, micro: MicroLoRA) -> None:
    """Into a new array."""
    benchmark(micro.forward, normal(3), MODULE)
    report_rate(benchmark, "tokens_per_second", 1)


@pytest.mark.benchmark(group="micro_lora_forward")
def bench_forward_add(benchmark: Any, micro: MicroLoRA) -> None:
    """On top of the map's own output."""
    benchmark(micro.forward_add, normal(3), MODULE, normal(4))
    report_rate(benchmark, "tokens_per_second", 1)


@pytest.mark.benchmark(group="micro_lora_learn")
def bench_adapt_and_apply(benchmark: Any, micro: MicroLoRA) -> None:
    """One gradient, one step; so short that its size does not grow from round to round."""
    x, gradient = normal(3), normal(4)

    def learn() -> None:
        micro.adapt(x, AdaptFeedback(0.9, gradient, source_module=MODULE))
        micro.apply_updates(1e-12)

    benchmark(learn)
    report_rate(benchmark, "updates_per_second", 1)


@pytest.mark.benchmark(group="micro_lora_learn")
def bench_adapt_and_apply_with_ewc(benchmark: Any, micro: MicroLoRA) -> None:
    """The same, held by what was learned before."""
    x, gradient = normal(3), normal(4)
    states = {MODULE: micro.consolidate()[MODULE]}

    def learn() -> None:
        micro.adapt(x, AdaptFeedback(0.9, gradient, source_module=MODULE))
        micro.apply_updates_with_ewc(1e-12, states, 1000.0)

    benchmark(learn)
    report_rate(benchmark, "updates_per_second", 1)
