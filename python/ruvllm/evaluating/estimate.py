"""A figure and how far chance may have moved it."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Estimate", "exponential", "mean", "root"]

# What exponentials in 64 bits go up to.
LARGEST_EXPONENT = 709.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure of a sample, and its standard error; NaN where one value says nothing of chance.

    >>> str(Estimate(17.25, 0.31))
    '17.25 ± 0.31'
    """

    value: float
    standard_error: float

    def __str__(self) -> str:
        if not math.isfinite(self.standard_error):
            return f"{self.value:.6g}"
        # As many places as the error has with two figures.
        places = 4 if not self.standard_error else min(9, max(0, 1 - _order(self.standard_error)))
        return f"{self.value:.{places}f} ± {self.standard_error:.{places}f}"

    def to_json(self) -> dict[str, float | None]:
        """The same for programs; JSON has neither NaN nor infinity."""
        both = {"value": self.value, "standard_error": self.standard_error}
        return {name: number if math.isfinite(number) else None for name, number in both.items()}


def _order(number: float) -> int:
    return math.floor(math.log10(number))


def mean(values: NDArray[Any]) -> Estimate:
    """The mean of independent values: what llama.cpp's perplexity takes the tokens of a text for."""
    spread = float(np.std(values, ddof=1)) / math.sqrt(values.size) if values.size > 1 else math.nan
    return Estimate(float(np.mean(values)), spread)


def exponential(of: Estimate) -> Estimate:
    """The exponential of an estimate, to first order."""
    value = math.exp(of.value) if of.value < LARGEST_EXPONENT else math.inf
    return Estimate(value, value * of.standard_error)


def root(of: Estimate) -> Estimate:
    """The square root of an estimate, to first order."""
    value = math.sqrt(of.value)
    return Estimate(value, of.standard_error / (2 * value) if value else 0.0)
