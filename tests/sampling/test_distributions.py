"""What is drawn follows the model's own probabilities, as the parameters shape them."""

import numpy as np
import pytest

from ruvllm import LLM, GenerateParams

PROMPT = [40, 41, 42, 43]
DRAWS = 4000


def probabilities(llm: LLM, temperature: float = 1.0) -> np.ndarray:
    logits = llm.logits(PROMPT)[-1].astype(np.float64) / temperature
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def draw(llm: LLM, **params: float) -> np.ndarray:
    """The first token of many answers."""
    settings = {"temperature": 1.0, "top_p": 1.0, "repetition_penalty": 1.0, **params}
    tokens = []
    for begin in range(0, DRAWS, 50):
        streams = [
            llm.stream(PROMPT, GenerateParams(max_tokens=1, ignore_eos=True, seed=seed, **settings))  # type: ignore[arg-type]
            for seed in range(begin, begin + 50)
        ]
        tokens += [stream.completion().token_ids[0] for stream in streams]
    return np.bincount(tokens, minlength=320)


def check(counts: np.ndarray, expected: np.ndarray) -> None:
    """Pearson's test at about one in a million, over tokens that are expected often enough."""
    assert counts[expected == 0].sum() == 0
    common = expected * DRAWS >= 5
    observed = np.append(counts[common], counts[~common].sum())
    wanted = np.append(expected[common], expected[~common].sum()) * DRAWS
    observed, wanted = observed[wanted > 0], wanted[wanted > 0]
    statistic = ((observed - wanted) ** 2 / wanted).sum()
    freedom = len(wanted) - 1
    assert statistic < freedom + 5 * np.sqrt(2 * freedom) + 10


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_temperature(tiny_folder: LLM, temperature: float) -> None:
    check(draw(tiny_folder, temperature=temperature), probabilities(tiny_folder, temperature))


def test_top_k(tiny_folder: LLM) -> None:
    expected = probabilities(tiny_folder)
    expected[np.argsort(-expected)[7:]] = 0
    check(draw(tiny_folder, top_k=7), expected / expected.sum())


def test_top_p(tiny_folder: LLM) -> None:
    expected = probabilities(tiny_folder)
    order = np.argsort(-expected)
    kept = int(np.searchsorted(np.cumsum(expected[order]), 0.6)) + 1
    expected[order[kept:]] = 0
    check(draw(tiny_folder, top_p=0.6), expected / expected.sum())


def test_min_p(tiny_folder: LLM) -> None:
    expected = probabilities(tiny_folder)
    expected[expected < 0.3 * expected.max()] = 0
    check(draw(tiny_folder, min_p=0.3), expected / expected.sum())


def greedy(llm: LLM, prompt: list[int], count: int, **params: float) -> list[int]:
    settings = {"repetition_penalty": 1.0, **params}
    return list(
        llm.generate(
            prompt,
            GenerateParams(temperature=0.0, max_tokens=count, ignore_eos=True, **settings),  # type: ignore[arg-type]
        ).token_ids
    )


PENALTIES = {
    "repetition": {"repetition_penalty": 1.4},
    "presence": {"presence_penalty": 0.7},
    "frequency": {"frequency_penalty": 0.3},
    "all": {"repetition_penalty": 1.4, "presence_penalty": 0.7, "frequency_penalty": 0.3},
}


@pytest.mark.parametrize("which", PENALTIES)
def test_penalties_as_their_formulas_say(tiny_folder: LLM, which: str) -> None:
    params = PENALTIES[which]
    repetition = params.get("repetition_penalty", 1.0)
    presence, frequency = params.get("presence_penalty", 0.0), params.get("frequency_penalty", 0.0)
    answer = greedy(tiny_folder, PROMPT, 30, **params)
    logits = tiny_folder.logits(PROMPT + answer).astype(np.float64)
    others = 0
    for index, token in enumerate(answer):
        plain = logits[len(PROMPT) + index - 1]
        row = plain.copy()
        for seen in set(PROMPT + answer[:index]):
            row[seen] = row[seen] / repetition if row[seen] > 0 else row[seen] * repetition
        for seen in set(answer[:index]):
            row[seen] -= presence + frequency * answer[:index].count(seen)
        assert row[token] > row.max() - 1e-4
        others += plain[token] < plain.max() - 1e-3
    assert others >= 5, "without the penalty the answer would be nearly the same, so this shows nothing"


def test_each_penalty_by_itself_gives_another_answer(tiny_folder: LLM) -> None:
    answers = [greedy(tiny_folder, PROMPT, 30, **params) for params in ({}, *PENALTIES.values())]
    assert len({tuple(answer) for answer in answers}) == 1 + len(PENALTIES)
