"""`train`, whole: what it writes, what it tells, and that it ends and goes on as it says."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ruvllm import LLM, ConfigError, NotFoundError, TrainingConfig, TrainingError, TrainingSample
from ruvllm.training import (
    TrainableModel,
    TrainingObjective,
    TrainingProgress,
    checkpoint_folder,
    train,
)
from ruvllm.training.encoding import Encoder
from ruvllm.training.order import Order
from ruvllm.training.records import read_records
from ruvllm.training.run import _weights
from ruvllm.training.trainer import values_of
from tests.conftest import FIXTURES
from tests.training.small import SUMS, begun, matrices, same

MODEL = FIXTURES / "gguf" / "llama-gqa.gguf"
MODULES = ("q_proj", "v_proj", "down_proj")


def config(**settings: Any) -> TrainingConfig:
    given = {
        "rank": 2,
        "alpha": 4.0,
        "target_modules": MODULES,
        "steps": 8,
        "checkpoint_every": 3,
        **settings,
    }
    return TrainingConfig(**given)


@pytest.fixture(scope="module")
def model() -> TrainableModel:
    return TrainableModel.load(MODEL)


def test_it_lowers_the_loss_of_what_was_held_out_too(model: TrainableModel, tmp_path: Path) -> None:
    told: list[TrainingProgress] = []
    result = train(
        model, SUMS, config(steps=30, learning_rate=0.01), out=tmp_path / "sums", on_progress=told.append
    )
    assert result.train_loss_after < 0.7 * result.train_loss_before
    assert result.held_out_loss_before is not None
    assert result.held_out_loss_after is not None
    assert result.held_out_loss_after < 0.8 * result.held_out_loss_before
    assert (result.steps, result.examples, result.held_out, result.stopped_early) == (30, 22, 2, False)
    assert [one.step for one in told] == list(range(1, 31))
    looks = {one.step: one.held_out_loss for one in told if one.held_out_loss is not None}
    assert list(looks) == [3 * n for n in range(1, 11)]
    assert result.held_out_loss_after == min(looks.values())
    assert looks[result.best_step] == result.held_out_loss_after
    assert result.tokens == told[-1].tokens > 0
    assert result.activation_bytes > 0
    assert result.parameters == sum(one.size for one in matrices(tmp_path / "sums").values())
    assert not checkpoint_folder(tmp_path / "sums").exists()
    assert json.dumps(result.as_dict())


def test_the_engine_says_with_the_adapter_what_training_said(tmp_path: Path) -> None:
    """A folder of f32 weights: to 1e-3, which is what both of them hold to PyTorch's."""
    folder = FIXTURES / "models" / "llama-gqa"
    with LLM(folder, activations="f32") as llm:
        model = TrainableModel.of(llm)
        training = begun(model)
        numbers = np.random.default_rng(1)
        tokens = numbers.integers(0, 256, 24).astype(np.uint32)
        text = np.append(tokens, np.uint32(7))[1:, None]
        for _ in range(4):
            training.accumulate([(tokens, text, np.ones_like(text, np.float32))])
            training.step(learning_rate=0.01)
        weights = _weights(values_of(training), config(), "llama-gqa")
        llm.adapters.load("trained", weights)
        logits = llm.logits(tokens, adapter="trained").astype(np.float64)
        log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        every = np.tile(np.arange(logits.shape[1], dtype=np.uint32), (len(tokens), 1))
        assert np.abs(training.log_probs(tokens, every) - log_probs).max() < 1e-3
        assert np.abs(log_probs - begun(model).log_probs(tokens, every)).max() > 0.1


def test_a_loaded_model_goes_on_serving(tmp_path: Path) -> None:
    with LLM(MODEL) as llm:
        before = llm.logits([5, 17, 42])
        result = train(llm, SUMS, config(), out=tmp_path / "sums")
        assert np.array_equal(llm.logits([5, 17, 42]), before)
        llm.adapters.load("sums", result.adapter)
        assert not np.array_equal(llm.logits([5, 17, 42], adapter="sums"), before)


def test_a_seed_gives_one_adapter_and_another_gives_another(model: TrainableModel, tmp_path: Path) -> None:
    for name, seed in (("first", 1), ("second", 1), ("other", 2)):
        train(model, SUMS, config(seed=seed), out=tmp_path / name)
    assert same(tmp_path / "first", tmp_path / "second")
    assert not same(tmp_path / "first", tmp_path / "other")


def test_batches_add_up_to_a_step(model: TrainableModel, tmp_path: Path) -> None:
    """Whether four examples are computed together or one after the other, their step is the same."""
    for name, sizes in (("together", (4, 1)), ("in_turn", (1, 4)), ("one", (1, 1))):
        settings = config(steps=2, batch_size=sizes[0], gradient_accumulation=sizes[1], held_out=0)
        train(model, SUMS, settings, out=tmp_path / name)
    together, in_turn, one = (matrices(tmp_path / name) for name in ("together", "in_turn", "one"))
    assert all(np.allclose(together[name], in_turn[name], atol=1e-5) for name in together)
    assert not all(np.allclose(together[name], one[name], atol=1e-5) for name in together)


