"""The bank's methods, on vectors of words: what is found, what gives way, what is refused."""

from pathlib import Path

import numpy as np
import pytest

from ruvllm import ReasoningBank, Step, Trajectory, Verdict
from ruvllm.errors import ConfigError, EmbeddingError, InvalidOperationError, NotFoundError
from tests.reasoning.word_vectors import word_vectors


def trajectory(request: str, quality: float = 0.5, verdict: Verdict = Verdict.Success) -> Trajectory:
    return Trajectory(request=request, response=f"<{request}>", quality=quality, verdict=verdict)


def found(bank: ReasoningBank, text: str, k: int = 10, **which: object) -> list[str]:
    return [match.trajectory.request for match in bank.search(text, k, **which)]


def filled(capacity: int = 100, **keywords: object) -> ReasoningBank:
    bank = ReasoningBank(word_vectors, capacity=capacity, **keywords)
    bank.extend(
        trajectory(f"{verb} the {what}", quality, verdict)
        for verb, verdict in (
            ("paint", Verdict.Success),
            ("repair", Verdict.Failure),
            ("sell", Verdict.Partial),
        )
        for what, quality in (("house", 0.9), ("boat", 0.6), ("car", 0.3))
    )
    return bank


def test_what_was_recorded_is_found_whole() -> None:
    bank = filled()
    whole = Trajectory(
        request="move the piano",
        steps=(Step("lift it", "too heavy"), Step("ask a friend")),
        response="done",
        verdict=Verdict.Partial,
        quality=0.7,
    )
    number = bank.record(whole)
    (match,) = bank.search("please move the piano", 1)
    assert (match.id, match.trajectory) == (number, whole) == (10, bank.get(number))
    assert 0.5 < match.similarity <= 1.0
    assert bank.search("move the piano", 1)[0].similarity == pytest.approx(1.0, abs=1e-6)


def test_the_most_similar_come_first() -> None:
    matches = filled().search("paint the boat", 9)
    assert matches[0].trajectory.request == "paint the boat"
    similarities = [match.similarity for match in matches]
    assert len(matches) == 9
    assert similarities == sorted(similarities, reverse=True)


def test_a_filter_leaves_only_what_passes() -> None:
    bank = filled()
    assert set(found(bank, "the boat", verdicts=[Verdict.Failure])) == {
        "repair the house", "repair the boat", "repair the car",
    }  # fmt: skip
    assert set(found(bank, "the boat", min_quality=0.9)) == {
        "paint the house",
        "repair the house",
        "sell the house",
    }
    both = found(bank, "the boat", verdicts={Verdict.Failure, Verdict.Partial}, min_quality=0.6)
    assert set(both) == {"repair the house", "repair the boat", "sell the house", "sell the boat"}
    assert found(bank, "the boat", verdicts=()) == []
    assert found(bank, "the boat", verdicts=[Verdict.Unknown]) == []


def test_what_is_forgotten_is_not_found_and_its_id_is_not_given_again() -> None:
    bank = filled()
    bank.distill(3, best=3)
    first = bank.search("paint the boat", 1)[0].id
    last = bank.record(trajectory("fly a kite"))
    bank.forget(first, last)
    assert "paint the boat" not in found(bank, "paint the boat")
    assert all(match.id not in (first, last) for pattern in bank.patterns() for match in pattern.best)
    assert len(bank) == 8
    assert bank.record(trajectory("fly a kite")) == last + 1
    with pytest.raises(NotFoundError, match="no trajectory 2 "):
        bank.forget(1, first)
    assert bank.get(1) == trajectory("paint the house", 0.9)


def test_the_worst_and_the_seldom_found_give_way() -> None:
    bank = filled(capacity=9)
    # Of the lowest quality, but often found.
    for _ in range(9):
        assert found(bank, "sell the car", 1) == ["sell the car"]
    bank.extend([trajectory("fly a kite", 0.0), trajectory("fly a plane", 0.0)])
    left = set(found(bank, "the car", 20))
    assert len(left) == 9
    assert {"fly a kite", "fly a plane", "sell the car"} <= left
    assert not {"paint the car", "repair the car"} & left
    assert bank.stats().evicted == 2
    # What is new has had no time to be found; it gives way later.
    bank.record(trajectory("fly a balloon", 0.1))
    assert "fly a kite" not in found(bank, "fly", 20)


