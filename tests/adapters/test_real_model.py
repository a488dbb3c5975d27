"""Adapters over SmolLM2, which is quantized: one that was trained does what it does for `peft`, and of random
ones nobody has another's, alone or together.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ruvllm import LLM, GenerateParams
from ruvllm.adapters import AdapterWeights, Part
from ruvllm.errors import AdapterError
from tests.conftest import FIXTURES

HIDDEN, FEED_FORWARD, KEYS, LAYERS = 576, 1536, 192, 30
MODULES = {
    "q_proj": (HIDDEN, HIDDEN),
    "k_proj": (HIDDEN, KEYS),
    "v_proj": (HIDDEN, KEYS),
    "o_proj": (HIDDEN, HIDDEN),
    "gate_proj": (HIDDEN, FEED_FORWARD),
    "up_proj": (HIDDEN, FEED_FORWARD),
    "down_proj": (FEED_FORWARD, HIDDEN),
}
GREEDY = GenerateParams(max_tokens=12, temperature=0.0, repetition_penalty=1.0, cache_prefix=False)


def random_adapter(seed: int, rank: int) -> AdapterWeights:
    numbers = np.random.default_rng(seed)

    def matrix(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return 0.02 * numbers.standard_normal(shape, dtype=np.float32)

    parts = [
        Part(layer=layer, module=module, a=matrix(rank, inputs), b=matrix(outputs, rank), scale=2.0)
        for layer in range(LAYERS)
        for module, (inputs, outputs) in MODULES.items()
    ]
    return AdapterWeights(parts=tuple(parts))


@pytest.fixture(scope="module")
def llm(smollm2_path: Path) -> Iterator[LLM]:
    with LLM(smollm2_path, max_context=512) as llm:
        for number in range(8):
            llm.adapters.load(f"a{number}", random_adapter(number, rank=1 + number))
        yield llm


def test_sixteen_rows_of_eight_adapters_are_sixteen_single_runs(llm: LLM) -> None:
    prompts = [[100 + 37 * number + index for index in range(20 + number)] for number in range(18)]
    choices = [f"a{number % 8}" for number in range(16)] + [None, {"a1": 0.5, "a7": -1.0}]
    alone = [llm.generate(prompt, GREEDY, adapter=one) for prompt, one in zip(prompts, choices, strict=True)]
    together = llm.generate(prompts, GREEDY, adapter=choices)
    assert [one.token_ids for one in together] == [one.token_ids for one in alone]


def test_what_an_adapter_adds_grows_with_its_scale(llm: LLM) -> None:
    tokens = list(range(200, 240))
    base = llm.logits(tokens)
    changes = [np.abs(llm.logits(tokens, adapter={"a3": scale}) - base).mean() for scale in (0.1, 0.5, 1.0)]
    assert 0 < changes[0] < changes[1] < changes[2]


def test_numbers_that_sixteen_bits_cannot_hold_are_refused(llm: LLM) -> None:
    a, b = np.full((1, HIDDEN), 1e6, np.float32), np.zeros((HIDDEN, 1), np.float32)
    part = Part(layer=0, module="q_proj", a=a, b=b, scale=1.0)
    with pytest.raises(AdapterError, match="q_proj of layer 0: A holds 1000000, which is too large"):
        llm.adapters.load("large", AdapterWeights(parts=(part,)))


def test_a_trained_adapter_lowers_the_loss_as_peft_says(llm: LLM) -> None:
    """Of two pieces of the text that it was trained on; weights and activations are rounded here."""
    folder = FIXTURES / "adapters" / "smollm2-licence"
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    llm.adapters.load("licence", folder / "adapter")
    pieces = zip(expected["token_ids"], expected["base_loss"], expected["adapter_loss"], strict=True)
    for token_ids, base_loss, adapter_loss in pieces:
        assert llm.score(token_ids).mean() == pytest.approx(base_loss, rel=0.02)
        found = llm.score(token_ids, adapter="licence").mean()
        assert found == pytest.approx(adapter_loss, rel=0.02)
        assert found < 0.5 * base_loss
