"""The nine reference models, and four of them as GGUF, against PyTorch and transformers."""

from collections.abc import Iterator

import numpy as np
import pytest

from ruvllm import LLM, GenerateParams
from tests.conftest import FIXTURES, REFERENCE_GGUF, REFERENCE_MODELS

TOLERANCE = 1e-3  # absolute, see fixtures/README.md
GREEDY = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=16, ignore_eos=True)

FILES = [
    *((FIXTURES / "models" / name, name) for name in REFERENCE_MODELS),
    *((FIXTURES / "gguf" / f"{name}.gguf", name) for name in REFERENCE_GGUF),
]


def test_all_are_here() -> None:
    assert len(REFERENCE_MODELS) == 9
    assert len(REFERENCE_GGUF) == 4


@pytest.fixture(params=FILES, ids=lambda file: f"{file[0].parent.name}/{file[1]}", scope="module")
def case(request: pytest.FixtureRequest) -> Iterator[tuple[LLM, dict[str, np.ndarray]]]:
    path, name = request.param
    expected = dict(np.load(FIXTURES / "models" / name / "expected.npz"))
    with LLM(path, activations="f32") as llm:
        yield llm, expected


def test_logits(case: tuple[LLM, dict[str, np.ndarray]]) -> None:
    llm, expected = case
    logits = llm.logits(expected["input_ids"].tolist())
    assert logits.shape == expected["logits"].shape
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected["logits"], atol=TOLERANCE, rtol=0)


def test_greedy_continuation(case: tuple[LLM, dict[str, np.ndarray]]) -> None:
    llm, expected = case
    completion = llm.generate(expected["input_ids"], GREEDY)
    assert list(completion.token_ids) == expected["greedy"].tolist()
    assert completion.finish_reason == "length"
    assert completion.usage.prompt_tokens == len(expected["input_ids"])
    assert completion.usage.completion_tokens == 16


def test_scores_follow_from_logits(case: tuple[LLM, dict[str, np.ndarray]]) -> None:
    llm, expected = case
    ids = expected["input_ids"]
    reference = expected["logits"].astype(np.float64)[:-1]
    log_sums = np.log(np.exp(reference - reference.max(axis=1, keepdims=True)).sum(axis=1))
    log_sums += reference.max(axis=1)
    chosen = reference[np.arange(len(ids) - 1), ids[1:]]
    np.testing.assert_allclose(llm.score(ids), log_sums - chosen, atol=2 * TOLERANCE, rtol=0)


def test_batched_as_alone(case: tuple[LLM, dict[str, np.ndarray]]) -> None:
    """The order of additions of a row does not depend on the batch around it."""
    llm, expected = case
    ids = expected["input_ids"].tolist()
    prompts = [ids[: 3 + 5 * index] for index in range(6)]
    alone = [llm.generate(prompt, GREEDY).token_ids for prompt in prompts]
    assert [one.token_ids for one in llm.generate(prompts, GREEDY)] == alone


def test_a_prompt_in_portions_as_in_one() -> None:
    """Longer than a step's budget of prompt tokens: computed in portions, the same in all."""
    name = "llama3-rope-tied"
    rng = np.random.default_rng(5)
    ids = rng.integers(3, 320, size=1300).tolist()
    with LLM(FIXTURES / "models" / name, activations="f32", max_context=2048) as llm:
        whole = llm.logits(ids)
        first = llm.logits(ids[:200])
    np.testing.assert_allclose(whole[:200], first, atol=1e-5, rtol=0)
