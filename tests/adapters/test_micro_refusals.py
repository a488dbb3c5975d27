"""What a MicroLoRA does not take: a typed error that names it, and nothing is another than before."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ruvllm import AdaptFeedback, EwcState, MicroLoRA, MicroLoraConfig, RuvLLMError, TargetModule
from ruvllm.errors import AdapterError, ConfigError, NotFoundError
from tests.adapters.micro_by_hand import matrices_of

QUERY, KEY, VALUE = TargetModule.QProj, TargetModule.KProj, TargetModule.VProj
X, GRADIENT = np.linspace(-1, 1, 5, dtype=np.float32), np.linspace(1, -1, 4, dtype=np.float32)
NAN = np.full(5, np.nan, np.float32)
INFINITE = np.full(5, np.inf, np.float32)


def feedback(gradient: Any = GRADIENT, module: Any = QUERY, quality: float = 1.0) -> AdaptFeedback:
    return AdaptFeedback(quality, gradient, source_module=module)


def learned() -> MicroLoRA:
    micro = MicroLoRA(MicroLoraConfig(in_features=5, out_features=4))
    for _ in range(2):
        micro.adapt(X, feedback(module=None))
        micro.apply_updates(0.1)
    micro.adapt(X, feedback(module=None))
    return micro


def state(**changes: Any) -> EwcState:
    arrays = {
        "fisher_a": np.ones((2, 5)), "fisher_b": np.ones((4, 2)),
        "optimal_a": np.ones((2, 5)), "optimal_b": np.ones((4, 2)),
    }  # fmt: skip
    return EwcState(**arrays | changes)


def with_ewc(micro: MicroLoRA, one: Any, rate: float = 0.1, strength: float = 1.0) -> None:
    micro.apply_updates_with_ewc(rate, {VALUE: state(), QUERY: one}, strength)


CALLS: dict[str, tuple[type[RuvLLMError], str, Callable[[MicroLoRA], object]]] = {
    "short input": (
        ConfigError,
        "input has 4 values; for q_proj it must have 5",
        lambda m: m.forward(X[:4], QUERY),
    ),
    "input of two": (ConfigError, "input has 10 values", lambda m: m.forward(np.tile(X, 2), QUERY)),
    "input in 64 bits": (ConfigError, "input is of type float64", lambda m: m.forward(X.astype("f8"), QUERY)),
    "strided input": (ConfigError, "input is strided", lambda m: m.forward(np.tile(X, 2)[::2], QUERY)),
    "list": (ConfigError, "input is of type list", lambda m: m.forward(X.tolist(), QUERY)),
    "NaN in": (
        ConfigError,
        "input of q_proj has values that are no numbers",
        lambda m: m.forward(NAN, QUERY),
    ),
    "infinite in": (ConfigError, "no numbers, or too large", lambda m: m.forward(INFINITE, QUERY)),
    "module that is not there": (
        NotFoundError,
        "no map k_proj; there are q_proj, v_proj",
        lambda m: m.forward(X, KEY),
    ),
    "module by its text": (NotFoundError, "no map 'q_proj'", lambda m: m.forward(X, "q_proj")),
    "layer": (NotFoundError, "no map q_proj of layer 1", lambda m: m.forward(X, (1, QUERY))),
    "short output": (
        ConfigError,
        "output has 3 values; for q_proj it must have 4",
        lambda m: m.forward_add(X, QUERY, np.zeros(3, np.float32)),
    ),
    "output in 64 bits": (
        ConfigError,
        "output is of type float64",
        lambda m: m.forward_add(X, QUERY, np.zeros(4)),
    ),
    "adapt short input": (ConfigError, "input has 2 values", lambda m: m.adapt(X[:2], feedback())),
    "adapt NaN": (ConfigError, "input has values that are no numbers", lambda m: m.adapt(NAN, feedback())),
    "adapt NaN without gradient": (
        ConfigError,
        "no numbers",
        lambda m: m.adapt(NAN, AdaptFeedback.from_quality(1)),
    ),
    "adapt short without gradient": (
        ConfigError,
        "input has 2",
        lambda m: m.adapt(X[:2], AdaptFeedback.from_quality(1)),
    ),
    "short gradient": (
        ConfigError,
        "gradient_estimate has 3 values",
        lambda m: m.adapt(X, feedback(GRADIENT[:3])),
    ),
    "NaN gradient": (ConfigError, "gradient_estimate of q_proj has", lambda m: m.adapt(X, feedback(NAN[:4]))),
    "second map refuses": (
        ConfigError,
        "gradient_estimate of q_proj has",
        lambda m: m.adapt(X, feedback(NAN[:4], None)),
    ),
    "huge gradient": (
        AdapterError,
        "the gradient of q_proj is too large",
        lambda m: m.adapt(X, feedback(1e25 * GRADIENT)),
    ),
    "adapt unknown": (NotFoundError, "no map k_proj", lambda m: m.adapt(X, feedback(module=KEY))),
    "no feedback": (ConfigError, "feedback is 0.5; it must be a AdaptFeedback", lambda m: m.adapt(X, 0.5)),
    "negative rate": (ConfigError, "lr is -0.1; it must be between 0 and", lambda m: m.apply_updates(-0.1)),
    "rate NaN": (ConfigError, "lr is nan", lambda m: m.apply_updates(float("nan"))),
    "rate too long": (
        AdapterError,
        "a step so long from ._proj is too large for 32 bits",
        lambda m: m.apply_updates(3e38),
    ),
    "negative lambda": (ConfigError, "ewc_lambda is -1", lambda m: with_ewc(m, state(), strength=-1.0)),
    "state of another shape": (
        ConfigError,
        r"the state of q_proj is of shapes \(\(5, 2\), \(4, 2\)\)",
        lambda m: with_ewc(m, state(fisher_a=np.ones((5, 2)), optimal_a=np.ones((5, 2)))),
    ),
    "state of another length": (
        ConfigError,
        "the state of q_proj is of shapes",
        lambda m: with_ewc(m, state(fisher_b=np.ones((3, 2)), optimal_b=np.ones((3, 2)))),
    ),
    "state that is none": (ConfigError, "must be a EwcState", lambda m: with_ewc(m, None)),
    "state of a map that is not there": (
        NotFoundError,
        "no map k_proj",
        lambda m: m.apply_updates_with_ewc(0.1, {KEY: state()}, 1.0),
    ),
    "negative importance": (
        ConfigError,
        "fisher_b of q_proj has values that are not finite, 0 or more",
        lambda m: with_ewc(m, state(fisher_b=-np.ones((4, 2)))),
    ),
    "optimum NaN": (
        ConfigError,
        "optimal_a of q_proj has values that are not finite",
        lambda m: with_ewc(m, state(optimal_a=np.full((2, 5), np.nan))),
    ),
    "consolidate other shapes": (
        ConfigError,
        "the state of v_proj is of shapes",
        lambda m: m.consolidate({VALUE: state(fisher_a=np.ones((1, 5)), optimal_a=np.ones((1, 5)))}),
    ),
    "decay": (ConfigError, "decay is 2; it must be between 0 and 1", lambda m: m.consolidate(decay=2)),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_is_refused_changes_nothing(name: str) -> None:
    error, message, call = CALLS[name]
    micro, twin = learned(), learned()
    with pytest.raises(error, match=message):
        call(micro)
    assert micro.stats() == twin.stats()
    # Neither what it is, nor what waits, nor what consolidation will find.
    for _ in range(2):
        for module in (QUERY, VALUE):
            for one, other in zip(matrices_of(micro, module), matrices_of(twin, module), strict=True):
                assert np.array_equal(one, other)
        assert micro.apply_updates(0.1) == twin.apply_updates(0.1)
    importance, expected = micro.consolidate(), twin.consolidate()
    assert np.array_equal(importance[QUERY].fisher_a, expected[QUERY].fisher_a)
    assert importance[QUERY].fisher_a.any()


def test_an_output_that_is_refused_is_left_as_it_is() -> None:
    micro, output = learned(), np.ones(4, np.float32)
    with pytest.raises(ConfigError, match="no numbers"):
        micro.forward_add(NAN, QUERY, output)
    output.flags.writeable = False
    with pytest.raises(ConfigError, match="output is read-only"):
        micro.forward_add(X, QUERY, output)
    assert np.array_equal(output, np.ones(4))
    square = MicroLoRA(MicroLoraConfig(in_features=4, out_features=4))
    both = np.ones(4, np.float32)
    with pytest.raises(ConfigError, match="output is in use"):
        square.forward_add(both, QUERY, both)


MADE: dict[str, tuple[str, Callable[[], object]]] = {
    "rank 0": ("rank is 0; it must be an integer from 1 to 2", lambda: MicroLoraConfig(rank=0)),
    "rank 3": ("rank is 3; it must be an integer from 1 to 2", lambda: MicroLoraConfig(rank=3)),
    "no inputs": ("in_features is 0", lambda: MicroLoraConfig(in_features=0)),
    "too many outputs": ("out_features is 1048577", lambda: MicroLoraConfig(out_features=2**20 + 1)),
    "alpha NaN": ("alpha is nan", lambda: MicroLoraConfig(alpha=float("nan"))),
    "all dropped": (
        "dropout is 1.0; it must be at least 0 and below 1",
        lambda: MicroLoraConfig(dropout=1.0),
    ),
    "no targets": ("target_modules is", lambda: MicroLoraConfig(target_modules=())),
    "targets by text": ("some of TargetModule", lambda: MicroLoraConfig(target_modules=("q_proj",))),  # type: ignore[arg-type]
    "no shapes": ("shapes is empty", lambda: MicroLoraConfig(shapes={})),
    "a shape of nothing": ("the outputs of", lambda: MicroLoraConfig(shapes={QUERY: (5, 0)})),
    "a negative layer": (
        "the layer of a name in shapes",
        lambda: MicroLoraConfig(shapes={(-1, QUERY): (5, 5)}),
    ),
    "a name that is none": ("must be a TargetModule", lambda: MicroLoraConfig(shapes={"q": (5, 5)})),  # type: ignore[dict-item]
    "no config": ("config is 4096", lambda: MicroLoRA(4096)),  # type: ignore[arg-type]
    "another ISA": ("isa is 'mmx'", lambda: MicroLoRA(MicroLoraConfig(), isa="mmx")),
    "2^28 numbers": (
        "120 maps have 251658240 inputs and outputs",
        lambda: MicroLoRA(MicroLoraConfig(shapes={(layer, KEY): (2**20, 2**20) for layer in range(120)})),
    ),
    "quality above 1": ("quality is 1.5; it must be between 0 and 1", lambda: AdaptFeedback(1.5)),
    "quality below 0": ("quality is -0.5", lambda: AdaptFeedback.from_quality(-0.5)),
    "quality NaN": ("quality is nan", lambda: AdaptFeedback(float("nan"))),
    "infinite reward": ("reward is inf", lambda: AdaptFeedback(1.0, reward=float("inf"))),
    "latency": ("latency_us is -1", lambda: AdaptFeedback(1.0, latency_us=-1)),
    "gradient of two dimensions": (
        r"gradient_estimate is of shape \(1, 4\)",
        lambda: feedback(GRADIENT[None]),
    ),
    "gradient of text": ("gradient_estimate cannot be float32", lambda: feedback(["a"])),
    "module by text": ("source_module is 'q_proj'", lambda: feedback(module="q_proj")),
    "optimum of another shape": ("must be the same", lambda: state(optimal_a=np.ones((5, 2)))),
    "flat Fisher": ("must have 2 dimensions", lambda: state(fisher_b=np.ones(8))),
}


@pytest.mark.parametrize("name", MADE)
def test_a_value_that_makes_no_sense(name: str) -> None:
    message, make = MADE[name]
    with pytest.raises(ConfigError, match=message):
        make()


def test_several_layers_want_to_know_which() -> None:
    micro = MicroLoRA(MicroLoraConfig(shapes={(0, QUERY): (5, 4), (1, QUERY): (5, 4)}))
    with pytest.raises(ConfigError, match="no source_module, and there are maps of 2 layers"):
        micro.adapt(X, feedback(module=None))
    assert micro.stats().adaptations == 0
    assert micro.adapt(X, feedback(module=(1, QUERY)))
