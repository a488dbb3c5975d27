"""Samplers with settings of their own draw what their published formulas say, which stand here in NumPy."""

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ruvllm import LLM, Dry, DynamicTemperature, GenerateParams, Mirostat, Xtc
from ruvllm.grammar import Grammar
from tests.conftest import FIXTURES
from tests.sampling.test_distributions import PROMPT, check, draw, greedy, probabilities


@pytest.fixture(scope="module")
def with_texts() -> Iterator[LLM]:
    """A model of random weights whose tokens are texts."""
    with LLM(FIXTURES / "gguf" / "llama-gqa.gguf", activations="f32", progress=False) as llm:
        yield llm


def entropy(shares: np.ndarray) -> float:
    """In nats."""
    there = shares[shares > 0]
    return float(-(there * np.log(there)).sum())


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def kept(shares: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Only these, as likely as they are among themselves."""
    left = np.zeros_like(shares)
    left[tokens] = shares[tokens]
    return left / left.sum()


@pytest.mark.parametrize("typical_p", [0.2, 0.7])
def test_typical_p(tiny_folder: LLM, typical_p: float) -> None:
    shares = probabilities(tiny_folder)
    nearest = np.argsort(np.abs(-np.log(shares) - entropy(shares)))
    count = int(np.searchsorted(np.cumsum(shares[nearest]), typical_p)) + 1
    expected = kept(shares, nearest[:count])
    assert expected.argmax() != shares.argmax() or typical_p > 0.5
    check(draw(tiny_folder, typical_p=typical_p), expected)


@pytest.mark.parametrize("temperature", [0.6, 1.0])
def test_top_n_sigma(tiny_folder: LLM, temperature: float) -> None:
    logits = tiny_folder.logits(PROMPT)[-1].astype(np.float64)
    tokens = np.flatnonzero(logits >= logits.max() - 1.5 * logits.std())
    assert 2 < len(tokens) < 100
    expected = kept(probabilities(tiny_folder, temperature), tokens)
    check(draw(tiny_folder, top_n_sigma=1.5, temperature=temperature), expected)


def without_the_likeliest(shares: np.ndarray, threshold: float) -> np.ndarray:
    order = np.argsort(-shares)
    likely = int((shares >= threshold).sum())
    return kept(shares, order[max(0, likely - 1) :])


@pytest.mark.parametrize("probability", [0.4, 1.0])
def test_xtc(tiny_folder: LLM, probability: float) -> None:
    shares = probabilities(tiny_folder)
    threshold = float(np.sort(shares)[-4]) * 0.99
    left = without_the_likeliest(shares, threshold)
    assert (left == 0).sum() >= 3
    xtc = Xtc(probability=probability, threshold=threshold)
    check(draw(tiny_folder, xtc=xtc), (1 - probability) * shares + probability * left)


@pytest.mark.parametrize(("spread", "exponent", "top_k"), [(0.8, 1.0, 0), (0.8, 3.0, 0), (2.0, 0.5, 20)])
def test_dynamic_temperature(tiny_folder: LLM, spread: float, exponent: float, top_k: int) -> None:
    logits = tiny_folder.logits(PROMPT)[-1].astype(np.float64)
    left = np.sort(logits)[-top_k:] if top_k else logits
    unsure = entropy(softmax(left)) / np.log(len(left))
    low, high = max(0.0, 1.0 - spread), 1.0 + spread
    made = low + (high - low) * unsure**exponent
    assert abs(made - 1) > 0.1
    tokens = np.argsort(-logits)[: len(left)]
    expected = kept(probabilities(tiny_folder, made), tokens)
    dynamic = DynamicTemperature(range=spread, exponent=exponent)
    check(draw(tiny_folder, dynamic_temperature=dynamic, top_k=top_k), expected)


@pytest.mark.parametrize("tau", [1.5, 2.5])
def test_the_first_token_under_mirostat(tiny_folder: LLM, tau: float) -> None:
    shares = probabilities(tiny_folder)
    tokens = np.flatnonzero(-np.log2(shares) <= 2 * tau)
    if not len(tokens):
        tokens = np.array([shares.argmax()])
    assert len(tokens) < 100
    check(draw(tiny_folder, mirostat=Mirostat(tau=tau)), kept(shares, tokens))


def test_mirostat_follows_what_was_drawn(tiny_folder: LLM) -> None:
    """The bound of each token is made of those before it, and never is one more surprising."""
    tau, eta = 3.0, 0.5
    params = GenerateParams(
        max_tokens=60,
        temperature=1.0,
        top_p=1.0,
        repetition_penalty=1.0,
        ignore_eos=True,
        seed=5,
        mirostat=Mirostat(tau=tau, eta=eta),
    )
    answer = tiny_folder.generate(PROMPT, params).token_ids
    rows = tiny_folder.logits([*PROMPT, *answer]).astype(np.float64)[len(PROMPT) - 1 :]
    bound, bounds, surprises = 2 * tau, [], []
    for token, row in zip(answer, rows, strict=False):
        shares = softmax(row)
        bits = -np.log2(shares)
        tokens = np.flatnonzero(bits <= bound)
        tokens = tokens if len(tokens) else np.array([shares.argmax()])
        assert bits[token] <= max(bound, bits.min()) + 1e-3
        bounds.append(bound)
        surprises.append(-np.log2(kept(shares, tokens)[token]))
        bound -= eta * (surprises[-1] - tau)
    assert np.ptp(bounds) > 1, "it hardly moved, so this shows nothing"
    # The sum of the errors is what the bound has moved.
    assert np.mean(surprises) - tau == pytest.approx((2 * tau - bound) / (eta * len(answer)))
    plain = tiny_folder.generate(PROMPT, GenerateParams(**{**_fields(params), "mirostat": None})).token_ids
    assert plain != answer


def _fields(params: GenerateParams) -> dict[str, object]:
    return {name: getattr(params, name) for name in GenerateParams.__dataclass_fields__}


def repeated(text: list[int], last_tokens: int | None) -> dict[int, int]:
    """By token that would go on with one, how long the repetition is; by comparing at every place."""
    window = text if last_tokens is None else text[-last_tokens:]
    longest: dict[int, int] = {}
    for place in range(len(window) - 1):
        length = 0
        while length <= place and window[place - length] == window[-1 - length]:
            length += 1
        token = window[place + 1]
        longest[token] = max(length, longest.get(token, 0))
    return longest


@pytest.mark.parametrize(
    "dry",
    [
        Dry(multiplier=0.8, allowed_length=1, sequence_breakers=()),
        Dry(multiplier=0.3, base=1.2, sequence_breakers=()),
        Dry(multiplier=2, base=1, allowed_length=1, last_tokens=7, sequence_breakers=()),
    ],
    ids=["long", "slow", "window"],
)
def test_dry(tiny_folder: LLM, dry: Dry) -> None:
    prompt = [*PROMPT, 9, *PROMPT]
    answer = greedy(tiny_folder, prompt, 60, dry=dry)  # type: ignore[arg-type]
    rows = tiny_folder.logits(prompt + answer).astype(np.float64)[len(prompt) - 1 :]
    others = 0
    for index, (token, row) in enumerate(zip(answer, rows, strict=False)):
        held_back = row.copy()
        for one, length in repeated(prompt + answer[:index], dry.last_tokens).items():
            if length >= dry.allowed_length:
                held_back[one] -= dry.multiplier * dry.base ** (length - dry.allowed_length)
        assert held_back[token] > held_back.max() - 1e-3
        others += int(row[token] < row.max() - 1e-2)
    assert others >= 3, "without it the answer would be nearly the same, so this shows nothing"


@pytest.mark.real_model
def test_dry_by_texts_that_break(smollm2: LLM) -> None:
    """A list repeats how its lines begin; where lines break nothing is held back for it."""
    lines = "".join(f"- The number of {name} is one\n" for name in ("cats", "dogs", "birds", "cows"))
    settings = {"temperature": 0, "repetition_penalty": 1, "max_tokens": 4}
    plain = smollm2.generate(lines, **settings).text
    assert plain.startswith("- The number")
    strict = Dry(multiplier=5, sequence_breakers=())
    assert not smollm2.generate(lines, dry=strict, **settings).text.startswith("- The number")
    # Four tokens behind the line's end there is a repetition of three.
    by_lines = Dry(multiplier=5, allowed_length=4, sequence_breakers=("\n",))
    assert smollm2.generate(lines, dry=by_lines, **settings).text == plain


def nearest_to_the_entropy(logits: np.ndarray) -> int:
    shares = softmax(logits)
    surprises = -np.log(shares)
    return int(np.abs(surprises - entropy(shares)).argmin())


def second(logits: np.ndarray) -> int:
    return int(np.argsort(-logits)[1])


def likeliest(logits: np.ndarray) -> int:
    return int(logits.argmax())


# Each so that it leaves one token, and which of those that are allowed.
LEAVES_ONE: dict[str, tuple[dict[str, Any], Callable[[np.ndarray], int]]] = {
    "typical_p": ({"typical_p": 1e-6}, nearest_to_the_entropy),
    "top_n_sigma": ({"top_n_sigma": 1e-3}, likeliest),
    "xtc": ({"xtc": Xtc(probability=1, threshold=0), "top_k": 2}, second),
    "mirostat": ({"mirostat": Mirostat(tau=0, eta=1)}, likeliest),
    "dynamic_temperature": (
        {"temperature": 0.1, "dynamic_temperature": DynamicTemperature(range=0.1, exponent=100)},
        likeliest,
    ),
}


@pytest.mark.parametrize("sampler", LEAVES_ONE)
def test_what_is_not_allowed_is_as_if_it_were_not(with_texts: LLM, sampler: str) -> None:
    """Under a grammar, by hand: the formulas of the allowed tokens alone."""
    settings, chosen = LEAVES_ONE[sampler]
    length = 12
    params = GenerateParams(
        **{
            "temperature": 1,
            "top_p": 1,
            "repetition_penalty": 1,
            "max_tokens": length,
            "seed": 3,
            "grammar": Grammar.regex(f"[a-z]{{{length}}}"),
            **settings,
        }
    )
    texts = [with_texts.token_bytes(token) for token in range(with_texts.model_info.vocab_size)]
    expected: list[int] = []
    while (left := length - sum(len(texts[token]) for token in expected)) > 0:
        logits = with_texts.logits([*PROMPT, *expected])[-1].astype(np.float64)
        fits = [bool(re.fullmatch(rb"[a-z]{1,%d}" % left, text)) for text in texts]
        assert expected or not fits[logits.argmax()], "it would come first in any case, so this shows less"
        allowed = np.flatnonzero(fits)
        expected.append(int(allowed[chosen(logits[allowed])]))
    answer = with_texts.generate(PROMPT, params)
    assert list(answer.token_ids) == expected
    assert with_texts.generate([PROMPT] * 3, params)[1].token_ids == answer.token_ids
    neutral = GenerateParams(top_p=1)
    without = with_texts.generate(PROMPT, replace(params, **{sampler: getattr(neutral, sampler)}))
    assert without.token_ids != answer.token_ids


def test_repetitions_are_held_back_under_a_grammar(with_texts: LLM) -> None:
    def answered(dry: Dry | None) -> list[tuple[int, int]]:
        grammar = Grammar.regex("[a-z]{40}")
        params = GenerateParams(temperature=0, repetition_penalty=1, max_tokens=40, grammar=grammar, dry=dry)
        return [*itertools.pairwise(with_texts.generate(PROMPT, params).token_ids)]

    plain = answered(None)
    assert len(set(plain)) < len(plain), "it repeats nothing anyway, so this shows nothing"
    pairs = answered(Dry(multiplier=100, allowed_length=1, sequence_breakers=()))
    assert len(set(pairs)) == len(pairs) > 10


def test_all_of_them_at_once_where_an_answer_must_not_end(tiny_folder: LLM) -> None:
    everything = {
        "typical_p": 0.9,
        "top_n_sigma": 4,
        "dry": Dry(sequence_breakers=()),
        "xtc": Xtc(threshold=0.01),
        "dynamic_temperature": DynamicTemperature(range=0.5),
        "mirostat": Mirostat(tau=4),
    }
    plain = GenerateParams(temperature=1, top_p=1, max_tokens=20, min_tokens=20, seed=1)
    params = replace(plain, **everything)  # type: ignore[arg-type]
    answer = tiny_folder.generate(PROMPT, params)
    assert len(answer.token_ids) == 20
    assert answer.token_ids == tiny_folder.generate([PROMPT] * 3, params)[1].token_ids
    assert answer.token_ids != tiny_folder.generate(PROMPT, plain).token_ids
