"""SmolLM2 learns a manner of answering: in a few steps for every day, and in two hundred."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

import ruvllm._native as _native
from benches.training_examples import sailor_examples
from ruvllm import LLM, GenerateParams, TrainingConfig
from ruvllm.adapters import read_peft
from ruvllm.training import TrainableModel, TrainingResult, train
from tests.training.small import begun

ASKED = "What is the capital of Portugal?"
MODULES = ("q_proj", "v_proj", "down_proj")


@pytest.fixture(scope="module")
def learned(smollm2: LLM, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    """Five steps of two examples: some ten seconds."""
    config = TrainingConfig(rank=4, alpha=8.0, target_modules=MODULES, steps=5, gradient_accumulation=2)
    out = tmp_path_factory.mktemp("adapters") / "sailor"
    return train(smollm2, sailor_examples()[:12], config, out=out)


@pytest.mark.real_model
def test_a_few_steps_lower_both_losses(learned: TrainingResult) -> None:
    assert learned.train_loss_after < 0.7 * learned.train_loss_before
    assert learned.held_out_loss_before is not None
    assert learned.held_out_loss_after is not None
    assert learned.held_out_loss_after < 0.7 * learned.held_out_loss_before


def said(training: _native.Training, tokens: list[int]) -> NDArray[np.float32]:
    """The log-probability of each token but the first, by training."""
    ids = np.array(tokens, np.uint32)
    return training.log_probs(ids[:-1], ids[1:, None])[:, 0]


@pytest.mark.real_model
@pytest.mark.parametrize("activations", ["f32", "auto"])
def test_the_engine_says_with_the_adapter_what_training_said(
    smollm2_path: Path, learned: TrainingResult, activations: Literal["f32", "auto"]
) -> None:
    """To 1e-3 where activations are f32; where they are rounded, as near as both are without an adapter."""
    with LLM(smollm2_path, activations=activations, max_context=512) as llm:
        tokens = llm.chat_tokens(ASKED) + llm.tokenize("Ahoy! The capital of Portugal be Lisbon, matey.")
        training = begun(TrainableModel.of(llm), rank=4, alpha=8.0, modules=list(MODULES))
        by_itself = said(training, tokens)
        apart = float(np.abs(-llm.score(tokens) - by_itself).mean())
        for part in read_peft(learned.adapter).parts:
            half = "mlp" if part.module == "down_proj" else "self_attn"
            name = f"model.layers.{part.layer}.{half}.{part.module}"
            training.write(f"{name}.lora_A.weight", "value", part.a)
            # The folder has the scale of 8 / 4 in its B.
            training.write(f"{name}.lora_B.weight", "value", np.float32(part.scale) * part.b / np.float32(2))
        trained = said(training, tokens)
        llm.adapters.load("sailor", learned.adapter)
        served = -llm.score(tokens, adapter="sailor")
    assert np.abs(trained - by_itself).mean() > 0.3
    assert np.abs(served - trained).mean() < (1e-3 if activations == "f32" else 0.05 + 2 * apart)


@pytest.mark.slow
@pytest.mark.real_model
@pytest.mark.timeout(3600)
def test_two_hundred_steps(smollm2: LLM, tmp_path: Path) -> None:
    """A hundred short examples, rank 8; `python -m benches.training` has the minutes as well."""
    told: list[Any] = []
    result = train(
        smollm2, sailor_examples(), TrainingConfig(steps=200), out=tmp_path / "out", on_progress=told.append
    )
    assert (result.steps, result.examples, result.held_out) == (200, 90, 10)
    assert result.train_loss_after <= 0.7 * result.train_loss_before
    assert result.held_out_loss_before is not None
    assert result.held_out_loss_after is not None
    assert result.held_out_loss_after < result.held_out_loss_before
    smollm2.adapters.load("sailor", result.adapter)
    params = GenerateParams(temperature=0.0, max_tokens=24, repetition_penalty=1.0)
    answer = smollm2.chat(ASKED, params, adapter="sailor").text
    smollm2.adapters.unload("sailor")
    assert answer.startswith("Ahoy! The capital of Portugal be ")
