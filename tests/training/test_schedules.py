"""The learning rates, beside those that `torch.optim.lr_scheduler` gave (2.15) for the same run."""

import math

import pytest

from ruvllm.training import LearningRateSchedule, TrainingConfig
from ruvllm.training.schedules import learning_rate_of, warmup_steps_of

STEPS = 30
# `LinearLR(start_factor=1 / 4, total_iters=3)`, and after it by `SequentialLR` ConstantLR,
# LinearLR(end_factor=1e-5 / 0.002, total_iters=27) and CosineAnnealingLR(T_max=27, eta_min=1e-5);
# OneCycleLR(max_lr=0.01, total_steps=30, pct_start=0.3, div_factor=5, final_div_factor=200).
WARMUP = [0.0005, 0.001, 0.0015]
RECORDED = {
    LearningRateSchedule.Constant: [*WARMUP, *[0.002] * 27],
    LearningRateSchedule.Linear: [
        *WARMUP, 0.002, 0.0019262963, 0.00185259259, 0.00177888889, 0.00170518519, 0.00163148148,
        0.00155777778, 0.00148407407, 0.00141037037, 0.00133666667, 0.00126296296, 0.00118925926,
        0.00111555556, 0.00104185185, 0.000968148148, 0.000894444444, 0.000820740741, 0.000747037037,
        0.000673333333, 0.00059962963, 0.000525925926, 0.000452222222, 0.000378518519, 0.000304814815,
        0.000231111111, 0.000157407407, 8.37037037e-05,
    ],
    LearningRateSchedule.Cosine: [
        *WARMUP, 0.002, 0.00199327217, 0.00197317965, 0.00193999416, 0.00189416448, 0.00183631037,
        0.00176721422, 0.00168781043, 0.0015991728, 0.0015025, 0.00139909937, 0.00129036922, 0.00117777994,
        0.0010628541, 0.000947145895, 0.000832220063, 0.000719630783, 0.000610900633, 0.0005075,
        0.000410827201, 0.00032218957, 0.000242785779, 0.000173689628, 0.000115835523, 7.00058423e-05,
        3.68203538e-05, 1.6727834e-05,
    ],
    LearningRateSchedule.OneCycle: [
        0.002, 0.00230448187, 0.00317157288, 0.00446926627, 0.006, 0.00753073373, 0.00882842712,
        0.00969551813, 0.01, 0.00994420998, 0.00977808616, 0.0095053395, 0.00913206268, 0.0086665941,
        0.00811933156, 0.0075025, 0.00682987842, 0.00611649207, 0.00537827682, 0.00463172318, 0.00389350793,
        0.00318012158, 0.0025075, 0.00189066844, 0.0013434059, 0.000877937322, 0.000504660505,
        0.000231913835, 6.5790023e-05, 1e-05,
    ],
}  # fmt: skip


@pytest.mark.parametrize("schedule", LearningRateSchedule, ids=lambda one: one.name)
def test_rates_are_those_of_torch(schedule: LearningRateSchedule) -> None:
    config = TrainingConfig(schedule=schedule)
    rates = [learning_rate_of(config, step, STEPS) for step in range(STEPS)]
    assert rates == pytest.approx(RECORDED[schedule], rel=1e-8)


@pytest.mark.parametrize("schedule", LearningRateSchedule, ids=lambda one: one.name)
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 10, 1001])
def test_a_run_of_any_length_has_rates_within_the_bounds(schedule: LearningRateSchedule, steps: int) -> None:
    config = TrainingConfig(schedule=schedule)
    rates = [learning_rate_of(config, step, steps) for step in range(steps)]
    assert all(math.isfinite(rate) and 1e-5 <= rate <= 0.01 + 1e-12 for rate in rates)


@pytest.mark.parametrize(
    ("steps", "expected"), [(9, 0), (10, 1), (200, 20), (999, 99), (1000, 100), (5000, 100)]
)
def test_a_warm_up_takes_a_tenth_at_most(steps: int, expected: int) -> None:
    assert warmup_steps_of(TrainingConfig(), steps) == expected
