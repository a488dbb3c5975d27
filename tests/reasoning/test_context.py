"""The text that a bank gives to put before a request: what is in it, in which order, within its bound."""

import pytest

from ruvllm import ReasoningBank, Step, Trajectory, Verdict
from tests.reasoning.word_vectors import word_vectors


def bank_of(*trajectories: Trajectory) -> ReasoningBank:
    bank = ReasoningBank(word_vectors)
    bank.extend(trajectories)
    return bank


PAINT = Trajectory(
    request="paint the house",
    steps=(Step("buy paint", "blue"), Step("begin at the top")),
    response="It is blue.",
    verdict=Verdict.Success,
    quality=0.9,
)
BAKE = Trajectory(request="bake some bread", response="It burned.", verdict=Verdict.Failure, quality=0.6)
SING = Trajectory(request="sing a song", quality=0.2)


def test_what_is_in_it() -> None:
    context = bank_of(PAINT, BAKE, SING).context("paint the boat", 1)
    assert context.text == (
        "What was done for similar requests, and how it went:\n\n"
        "Request: paint the house\n"
        "Step 1: buy paint -> blue\n"
        "Step 2: begin at the top\n"
        "Answer: It is blue.\n"
        "This was right.\n\n"
    )
    assert [match.trajectory for match in context.used] == [PAINT]
    assert (context.patterns, context.left_out) == ((), 0)
    # There is no tokenizer, and no token is less than a byte.
    assert context.tokens == len(context.text)


def test_the_most_similar_stand_first_and_the_bad_not_at_all() -> None:
    context = bank_of(SING, BAKE, PAINT).context("paint a song", 3, min_similarity=-1.0)
    assert [match.trajectory for match in context.used] == [PAINT, BAKE]
    assert "This was wrong." in context.text
    assert bank_of(SING).context("sing", min_quality=0.0).used[0].trajectory == SING


def test_what_is_less_similar_is_left_out() -> None:
    bank = bank_of(PAINT, BAKE)
    similarities = [match.similarity for match in bank.search("paint the boat", 2)]
    between = sum(similarities) / 2
    assert [one.trajectory for one in bank.context("paint the boat", min_similarity=between).used] == [PAINT]


@pytest.mark.parametrize("max_tokens", [1, 60, 110, 120, 150, 200, 250, 1000])
def test_it_stays_within_its_bound(max_tokens: int) -> None:
    bank = bank_of(PAINT, BAKE)
    context = bank.context("paint the bread", 2, max_tokens=max_tokens, min_similarity=-1.0)
    assert context.tokens == len(context.text.encode()) <= max_tokens
    assert len(context.used) + context.left_out == 2
    assert context.text.count("Request: ") == len(context.used)


def test_steps_go_before_the_whole_does() -> None:
    bank = bank_of(PAINT)
    whole = bank.context("paint").tokens
    shorter = bank.context("paint", max_tokens=whole - 1)
    assert "Step" not in shorter.text
    assert "It is blue." in shorter.text
    assert shorter.left_out == 0


def test_each_of_the_most_similar_patterns_has_one_part() -> None:
    colours = [
        Trajectory(request=f"paint the {what}", quality=0.8) for what in ("house", "boat", "car", "fence")
    ]
    breads = [
        Trajectory(request=f"bake {what} bread", quality=0.8) for what in ("rye", "corn", "white", "brown")
    ]
    bank = bank_of(*colours, *breads)
    patterns = bank.distill(2, best=4)
    for bread in breads:
        context = bank.context(bread.request, 2, min_similarity=-1.0)
        assert context.used[0].trajectory == bread
    assert context.used[1].trajectory in colours
    of_breads = next(one.id for one in patterns if one.best[0].trajectory in breads)
    assert context.patterns[0] == of_breads
    assert set(context.patterns) == {0, 1}


def test_what_stood_in_it_counts_as_found() -> None:
    bank = ReasoningBank(word_vectors, capacity=2)
    bank.extend([Trajectory(request="paint", quality=0.5), Trajectory(request="bake", quality=0.6)])
    bank.context("paint", 1)
    bank.record(Trajectory(request="sing"))
    assert {match.trajectory.request for match in bank.search("paint")} == {"paint", "sing"}
