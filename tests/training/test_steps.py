"""Steps of AdamW against its formula in f64, cutting, going on, and what is refused."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from ruvllm import AdapterError, ConfigError, NotFoundError, RuvLLMError, TokenizationError, _native
from tests.conftest import FIXTURES

Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def model() -> _native.Model:
    return _native.Model.load(str(FIXTURES / "models" / "llama-gqa"), threads=2, activations="f32")


def made(model: _native.Model, **settings: object) -> _native.Training:
    told = {"rank": 2, "alpha": 4.0, "modules": ["q_proj", "down_proj"], "seed": 1} | settings
    return _native.Training(model, **told)  # type: ignore[arg-type]


def example(length: int = 12) -> tuple[NDArray[np.uint32], NDArray[np.uint32], Floats]:
    tokens = np.arange(3, 3 + length, dtype=np.uint32)
    return tokens, np.roll(tokens, -1).copy(), np.ones(length, np.float32)


def test_many_steps_follow_the_formula(model: _native.Model) -> None:
    training = made(model)
    random = np.random.default_rng(1)
    values = {name: training.read(name).astype(np.float64) for name, _ in training.tensors()}
    first = {name: np.zeros_like(value) for name, value in values.items()}
    second = {name: np.zeros_like(value) for name, value in values.items()}
    for number in range(1, 6):
        gradients = {
            name: random.normal(0, 1, value.shape).astype(np.float32) for name, value in values.items()
        }
        for name, gradient in gradients.items():
            training.write(name, "gradient", gradient)
        norm = 0.25 * math.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in gradients.values()))
        told = training.step(
            learning_rate=0.01, beta1=0.8, beta2=0.95, weight_decay=0.1, max_gradient_norm=1.0, scale=0.25
        )
        assert told == pytest.approx(norm, rel=1e-5)
        for name, value in values.items():
            exact = gradients[name].astype(np.float64) * 0.25 * min(1.0, 1.0 / (norm + 1e-6))
            first[name] = 0.8 * first[name] + 0.2 * exact
            second[name] = 0.95 * second[name] + 0.05 * exact**2
            mean, square = first[name] / (1 - 0.8**number), second[name] / (1 - 0.95**number)
            value *= 1 - 0.01 * 0.1
            value -= 0.01 * mean / (np.sqrt(square) + 1e-8)
            assert np.abs(training.read(name) - value).max() < 1e-6 * number
            assert np.abs(training.read(name, "first_moment") - first[name]).max() < 1e-7
            assert np.abs(training.read(name, "second_moment") - second[name]).max() < 1e-7


def test_what_was_read_goes_on_bit_for_bit(model: _native.Model) -> None:
    whole, begun = made(model), made(model)
    for training in (whole, begun):
        for _ in range(2):
            training.accumulate([example()])
            training.step(learning_rate=0.05, weight_decay=0.01)
    resumed = made(model, seed=9)
    for name, _ in begun.tensors():
        for kind in ("value", "first_moment", "second_moment"):
            resumed.write(name, kind, begun.read(name, kind))
    resumed.set_steps(begun.steps)
    for training in (whole, resumed):
        training.accumulate([example()])
        training.step(learning_rate=0.05, weight_decay=0.01)
    assert (whole.steps, resumed.steps) == (3, 3)
    for name, _ in whole.tensors():
        assert np.array_equal(whole.read(name), resumed.read(name))


def test_steps_learn_a_text(model: _native.Model) -> None:
    training = made(model, modules=["q_proj", "v_proj", "gate_proj", "down_proj"], rank=4)
    losses = []
    for _ in range(40):
        losses += training.accumulate([example()])
        training.step(learning_rate=0.02, max_gradient_norm=1.0, scale=1 / 12)
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"rank": 0}, "rank is 0"),
        ({"rank": 65}, "rank is 65"),
        ({"rank": 2**60}, "rank is"),
        ({"alpha": math.nan}, "alpha is NaN"),
        ({"alpha": 0.0}, "alpha is 0"),
        ({"modules": []}, "no map"),
        ({"modules": ["q_proj", "lm_head"]}, "'lm_head' is no map of this model; it has q_proj"),
        ({"modules": ["qkv_proj"]}, "'qkv_proj' is no map"),
        ({"layers": []}, "no layer"),
        ({"layers": [0, 3]}, "layer 3 is none of the model's 3"),
    ],
)
def test_adapters_that_cannot_be_are_refused(
    model: _native.Model, settings: dict[str, object], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        made(model, **settings)


def bad(**changed: object) -> tuple[object, object, object]:
    tokens, ids, shares = example()
    given = {"tokens": tokens, "ids": ids, "shares": shares} | changed
    return given["tokens"], given["ids"], given["shares"]


OUTSIDE = np.full(12, 320, np.uint32)


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        (bad(tokens=np.full(12, 2**32 - 1, np.uint32)), TokenizationError, "outside the model's vocabulary"),
        (bad(ids=OUTSIDE), TokenizationError, "token 320"),
        (bad(tokens=np.zeros(0, np.uint32)), ConfigError, "0 tokens"),
        (bad(tokens=np.zeros(100_000, np.uint32)), ConfigError, "100000 tokens"),
        (bad(ids=np.zeros(0, np.uint32)), ConfigError, "0 ids for 12 tokens"),
        (bad(ids=np.zeros(13, np.uint32)), ConfigError, "13 ids for 12 tokens"),
        (bad(shares=np.ones(24, np.float32)), ConfigError, "12 ids and 24 shares"),
        (bad(shares=np.full(12, np.nan, np.float32)), ConfigError, "a share is NaN"),
        (bad(shares=np.full(12, np.inf, np.float32)), ConfigError, "a share is inf"),
        (bad(tokens=np.zeros(12, np.int64)), ConfigError, "tokens is of type int64"),
        (bad(ids=[1, 2]), ConfigError, "ids is of type list"),
    ],
)
def test_examples_that_cannot_be_learned_from_are_refused_whole(
    model: _native.Model, given: tuple[object, object, object], error: type[RuvLLMError], told: str
) -> None:
    training = made(model)
    with pytest.raises(error, match=told):
        training.accumulate([example(), given])  # type: ignore[list-item]
    assert not any(training.read(name, "gradient").any() for name, _ in training.tensors())


def test_tensors_are_checked(model: _native.Model) -> None:
    training = made(model)
    name, (rows, columns) = training.tensors()[0]
    numbers = np.zeros((rows, columns), np.float32)
    with pytest.raises(NotFoundError, match=r"no tensor 'lm_head\.lora_A\.weight' is trained"):
        training.read("lm_head.lora_A.weight")
    with pytest.raises(NotFoundError, match="no tensor"):
        training.write("", "value", numbers)
    with pytest.raises(ConfigError, match="kind"):
        training.read(name, "moment")
    with pytest.raises(AdapterError, match=f"{rows} rows of {columns}"):
        training.write(name, "value", numbers[:1])
    with pytest.raises(AdapterError, match="inf"):
        training.write(name, "value", numbers + np.float32(np.inf))
    with pytest.raises(ConfigError, match="contiguous"):
        training.write(name, "value", numbers.T)


@pytest.mark.parametrize(
    "settings",
    [
        {"learning_rate": math.nan},
        {"learning_rate": -1.0},
        {"beta1": 1.0},
        {"beta2": -0.1},
        {"epsilon": math.inf},
        {"weight_decay": -1.0},
        {"scale": math.inf},
        {"max_gradient_norm": 0.0},
        {"max_gradient_norm": math.nan},
    ],
)
def test_steps_that_cannot_be_made_change_nothing(model: _native.Model, settings: dict[str, float]) -> None:
    training = made(model)
    training.accumulate([example()])
    before = {name: (training.read(name), training.read(name, "gradient")) for name, _ in training.tensors()}
    with pytest.raises(ConfigError, match=next(iter(settings))):
        training.step(**({"learning_rate": 0.1} | settings))
    for name, (value, gradient) in before.items():
        assert np.array_equal(training.read(name), value)
        assert np.array_equal(training.read(name, "gradient"), gradient)
    assert training.steps == 0


def test_numbers_without_bounds_are_said_and_leave_nothing(model: _native.Model) -> None:
    training = made(model)
    names = [name for name, _ in training.tensors()]
    training.accumulate([example()])
    huge = {name: np.full_like(training.read(name), 3e38) for name in names}
    for name in names:
        training.write(name, "gradient", huge[name])
    # Their squares are larger than f32 takes, and no reason to give up.
    assert training.step(learning_rate=0.0) > 3e38
    for name in names:
        training.write(name, "value", huge[name])
    with pytest.raises(RuvLLMError, match=r"the loss is (NaN|inf)"):
        training.accumulate([example()])
    assert not any(training.read(name, "gradient").any() for name in names)


def test_shares_of_nothing_are_a_loss_of_nothing(model: _native.Model) -> None:
    training = made(model)
    tokens, ids, shares = example()
    assert training.accumulate([(tokens, ids, shares * 0)]) == [0.0]
    assert training.accumulate([]) == []
    assert training.step(learning_rate=0.1) == 0.0
