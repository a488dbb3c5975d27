"""How likely a prompt's own tokens are, beside its answer: against `score`, and against PyTorch's logits."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from ruvllm import LLM, AsyncEngine, Completion, ConfigError, ContextLengthError, GenerateParams
from ruvllm.outputs import TokenLogprob
from tests.chat.conftest import with_template
from tests.conftest import FIXTURES, REFERENCE_MODELS
from tests.engine.test_reference_models import TOLERANCE

PROMPT = "The terms of this license are those of another one"
GREEDY = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=4, ignore_eos=True)


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    with LLM(FIXTURES / "gguf" / "llama-gqa.gguf", max_context=256) as llm:
        yield with_template(llm)


def entries(completion: Completion) -> list[TokenLogprob]:
    """Those behind the first token, which nothing stands before."""
    assert completion.prompt_logprobs is not None
    first, *others = completion.prompt_logprobs
    assert first is None
    assert None not in others
    return others  # type: ignore[return-value]


@pytest.mark.parametrize("count", [0, 1, 5, 20])
def test_they_are_those_of_score(llm: LLM, count: int) -> None:
    ids = llm.tokenize(PROMPT)
    completion = llm.generate(PROMPT, GREEDY, prompt_logprobs=count)
    found = entries(completion)
    assert [one.token_id for one in found] == ids[1:]
    # To the bit.
    np.testing.assert_array_equal(np.float32([-one.logprob for one in found]), llm.score(ids))
    assert tuple(found) == llm.token_logprobs(ids, top_logprobs=count)
    # The answer is what it is without.
    assert completion.token_ids == llm.generate(PROMPT, GREEDY).token_ids
    assert completion.logprobs is None
    assert completion.usage.prompt_tokens == len(ids)


@pytest.mark.parametrize("name", REFERENCE_MODELS)
def test_they_are_those_of_pytorch(name: str) -> None:
    """Its logits are within the tolerance of fixtures/README.md, a log-softmax of them within twice that."""
    expected = dict(np.load(FIXTURES / "models" / name / "expected.npz"))
    ids = expected["input_ids"]
    logits = expected["logits"].astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    reference = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    with LLM(FIXTURES / "models" / name, activations="f32") as model:
        completion = model.generate(ids, GREEDY, prompt_logprobs=4, max_tokens=16)
    assert list(completion.token_ids) == expected["greedy"].tolist()
    found = entries(completion)
    assert len(found) == len(ids) - 1
    for row, token, one in zip(reference, ids[1:], found, strict=False):
        assert one.token_id == token
        assert one.logprob == pytest.approx(row[token], abs=2 * TOLERANCE)
        np.testing.assert_allclose(
            [value for _, value in one.top_logprobs], np.sort(row)[::-1][:4], atol=2 * TOLERANCE, rtol=0
        )
        for likely, value in one.top_logprobs:
            assert value == pytest.approx(row[likely], abs=2 * TOLERANCE)


def test_they_are_told_only_where_they_are_asked_for(llm: LLM) -> None:
    assert llm.generate(PROMPT, GREEDY).prompt_logprobs is None


def test_of_one_token_there_are_none(llm: LLM) -> None:
    completion = llm.generate([5], GREEDY, prompt_logprobs=2)
    assert completion.prompt_logprobs == (None,)
    assert completion.token_ids == llm.generate([5], GREEDY).token_ids
    [first, second] = llm.generate([[5], [5, 6]], GREEDY, prompt_logprobs=2)
    assert first.prompt_logprobs == (None,)
    assert tuple(entries(second)) == llm.token_logprobs([5, 6], top_logprobs=2)


def test_a_conversation_is_told_as_its_tokens(llm: LLM) -> None:
    ids = llm.chat_tokens(PROMPT)
    expected = llm.token_logprobs(ids, top_logprobs=3)
    assert tuple(entries(llm.chat(PROMPT, GREEDY, prompt_logprobs=3))) == expected
    messages = [{"role": "user", "content": PROMPT}]
    assert tuple(entries(llm.generate(messages, GREEDY, prompt_logprobs=3))) == expected


def test_of_many_each_has_its_own(llm: LLM) -> None:
    prompts = [PROMPT, "you may", "a copy of the"]
    params = [GenerateParams(prompt_logprobs=count, max_tokens=3) for count in (None, 0, 2)]
    made = llm.generate(prompts, params)
    assert made[0].prompt_logprobs is None
    for prompt, count, one in list(zip(prompts, (None, 0, 2), made, strict=True))[1:]:
        assert tuple(entries(one)) == llm.token_logprobs(llm.tokenize(prompt), top_logprobs=count or 0)
    for index, outcome in llm.as_completed(prompts, GREEDY, prompt_logprobs=1, max_in_flight=2):
        assert isinstance(outcome, Completion)
        expected = llm.token_logprobs(llm.tokenize(prompts[index]), top_logprobs=1)
        assert tuple(entries(outcome)) == expected


def test_each_choice_has_them(llm: LLM) -> None:
    made = llm.generate(PROMPT, GREEDY, n=3, prompt_logprobs=1)
    assert len(made.choices) == 3
    assert {one.prompt_logprobs for one in made.choices} == {made.prompt_logprobs}
    assert tuple(entries(made)) == llm.token_logprobs(llm.tokenize(PROMPT), top_logprobs=1)


async def test_awaited(llm: LLM) -> None:
    expected = llm.token_logprobs(llm.tokenize(PROMPT), top_logprobs=2)
    engine = AsyncEngine(llm)
    assert tuple(entries(await llm.agenerate(PROMPT, GREEDY, prompt_logprobs=2))) == expected
    assert tuple(entries(await engine.generate(PROMPT, GREEDY, prompt_logprobs=2))) == expected
    [one] = await engine.generate([PROMPT], GREEDY, prompt_logprobs=2)
    assert tuple(entries(one)) == expected
    of_one = await engine.generate([5], GREEDY, prompt_logprobs=2)
    assert of_one.prompt_logprobs == (None,)
    chat = await engine.chat(PROMPT, GREEDY, prompt_logprobs=0)
    assert tuple(entries(chat)) == llm.token_logprobs(llm.chat_tokens(PROMPT))


def test_they_are_of_the_adapter_that_answers() -> None:
    with LLM(FIXTURES / "models" / "llama-gqa", activations="f32") as model:
        model.adapters.load("one", FIXTURES / "adapters" / "lora-all-r4" / "adapter")
        ids = list(range(5, 25))
        plain = model.generate(ids, GREEDY, prompt_logprobs=0)
        adapted = model.generate(ids, GREEDY, prompt_logprobs=0, adapter="one")
        expected = model.token_logprobs(ids, adapter="one")
    assert tuple(entries(adapted)) == expected
    assert entries(adapted) != entries(plain)


def test_they_are_of_what_the_tenant_has_learned(llm: LLM) -> None:
    sona = llm.learn(tenant="scored")
    for _ in range(4):
        answer = sona.generate(PROMPT, GREEDY)
        sona.instant_adapt(PROMPT, answer, 1.0)
    ids = llm.tokenize(PROMPT)
    learned = entries(llm.generate(PROMPT, GREEDY, prompt_logprobs=0, tenant="scored"))
    assert tuple(learned) == llm.token_logprobs(ids, tenant="scored")
    assert tuple(learned) != llm.token_logprobs(ids)


def test_what_keeps_them_from_being_computed_is_an_error(llm: LLM) -> None:
    with pytest.raises(ContextLengthError):
        llm.generate([5] * 300, GREEDY, prompt_logprobs=1)
    # It goes on as if nothing had been.
    assert llm.generate(PROMPT, GREEDY, prompt_logprobs=1).prompt_logprobs


@pytest.mark.parametrize("wrong", [-1, 21, 1.0, True, "2"])
def test_a_count_that_is_none(wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"prompt_logprobs is .*; it must be an integer from 0 to 20"):
        GenerateParams(prompt_logprobs=wrong)
