"""What is made more likely: losses beside the engine's own scores, gradients beside finite differences."""

from collections.abc import Callable

import numpy as np
import pytest

import ruvllm._native as _native
from ruvllm import LLM
from ruvllm.adapters import AdapterWeights, Part
from ruvllm.training import TrainableModel
from ruvllm.training.encoding import Example
from ruvllm.training.objectives import AnswerObjective, Objective, PreferenceObjective, reference_log_probs
from tests.training.small import begun

FIRST, SECOND = [5, 17, 42, 9, 101, 33], [5, 17, 42, 77, 8]
ANSWER_FROM = 3
BETA = 0.5
STEP = 1e-2


def example(tokens: list[int]) -> Example:
    return Example.of(tokens, [place >= ANSWER_FROM for place in range(len(tokens))])


def taught(tokens: list[int]) -> Example:
    """Two tokens in each place, with shares of 0.75 and 0.25."""
    plain = example(tokens)
    ids = np.hstack([plain.ids, (plain.ids + 7) % 256]).astype(np.uint32)
    shares = (plain.shares * [0.75, 0.25]).astype(np.float32)
    return Example(tokens=plain.tokens, ids=ids, shares=shares, answer_tokens=plain.answer_tokens)


@pytest.fixture(scope="module")
def model(tiny_folder: LLM) -> TrainableModel:
    return TrainableModel.of(tiny_folder)


@pytest.fixture
def trained(model: TrainableModel) -> _native.Training:
    """One that does something: B is no longer 0."""
    training = begun(model)
    numbers = np.random.default_rng(3)
    for name, shape in training.tensors():
        if "lora_B" in name:
            training.write(name, "value", 0.1 * numbers.standard_normal(shape, dtype=np.float32))
    return training


def published(llm: LLM, training: _native.Training, name: str = "trained") -> str:
    """The same adapter in the engine."""
    halves = {key: training.read(key) for key, _ in training.tensors()}
    parts = [
        Part(
            layer=int(key.split(".")[2]),
            module=key.split(".")[4],
            a=halves[key],
            b=halves[key.replace("lora_A", "lora_B")],
            scale=2.0,
        )
        for key in halves
        if "lora_A" in key
    ]
    weights = AdapterWeights(parts=tuple(parts))
    if any(one.name == name for one in llm.adapters.list()):
        llm.adapters.replace(name, weights)
    else:
        llm.adapters.load(name, weights)
    return name


def log_prob(llm: LLM, tokens: list[int], adapter: str | None) -> float:
    """Of an answer, by the engine that serves."""
    return -float(llm.score(tokens, adapter=adapter)[ANSWER_FROM - 1 :].sum())


def preferences(training: _native.Training, model: TrainableModel) -> PreferenceObjective:
    pairs = [(example(FIRST), example(SECOND)), (example(SECOND), example(FIRST))]
    return PreferenceObjective(pairs, reference_log_probs(begun(model), pairs), BETA)


def test_the_loss_of_answers_is_what_the_engine_says(tiny_folder: LLM, trained: _native.Training) -> None:
    objective = AnswerObjective([example(FIRST), example(SECOND)])
    adapter = published(tiny_folder, trained)
    expected = [-log_prob(tiny_folder, tokens, adapter) for tokens in (FIRST, SECOND)]
    assert objective.losses(trained, [0, 1]) == pytest.approx(sum(expected), rel=1e-4)
    assert objective.accumulate(trained, [1], recompute=True) == pytest.approx(expected[1], rel=1e-4)
    assert objective.weight([0, 1]) == 3 + 2
    assert objective.tokens_of(0) == 5
    assert expected[0] != pytest.approx(-log_prob(tiny_folder, FIRST, None), rel=1e-3)


def test_the_loss_of_a_teacher_is_that_of_its_shares(tiny_folder: LLM, trained: _native.Training) -> None:
    one = taught(FIRST)
    logits = tiny_folder.logits(FIRST[:-1], adapter=published(tiny_folder, trained)).astype(np.float64)
    log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = -(np.take_along_axis(log_probs, one.ids.astype(np.int64), axis=1) * one.shares).sum()
    assert AnswerObjective([one]).losses(trained, [0]) == pytest.approx(expected, rel=1e-4)


def test_the_loss_of_pairs_is_that_of_the_formula(
    tiny_folder: LLM, model: TrainableModel, trained: _native.Training
) -> None:
    objective = preferences(trained, model)
    adapter = published(tiny_folder, trained)
    now = {tuple(one): log_prob(tiny_folder, one, adapter) for one in (FIRST, SECOND)}
    before = {tuple(one): log_prob(tiny_folder, one, None) for one in (FIRST, SECOND)}
    gain = [now[tuple(one)] - before[tuple(one)] for one in (FIRST, SECOND)]
    expected = [
        -np.log(1 / (1 + np.exp(-BETA * margin))) for margin in (gain[0] - gain[1], gain[1] - gain[0])
    ]
    assert objective.losses(trained, [0]) == pytest.approx(expected[0], rel=1e-3)
    assert objective.losses(trained, [0, 1]) == pytest.approx(sum(expected), rel=1e-3)
    assert objective.accumulate(trained, [1], recompute=True) == pytest.approx(expected[1], rel=1e-3)
    assert objective.weight([0, 1]) == 2
    # An adapter that does nothing prefers nothing.
    assert objective.losses(begun(model), [0]) == pytest.approx(np.log(2), rel=1e-6)


OBJECTIVES: dict[str, Callable[[_native.Training, TrainableModel], Objective]] = {
    "answers": lambda training, model: AnswerObjective([example(FIRST), example(SECOND)]),
    "teacher": lambda training, model: AnswerObjective([taught(FIRST), taught(SECOND)]),
    "preferences": preferences,
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradients_are_those_of_the_loss(name: str, model: TrainableModel, trained: _native.Training) -> None:
    """Along the gradient of each of some tensors, by differences of the loss itself."""
    objective = OBJECTIVES[name](trained, model)
    objective.accumulate(trained, [0, 1], recompute=True)
    gradients = {key: trained.read(key, "gradient") for key, _ in trained.tensors()}
    for key in list(gradients)[:: len(gradients) // 4]:
        value, gradient = trained.read(key), gradients[key]
        length = float(np.linalg.norm(gradient))
        assert length > 0
        found = []
        for side in (STEP, -STEP):
            trained.write(key, "value", value + np.float32(side / length) * gradient)
            found.append(objective.losses(trained, [0, 1]))
        trained.write(key, "value", value)
        assert (found[0] - found[1]) / (2 * STEP) == pytest.approx(length, rel=0.02), key
