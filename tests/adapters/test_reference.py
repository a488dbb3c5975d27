"""What PEFT computes with an adapter, computed here: over a folder of the base, and over its GGUF file."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ruvllm import LLM, GenerateParams
from tests.conftest import FIXTURES

ADAPTERS = FIXTURES / "adapters"
BASES = {
    "folder": FIXTURES / "models" / "llama-gqa",
    "GGUF, rows of Q and K turned": FIXTURES / "gguf" / "llama-gqa.gguf",
}
NAMES = ("lora-all-r4", "lora-rs-r8")
# As for the models themselves; the adapter is kept in 16 bits.
TOLERANCE = 1e-3


@pytest.fixture(scope="module", params=BASES)
def llm(request: pytest.FixtureRequest) -> Iterator[LLM]:
    base: Path = BASES[request.param]
    with LLM(base, activations="f32", kv_format="f32") as llm:
        for name in NAMES:
            llm.adapters.load(name, ADAPTERS / name / "adapter")
        yield llm


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_those_of_peft(llm: LLM, name: str) -> None:
    expected = np.load(ADAPTERS / name / "expected.npz")
    found = llm.logits(expected["input_ids"], adapter=name)
    assert np.abs(found - expected["lora_logits"]).max() < TOLERANCE
    # The adapters are no small change: the test would see it if nothing was added.
    assert np.abs(found - expected["base_logits"]).max() > 1


def test_the_base_stays_what_it_is(llm: LLM) -> None:
    expected = np.load(ADAPTERS / NAMES[0] / "expected.npz")
    found = llm.logits(expected["input_ids"])
    assert np.abs(found - expected["base_logits"]).max() < TOLERANCE


def test_a_mixed_batch_gives_each_what_it_has_alone(llm: LLM) -> None:
    """Also those without one, bit for bit."""
    params = GenerateParams(max_tokens=24, temperature=0.0, repetition_penalty=1.0, cache_prefix=False)
    choices = [None, NAMES[0], NAMES[1], {NAMES[0]: 0.5}, {NAMES[0]: 1.0, NAMES[1]: -0.5}, None, NAMES[0]]
    prompts = [[3 + number, 40, 7 + 11 * number, 90] for number in range(len(choices))]
    alone = [llm.generate(prompt, params, adapter=one) for prompt, one in zip(prompts, choices, strict=True)]
    together = llm.generate(prompts, params, adapter=choices)
    assert [one.token_ids for one in together] == [one.token_ids for one in alone]
    assert len({one.token_ids for one in alone}) > 5


def test_two_adapters_add_up(llm: LLM) -> None:
    """One of them with half its weight: what `alpha` says, halved, is the same."""
    expected = np.load(ADAPTERS / NAMES[0] / "expected.npz")
    once = llm.logits(expected["input_ids"], adapter={NAMES[0]: 1.0})
    assert np.array_equal(once, llm.logits(expected["input_ids"], adapter=NAMES[0]))
    none = llm.logits(expected["input_ids"], adapter={NAMES[0]: 0.0})
    assert np.array_equal(none, llm.logits(expected["input_ids"]))


def test_prefixes_of_one_are_not_taken_for_anothers(llm: LLM) -> None:
    params = GenerateParams(max_tokens=12, temperature=0.0, repetition_penalty=1.0)
    uncached = GenerateParams(max_tokens=12, temperature=0.0, repetition_penalty=1.0, cache_prefix=False)
    prompt = [5 + 3 * number for number in range(60)]
    for choice in (None, NAMES[0], NAMES[1], {NAMES[0]: 0.5}) * 2:
        expected = llm.generate(prompt, uncached, adapter=choice)
        assert llm.generate(prompt, params, adapter=choice).token_ids == expected.token_ids
    assert llm.generate(prompt, params, adapter=NAMES[0]).usage.cached_tokens > 0
