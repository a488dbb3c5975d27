"""How one adapter is made of several generations: the five strategies, as functions of matrices."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ruvllm.learning.tenant_state import TenantState
from ruvllm.learning.values import ConsolidationStrategy

__all__ = ["Generations", "merged"]

Matrix = NDArray[np.float32]
# Of the generations, the best so much by quality.
BEST_SHARE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Generations:
    """What is to be made one.

    Attributes:
        states: Those since the last time, the present one last.
        qualities: What feedback said that led to each.
    """

    states: Sequence[TenantState]
    qualities: Sequence[float]


def merged(strategy: ConsolidationStrategy, generations: Generations) -> TenantState:
    """One state of all: the matrices by the strategy, and the anchor there; the rest is the present one's."""
    present = generations.states[-1]
    a, b = _STRATEGIES[strategy](generations)
    return anchored(replace(present, a=_fixed(a), b=_fixed(b)))


def anchored(state: TenantState) -> TenantState:
    """The state, held from now on where it is."""
    return replace(state, anchor_a=state.a, anchor_b=state.b)


def _ewc_merge(generations: Generations) -> tuple[Matrix, Matrix]:
    """Of each number's way from the anchor the share that its importance has beside the mean importance."""
    present = generations.states[-1]
    return (
        _held(present.a, present.anchor_a, present.fisher_a),
        _held(present.b, present.anchor_b, present.fisher_b),
    )


def _held(now: Matrix, anchor: Matrix, fisher: Matrix) -> Matrix:
    mean = fisher.mean(dtype=np.float64)
    if mean == 0.0:
        return now
    share = fisher / (fisher + mean)
    return np.asarray(anchor + (now - anchor) * share, np.float32)


def _average(generations: Generations) -> tuple[Matrix, Matrix]:
    return _weighted(generations.states, [1.0] * len(generations.states))


def _quality_weighted(generations: Generations) -> tuple[Matrix, Matrix]:
    weights = list(generations.qualities)
    # Where all were bad there is nothing to prefer.
    return _weighted(generations.states, weights if sum(weights) > 0 else [1.0] * len(weights))


def _best_only(generations: Generations) -> tuple[Matrix, Matrix]:
    count = max(1, int(BEST_SHARE * len(generations.states)))
    # Of equal ones the newer.
    order = sorted(range(len(generations.states)), key=lambda i: (generations.qualities[i], i), reverse=True)
    best = [generations.states[index] for index in order[:count]]
    return _weighted(best, [1.0] * count)


def _ensemble(generations: Generations) -> tuple[Matrix, Matrix]:
    """The nearest map of the same rank to the mean of what they add."""
    states = generations.states
    present = states[-1]
    a = np.concatenate([state.a for state in states]).astype(np.float64)
    parts = [state.b * (state.scale / (present.scale * len(states))) for state in states]
    b = np.concatenate(parts).astype(np.float64)
    # The mean map is `b.T @ a`; its singular vectors lie in the spans of the rows.
    span_b, corner_b = np.linalg.qr(b.T)
    span_a, corner_a = np.linalg.qr(a.T)
    left, sizes, right = np.linalg.svd(corner_b @ corner_a.T)
    rank = present.rank
    # A keeps the length that its rows have, so that the next step is as long as before.
    lengths = np.linalg.norm(present.a, axis=1)
    new_a = lengths[:, None] * (right[:rank] @ span_a.T)
    new_b = (sizes[:rank] / np.maximum(lengths, 1e-30))[:, None] * (left[:, :rank].T @ span_b.T)
    return new_a.astype(np.float32), new_b.astype(np.float32)


def _weighted(states: Sequence[TenantState], weights: Sequence[float]) -> tuple[Matrix, Matrix]:
    shares = np.asarray(weights, np.float64) / sum(weights)
    a = sum(share * state.a.astype(np.float64) for share, state in zip(shares, states, strict=True))
    b = sum(share * state.b.astype(np.float64) for share, state in zip(shares, states, strict=True))
    return np.asarray(a, np.float32), np.asarray(b, np.float32)


def _fixed(matrix: Matrix) -> Matrix:
    matrix = np.ascontiguousarray(matrix, np.float32)
    matrix.flags.writeable = False
    return matrix


_STRATEGIES: dict[ConsolidationStrategy, Callable[[Generations], tuple[Matrix, Matrix]]] = {
    ConsolidationStrategy.EwcMerge: _ewc_merge,
    ConsolidationStrategy.Average: _average,
    ConsolidationStrategy.QualityWeighted: _quality_weighted,
    ConsolidationStrategy.BestOnly: _best_only,
    ConsolidationStrategy.Ensemble: _ensemble,
}
