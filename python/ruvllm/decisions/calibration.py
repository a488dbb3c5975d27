"""Temperatures that make probabilities mean what they say, found on labelled examples.

A model is surer of itself than it is right, or less. Dividing the logarithms of its probabilities by a
temperature changes no choice, and the right one makes "0.8" right in eight of ten cases. There is one for
each kind of question; a file holds them, for the model that they were found with.
"""

import json
import math
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ruvllm.whole_file as whole_file
from ruvllm._checks import Interval, check_number
from ruvllm.decisions.questions import Choice, Predicate, Question
from ruvllm.errors import ConfigError, IoError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["KINDS", "Calibration", "Example", "expected_calibration_error", "kind_of", "probabilities_of"]

KINDS = ("predicate", "choice", "score")
TEMPERATURES = Interval(0.05, 20.0)
MAX_BYTES = 1 << 20
# Halvings of the interval of temperatures: down to less than a thousandth.
STEPS = 40
DRAWS = 200


@dataclass(frozen=True, slots=True)
class Example:
    """What a model said of the labels of a question, before any calibration, and which one is right.

    `logprobs` are those of each order in which the labels were shown.
    """

    kind: str
    logprobs: tuple[tuple[float, ...], ...]
    right: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """A temperature for each kind of question; 1 where nothing is known.

    >>> Calibration({"choice": 2.0}).temperature("choice")
    2.0

    Attributes:
        temperatures: By `predicate`, `choice` and `score`.
        model: The name of the model that they were found with, for whoever reads the file.
        examples: How many labelled answers there were of each kind.
    """

    temperatures: Mapping[str, float] = field(default_factory=dict)
    model: str = ""
    examples: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind, temperature in self.temperatures.items():
            if kind not in KINDS:
                raise ConfigError(f"temperatures has {kind!r}; allowed are {', '.join(KINDS)}")
            check_number(f"temperatures[{kind!r}]", temperature, TEMPERATURES)

    def temperature(self, kind: str) -> float:
        """What logarithms of that kind are divided by."""
        return self.temperatures.get(kind, 1.0)

    @classmethod
    def fit(cls, examples: Sequence[Example], *, model: str = "") -> "Calibration":
        """The temperatures that make the right answers likeliest; few answers move them little from 1."""
        of_kinds = {kind: [one for one in examples if one.kind == kind] for kind in KINDS}
        found = {kind: _best_temperature(some) for kind, some in of_kinds.items() if some}
        return cls(found, model, {kind: len(some) for kind, some in of_kinds.items() if some})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file, whole or not at all."""
        content = {
            "temperatures": dict(self.temperatures),
            "model": self.model,
            "examples": dict(self.examples),
        }
        with whole_file.replacing(path, private=False) as file:
            file.write((json.dumps(content, indent=2) + "\n").encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Calibration":
        """Read a file that `save` wrote; `ConfigError` for one that holds something else."""
        try:
            with whole_file.open_regular(Path(path)) as file:
                content = json.loads(file.read(MAX_BYTES))
        except OSError as error:
            raise IoError(f"{path}: {error.strerror or error}") from error
        except ValueError as error:
            raise ConfigError(f"{path} is no calibration: {error}") from None
        return cls._of(content, path)

    @classmethod
    def _of(cls, content: Any, path: str | os.PathLike[str]) -> "Calibration":
        temperatures = content.get("temperatures") if isinstance(content, dict) else None
        if not isinstance(temperatures, dict):
            raise ConfigError(f"{path} is no calibration: it has no temperatures")
        examples = content.get("examples")
        return cls(
            temperatures, str(content.get("model", "")), examples if isinstance(examples, dict) else {}
        )


def kind_of(question: Question) -> str:
    """By which name a calibration has the temperature of a question."""
    if isinstance(question, Predicate):
        return "predicate"
    return "choice" if isinstance(question, Choice) else "score"


def probabilities_of(logprobs: Sequence[Sequence[float]], temperature: float) -> list[float]:
    """The probabilities of labels: those of each order, sharpened or softened, and their mean over orders."""
    # The command line loads this module at each start, for a server's settings, and must not load arrays.
    import numpy as np

    mean: list[float] = _mean_shares(np.asarray(logprobs, dtype=np.float64), temperature).tolist()
    return mean


def _mean_shares(logprobs: "NDArray[np.float64]", temperature: float) -> "NDArray[np.float64]":
    """The same for arrays whose last axes are orders and labels."""
    import numpy as np

    scaled = logprobs / temperature
    shares = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    # Exact sums, so that not even the last bit depends on the order of the labels.
    totals = [math.fsum(row) for row in shares.reshape(-1, shares.shape[-1]).tolist()]
    means: NDArray[np.float64] = (shares / np.reshape(totals, (*shares.shape[:-1], 1))).mean(axis=-2)
    return means


def expected_calibration_error(confidences: Sequence[float], right: Sequence[bool], bins: int = 10) -> float:
    """How far confidences are from how often they are right: the mean over bins of equal width, weighed.

    >>> expected_calibration_error([0.9, 0.9], [True, False])
    0.4
    """
    total = 0.0
    for place in range(bins):
        low, high = place / bins, (place + 1) / bins
        inside = [
            index for index, one in enumerate(confidences) if low < one <= high or (place == 0 and one == 0)
        ]
        if inside:
            mean = sum(confidences[index] for index in inside) / len(inside)
            total += abs(mean - sum(right[index] for index in inside) / len(inside)) * len(inside)
    return round(total / max(1, len(confidences)), 12)


def calibration_error(examples: Sequence[Example], calibration: Calibration) -> float:
    """The expected calibration error of examples, with the temperatures of a calibration."""
    found = [probabilities_of(one.logprobs, calibration.temperature(one.kind)) for one in examples]
    right = [shares.index(max(shares)) == one.right for shares, one in zip(found, examples, strict=True)]
    return expected_calibration_error([max(shares) for shares in found], right)


def error_by_chance(examples: Sequence[Example], calibration: Calibration) -> float:
    """The error that as many answers have on average where their confidences are exactly true.

    A few dozen answers are never as often right as they should be; less than this shows nothing.
    """
    found = [max(probabilities_of(one.logprobs, calibration.temperature(one.kind))) for one in examples]
    draw = random.Random(len(found))  # noqa: S311 - the same each time
    errors = [expected_calibration_error(found, [draw.random() < one for one in found]) for _ in range(DRAWS)]
    return sum(errors) / DRAWS


def _best_temperature(examples: Sequence[Example]) -> float:
    """The temperature of the least loss, which has one valley: golden cuts close in on it.

    The square of its logarithm is part of the loss, the same for one answer and for thousands: a few answers
    that happen to be all right or all wrong would else send it to an end of what is allowed.
    """
    import numpy as np

    alike: dict[tuple[int, int], list[Example]] = {}
    for one in examples:
        alike.setdefault((len(one.logprobs), len(one.logprobs[0])), []).append(one)
    stacked = [
        (np.array([one.logprobs for one in some]), [one.right for one in some]) for some in alike.values()
    ]

    def loss(logarithm: float) -> float:
        total = logarithm**2
        for logprobs, right in stacked:
            shares = _mean_shares(logprobs, math.exp(logarithm))[range(len(right)), right]
            total -= float(np.log(np.maximum(shares, 1e-300)).sum())
        return total

    low, high = math.log(TEMPERATURES.low), math.log(TEMPERATURES.high)
    golden = (math.sqrt(5) - 1) / 2
    left, right = high - golden * (high - low), low + golden * (high - low)
    at_left, at_right = loss(left), loss(right)
    for _ in range(STEPS):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - golden * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + golden * (high - low)
            at_right = loss(right)
    return round(math.exp((low + high) / 2), 4)
