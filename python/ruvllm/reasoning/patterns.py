"""Patterns: what a bank's trajectories have in common, found by K-means over their requests.

A trajectory draws its pattern's middle towards itself by its quality, so that what went well says what a
pattern is about; what went badly belongs to the pattern, too, and counts in its mean quality.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ruvllm.reasoning.clustering import k_means
from ruvllm.reasoning.trajectory import Match, Trajectory, Verdict

__all__ = ["Distilled", "KeptPattern", "Pattern", "distil", "usual_count"]

# So much draws a trajectory of quality 0: a pattern of failures alone has a middle as well.
LEAST_WEIGHT = 0.05
MOST_PATTERNS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """A kind of request, as the last `distill` found it.

    Attributes:
        id: Its number, of this distillation.
        count: How many trajectories it was made of.
        mean_quality: Of all of them.
        verdicts: How they ended: only those that occur.
        best: The best of them that are still in the bank, with their similarity to the pattern's middle.
        centre: The middle, at unit length: [dimensions].
    """

    id: int
    count: int
    mean_quality: float
    verdicts: Mapping[Verdict, int]
    best: tuple[Match, ...]
    centre: NDArray[np.float32] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class KeptPattern:
    """What a bank keeps of a pattern: its best trajectories by their ids alone.

    `middle` is the weighted mean of the vectors as they were given: the background is taken off as off them.
    """

    count: int
    mean_quality: float
    verdicts: Mapping[Verdict, int]
    best: tuple[int, ...]
    middle: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Distilled:
    """What a distillation found.

    Attributes:
        patterns: The largest first.
        next_id: Trajectories from this id on came after it.
    """

    patterns: Sequence[KeptPattern] = ()
    next_id: int = 1


def usual_count(num_trajectories: int) -> int:
    """How many patterns there are where nobody says: half as many again as the root of the trajectories.

    Fewer mix kinds of request (docs/reasoning-bank.md has figures); one kind may well be several patterns.
    """
    return max(1, min(MOST_PATTERNS, round(1.5 * math.sqrt(num_trajectories))))


def distil(
    trajectories: Mapping[int, Trajectory],
    vectors: NDArray[np.float32],
    directions: NDArray[np.float32],
    *,
    num_patterns: int,
    num_best: int,
    seed: int,
) -> list[KeptPattern]:
    """Patterns of trajectories, the largest first; their vectors are in the same order."""
    numbers = list(trajectories)
    qualities = np.array([one.quality for one in trajectories.values()])
    weights = np.maximum(qualities, LEAST_WEIGHT)
    points = directions.astype(np.float64)
    clusters = k_means(points, weights, num_patterns, seed)
    found = []
    for label, centre in enumerate(clusters.centres):
        members = np.flatnonzero(clusters.labels == label)
        distances = np.square(points[members] - centre).sum(axis=1)
        # The best first; of equals those in the middle, then the oldest.
        order = np.lexsort((members, distances, -qualities[members]))
        best = tuple(numbers[members[position]] for position in order[:num_best])
        verdicts = _counts([trajectories[numbers[member]].verdict for member in members])
        middle = np.average(vectors[members].astype(np.float64), axis=0, weights=weights[members])
        quality = float(qualities[members].mean())
        found.append(KeptPattern(len(members), quality, verdicts, best, middle.astype(np.float32)))
    return sorted(found, key=lambda one: (-one.count, one.best))


def _counts(verdicts: Sequence[Verdict]) -> dict[Verdict, int]:
    return {verdict: verdicts.count(verdict) for verdict in Verdict if verdict in verdicts}
