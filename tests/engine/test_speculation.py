"""Guesses of next tokens change no answer of a real model, and save steps where a text repeats."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ruvllm import LLM, Completion, Dry, DynamicTemperature, GenerateParams, Grammar, Mirostat, Xtc
from ruvllm.errors import ConfigError

TEXT = (
    "The lamp stands on the north side of the harbour. It was lit first in 1871, and its keeper wrote down "
    "the weather of every day. The lamp burns oil, and later gas; the keeper trims it at four in the morning."
)
COPY = f"Repeat this text word for word:\n\n{TEXT}"
GREEDY = GenerateParams(max_tokens=48, temperature=0.0, repetition_penalty=1.0, cache_prefix=False)
CASES = {
    "greedy": GREEDY,
    "logprobs": replace(GREEDY, logprobs=3),
    "drawn": replace(GREEDY, temperature=0.8, top_p=0.9, seed=11, logprobs=0),
    "filtered": replace(GREEDY, temperature=1.2, top_k=20, min_p=0.02, seed=3),
    # Alone and together: each would draw other tokens if it saw more, or less, than what was kept.
    "dry": replace(GREEDY, dry=Dry(multiplier=0.4, base=1.2, sequence_breakers=["."])),  # type: ignore[arg-type]
    "xtc": replace(GREEDY, temperature=0.7, seed=4, xtc=Xtc(threshold=0.05)),
    "mirostat": replace(GREEDY, temperature=1.0, top_p=1.0, seed=5, mirostat=Mirostat(tau=1.5, eta=0.4)),
    "samplers": replace(
        GREEDY,
        temperature=0.8,
        seed=6,
        logprobs=1,
        typical_p=0.9,
        top_n_sigma=3,
        dry=Dry(multiplier=0.1, base=1.1),
        xtc=Xtc(probability=0.3, threshold=0.2),
        dynamic_temperature=DynamicTemperature(range=0.4),
        mirostat=Mirostat(tau=2),
    ),
    "penalties": replace(GREEDY, repetition_penalty=1.15, presence_penalty=0.3, frequency_penalty=0.2),
    "stop": replace(GREEDY, stop_sequences=("1871", "keeper")),
    "grammar": replace(GREEDY, grammar=Grammar.regex("(The|A)[a-z ]{5,40}[.] It[a-z ]{4,30}[.]")),
}


@pytest.fixture(scope="module")
def guessing(smollm2_path: Path) -> Iterator[LLM]:
    with LLM(smollm2_path) as llm:
        yield llm


def seen(answer: Completion) -> object:
    """All of an answer but times and how it was made."""
    return answer.text, answer.token_ids, answer.logprobs, answer.finish_reason


@pytest.mark.real_model
@pytest.mark.parametrize("name", sorted(CASES))
def test_answers_are_the_same_without(guessing: LLM, name: str) -> None:
    params = CASES[name]
    guessed = guessing.chat(COPY, params)
    plain = guessing.chat(COPY, replace(params, speculate=False))
    assert seen(guessed) == seen(plain)
    assert (plain.usage.drafted_tokens, plain.usage.accepted_tokens) == (0, 0)


@pytest.mark.real_model
def test_answers_of_many_are_the_same_without(guessing: LLM) -> None:
    prompts = [f"{number}. {COPY}" for number in range(6)]
    params = [replace(case, seed=number) for number, case in enumerate(CASES.values())][:6]

    def answers(*, speculate: bool) -> list[object]:
        streams = [
            guessing.stream(prompt, replace(one, speculate=speculate))
            for prompt, one in zip(prompts, params, strict=True)
        ]
        return [[token for chunk in stream for token in chunk.token_ids] for stream in streams]

    assert answers(speculate=True) == answers(speculate=False)


@pytest.mark.real_model
def test_off_is_off(guessing: LLM, smollm2_path: Path) -> None:
    foretold = replace(GREEDY, prediction=TEXT)
    with LLM(smollm2_path, speculation="off") as off:
        answer = off.chat(COPY, foretold)
        assert answer.usage.drafted_tokens == 0
        assert seen(answer) == seen(guessing.chat(COPY, foretold))
        stats = off.stats().speculation
    assert (stats.drafted_tokens, stats.accepted_tokens, stats.step_costs) == (0, 0, {})


@pytest.mark.real_model
def test_it_is_on_for_everyone(smollm2: LLM) -> None:
    assert smollm2.chat(COPY, GREEDY).usage.accepted_tokens > 0


@pytest.mark.real_model
def test_a_prediction_is_taken_from(guessing: LLM) -> None:
    asked = "Name ten things that float on water, one a line."
    plain = guessing.chat(asked, replace(GREEDY, speculate=False))
    before = guessing.stats().speculation
    foretold = guessing.chat(asked, replace(GREEDY, prediction=plain.text))
    assert seen(foretold) == seen(plain)
    usage = foretold.usage
    # How many are computed depends on what steps cost here; that they are known does not.
    assert 0 < 0.9 * usage.drafted_tokens <= usage.accepted_tokens
    # Counted as of the last plan.
    while guessing.stats().speculation.drafted_tokens == before.drafted_tokens:
        time.sleep(0.01)
    stats = guessing.stats().speculation
    assert stats.drafted_tokens - before.drafted_tokens >= usage.drafted_tokens
    assert stats.accepted_tokens - before.accepted_tokens >= usage.accepted_tokens
    assert stats.step_costs[1] == 1.0


def test_wrong_values_are_refused() -> None:
    with pytest.raises(ConfigError, match="speculate is 'yes'"):
        GenerateParams(speculate="yes")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="prediction is 5"):
        GenerateParams(prediction=5)  # type: ignore[arg-type]
