"""Several adapters into one: what each adds is combined, map by map.

Where the combination is linear, the new one is exact, and its rank is the sum of theirs: A stands over A, B
beside B. The other methods work on what is added itself, `scale * B A`, and give the nearest matrix of the
rank that is asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from ruvllm.adapters.weights import AdapterWeights, Part
from ruvllm.errors import AdapterError, ConfigError

__all__ = ["MERGE_METHODS", "MergeMethod", "merge"]

MergeMethod: TypeAlias = Literal["linear", "task_arithmetic", "average", "slerp", "ties", "dare", "dare_ties"]
MERGE_METHODS: tuple[MergeMethod, ...] = get_args(MergeMethod)
Matrix: TypeAlias = NDArray[np.float32]
_Place: TypeAlias = tuple[int, str]

# Directions whose angle is smaller than this are as good as one.
_SMALL_ANGLE = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    weights: tuple[float, ...]
    density: float
    random: np.random.Generator


def merge(
    adapters: Sequence[tuple[AdapterWeights, float]],
    method: MergeMethod = "linear",
    *,
    density: float = 0.5,
    rank: int | None = None,
    seed: int = 0,
) -> AdapterWeights:
    """Combine adapters, each with a weight.

    Args:
        adapters: What is combined; a map that one of them does not change counts as nothing added.
        method: `linear` is the weighted mean, `task_arithmetic` the weighted sum, `average` the mean whatever
            the weights; `slerp` goes from the first of two to the second on a sphere, as far as the second's
            part of the weights; `ties` keeps the largest numbers of each, elects a sign for each place and
            takes the weighted mean of those that have it; `dare` drops numbers at random, makes up for them
            and sums; `dare_ties` drops at random and elects signs.
        density: What part of the numbers `ties` and `dare` keep of each adapter.
        rank: The rank of the result where it is not exact; the largest of theirs by default.
        seed: Decides what `dare` drops.
    """
    if method not in MERGE_METHODS:
        raise ConfigError(f"the method is {method!r}; it must be one of {', '.join(MERGE_METHODS)}")
    if not adapters:
        raise ConfigError("there is no adapter to merge")
    if method == "slerp" and len(adapters) != 2:
        raise ConfigError(f"slerp goes from one adapter to another; there are {len(adapters)}")
    if not 0 < density <= 1:
        raise ConfigError(f"density is {density}; it must be above 0 and at most 1")
    weights = tuple(1.0 if method == "average" else float(weight) for _, weight in adapters)
    if not all(np.isfinite(weights)):
        raise ConfigError(f"the weights are {weights}; they must be finite")
    if method in ("linear", "average", "slerp") and not sum(weights):
        raise ConfigError("the weights have the sum 0, so that there is no mean")
    settings = _Settings(weights=weights, density=density, random=np.random.default_rng(seed))
    by_place = _by_place([one for one, _ in adapters])
    combine = _COMBINED.get(method)
    if combine is None:
        factors = weights if method == "task_arithmetic" else tuple(one / sum(weights) for one in weights)
        parts = [_beside(place, found, factors) for place, found in by_place.items()]
    else:
        target = rank or max(one.max_rank for one, _ in adapters)
        parts = [
            _nearest(
                place, combine(_deltas(found), settings), target, in_file_order=_some(found).in_file_order
            )
            for place, found in by_place.items()
        ]
    architectures = {one.architecture for one, _ in adapters} - {None}
    if len(architectures) > 1:
        names = ", ".join(sorted(map(str, architectures)))
        raise AdapterError(f"they are for several architectures: {names}")
    bases = {one.base_model for one, _ in adapters}
    return AdapterWeights(
        parts=tuple(parts),
        base_model=bases.pop() if len(bases) == 1 else None,
        architecture=next(iter(architectures), None),
    )


def _by_place(adapters: Sequence[AdapterWeights]) -> dict[_Place, list[Part | None]]:
    """What each adapter adds at each place where one of them adds something."""
    known = [{(part.layer, part.module): part for part in one.parts} for one in adapters]
    found: dict[_Place, list[Part | None]] = {}
    for place in sorted(set().union(*known)):
        own = found[place] = [one.get(place) for one in known]
        shapes = {(part.a.shape[1], part.b.shape[0], part.in_file_order) for part in own if part is not None}
        if len(shapes) > 1:
            raise AdapterError(
                f"{place[1]} of layer {place[0]} has several shapes, or its rows in several orders: they are "
                "of different models, or one of a folder and one of a GGUF file"
            )
    return found


def _beside(place: _Place, found: Sequence[Part | None], factors: Sequence[float]) -> Part:
    """The exact sum: of as many ranks as all have."""
    own = [(part, factor) for part, factor in zip(found, factors, strict=True) if part is not None]
    return Part(
        layer=place[0],
        module=place[1],
        a=np.concatenate([part.a for part, _ in own]).astype(np.float32, copy=False),
        b=np.concatenate([np.float32(factor * part.scale) * part.b for part, factor in own], axis=1),
        scale=1.0,
        in_file_order=_some(found).in_file_order,
    )


def _some(found: Sequence[Part | None]) -> Part:
    """One of those that add something: all of a place have its shape and its order of rows."""
    return next(part for part in found if part is not None)


def _deltas(found: Sequence[Part | None]) -> Matrix:
    """What each adds, whole."""
    some = _some(found)
    nothing = np.zeros((some.b.shape[0], some.a.shape[1]), np.float32)
    return np.stack([nothing if part is None else part.delta() for part in found])


def _nearest(place: _Place, delta: Matrix, rank: int, *, in_file_order: bool) -> Part:
    """The nearest matrix of a rank: the largest of the singular values."""
    left, values, right = np.linalg.svd(delta, full_matrices=False)
    rank = min(rank, len(values))
    roots = np.sqrt(values[:rank])
    return Part(
        layer=place[0],
        module=place[1],
        a=np.ascontiguousarray(roots[:, None] * right[:rank], np.float32),
        b=np.ascontiguousarray(left[:, :rank] * roots, np.float32),
        scale=1.0,
        in_file_order=in_file_order,
    )


def _slerp(deltas: Matrix, settings: _Settings) -> Matrix:
    first, second = deltas
    part = settings.weights[1] / sum(settings.weights)
    lengths = np.linalg.norm(first), np.linalg.norm(second)
    cosine = np.vdot(first, second) / (lengths[0] * lengths[1]) if all(lengths) else 1.0
    angle = np.arccos(np.clip(cosine, -1.0, 1.0))
    if angle < _SMALL_ANGLE or np.pi - angle < _SMALL_ANGLE:
        return np.asarray((1 - part) * first + part * second, np.float32)
    ways = np.sin((1 - part) * angle), np.sin(part * angle)
    return np.asarray((ways[0] * first + ways[1] * second) / np.sin(angle), np.float32)


def _ties(deltas: Matrix, settings: _Settings) -> Matrix:
    kept = np.stack([_largest(delta, settings.density) for delta in deltas])
    return _elected(kept, settings.weights)


def _dare(deltas: Matrix, settings: _Settings) -> Matrix:
    weights = np.asarray(settings.weights, np.float32)
    return np.asarray(np.tensordot(weights, _thinned(deltas, settings), axes=1), np.float32)


def _dare_ties(deltas: Matrix, settings: _Settings) -> Matrix:
    return _elected(_thinned(deltas, settings), settings.weights)


def _largest(delta: Matrix, density: float) -> Matrix:
    """The largest numbers of a matrix, and 0 for the others."""
    count = max(1, round(density * delta.size))
    border = np.partition(np.abs(delta), delta.size - count, axis=None)[delta.size - count]
    return np.asarray(np.where(np.abs(delta) >= border, delta, 0), np.float32)


def _thinned(deltas: Matrix, settings: _Settings) -> Matrix:
    """Numbers dropped at random, and the others made larger, so that the sum is to be expected."""
    kept = settings.random.random(deltas.shape, np.float32) < settings.density
    return np.asarray(np.where(kept, deltas / np.float32(settings.density), 0), np.float32)


def _elected(deltas: Matrix, weights: Sequence[float]) -> Matrix:
    """At each place the weighted mean of those numbers that have the sign of the weighted sum."""
    factors = np.asarray(weights, np.float32)[:, None, None]
    agrees = np.sign(deltas * factors) == np.sign((deltas * factors).sum(axis=0))
    agrees &= deltas != 0
    total = np.where(agrees, factors, np.float32(0)).sum(axis=0)
    sums = np.where(agrees, deltas * factors, np.float32(0)).sum(axis=0)
    return np.asarray(np.divide(sums, total, out=np.zeros_like(sums), where=total != 0), np.float32)


_COMBINED = {"slerp": _slerp, "ties": _ties, "dare": _dare, "dare_ties": _dare_ties}