def test_it_ends_early_and_keeps_the_best(model: TrainableModel, tmp_path: Path) -> None:
    """What is held out has nothing of what is trained on, so that it soon gets worse."""
    settings = config(
        steps=60, learning_rate=0.1, max_learning_rate=0.1, held_out=0.5, evaluate_every=1, patience=3
    )
    told: list[TrainingProgress] = []
    numbers = np.random.default_rng(0)
    noise = [
        {"prompt": "say", "completion": " " + " ".join(map(str, numbers.integers(0, 999, 6)))}
        for _ in range(6)
    ]
    result = train(model, noise, settings, out=tmp_path / "out", on_progress=told.append)
    losses = [one.held_out_loss for one in told if one.held_out_loss is not None]
    assert result.stopped_early
    assert result.steps == len(losses) < 60
    assert result.best_step == 1 + int(np.argmin(losses)) == result.steps - 3
    assert result.held_out_loss_after == min(losses)


def stopped(model: TrainableModel, settings: TrainingConfig, out: Path, step: int, data: Any = SUMS) -> None:
    """A run that its caller ends after a step."""

    class Enough(Exception):  # noqa: N818
        pass

    def ends(progress: TrainingProgress) -> None:
        if progress.step == step:
            raise Enough

    with pytest.raises(Enough):
        train(model, data, settings, out=out, on_progress=ends)
    assert not out.exists()


@pytest.mark.parametrize("step", [2, 4, 7])
def test_a_run_that_was_ended_goes_on_to_the_same_result(
    model: TrainableModel, tmp_path: Path, step: int
) -> None:
    settings = config(patience=50, evaluate_every=2)
    whole = train(model, SUMS, settings, out=tmp_path / "whole")
    stopped(model, settings, tmp_path / "parts", step)
    told: list[int] = []
    parts = train(
        model,
        SUMS,
        settings,
        out=tmp_path / "parts",
        resume=True,
        on_progress=lambda one: told.append(one.step),
    )
    assert told == list(range(step + 1, 9))
    assert same(tmp_path / "whole", tmp_path / "parts")
    for name in ("steps", "best_step", "tokens", "train_loss_before", "held_out_loss_before"):
        assert getattr(whole, name) == getattr(parts, name)
    assert whole.held_out_loss_after == parts.held_out_loss_after


PAIRS = [
    {"prompt": one["prompt"], "chosen": one["completion"], "rejected": " I do not know"} for one in SUMS[:12]
]


def test_pairs_are_told_apart(model: TrainableModel, tmp_path: Path) -> None:
    """And a run that was ended goes on with the references of its beginning."""
    settings = config(objective=TrainingObjective.Dpo, steps=12, learning_rate=0.01)
    result = train(model, PAIRS, settings, out=tmp_path / "whole")
    assert result.train_loss_before == pytest.approx(np.log(2), rel=1e-6)
    assert result.train_loss_after < 0.6
    assert result.held_out_loss_after is not None
    assert result.held_out_loss_after < 0.69
    stopped(model, settings, tmp_path / "parts", 5, PAIRS)
    train(model, PAIRS, settings, out=tmp_path / "parts", resume=True)
    assert same(tmp_path / "whole", tmp_path / "parts")


def test_a_teacher_is_learned_from(model: TrainableModel, tmp_path: Path) -> None:
    """Here it is the model itself, cut to its likeliest words: it becomes surer of them."""
    settings = config(objective=TrainingObjective.Distill, teacher=str(MODEL), teacher_top=20, steps=6)
    result = train(model, SUMS, settings, out=tmp_path / "whole")
    assert result.train_loss_after < result.train_loss_before
    stopped(model, settings, tmp_path / "parts", 3)
    train(model, SUMS, settings, out=tmp_path / "parts", resume=True)
    assert same(tmp_path / "whole", tmp_path / "parts")


def test_a_teacher_with_other_words_is_refused(model: TrainableModel, tmp_path: Path) -> None:
    other = FIXTURES / "gguf" / "qwen2-bias-tied.gguf"
    settings = config(objective=TrainingObjective.Distill, teacher=str(other))
    with pytest.raises(TrainingError, match="the teacher has other tokens: 310 is "):
        train(model, SUMS, settings, out=tmp_path / "out")


def test_samples_below_the_quality_are_left_out(model: TrainableModel, tmp_path: Path) -> None:
    samples = [
        TrainingSample(query=one["prompt"], response=one["completion"], quality=0.1 * n)
        for n, one in enumerate(SUMS[:10])
    ]
    result = train(model, samples, config(steps=1), out=tmp_path / "out")
    assert (result.examples + result.held_out, result.left_out) == (7, 3)


