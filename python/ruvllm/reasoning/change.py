"""What changes a bank, as values and as bytes: the one form for what is added and for the whole content.

A change is JSON for names and numbers, and the vectors behind it as 32-bit floats, in the order in which the
JSON speaks of them. What is read is believed only once it is checked: a `ValueError` says what is wrong.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ruvllm.errors import ConfigError
from ruvllm.reasoning.background import Background
from ruvllm.reasoning.patterns import Distilled, KeptPattern
from ruvllm.reasoning.trajectory import Trajectory, Verdict

__all__ = ["LARGEST_ID", "Change", "Kept", "decode_change", "encode_change"]

Vectors = NDArray[np.float32]
# What JSON's numbers hold exactly everywhere.
LARGEST_ID = 2**53
LARGEST_COUNT = 2**53
# A unit vector in single precision is this close to 1.
UNIT_TOLERANCE = 1e-3
STORED = np.dtype("<f4")


class Kept(NamedTuple):
    """A trajectory in a bank, and how often it was found."""

    id: int
    trajectory: Trajectory
    vector: Vectors
    uses: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Change:
    """What is added to a bank, taken from it, or takes the place of what it had; all of it or nothing.

    Attributes:
        added: Trajectories, with ids above all that there were.
        dropped: Ids of those that go.
        uses: How often each was found until now, of those that were found again.
        background: Another one.
        distilled: What another distillation found.
    """

    added: Sequence[Kept] = ()
    dropped: Sequence[int] = ()
    uses: Mapping[int, int] = field(default_factory=dict)
    background: Background | None = None
    distilled: Distilled | None = None


def encode_change(change: Change) -> tuple[dict[str, Any], Vectors]:
    """The JSON of a change, and its vectors: [vectors, dimensions]."""
    vectors = [one.vector for one in change.added]
    content: dict[str, Any] = {}
    if change.added:
        content["added"] = [
            {"id": one.id, "uses": one.uses, "trajectory": one.trajectory.members()} for one in change.added
        ]
    if change.dropped:
        content["dropped"] = list(change.dropped)
    if change.uses:
        content["uses"] = [[number, count] for number, count in change.uses.items()]
    if change.background is not None:
        content["background"] = change.background.count
        vectors += [change.background.mean, change.background.spread]
    if change.distilled is not None:
        content["patterns"] = [_pattern_members(one) for one in change.distilled.patterns]
        content["distilled_before"] = change.distilled.next_id
        vectors += [one.middle for one in change.distilled.patterns]
    return content, np.array(vectors, dtype=STORED)


def decode_change(content: Mapping[str, Any], vectors: Vectors) -> Change:
    """The change that `encode_change` made this of."""
    unknown = set(content) - {"added", "dropped", "uses", "background", "patterns", "distilled_before"}
    if unknown:
        raise ValueError(f"it speaks of {sorted(unknown)[0]!r}, which this version does not know")
    rest = iter(vectors)
    try:
        change = _decoded(content, rest)
    except StopIteration:
        raise ValueError("it has fewer vectors than it speaks of") from None
    except ConfigError as error:
        raise ValueError(error.message) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"a part of it is missing or of another kind: {error}") from error
    if next(rest, None) is not None:
        raise ValueError("it has more vectors than it speaks of")
    return change


def _decoded(content: Mapping[str, Any], rest: Any) -> Change:
    added = [
        Kept(
            _whole(one["id"], LARGEST_ID, least=1),
            Trajectory.of(one["trajectory"]),
            _unit(next(rest)),
            _whole(one["uses"], LARGEST_COUNT),
        )
        for one in content.get("added", ())
    ]
    background = None
    if "background" in content:
        count = _whole(content["background"], LARGEST_COUNT, least=1)
        background = Background(_inside(next(rest)), _spread(next(rest)), count)
    distilled = None
    if "patterns" in content:
        patterns = [_pattern(one, next(rest)) for one in content["patterns"]]
        distilled = Distilled(patterns, _whole(content["distilled_before"], LARGEST_ID, least=1))
    return Change(
        added=added,
        dropped=[_whole(one, LARGEST_ID, least=1) for one in content.get("dropped", ())],
        uses={
            _whole(one, LARGEST_ID, least=1): _whole(count, LARGEST_COUNT)
            for one, count in content.get("uses", ())
        },
        background=background,
        distilled=distilled,
    )


def _pattern_members(pattern: KeptPattern) -> dict[str, Any]:
    return {
        "count": pattern.count,
        "mean_quality": pattern.mean_quality,
        "verdicts": {verdict.value: count for verdict, count in pattern.verdicts.items()},
        "best": list(pattern.best),
    }


def _pattern(members: Mapping[str, Any], middle: Vectors) -> KeptPattern:
    quality = members["mean_quality"]
    if not isinstance(quality, int | float) or not 0.0 <= quality <= 1.0:
        raise ValueError(f"a pattern's mean quality is {quality!r}; it must be from 0 to 1")
    return KeptPattern(
        count=_whole(members["count"], LARGEST_COUNT, least=1),
        mean_quality=float(quality),
        verdicts={Verdict(name): _whole(count, LARGEST_COUNT) for name, count in members["verdicts"].items()},
        best=tuple(_whole(one, LARGEST_ID, least=1) for one in members["best"]),
        middle=_inside(middle),
    )


def _whole(value: object, most: int, *, least: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{value!r} is no whole number from {least} to {most}")
    return value


def _unit(vector: Vectors) -> Vectors:
    length = float(np.linalg.norm(vector.astype(np.float64)))
    # Also what is not finite.
    if not math.isclose(length, 1.0, abs_tol=UNIT_TOLERANCE):
        raise ValueError(f"a vector's length is {length}; it must be 1")
    return vector


def _inside(vector: Vectors) -> Vectors:
    """A mean of unit vectors."""
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if not length <= 1.0 + UNIT_TOLERANCE:
        raise ValueError(f"a mean's length is {length}; it must be 1 at most")
    return vector


def _spread(vector: Vectors) -> Vectors:
    if not (np.isfinite(vector).all() and (vector > 0.0).all()):
        raise ValueError("a spread is not above zero, or not finite")
    return vector


def parse_json(data: bytes) -> dict[str, Any]:
    """An object of JSON; a `ValueError` for anything else, also for what JSON has no numbers for."""

    def refuse(name: str) -> float:
        raise ValueError(f"{name} is no number of JSON")

    try:
        content = json.loads(data.decode(), parse_constant=refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError("it is no object")
    return content
