"""What a bank's vectors have in common, taken off so that what tells them apart is left.

A model's mean hidden states all point the same way, and a few dimensions are large in all of them: requests
of different kinds have cosines of 0.8. So the mean of the bank's own vectors is taken off, and each dimension
is divided by how far it spreads. Of a few vectors that is known badly, so to each dimension's variance the
mean one is added `SHRINKAGE` times: docs/reasoning-bank.md has what that is worth.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEWEST", "Background"]

Vectors = NDArray[np.float32]
FEWEST = 8
# From here on it stays as it is: it is settled, and a graph of what it made need not be built anew.
MOST = 4096
# Early ones may all be of one kind, and what is taken off them then is what tells that kind apart.
GROWTH = 1.25
SHRINKAGE = 3.0
# What is shorter is rounding, and has no direction.
NOTHING_LEFT = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """What is taken off every vector.

    Attributes:
        mean: Of the vectors: [dimensions].
        spread: What each dimension is divided by, above zero: [dimensions].
        count: Of how many vectors it is; 0 for one that does nothing.
    """

    mean: Vectors
    spread: Vectors
    count: int

    @classmethod
    def nothing(cls, dimensions: int) -> "Background":
        """Of no vectors; vectors stay what they are."""
        return cls(np.zeros(dimensions, np.float32), np.ones(dimensions, np.float32), 0)

    @classmethod
    def of(cls, vectors: Vectors) -> "Background":
        """Of these vectors: [vectors, dimensions]."""
        double = vectors.astype(np.float64)
        variances = double.var(axis=0)
        spread = np.sqrt(variances + SHRINKAGE * variances.mean())
        # The same vector again and again: there is nothing to divide by.
        spread = spread / spread.mean() if spread.mean() > NOTHING_LEFT else np.ones(len(spread))
        return cls(double.mean(axis=0).astype(np.float32), spread.astype(np.float32), len(vectors))

    def is_due(self, count: int) -> bool:
        """Whether, with so many vectors, another one is to be taken: they have grown by so much."""
        return self.count < MOST and count >= max(FEWEST, GROWTH * self.count)

    @property
    def is_settled(self) -> bool:
        """Whether it stays."""
        return self.count >= MOST

    def off(self, vectors: Vectors) -> Vectors:
        """Vectors without it, at unit length; zero where nothing is left: [vectors, dimensions]."""
        rest = (vectors.astype(np.float64) - self.mean) / self.spread
        lengths = np.linalg.norm(rest, axis=1, keepdims=True)
        unit = np.divide(rest, lengths, out=np.zeros_like(rest), where=lengths > NOTHING_LEFT)
        single: Vectors = unit.astype(np.float32)
        return single