def test_what_stands_for_a_pattern_gives_way_last() -> None:
    bank = filled(capacity=9)
    (pattern,) = bank.distill(1, best=1)
    kept = pattern.best[0]
    bank.extend(trajectory(f"count to {number}", 1.0) for number in range(8))
    assert bank.get(kept.id) == kept.trajectory
    bank.extend(trajectory(f"count to {number}", 1.0) for number in range(20))
    assert len(bank) == 9
    assert bank.get(kept.id) == kept.trajectory


def test_more_than_fits_leaves_the_last() -> None:
    bank = ReasoningBank(word_vectors, capacity=3)
    numbers = bank.extend(trajectory(f"count to {number}") for number in range(10))
    assert numbers == list(range(1, 11))
    assert set(found(bank, "count")) == {"count to 7", "count to 8", "count to 9"}


def test_patterns_are_of_what_is_there() -> None:
    bank = ReasoningBank(word_vectors)
    ends = [(0.9, Verdict.Success), (0.6, Verdict.Failure), (0.3, Verdict.Partial)]
    for what in ("house", "boat", "car"):
        bank.extend(
            trajectory(f"paint {what} in bright red {quality}", quality, end) for quality, end in ends
        )
    bank.extend(
        trajectory(f"bake {what} bread with butter", 0.8) for what in ("white", "brown", "rye", "corn")
    )
    patterns = bank.distill(2, best=2)
    assert [pattern.id for pattern in patterns] == [0, 1]
    large, small = patterns
    assert (large.count, small.count) == (9, 4)
    assert large.mean_quality == pytest.approx(0.6)
    assert small.mean_quality == pytest.approx(0.8)
    assert large.verdicts == {Verdict.Success: 3, Verdict.Failure: 3, Verdict.Partial: 3}
    assert small.verdicts == {Verdict.Success: 4}
    assert {match.trajectory.quality for match in large.best} == {0.9}
    assert len(large.best) == len(small.best) == 2
    assert np.linalg.norm(small.centre) == pytest.approx(1.0, abs=1e-6)
    assert bank.patterns() == patterns
    assert bank.distill(2, best=2) == patterns
    bank.record(trajectory("fly a kite"))
    assert (bank.stats().patterns, bank.stats().undistilled) == (2, 1)


def test_the_best_of_a_pattern_are_those_of_most_quality() -> None:
    bank = ReasoningBank(word_vectors)
    bank.extend(trajectory("paint the house") for _ in range(5))
    bank.record(trajectory("paint the old barn in red", 0.9))
    bank.record(trajectory("paint it", 0.1))
    (pattern,) = bank.distill(1, best=2)
    assert [match.id for match in pattern.best] == [6, 1]
    assert pattern.best[0].similarity < pattern.best[1].similarity


def test_quality_draws_a_pattern_towards_what_went_well() -> None:
    def similarity(good: float, bad: float) -> float:
        bank = ReasoningBank(word_vectors)
        bank.extend([trajectory("red wine", good), trajectory("green tea", bad)])
        (pattern,) = bank.distill(1)
        (match,) = [one for one in pattern.best if one.trajectory.request == "red wine"]
        return match.similarity

    assert similarity(0.9, 0.1) > similarity(0.5, 0.5) > similarity(0.1, 0.9)


def test_an_empty_bank_finds_nothing() -> None:
    bank = ReasoningBank(word_vectors)
    assert bank.search("anything") == []
    assert bank.distill() == bank.patterns() == ()
    context = bank.context("anything")
    assert (context.text, context.tokens, context.used) == ("", 0, ())
    assert bank.stats().mean_quality == 0.0


def test_figures_are_of_what_happened() -> None:
    bank = filled(capacity=10)
    bank.extend(trajectory(f"count to {number}") for number in range(3))
    bank.search("count")
    bank.search("paint")
    figures = bank.stats()
    assert (figures.trajectories, figures.capacity, figures.recorded, figures.evicted) == (10, 10, 12, 2)
    assert (figures.searches, figures.patterns, figures.undistilled, figures.file_bytes) == (2, 0, 10, 0)
    assert sum(figures.verdicts.values()) == 10
    assert figures.background == 9
    assert figures.tenant == "default"


