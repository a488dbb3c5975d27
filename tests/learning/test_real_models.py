"""On real models: feedback changes what is likely, as it says, for whom it is meant, and no more."""

import numpy as np
import pytest

from ruvllm import LLM, GenerateParams, SonaConfig, SonaLlm, SonaLlmConfig
from tests.learning.answers import HELD_OUT, STYLE, UNRELATED, log_likelihood, perplexity

pytestmark = pytest.mark.real_model

REQUEST = "What is machine learning?"
RESPONSE = " Machine learning is a field of computer science that lets programs learn from data."
GREEDY = GenerateParams(max_tokens=48, temperature=0.0, repetition_penalty=1.0)


@pytest.fixture(scope="module", params=["smollm2", "gemma3"])
def llm(request: pytest.FixtureRequest) -> LLM:
    found: LLM = request.getfixturevalue(request.param)
    return found


def test_good_feedback_raises_bad_lowers_and_the_expected_changes_nothing(llm: LLM) -> None:
    before = log_likelihood(llm, REQUEST, RESPONSE, "nobody")
    for feedback, low, high in [(1.0, 0.05, 2.0), (0.0, -2.0, -0.05), (0.5, 0.0, 0.0)]:
        sona = SonaLlm(llm, tenant=f"given {feedback}")
        result = sona.instant_adapt(REQUEST, RESPONSE, feedback)
        assert result.applied == (feedback != 0.5)
        assert low <= log_likelihood(llm, REQUEST, RESPONSE, sona.tenant) - before <= high
        assert log_likelihood(llm, REQUEST, RESPONSE, "nobody") == before
        assert result.samples_used == sona.stats().instant_count == 1
    tokens = llm.tokenize(REQUEST)
    assert np.array_equal(sona.logits(tokens), llm.logits(tokens))


def test_an_answer_that_was_made_here_is_learned_from_as_it_was_captured(llm: LLM) -> None:
    sona = SonaLlm(llm, tenant="made here")
    answer = sona.generate("The capital of France is", GREEDY)
    before = log_likelihood(llm, "The capital of France is", answer.text, "made here")
    result = sona.feedback(answer.completion_id, 1.0)
    change = log_likelihood(llm, "The capital of France is", answer.text, "made here") - before
    assert change >= 0.05
    assert result.logprob_change == pytest.approx(change, rel=0.4)
    # The text leads there as well, and so does the answer; both are of the same that is kept.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(llm.learning, "captured", None)  # no pass over what was captured
        known = sona.instant_adapt("The capital of France is", answer.text, 0.0)
        again = sona.instant_adapt("The capital of France is", answer, 0.0)
    assert known.applied
    assert again.applied
    assert known.logprob_change < 0 > again.logprob_change
    assert len(sona.learner.samples()) == 1


def test_five_thumbs_up_make_a_style_likelier_in_other_answers(llm: LLM) -> None:
    sona = SonaLlm(llm, tenant="style")
    before = [log_likelihood(llm, *pair, "style") for pair in HELD_OUT]
    elsewhere = perplexity(llm, UNRELATED, "style")
    for pair in STYLE:
        sona.instant_adapt(*pair, 1.0)
    gains = np.array([log_likelihood(llm, *pair, "style") for pair in HELD_OUT]) - before
    assert gains.min() > 0.05
    assert perplexity(llm, UNRELATED, "style") < 1.02 * elsewhere


def after_many(llm: LLM, ewc_lambda: float) -> tuple[float, float]:
    """How perplexity on an unrelated text rose by 200 updates on one topic, and the topic's likelihood."""
    tenant = f"many {ewc_lambda}"
    sona = SonaLlm(llm, SonaLlmConfig(sona=SonaConfig(ewc_lambda=ewc_lambda)), tenant=tenant)
    before = perplexity(llm, UNRELATED, tenant)
    topic = np.mean([log_likelihood(llm, *pair, tenant) for pair in STYLE])
    answers = [
        llm.learning.captured(
            tenant, llm.tokenize(request), llm.tokenize(response, add_bos=False, parse_special=False)
        )
        for request, response in STYLE
    ]
    for index in range(200):
        sona.learner.adapt(answers[index % len(answers)], f"answer {index}", 1.0)
    gain = np.mean([log_likelihood(llm, *pair, tenant) for pair in STYLE]) - topic
    return perplexity(llm, UNRELATED, tenant) / before - 1, float(gain)


def test_what_was_known_stays_with_ewc_and_less_so_without(llm: LLM) -> None:
    held, learned = after_many(llm, SonaConfig().ewc_lambda)
    free, _ = after_many(llm, 0.0)
    assert held < 0.02
    assert learned > 0.1
    assert free > held + 0.01
