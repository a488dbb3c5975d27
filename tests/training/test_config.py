"""The settings of a run: the documented defaults, and what is refused, by name."""

from typing import Any

import numpy as np
import pytest

import ruvllm
from ruvllm import ConfigError, TrainingConfig, TrainingSample
from ruvllm.training import LearningRateSchedule, TrainingObjective


def test_the_documented_defaults() -> None:
    config = TrainingConfig()
    assert (config.learning_rate, config.min_learning_rate, config.max_learning_rate) == (0.002, 1e-5, 0.01)
    assert TrainingConfig.realtime().learning_rate == 0.001
    assert (config.ewc_lambda, config.fisher_decay) == (2000, 0.999)
    assert (config.batch_size, config.quality_threshold) == (1, 0.3)
    assert config.schedule is LearningRateSchedule.Cosine
    assert (config.warmup_steps, config.max_grad_norm, config.weight_decay) == (100, 1.0, 0.01)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"learning_rate": 0}, "learning_rate is 0; it must be above 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"learning_rate": 0.02}, "learning_rate is 0.02; it must be between .* max_learning_rate 0.01"),
        ({"learning_rate": 1e-6}, "learning_rate is 1e-06; it must be between min_learning_rate 1e-05"),
        ({"rank": 0}, "rank is 0; it must be an integer from 1 to 512"),
        ({"rank": True}, "rank is True"),
        ({"alpha": -1}, "alpha is -1"),
        ({"epochs": 0}, "epochs is 0"),
        ({"steps": 0}, "steps is 0"),
        ({"batch_size": 1.5}, "batch_size is 1.5"),
        ({"held_out": 0.95}, "held_out is 0.95"),
        ({"held_out": 0, "patience": 2}, "patience is set and held_out is 0"),
        ({"target_modules": "q_proj"}, "target_modules is 'q_proj'"),
        ({"target_modules": []}, r"target_modules is \[\]"),
        ({"layers": []}, "layers is empty"),
        ({"layers": [-1]}, "a layer is -1"),
        ({"schedule": "cosine"}, "schedule is 'cosine'; it must be a LearningRateSchedule"),
        ({"objective": "dpo"}, "objective is 'dpo'; it must be a TrainingObjective"),
        ({"objective": TrainingObjective.Distill}, "teacher must name the model"),
        ({"teacher": "larger"}, "teacher is 'larger'; only the objective Distill has one"),
        ({"beta": 0}, "beta is 0"),
        ({"teacher_top": 21}, "teacher_top is 21; it must be an integer from 1 to 20"),
        ({"teacher_share": 0}, "teacher_share is 0"),
        ({"max_tokens": 1}, "max_tokens is 1"),
        ({"seed": -1}, "seed is -1"),
        ({"max_grad_norm": -1}, "max_grad_norm is -1"),
        ({"quality_threshold": 2}, "quality_threshold is 2"),
        ({"fisher_decay": 1.5}, "fisher_decay is 1.5"),
        ({"recompute": 1}, "recompute is 1; it must be a bool"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        TrainingConfig(**settings)


def test_a_sample_is_built_up() -> None:
    sample = (
        TrainingSample(np.zeros(3), [0.0, 1.0])
        .with_query("q")
        .with_response("r")
        .with_quality(0.4)
        .with_latency(12.5)
        .with_token_count(7)
        .with_model_index(2)
        .with_session_id("s")
    )
    assert sample.input_embedding is not None
    assert sample.input_embedding.dtype == np.float32
    assert (sample.query, sample.response, sample.quality, sample.latency_ms) == ("q", "r", 0.4, 12.5)
    assert (sample.token_count, sample.model_index, sample.session_id) == (7, 2, "s")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"quality": 1.5}, "quality is 1.5"),
        ({"quality": float("nan")}, "quality is nan"),
        ({"query": 3}, "query is 3"),
        ({"token_count": -1}, "token_count is -1"),
        ({"input_embedding": [float("nan")]}, "input_embedding"),
        ({"input_embedding": "text"}, "input_embedding is a str"),
        ({"output_embedding": [[1.0]]}, r"output_embedding has the shape \[1, 1\]"),
    ],
)
def test_a_sample_that_is_none_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        TrainingSample(**fields)


def test_they_are_public() -> None:
    assert ruvllm.training.TrainingConfig is ruvllm.TrainingConfig
