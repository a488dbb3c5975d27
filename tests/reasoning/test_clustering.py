"""K-means: the groups that are there, by weight, the same for the same seed, and no worse than any other."""

from collections.abc import Iterator

import numpy as np
import pytest

from ruvllm.reasoning.clustering import k_means


def groups(labels: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels.tolist())}


def partitions(count: int, most: int) -> Iterator[list[int]]:
    """Every way to put so many points into groups."""
    if count == 0:
        yield []
        return
    for labels in partitions(count - 1, most):
        for label in range(min(most, len(set(labels)) + 1)):
            yield [*labels, label]


def cost_of(points: np.ndarray, weights: np.ndarray, labels: np.ndarray) -> float:
    total = 0.0
    for label in set(labels.tolist()):
        inside = labels == label
        centre = (points[inside] * weights[inside, None]).sum(axis=0) / weights[inside].sum()
        total += float((weights[inside] * ((points[inside] - centre) ** 2).sum(axis=1)).sum())
    return total


def test_groups_that_lie_apart_are_found() -> None:
    source = np.random.default_rng(3)
    places = source.normal(size=(6, 16)) * 10.0
    truth = np.repeat(np.arange(6), 20)
    points = places[truth] + source.normal(size=(120, 16))
    found = k_means(points, np.ones(120), 6, seed=0)
    assert groups(found.labels) == groups(truth)
    for label, centre in enumerate(found.centres):
        np.testing.assert_allclose(centre, points[found.labels == label].mean(axis=0))


@pytest.mark.parametrize("seed", range(5))
def test_of_few_points_no_grouping_is_much_better(seed: int) -> None:
    source = np.random.default_rng(seed)
    points, weights = source.normal(size=(8, 3)), source.uniform(0.05, 1.0, size=8)
    best = min(cost_of(points, weights, np.array(labels)) for labels in partitions(8, 3))
    found = k_means(points, weights, 3, seed=0)
    assert found.cost == pytest.approx(cost_of(points, weights, found.labels))
    assert found.cost <= 1.15 * best


def test_no_point_is_nearer_to_another_centre() -> None:
    points = np.random.default_rng(1).normal(size=(200, 8))
    found = k_means(points, np.ones(200), 9, seed=4)
    distances = ((points[:, None] - found.centres) ** 2).sum(axis=2)
    np.testing.assert_array_equal(distances.argmin(axis=1), found.labels)


def test_weight_draws_a_centre() -> None:
    points = np.array([[0.0], [1.0], [10.0], [11.0]])
    found = k_means(points, np.array([1.0, 3.0, 1.0, 1.0]), 2, seed=0)
    assert sorted(found.centres[:, 0]) == pytest.approx([0.75, 10.5])


def test_the_same_seed_gives_the_same_and_another_one_may_not() -> None:
    points = np.random.default_rng(2).normal(size=(100, 4))
    first, again = (k_means(points, np.ones(100), 10, seed=5) for _ in range(2))
    assert first.labels.tobytes() == again.labels.tobytes()
    assert first.centres.tobytes() == again.centres.tobytes()
    ends = {k_means(points, np.ones(100), 10, seed=seed).labels.tobytes() for seed in range(5)}
    assert len(ends) > 1


@pytest.mark.parametrize(("points", "expected"), [([[1.0, 2.0]] * 7, 1), ([[1.0], [1.0], [2.0]], 2)])
def test_there_are_no_more_groups_than_points_that_differ(points: list[list[float]], expected: int) -> None:
    found = k_means(np.array(points), np.ones(len(points)), 5, seed=0)
    assert len(found.centres) == expected == len(set(found.labels.tolist()))
    assert found.cost == pytest.approx(0.0, abs=1e-20)
