"""When one commit is slower than another one, by pairs of runs that stood side by side.

The middle ratio must be beyond the tolerance, and three quarters of the pairs must agree on which is faster.
Where the two are the same each pair is a coin, and twelve of fifteen coins fall on one given side in 2 of 100
cases; that the middle one is beyond the tolerance besides is rarer. Where one is slower by more than pairs
differ by among themselves, nearly all of them see it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import quantiles

__all__ = ["LEAST_PAIRS", "Judged", "Verdict", "judged"]

LEAST_PAIRS = 4


class Verdict(Enum):
    """What the pairs say of the second one."""

    SLOWER = "slower"
    FASTER = "faster"
    SAME = "the same"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Judged:
    """The quartiles of the ratios, and what follows."""

    low: float
    middle: float
    high: float
    verdict: Verdict


def judged(ratios: Sequence[float], tolerance: float) -> Judged:
    """Judge ratios of speeds, second to first.

    `UNCLEAR` is a middle ratio beyond the tolerance where the pairs do not agree: more of them may tell.
    """
    if len(ratios) < LEAST_PAIRS:
        raise ValueError(f"{len(ratios)} pairs have no quartiles; at least {LEAST_PAIRS} are needed")
    low, middle, high = quantiles(ratios, n=4)
    if abs(middle - 1.0) <= tolerance:
        verdict = Verdict.SAME
    elif high < 1.0:
        verdict = Verdict.SLOWER
    elif low > 1.0:
        verdict = Verdict.FASTER
    else:
        verdict = Verdict.UNCLEAR
    return Judged(low, middle, high, verdict)
