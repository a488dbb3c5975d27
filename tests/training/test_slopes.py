"""Gradients are the slopes of the loss, on tiny models of every family; and what does not change them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ruvllm import _native
from tests.conftest import FIXTURES, REFERENCE_MODELS

Floats = NDArray[np.float32]
Example = tuple[NDArray[np.uint32], NDArray[np.uint32], Floats]

LENGTHS = (23, 70, 9)


def model_of(name: str, activations: str = "f32", threads: int = 2) -> _native.Model:
    return _native.Model.load(str(FIXTURES / name), threads=threads, activations=activations)


def training_of(
    model: _native.Model, *, rank: int = 3, layers: list[int] | None = None, modules: list[str] | None = None
) -> _native.Training:
    """All maps of a model, with random numbers in B too."""
    is_fused = model.architecture.lower().startswith("phi3")
    split = ["q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"]
    names = ["o_proj", "down_proj", *(["qkv_proj", "gate_up_proj"] if is_fused else split)]
    training = _native.Training(model, rank=rank, alpha=6.0, modules=modules or names, seed=3, layers=layers)
    random = np.random.default_rng(5)
    for name, shape in training.tensors():
        if "lora_B" in name:
            training.write(name, "value", random.normal(0, 0.08, shape).astype(np.float32))
    return training


def examples_of(model: _native.Model, lengths: tuple[int, ...] = LENGTHS, width: int = 2) -> list[Example]:
    """Texts of several lengths, with shares of either sign, and rows that are not counted."""
    random = np.random.default_rng(11)
    made = []
    for length in lengths:
        tokens = random.integers(0, model.vocab_size, length).astype(np.uint32)
        ids = random.integers(0, model.vocab_size, (length, width)).astype(np.uint32)
        shares = random.uniform(-0.3, 1.0, (length, width)).astype(np.float32)
        shares[::3] = 0
        made.append((tokens, ids, shares))
    return made


def unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values / float(np.linalg.norm(values))


def gradients_of(training: _native.Training) -> dict[str, Floats]:
    return {name: training.read(name, "gradient") for name, _ in training.tensors()}


def cleared(training: _native.Training) -> None:
    for name, shape in training.tensors():
        training.write(name, "gradient", np.zeros(shape, np.float32))


def slope(training: _native.Training, examples: list[Example], towards: dict[str, Floats]) -> float:
    """How fast the loss rises in a direction, by four points around where the tensors are."""
    start = {name: training.read(name) for name in towards}

    def loss(step: float) -> float:
        for name, direction in towards.items():
            training.write(name, "value", start[name] + np.float32(step) * direction)
        return sum(training.accumulate(examples))

    near = 0.02
    differences = [(loss(step) - loss(-step)) / (2 * step) for step in (near, near / 2)]
    loss(0.0)
    return (4 * differences[1] - differences[0]) / 3


@pytest.mark.parametrize("name", REFERENCE_MODELS)
def test_gradients_are_slopes(name: str) -> None:
    model = model_of(f"models/{name}")
    training, examples = training_of(model), examples_of(model)
    training.accumulate(examples)
    gradients = gradients_of(training)
    whole = np.sqrt(sum(float((values**2).sum()) for values in gradients.values()))
    random = np.random.default_rng(2)
    kinds = sorted({name.split(".", 3)[3] for name in gradients})
    for kind in kinds:
        own = {name: values for name, values in gradients.items() if name.endswith(kind)}
        # Half the way the gradient goes, half any way, in all layers at once.
        towards = {
            name: values / np.linalg.norm(values) + unit(random.normal(0, 1, values.shape))
            for name, values in own.items()
        }
        length = np.sqrt(sum(float((values**2).sum()) for values in towards.values()))
        direction = {name: (values / length).astype(np.float32) for name, values in towards.items()}
        expected = sum(float((values * direction[name]).sum()) for name, values in own.items())
        # What the roundings of f32 leave of a difference of two losses.
        assert slope(training, examples, direction) == pytest.approx(expected, rel=2e-3, abs=1e-4 * whole), (
            kind
        )


def test_keeping_everything_gives_the_same_bits_and_takes_more_memory() -> None:
    model = model_of("models/gemma3-dual-rope")
    examples = examples_of(model)
    found, bytes_held = [], []
    for recompute in (True, False):
        training = training_of(model)
        losses = training.accumulate(examples, recompute=recompute)
        found.append((losses, gradients_of(training)))
        bytes_held.append(training.activation_bytes())
    assert found[0][0] == found[1][0]
    for key, gradient in found[0][1].items():
        assert np.array_equal(gradient, found[1][1][key])
    assert bytes_held[0] < bytes_held[1]


def test_gradients_add_up_over_calls_and_examples() -> None:
    model = model_of("models/qwen2-bias-tied")
    training, examples = training_of(model), examples_of(model)
    together = training.accumulate(examples)
    expected = gradients_of(training)
    cleared(training)
    apart = [training.accumulate([example])[0] for example in examples]
    assert apart == pytest.approx(together, rel=1e-5)
    for key, gradient in gradients_of(training).items():
        assert np.abs(gradient - expected[key]).max() < 1e-4 * np.abs(expected[key]).max()


def test_threads_do_not_change_a_bit() -> None:
    found = []
    for threads in (1, 3):
        model = model_of("models/llama-gqa", threads=threads)
        training = training_of(model)
        losses = training.accumulate(examples_of(model))
        found.append((losses, gradients_of(training)))
    assert found[0][0] == found[1][0]
    assert all(np.array_equal(values, found[1][1][key]) for key, values in found[0][1].items())


def test_chosen_layers_and_maps_have_the_gradients_that_they_have_among_all() -> None:
    model = model_of("models/gemma2-softcap")
    whole = training_of(model)
    part = training_of(model, layers=[1], modules=["v_proj", "down_proj"])
    names = [name for name, _ in part.tensors()]
    assert len(names) == 4
    assert all(name.startswith("model.layers.1.") for name in names)
    for name, shape in whole.tensors():
        if name in names:
            part.write(name, "value", whole.read(name))
        else:
            whole.write(name, "value", np.zeros(shape, np.float32))
    examples = examples_of(model)
    assert whole.accumulate(examples) == pytest.approx(part.accumulate(examples), rel=1e-6)
    for name in names:
        expected = whole.read(name, "gradient")
        assert np.abs(part.read(name, "gradient") - expected).max() < 1e-5 * np.abs(expected).max()


def test_log_probs_are_what_the_loss_counts() -> None:
    model = model_of("models/gemma2-softcap")
    training = training_of(model)
    [(tokens, ids, shares)] = examples_of(model, (40,))
    found = training.log_probs(tokens, ids)
    assert found.shape == ids.shape
    [loss] = training.accumulate([(tokens, ids, shares)])
    assert loss == pytest.approx(-float((shares * found).sum()), rel=1e-5)


def test_a_new_adapter_adds_nothing() -> None:
    model = model_of("models/llama-gqa")
    training = _native.Training(model, rank=4, alpha=8.0, modules=["q_proj", "down_proj"], seed=1)
    recorded = np.load(FIXTURES / "models" / "llama-gqa" / "expected.npz")
    tokens = recorded["input_ids"].astype(np.uint32)
    everything = np.arange(model.vocab_size, dtype=np.uint32)
    ids = np.repeat(everything[None], len(tokens), axis=0)
    logits = recorded["logits"].astype(np.float64)
    expected = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    assert np.abs(training.log_probs(tokens, ids) - expected).max() < 1e-3
    for name, (rows, columns) in training.tensors():
        values = training.read(name)
        assert values.shape == (rows, columns)
        if "lora_B" in name:
            assert not values.any()
        else:
            bound = columns**-0.5
            assert np.abs(values).max() <= bound
            assert np.std(values) == pytest.approx(bound / 3**0.5, rel=0.2)


def test_gradients_of_quantized_weights_point_the_same_way() -> None:
    """Activations and gradients in 8 bits, and in none, over the same weights."""
    model = model_of("gguf/llama-gqa.gguf", activations="auto")
    exact = model_of("gguf/llama-gqa.gguf")
    examples = examples_of(model)
    both = []
    for one in (model, exact):
        training = training_of(one)
        training.accumulate(examples)
        both.append(np.concatenate([values.ravel() for values in gradients_of(training).values()]))
    cosine = float(both[0] @ both[1] / np.linalg.norm(both[0]) / np.linalg.norm(both[1]))
    assert cosine > 0.98
