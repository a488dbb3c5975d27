"""K-means: points in groups, each about its mean; with weights, and the same groups for the same seed.

The beginning is k-means++ (Arthur and Vassilvitskii, 2007): each further centre is drawn with a probability
in proportion to a point's weight and its squared distance to the nearest centre so far. Lloyd's steps
follow: each point to its nearest centre, each centre to its points' weighted mean. The cost, the weighted sum
of squared distances, falls with each of them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Clusters", "k_means"]

Floats = NDArray[np.float64]
MAX_STEPS = 100
# Of thousands of points, so small a share still moves for long, and saves next to nothing.
SETTLED = 500
# Of several beginnings the cheapest end counts.
BEGINNINGS = 4
# What is left of equal points is rounding of their squares.
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Points in groups.

    Attributes:
        labels: The group of each point; every group has one point at least.
        centres: The weighted mean of each group: [groups, dimensions].
        cost: The weighted sum of squared distances to them.
    """

    labels: NDArray[np.intp]
    centres: Floats
    cost: float


def k_means(points: Floats, weights: Floats, num_clusters: int, seed: int) -> Clusters:
    """At most so many groups of points; fewer where fewer points differ. Weights are above zero."""
    source = np.random.Generator(np.random.PCG64(seed))
    squares = np.square(points).sum(axis=1)
    ends = []
    for _ in range(BEGINNINGS):
        centres = _begin(points, squares, weights, num_clusters, source)
        ends.append(_descend(points, squares, weights, centres))
    return min(ends, key=lambda end: end.cost)


def _begin(
    points: Floats, squares: Floats, weights: Floats, num_clusters: int, source: np.random.Generator
) -> Floats:
    chosen = [_drawn(weights, source)]
    distances = _distances(points, squares, points[chosen])[:, 0]
    while len(chosen) < num_clusters and distances.any():
        chosen.append(_drawn(weights * distances, source))
        distances = np.minimum(distances, _distances(points, squares, points[chosen[-1:]])[:, 0])
    return points[chosen]


def _drawn(shares: Floats, source: np.random.Generator) -> int:
    """A position, drawn in proportion to its share; never one without a share."""
    sums = np.cumsum(shares)
    drawn = int(np.searchsorted(sums, source.random() * sums[-1], side="right"))
    return min(drawn, int(np.flatnonzero(shares)[-1]))


def _descend(points: Floats, squares: Floats, weights: Floats, centres: Floats) -> Clusters:
    labels = np.full(len(points), -1, dtype=np.intp)
    for _ in range(MAX_STEPS):
        # A centre that lost all its points is no group any more.
        _, nearest = np.unique(_distances(points, squares, centres).argmin(axis=1), return_inverse=True)
        if np.count_nonzero(nearest != labels) <= len(points) // SETTLED:
            break
        labels = nearest
        centres = _means(points, weights, labels)
    cost = (weights * np.square(points - centres[labels]).sum(axis=1)).sum()
    return Clusters(labels, centres, float(cost))


def _means(points: Floats, weights: Floats, labels: NDArray[np.intp]) -> Floats:
    shares = np.zeros((labels.max() + 1, len(points)))
    shares[labels, np.arange(len(points))] = weights
    means: Floats = (shares / shares.sum(axis=1, keepdims=True)) @ points
    return means


def _distances(points: Floats, squares: Floats, centres: Floats) -> Floats:
    """Squared, [points, centres]; zero for what is the same, where rounding would leave something."""
    sums = squares[:, None] + np.square(centres).sum(axis=1)
    distances = sums - 2.0 * (points @ centres.T)
    return np.where(distances <= ROUNDING * sums, 0.0, distances)
