"""The adapter before the head, and the step that feedback makes, against NumPy in f64."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from ruvllm import LLM, GenerateParams
from ruvllm.errors import SonaError
from ruvllm.learning import SonaConfig, SonaLlm, SonaLlmConfig, TenantState
from tests.conftest import FIXTURES
from tests.support.numpy_reference import Reference

PROMPT, ANSWER = [5, 17, 42, 99, 3], [203, 11, 7, 60]
TOKENS = PROMPT + ANSWER
GREEDY = GenerateParams(max_tokens=6, temperature=0.0, repetition_penalty=1.0, ignore_eos=True)
# As for the models themselves.
TOLERANCE = 1e-3
ONE_STEP = SonaLlmConfig(sona=SonaConfig(ewc_lambda=0.0, steps=1))
FREE = SonaLlmConfig(sona=SonaConfig(ewc_lambda=0.0, baseline_rate=0.0))

Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def reference(name: str) -> Reference:
    return Reference.open(FIXTURES / "models" / name)


def learned(sona: SonaLlm, seed: int = 1, size: float = 0.3) -> TenantState:
    """A state of random matrices."""
    numbers = np.random.default_rng(seed)
    shape = sona.state.a.shape
    a, b = (numbers.standard_normal(shape, dtype=np.float32) * np.float32(size) for _ in range(2))
    return replace(sona.state, generation=7, a=a, b=b, scale=0.5, anchor_a=a, anchor_b=b)


def moved(state: TenantState, hidden: Array) -> Array:
    """The hidden states with what was learned."""
    a, b = state.a.astype("f8"), state.b.astype("f8")
    return hidden + state.scale * (hidden @ a.T) @ b


def likelihood(reference: Reference, state: TenantState, hidden: Array) -> float:
    """The mean log-probability of the answer, over the whole vocabulary."""
    rows = reference.logits_of(moved(state, hidden))[len(PROMPT) - 1 : -1]
    rows = rows - rows.max(axis=1, keepdims=True)
    chosen = rows[np.arange(len(ANSWER)), ANSWER]
    return float(np.mean(chosen - np.log(np.exp(rows).sum(axis=1))))


def test_logits_are_those_of_the_moved_states(llm: LLM, reference: Reference) -> None:
    sona = SonaLlm(llm, tenant="moved")
    plain = llm.logits(TOKENS)
    sona.learner.restore(learned(sona))
    expected = reference.logits_of(moved(sona.state, reference.hidden(TOKENS)))
    found = sona.logits(TOKENS)
    assert np.abs(found - expected).max() < TOLERANCE
    assert np.abs(found - plain).max() > 100 * TOLERANCE
    scores = expected[:-1] - np.log(np.exp(expected[:-1]).sum(axis=1, keepdims=True))
    wanted = -scores[np.arange(len(TOKENS) - 1), TOKENS[1:]]
    assert np.abs(sona.score(TOKENS) - wanted).max() < TOLERANCE
    hidden = reference.hidden(TOKENS)
    added = moved(sona.state, hidden) - hidden
    assert np.abs(sona.forward(hidden.astype("f4")) - added).max() < TOLERANCE


def test_others_and_embeddings_keep_their_bits(llm: LLM) -> None:
    plain, embedding = llm.logits(TOKENS), llm.embed(TOKENS)
    sona = SonaLlm(llm, tenant="kept")
    sona.learner.restore(learned(sona))
    assert not np.array_equal(sona.logits(TOKENS), plain)
    assert np.array_equal(llm.logits(TOKENS), plain)
    assert np.array_equal(llm.logits(TOKENS, tenant="another"), plain)
    assert np.array_equal(llm.embed(TOKENS, tenant="kept"), embedding)


def test_in_one_step_each_has_its_own(llm: LLM) -> None:
    sona = SonaLlm(llm, tenant="together")
    sona.learner.restore(learned(sona, size=0.3))
    alone = [llm.generate(PROMPT, GREEDY, tenant=tenant).token_ids for tenant in ("together", "none")]
    assert alone[0] != alone[1]
    streams = [llm.stream(PROMPT, GREEDY, tenant=tenant) for tenant in ("together", "none", "together")]
    found = [stream.completion().token_ids for stream in streams]
    assert found == [alone[0], alone[1], alone[0]]


def test_learning_costs_no_cached_prefix(llm: LLM) -> None:
    sona = SonaLlm(llm, tenant="prefix")
    prompt = [(7 * index) % 200 + 3 for index in range(40)]
    sona.generate(prompt, GREEDY)
    sona.learner.restore(learned(sona))
    assert sona.generate(prompt, GREEDY).usage.cached_tokens >= 32


@pytest.mark.parametrize("has_learned", [False, True], ids=["fresh", "learned"])
def test_the_step_is_along_the_true_gradient(llm: LLM, reference: Reference, *, has_learned: bool) -> None:
    sona = SonaLlm(llm, ONE_STEP, tenant=f"gradient {has_learned}")
    if has_learned:
        sona.learner.restore(learned(sona))
    captured = llm.learning.captured(sona.tenant, PROMPT, ANSWER)
    before = sona.state
    sona.learner.adapt(captured, "one", 1.0)
    hidden = reference.hidden(TOKENS)
    after = sona.state
    start = replace(before, a=after.anchor_a, scale=after.scale)
    for matrix in ("a", "b"):
        step = (getattr(after, matrix) - getattr(start, matrix)).astype("f8")
        slope = np.zeros_like(step)
        for place in np.ndindex(step.shape):
            values = []
            for sign in (1, -1):
                changed = getattr(start, matrix).astype("f8")
                changed[place] += sign * 1e-4
                values.append(likelihood(reference, replace(start, **{matrix: changed}), hidden))
            slope[place] = (values[0] - values[1]) / 2e-4
        if not slope.any() or np.abs(slope).max() < 1e-9:
            assert not step.any()  # A has no gradient where B is 0
            continue
        cosine = float((step * slope).sum() / np.linalg.norm(step) / np.linalg.norm(slope))
        # Most of the vocabulary is in the rest, of which the mean row is known alone.
        assert cosine > 0.9, matrix


def test_what_is_said_of_a_step_is_what_it_did(llm: LLM) -> None:
    sona = SonaLlm(llm, tenant="said")
    before = sona.score(TOKENS)[len(PROMPT) - 1 :].mean()
    result = sona.learner.adapt(llm.learning.captured("said", PROMPT, ANSWER), "one", 1.0)
    change = before - sona.score(TOKENS)[len(PROMPT) - 1 :].mean()
    assert change > 0
    assert result.logprob_change == pytest.approx(change, rel=0.4)
    assert 0 < result.divergence <= 0.25 * sona.config.instant_lr
    # The same by a pass over what is learned now: states are those before the adapter.
    captured = llm.learning.captured("said", PROMPT, ANSWER)
    assert sona.learner.judge(captured, sona.state)[0] == pytest.approx(-(before - change), rel=0.02)


def test_a_rollback_is_exact_and_a_generation_of_its_own(llm: LLM) -> None:
    sona = SonaLlm(llm, FREE, tenant="back")
    captured = llm.learning.captured("back", PROMPT, ANSWER)
    found = [sona.logits(TOKENS)]
    for index in range(3):
        sona.learner.adapt(captured, f"answer {index}", 1.0)
        found.append(sona.logits(TOKENS))
        assert not np.array_equal(found[-1], found[-2])
    sona.rollback()
    assert np.array_equal(sona.logits(TOKENS), found[2])
    sona.rollback(2)
    assert np.array_equal(sona.logits(TOKENS), found[0])
    assert np.array_equal(found[0], llm.logits(TOKENS))
    assert sona.state.generation == 5
    sona.learner.adapt(captured, "again", 1.0)
    learned_now = sona.logits(TOKENS)
    sona.reset()
    assert np.array_equal(sona.logits(TOKENS), found[0])
    sona.rollback()
    assert np.array_equal(sona.logits(TOKENS), learned_now)
    llm.learning.end("back")
    assert np.array_equal(llm.logits(TOKENS, tenant="back"), found[0])


def test_a_state_of_another_model_or_tenant_is_refused(llm: LLM) -> None:
    sona = SonaLlm(llm, tenant="fits")
    other = TenantState.new("fits", hidden=3, rank=2, scale=1.0, baseline=0.5)
    for state in (other, replace(sona.state, tenant="other")):
        with pytest.raises(SonaError, match="the state is tenant"):
            sona.learner.restore(state)
