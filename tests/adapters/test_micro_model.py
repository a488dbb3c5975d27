"""MicroLoRA in a model: true widths, true gradients, and generations that requests can use."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ruvllm import LLM, AdaptFeedback, GenerateParams, MicroLoRA, MicroLoraConfig, TargetModule
from ruvllm.errors import AdapterError, ConfigError
from tests.conftest import FIXTURES
from tests.support.numpy_reference import Reference, model

MODELS = FIXTURES / "models"
PROMPT, WANTED = [5, 17, 42, 99], 203
LAST = 2
# As for the models themselves.
TOLERANCE = 1e-3
QUERY, OUTPUT, DOWN = TargetModule.QProj, TargetModule.OProj, TargetModule.DownProj
ALL = tuple(TargetModule)


@pytest.fixture(scope="module", params=["folder", "gguf"])
def llm(request: pytest.FixtureRequest) -> Iterator[LLM]:
    """In a GGUF file rows of Q and K stand in another order."""
    path: Path = MODELS / "llama-gqa" if request.param == "folder" else FIXTURES / "gguf" / "llama-gqa.gguf"
    with LLM(path, activations="f32", kv_format="f32") as llm:
        yield llm


class Slopes:
    """The true gradient at the last row of a map of the last layer: by differences, in NumPy's model.

    What is added to a map's output there for all rows changes the last logits by its last row alone.
    """

    def __init__(self, module: TargetModule, monkeypatch: pytest.MonkeyPatch) -> None:
        part = "mlp" if module in (DOWN, TargetModule.GateProj, TargetModule.UpProj) else "self_attn"
        self._name = f"model.layers.{LAST}.{part}.{module.value}"
        self._model = Reference.open(MODELS / "llama-gqa")
        self._seen: dict[str, NDArray[np.float64]] = {}
        linear = model._Layer._linear

        def seen(layer: model._Layer, name: str, rows: NDArray[np.float64]) -> NDArray[np.float64]:
            self._seen[layer._prefix + name] = rows
            return linear(layer, name, rows)

        monkeypatch.setattr(model._Layer, "_linear", seen)

    def logits(self, added: NDArray[np.floating]) -> NDArray[np.float64]:
        """The last ones, where so much is added to the map's output."""
        self._model._weights[f"{self._name}.bias"] = np.asarray(added, np.float64)
        return self._model.logits(PROMPT)[-1]

    def input(self) -> NDArray[np.float32]:
        """The map's, of the last row."""
        self.logits(np.zeros(1))
        return self._seen[self._name][-1].astype("f4")

    def of_the_loss(self, added: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of `-log p(WANTED)`, at what is added."""
        slopes = np.empty(len(added), np.float32)
        for place in range(len(added)):
            step = np.zeros(len(added))
            step[place] = 1e-4
            slopes[place] = (self._loss(added + step) - self._loss(added - step)) / 2e-4
        return slopes

    def _loss(self, added: NDArray[np.floating]) -> float:
        return -log_probability(self.logits(added))


def log_probability(logits: NDArray[np.floating]) -> float:
    values = logits.astype("f8") - logits.max()
    return float(values[WANTED] - np.log(np.exp(values).sum()))


def test_the_widths_are_those_of_the_model(llm: LLM) -> None:
    config = MicroLoraConfig.for_model(llm, target_modules=ALL)
    widths = {
        "q_proj": (64, 64), "k_proj": (64, 32), "v_proj": (64, 32), "o_proj": (64, 64),
        "gate_proj": (64, 96), "up_proj": (64, 96), "down_proj": (96, 64),
    }  # fmt: skip
    assert config.maps == {(layer, module): widths[module.value] for layer in range(3) for module in ALL}
    one = MicroLoraConfig.for_model(llm, layers=[1], target_modules=[DOWN], rank=1, alpha=8.0)
    assert (dict(one.maps), one.rank, one.alpha) == ({(1, DOWN): (96, 64)}, 1, 8.0)
    with pytest.raises(ConfigError, match="layers has 3; the model has 3 layers"):
        MicroLoraConfig.for_model(llm, layers=[0, 3])
    with pytest.raises(ConfigError, match="rank is 3"):
        MicroLoraConfig.for_model(llm, rank=3)


@pytest.mark.parametrize("module", [QUERY, OUTPUT, DOWN], ids=lambda module: module.value)
@pytest.mark.parametrize("reward", [None, -1.0], ids=["for", "against"])
def test_true_gradients_move_the_logits_where_they_shall(
    llm: LLM, module: TargetModule, reward: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    slopes, place = Slopes(module, monkeypatch), (LAST, module)
    micro = MicroLoRA(MicroLoraConfig.for_model(llm, target_modules=[module], layers=[LAST]))
    x, probabilities = slopes.input(), []
    for _ in range(4):
        micro.publish(llm, "live")
        found = llm.logits(PROMPT, adapter="live")[-1]
        # What is added in the engine is what `forward` says, and what NumPy's model makes of it.
        added = micro.forward(x, place)
        assert np.abs(found - slopes.logits(added)).max() < TOLERANCE
        probabilities.append(log_probability(found))
        gradient = slopes.of_the_loss(added)
        assert micro.adapt(x, AdaptFeedback(0.5, gradient, reward, source_module=place))
        # Nothing is learned before an update, and nothing published before `publish`.
        assert np.array_equal(micro.forward(x, place), added)
        micro.apply_updates(0.5 / max(1e-6, float(np.linalg.norm(gradient))))
        assert np.array_equal(llm.logits(PROMPT, adapter="live")[-1], found)
    steps = np.diff(probabilities) * (1 if reward is None else -1)
    assert (steps > 0).all(), probabilities
    # The first gradient's own measure of the step is about what came of it: a sign alone could be luck.
    assert abs(probabilities[-1] - probabilities[0]) > 1e-2
    llm.adapters.unload("live")


def test_a_new_one_leaves_the_model_as_it_is(llm: LLM) -> None:
    """Bit for bit: B is 0."""
    MicroLoRA(MicroLoraConfig.for_model(llm, target_modules=ALL)).publish(llm, "new")
    assert np.array_equal(llm.logits(PROMPT, adapter="new"), llm.logits(PROMPT))
    params = GenerateParams(max_tokens=16, temperature=0.0, cache_prefix=False)
    assert llm.generate(PROMPT, params, adapter="new").token_ids == llm.generate(PROMPT, params).token_ids
    llm.adapters.unload("new")


def noisy(llm: LLM, seed: int) -> MicroLoRA:
    """One that has moved a good deal, somewhere."""
    micro = MicroLoRA(MicroLoraConfig.for_model(llm, target_modules=ALL, seed=seed))
    numbers = np.random.default_rng(seed)
    for place, (inputs, outputs) in micro.config.maps.items():
        x, gradient = (numbers.standard_normal(count, dtype=np.float32) for count in (inputs, outputs))
        micro.adapt(x, AdaptFeedback(1.0, gradient, source_module=place))
    micro.apply_updates(0.3)
    return micro


def test_a_request_keeps_its_generation(llm: LLM) -> None:
    params = GenerateParams(max_tokens=24, temperature=0.0, cache_prefix=False, ignore_eos=True)
    first, second = noisy(llm, 1), noisy(llm, 2)
    old = first.publish(llm, "live")
    expected = llm.generate(PROMPT, params, adapter="live").token_ids
    stream = llm.stream(PROMPT, params, adapter="live")
    seen = list(next(stream).token_ids)
    new = second.publish(llm, "live")
    for chunk in stream:
        seen += chunk.token_ids
    assert tuple(seen) == tuple(expected)
    assert new.generation != old.generation
    assert llm.generate(PROMPT, params, adapter="live").token_ids != expected
    assert first.publish(llm, "live").generation == old.generation
    assert llm.generate(PROMPT, params, adapter="live").token_ids == expected
    llm.adapters.unload("live")


def test_threads_publish_one_name(llm: LLM) -> None:
    """One of them loads it, the others replace it."""
    micro = noisy(llm, 5)
    with ThreadPoolExecutor(8) as threads:
        infos = list(threads.map(lambda _: micro.publish(llm, "live"), range(16)))
    assert len({info.generation for info in infos}) == 1
    assert [info.name for info in llm.adapters.list()] == ["live"]
    llm.adapters.unload("live")


def test_it_is_an_adapter_like_others(llm: LLM, tmp_path: Path) -> None:
    """Exported for PEFT and read again it is the same."""
    noisy(llm, 3).publish(llm, "live")
    llm.adapters.load("again", llm.adapters.export("live", tmp_path / "live"))
    difference = llm.logits(PROMPT, adapter="again") - llm.logits(PROMPT, adapter="live")
    assert np.abs(difference).max() < TOLERANCE
    assert np.abs(llm.logits(PROMPT, adapter="live") - llm.logits(PROMPT)).max() > 1
    for name in ("again", "live"):
        llm.adapters.unload(name)


def test_one_of_another_shape_is_refused(llm: LLM) -> None:
    micro = MicroLoRA(MicroLoraConfig(in_features=64, out_features=64))
    with pytest.raises(AdapterError, match="v_proj of layer 0"):
        micro.publish(llm, "wrong")
    assert not llm.adapters.list()


def test_a_model_with_its_maps_in_one() -> None:
    with LLM(MODELS / "phi3-fused", activations="f32", kv_format="f32") as llm:
        noisy(llm, 4).publish(llm, "live")
        assert np.abs(llm.logits(PROMPT, adapter="live") - llm.logits(PROMPT)).max() > 1
