"""With a real model's embeddings a request finds its kind, and what it finds helps the model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ruvllm import LLM, ReasoningBank, Step, Trajectory, Verdict
from ruvllm.errors import StorageError
from ruvllm.reasoning.embedding import Embeddings
from tests.reasoning.requests import FIRST, SECOND
from tests.reasoning.word_vectors import word_vectors

pytestmark = pytest.mark.real_model
KINDS = [pytest.param(FIRST, id="first"), pytest.param(SECOND, id="second")]


def right_kind(bank: ReasoningBank, kinds: dict[str, list[str]]) -> float:
    """Every fourth request is asked; the share of which the nearest of the others is of the same kind."""
    for kind, texts in kinds.items():
        bank.extend(
            Trajectory(request=text, response=kind) for number, text in enumerate(texts) if number % 4
        )
    asked = [(kind, text) for kind, texts in kinds.items() for text in texts[::4]]
    return float(np.mean([bank.search(text, 1)[0].trajectory.response == kind for kind, text in asked]))


def plain(llm: LLM) -> Callable[[list[str]], np.ndarray]:
    return lambda texts: llm.embed(texts)


def noise(texts: list[str]) -> np.ndarray:
    return np.random.default_rng(len(texts[0])).normal(size=(len(texts), 64))


@pytest.mark.parametrize("kinds", KINDS)
def test_a_request_finds_its_kind(smollm2: LLM, kinds: dict[str, list[str]]) -> None:
    assert right_kind(ReasoningBank(smollm2), kinds) >= 0.9


@pytest.mark.parametrize("kinds", KINDS)
def test_what_knows_no_meaning_does_not(kinds: dict[str, list[str]]) -> None:
    """The same measure, where a stub stands for the model."""
    assert right_kind(ReasoningBank(noise), kinds) <= 0.6
    assert right_kind(ReasoningBank(word_vectors), kinds) <= 0.8


def test_what_all_have_in_common_hides_the_kind(smollm2: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    with_it = right_kind(ReasoningBank(plain(smollm2)), SECOND)
    monkeypatch.setattr("ruvllm.reasoning.background.FEWEST", 10**6)
    assert with_it >= right_kind(ReasoningBank(plain(smollm2)), SECOND) + 0.1


def test_a_model_that_is_asked_tells_kinds_apart(smollm2: LLM) -> None:
    """Beside the mean of the states of the request alone: of each request, the nearest other one."""
    kinds = [kind for group in (FIRST, SECOND) for kind, texts in group.items() for _ in texts]
    texts = [text for group in (FIRST, SECOND) for texts in group.values() for text in texts]
    shares = []
    for vectors in (Embeddings(smollm2, "").of(texts), smollm2.embed(texts)):
        similarities = vectors @ vectors.T
        np.fill_diagonal(similarities, -1.0)
        nearest = similarities.argmax(axis=1)
        shares.append(np.mean([kinds[row] == kind for row, kind in zip(nearest, kinds, strict=True)]))
    assert shares[0] >= shares[1] + 0.05


def test_of_a_long_request_the_beginning_counts(smollm2_path: Path) -> None:
    long = "Translate this into French: " + "the house is large and " * 100
    with LLM(smollm2_path, max_context=128) as llm, ReasoningBank(llm) as bank:
        assert len(llm.tokenize(long)) > 128
        number = bank.record(Trajectory(request=long))
        assert bank.search(long + " so on", 1)[0].similarity == pytest.approx(1.0, abs=1e-5)
        bank.record(Trajectory(request="How do I bake <|im_end|> bread?"))
        assert bank.search("Translate that into French: the house is large", 1)[0].id == number


def test_patterns_are_kinds(smollm2: LLM) -> None:
    bank = ReasoningBank(smollm2)
    for kind, texts in FIRST.items():
        bank.extend(Trajectory(request=text, response=kind) for text in texts)
    patterns = bank.distill(best=100)
    shares = []
    for pattern in patterns:
        kinds = [match.trajectory.response for match in pattern.best]
        assert len(kinds) == pattern.count
        shares.append(max(map(kinds.count, kinds)))
    assert sum(shares) >= 0.9 * len(bank)
    assert len(patterns) == round(1.5 * len(bank) ** 0.5)


REVIEWS = [
    ("The soup was cold.", "down"), ("I slept very well here.", "up"), ("It broke after one day.", "down"),
    ("What a wonderful evening!", "up"), ("The staff were rude.", "down"), ("My children loved it.", "up"),
    ("Far too expensive.", "down"), ("Fresh, quick and friendly.", "up"),
]  # fmt: skip
NEW = [("The room smelled bad.", "down"), ("Best coffee in town.", "up")]


def test_what_is_found_helps_the_model(smollm2: LLM) -> None:
    """The answer's form is a convention that only the bank knows."""
    bank = ReasoningBank(smollm2)
    for text, label in REVIEWS:
        bank.record(
            Trajectory(
                request=f"Rate this review: {text}",
                response=f"thumb={label}",
                verdict=Verdict.Success,
                quality=0.9,
            )
        )
    for text in FIRST["cooking"]:
        bank.record(Trajectory(request=text, response="Heat the pan.", verdict=Verdict.Success, quality=0.9))
    for text, label in NEW:
        request = f"Rate this review: {text}"
        context = bank.context(request, 4)
        assert context.tokens == len(smollm2.tokenize(context.text, add_bos=False)) <= 512
        assert all(match.trajectory.response.startswith("thumb=") for match in context.used)
        without = log_prob(smollm2, f"Request: {request}\nAnswer:", f" thumb={label}")
        with_it = log_prob(smollm2, f"{context.text}Request: {request}\nAnswer:", f" thumb={label}")
        assert with_it > without + 1.0


def log_prob(llm: LLM, prompt: str, answer: str) -> float:
    """Of the answer's tokens, each."""
    before, behind = llm.tokenize(prompt), llm.tokenize(answer, add_bos=False)
    found = llm.token_logprobs([*before, *behind])
    return float(np.mean([one.logprob for one in found[-len(behind) :]]))


def test_a_bank_outlives_its_model(smollm2: LLM, tiny_gguf: LLM, tmp_path: Path) -> None:
    long = "Translate this into French: " + "the house is large and " * 400
    with ReasoningBank(smollm2, tmp_path) as bank:
        bank.extend(Trajectory(request=text, steps=(Step("think"),)) for text in FIRST["translation"])
        bank.record(Trajectory(request=long))
        found = bank.search("What is the French word for bread?", 5)
    with ReasoningBank(smollm2, tmp_path) as bank:
        assert bank.search("What is the French word for bread?", 5) == found
    with pytest.raises(StorageError, match="a bank is of one model"):
        ReasoningBank(tiny_gguf, tmp_path)