def test_only_the_same_run_goes_on(model: TrainableModel, tmp_path: Path) -> None:
    out = tmp_path / "out"
    stopped(model, config(), out, 2)
    with pytest.raises(ConfigError, match=r"out\.training is of a run that has not ended"):
        train(model, SUMS, config(), out=out)
    with pytest.raises(TrainingError, match=r"other settings: learning_rate was 0\.002 and is 0\.003"):
        train(model, SUMS, config(learning_rate=0.003), out=out, resume=True)
    with pytest.raises(TrainingError, match="on other examples"):
        train(model, SUMS[:-1], config(), out=out, resume=True)
    other = FIXTURES / "gguf" / "llama3-rope-tied.gguf"
    with pytest.raises(TrainingError, match="on another model"):
        train(other, SUMS, config(), out=out, resume=True)
    # What changes no number may change.
    train(model, SUMS, config(checkpoint_every=1), out=out, resume=True)
    with pytest.raises(NotFoundError, match="no run to resume"):
        train(model, SUMS, config(), out=tmp_path / "another", resume=True)


@pytest.mark.parametrize("size", [0, 1, 7, 100, 5000])
def test_half_a_checkpoint_is_refused(model: TrainableModel, tmp_path: Path, size: int) -> None:
    out = tmp_path / "out"
    stopped(model, config(), out, 2)
    state = checkpoint_folder(out) / "state.safetensors"
    state.write_bytes(state.read_bytes()[:size])
    with pytest.raises(TrainingError, match="is no whole checkpoint"):
        train(model, SUMS, config(), out=out, resume=True)


def test_nothing_is_written_over(model: TrainableModel, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "note.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="is there already"):
        train(model, SUMS, config(), out=tmp_path / "out")
    assert (tmp_path / "out" / "note.txt").read_text(encoding="utf-8") == "mine"
    assert not checkpoint_folder(tmp_path / "out").exists()


def test_examples_that_are_all_too_long_are_told_of(model: TrainableModel, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"none of the 24 examples .*24 are too long for 4 tokens"):
        train(model, SUMS, config(max_tokens=4), out=tmp_path / "out")


def test_maps_and_layers_that_there_are_not_are_refused(model: TrainableModel, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="k_projection"):
        train(model, SUMS, config(target_modules=["k_projection"]), out=tmp_path / "out")
    with pytest.raises(ConfigError, match="layer 99"):
        train(model, SUMS, config(layers=[99]), out=tmp_path / "out")


def test_layers_that_are_not_chosen_have_no_matrices(model: TrainableModel, tmp_path: Path) -> None:
    train(model, SUMS, config(layers=[1], steps=2), out=tmp_path / "out")
    assert {name.split(".")[0] for name in matrices(tmp_path / "out")} == {"1"}


def test_a_step_is_adamw_with_the_mean_gradient_shortened(model: TrainableModel, tmp_path: Path) -> None:
    """By hand: the first step's means are the gradient itself, which is so short here that epsilon shows."""
    rate, decay, longest, epsilon = 0.01, 1.0, 1e-6, 1e-8
    settings = config(
        steps=1, held_out=0, learning_rate=rate, weight_decay=decay, max_grad_norm=longest, batch_size=2
    )
    told: list[TrainingProgress] = []
    result = train(model, SUMS, settings, out=tmp_path / "out", on_progress=told.append)
    assert result.steps == 1

    encoder = Encoder(text=model.text, end_tokens=model.end_tokens, max_tokens=99, quality_threshold=0)
    examples = encoder.conversations(read_records(SUMS))
    items = Order.of(list(range(len(SUMS))), settings).of_step(0)
    assert len(items) == 8
    training = begun(model, seed=settings.seed)
    for item in items:
        one = examples[item]
        training.accumulate([(one.tokens, one.ids, one.shares)])
    count = sum(examples[item].answer_tokens for item in items)
    names = [name for name, _ in training.tensors()]
    mean = {name: training.read(name, "gradient").astype(np.float64) / count for name in names}
    norm = np.sqrt(sum(float((one**2).sum()) for one in mean.values()))
    assert told[0].gradient_norm == pytest.approx(norm, rel=1e-4)
    found = matrices(tmp_path / "out")
    for name in names:
        short = mean[name] * longest / norm
        before = training.read(name).astype(np.float64)
        expected = before * (1 - rate * decay) - rate * short / (np.abs(short) + epsilon)
        _, _, layer, _, module, half, _ = name.split(".")
        scale = 2.0 if half == "lora_B" else 1.0
        assert np.abs(found[f"{layer}.{module}.{half[-1]}"] - scale * expected).max() < 2e-4