def test_tenants_have_nothing_in_common(tmp_path: Path) -> None:
    with (
        ReasoningBank(word_vectors, tmp_path, tenant="a") as first,
        ReasoningBank(word_vectors, tmp_path, tenant="A") as second,
        ReasoningBank(word_vectors, tmp_path, tenant="../a") as third,
    ):
        first.record(trajectory("the secret of a"))
        assert second.search("the secret of a") == third.search("the secret of a") == []
        assert second.context("the secret of a").text == ""
        with pytest.raises(NotFoundError):
            second.get(1)
        with pytest.raises(NotFoundError):
            second.forget(1)
        assert found(first, "the secret of a") == ["the secret of a"]
    assert all(path.resolve().is_relative_to(tmp_path) for path in tmp_path.rglob("*"))


def test_a_closed_bank_says_so(tmp_path: Path) -> None:
    bank = ReasoningBank(word_vectors, tmp_path)
    bank.close()
    bank.close()
    for call in (bank.patterns, bank.stats, lambda: bank.search("a"), lambda: bank.record(trajectory("a"))):
        with pytest.raises(InvalidOperationError, match="closed"):
            call()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: trajectory(" "), "request is empty"),
        (lambda: trajectory("a", 1.5), "quality is 1.5"),
        (lambda: trajectory("a", float("nan")), "quality is nan"),
        (lambda: trajectory("\ud800"), "half a character"),
        (lambda: Trajectory(request="a", verdict="success"), "verdict is 'success'"),
        (lambda: Trajectory(request="a", steps=("b",)), "a step is 'b'"),
        (lambda: Trajectory(request="a" * 200_001), "200001 characters"),
        (lambda: Trajectory(request="a", steps=[Step("b")] * 1001), "1001 steps"),
        (lambda: ReasoningBank(word_vectors, tenant=""), "tenant is empty"),
        (lambda: ReasoningBank(word_vectors, capacity=0), "capacity is 0"),
        (lambda: ReasoningBank(word_vectors, index="tree"), "index is 'tree'"),
        (lambda: ReasoningBank("smollm2-135m"), "no embeddings"),
        (lambda: filled().search(""), "text is empty"),
        (lambda: filled().search("a", 0), "k is 0"),
        (lambda: filled().search("a", verdicts=["success"]), "a verdict is 'success'"),
        (lambda: filled().search("a", min_quality=2), "min_quality is 2"),
        (lambda: filled().record("a"), "trajectory is 'a'"),
        (lambda: filled().distill(0), "patterns is 0"),
        (lambda: filled().context("a", max_tokens=0), "max_tokens is 0"),
        (lambda: filled().forget("1"), "id is '1'"),
    ],
)
def test_what_is_refused(call: object, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        call()


@pytest.mark.parametrize(
    ("gives", "says"),
    [
        (lambda texts: "no", "no array of numbers"),
        (lambda texts: [[1.0]] * (len(texts) + 1), "for 1 texts"),
        (lambda texts: np.ones(3), "for 1 texts"),
        (lambda texts: np.ones((len(texts), 0)), "for 1 texts"),
        (lambda texts: np.zeros((len(texts), 3)), "zero"),
        (lambda texts: np.full((len(texts), 3), np.nan), "not finite"),
        (lambda texts: np.ones((len(texts), 70_000)), "too many"),
    ],
)
def test_what_is_no_embedding_is_refused(gives: object, says: str) -> None:
    with pytest.raises(EmbeddingError, match=says):
        ReasoningBank(gives)


def test_a_function_that_changes_its_mind_is_refused() -> None:
    sizes = iter([3, 4])
    bank = ReasoningBank(lambda texts: np.ones((len(texts), next(sizes))))
    with pytest.raises(EmbeddingError, match="4 dimensions; it gave 3 before"):
        bank.record(trajectory("a"))
    assert len(bank) == 0
