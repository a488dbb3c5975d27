"""Functions of one's own over the logits: what they see, what they change, and whom they fail."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ruvllm import LLM, AsyncEngine, ConfigError, GenerateParams, GenerationError
from ruvllm.grammar import Grammar
from tests.conftest import FIXTURES

Tokens = NDArray[np.uint32]
Logits = NDArray[np.float32]
PROMPT = [5, 9, 200, 17, 3, 5, 9, 200]


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    with LLM(FIXTURES / "gguf" / "llama-gqa.gguf") as made:
        yield made


def params(**changes: Any) -> GenerateParams:
    plain = {"max_tokens": 12, "temperature": 0.8, "seed": 4, "ignore_eos": True, "repetition_penalty": 1.0}
    return GenerateParams(**{**plain, **changes})


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_what_a_function_adds_is_what_a_bias_adds(llm: LLM, temperature: float) -> None:
    bias = {7: 3.5, 100: -2.0, 301: 5.25}

    def add(tokens: Tokens, logits: Logits) -> None:
        for token, value in bias.items():
            logits[token] += np.float32(value)

    changed = llm.generate(PROMPT, params(temperature=temperature, logits_processors=[add]))
    biased = llm.generate(PROMPT, params(temperature=temperature, logit_bias=bias))
    assert changed.token_ids == biased.token_ids
    assert changed.token_ids != llm.generate(PROMPT, params(temperature=temperature)).token_ids


def test_it_sees_each_text_and_what_the_model_says_of_it(llm: LLM) -> None:
    seen: list[tuple[list[int], Logits]] = []

    def look(tokens: Tokens, logits: Logits) -> None:
        assert not tokens.flags.writeable
        seen.append((tokens.tolist(), logits.copy()))

    answer = llm.generate(PROMPT, params(logits_processors=[look], speculate=False))
    texts = [PROMPT + list(answer.token_ids[:made]) for made in range(12)]
    assert [text for text, _ in seen] == texts
    said = llm.logits(texts[-1])
    for place, (text, logits) in enumerate(seen):
        assert np.array_equal(logits, said[len(PROMPT) - 1 + place]), text


@pytest.mark.parametrize("speculate", [True, False])
def test_functions_come_one_behind_the_other_and_guesses_change_nothing(llm: LLM, speculate: bool) -> None:
    def halve(tokens: Tokens, logits: Logits) -> Logits:
        return logits / 2

    def no_token_twice(tokens: Tokens, logits: Logits) -> list[float]:
        logits[tokens] = -np.inf
        return list(logits)

    both = [halve, no_token_twice]
    answer = llm.generate(PROMPT, params(logits_processors=both, speculate=speculate, max_tokens=40))
    assert len({*PROMPT, *answer.token_ids}) == len(set(PROMPT)) + 40
    # A half of the logits is twice the temperature.
    hotter = llm.generate(PROMPT, params(logits_processors=both[1:], temperature=1.6, max_tokens=40))
    assert answer.token_ids == hotter.token_ids


def test_log_probabilities_are_the_model_s_own(llm: LLM) -> None:
    flat = [lambda tokens, logits: np.where(np.arange(len(logits)) == 42, 0, -np.inf)]
    answer = llm.generate(PROMPT, params(logits_processors=flat, logprobs=2, max_tokens=3))
    assert answer.token_ids == (42, 42, 42)
    assert answer.logprobs is not None
    scores = llm.score([*PROMPT, 42, 42, 42])[-3:]
    assert [-one.logprob for one in answer.logprobs] == scores.tolist()


def test_a_grammar_still_holds(llm: LLM) -> None:
    turned = [lambda tokens, logits: -logits]
    grammar = Grammar.regex("[0-9]{6}")
    answer = llm.generate(PROMPT, params(logits_processors=turned, grammar=grammar, ignore_eos=False))
    assert len(answer.text) == 6
    assert answer.text.isdigit()


def test_choices_streams_and_coroutines_have_it_too(llm: LLM) -> None:
    nine = [lambda tokens, logits: np.where(np.arange(len(logits)) == 9, 50, logits)]
    forced = params(logits_processors=nine)
    choices = llm.generate(PROMPT, forced, n=2).choices
    chunks = list(llm.stream(PROMPT, forced))
    answer = asyncio.run(AsyncEngine(llm).generate(PROMPT, forced))
    told = [one.token_ids for one in choices], tuple(token for one in chunks for token in one.token_ids)
    assert told == ([answer.token_ids] * 2, answer.token_ids) == ([(9,) * 12] * 2, (9,) * 12)


def broken(tokens: Tokens, logits: Logits) -> Logits:
    if len(tokens) > len(PROMPT) + 3:
        raise KeyError("so far")
    return logits


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (broken, "a logits processor: KeyError: 'so far'"),
        (lambda tokens, logits: logits[:-1], r"a logits processor: ValueError: it gave an array of shape"),
        (lambda tokens, logits: "no numbers", "a logits processor: ValueError"),
        (lambda tokens, logits: np.full_like(logits, -np.inf), "no token"),
    ],
)
def test_one_that_fails_fails_its_own_request_alone(llm: LLM, function: Any, message: str) -> None:
    expected = [llm.generate(PROMPT[: 4 + number], params()) for number in range(3)]
    engine = AsyncEngine(llm)

    async def together() -> list[Any]:
        wrong = engine.generate(PROMPT, params(logits_processors=[function]))
        others = (engine.generate(PROMPT[: 4 + number], params()) for number in range(3))
        return await asyncio.gather(wrong, *others, return_exceptions=True)

    failure, *answers = asyncio.run(together())
    assert isinstance(failure, GenerationError)
    assert re.search(message, str(failure)), failure
    assert [one.token_ids for one in answers] == [one.token_ids for one in expected]


@pytest.mark.parametrize("given", [[3], "text", {1: 2}, lambda tokens, logits: logits, None])
def test_what_are_no_functions_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match="logits_processors"):
        GenerateParams(logits_processors=given)
