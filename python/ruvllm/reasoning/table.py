"""A bank's vectors in rows: without their background, filtered, and the nearest of them."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ruvllm.errors import ConfigError
from ruvllm.reasoning.background import Background
from ruvllm.reasoning.neighbours import HnswRows, is_installed
from ruvllm.reasoning.trajectory import Trajectory, Verdict

__all__ = ["Filter", "IndexKind", "VectorTable"]

IndexKind: TypeAlias = Literal["auto", "exact", "hnsw"]
"""How the nearest are found: `hnsw` by a graph, `exact` by looking at all, `auto` as is quicker."""

INDEX_KINDS = ("auto", "exact", "hnsw")
# From here on a graph is quicker than all rows (docs/reasoning-bank.md).
FEWEST_FOR_GRAPH = 4096
FIRST_ROWS = 64
PRODUCT_NUMBERS = 2**17
# Rows are ordered by products in double precision; so many more than asked for are found by single ones.
SPARE_ROWS = 16
# Of those a graph finds, a filter may drop three of four before all rows are looked at.
FILTERED_SHARE = 4
_VERDICTS = {verdict: number for number, verdict in enumerate(Verdict)}

Vectors: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which trajectories a search may find."""

    verdicts: Collection[Verdict] = frozenset(Verdict)
    min_quality: float = 0.0

    @property
    def is_open(self) -> bool:
        """Whether it lets everything pass."""
        return self.min_quality <= 0.0 and set(self.verdicts) == set(Verdict)


class VectorTable:
    """Unit vectors by id, and what a search filters by."""

    def __init__(self, dimensions: int, kind: IndexKind = "auto") -> None:
        if kind not in INDEX_KINDS:
            raise ConfigError(f"index is {kind!r}; it must be one of {', '.join(INDEX_KINDS)}")
        if kind == "hnsw" and not is_installed():
            raise ConfigError("index is 'hnsw', which needs voyager: pip install 'ruvllm[bank]'")
        self._kind = kind
        self._dimensions = dimensions
        self._rows: dict[int, int] = {}
        self._free: list[int] = []
        self._graph: HnswRows | None = None
        self.background = Background.nothing(dimensions)
        # By row; 0 is no id.
        self._ids = np.zeros(FIRST_ROWS, dtype=np.int64)
        self._qualities = np.zeros(FIRST_ROWS)
        self._verdicts = np.zeros(FIRST_ROWS, dtype=np.int8)
        self._vectors: Vectors = np.zeros((FIRST_ROWS, dimensions), dtype=np.float32)
        self._directions: Vectors = np.zeros((FIRST_ROWS, dimensions), dtype=np.float32)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def has_graph(self) -> bool:
        """Whether searches go through a graph now."""
        return self._graph is not None and self._graph.is_complete

    def add(self, number: int, vector: Vectors, trajectory: Trajectory) -> None:
        """Give an id a row."""
        row = self._free.pop() if self._free else len(self._rows)
        if row == len(self._ids):
            self._grow()
        self._rows[number] = row
        self._ids[row] = number
        self._qualities[row] = trajectory.quality
        self._verdicts[row] = _VERDICTS[trajectory.verdict]
        self._vectors[row] = vector
        self._directions[row] = self.directions(vector[None])[0]
        if self._graph is not None:
            self._graph.put(row)

    def remove(self, number: int) -> None:
        """Take an id's row away."""
        row = self._rows.pop(number)
        self._free.append(row)
        self._ids[row] = 0
        self._vectors[row] = self._directions[row] = 0.0
        if self._graph is not None:
            self._graph.remove(row)

    def vector(self, number: int) -> Vectors:
        """An id's vector, as it was given."""
        vector: Vectors = self._vectors[self._rows[number]]
        return vector

    def vectors(self, numbers: Iterable[int]) -> Vectors:
        """The same of many: [ids, dimensions]."""
        rows = [self._rows[number] for number in numbers]
        vectors: Vectors = self._vectors[rows]
        return vectors

    def similarity(self, number: int, direction: Vectors) -> float:
        """Of an id's direction and another one."""
        product = self._directions[self._rows[number]].astype(np.float64) @ direction.astype(np.float64)
        return float(np.clip(product, -1.0, 1.0))

    def directions(self, vectors: Vectors) -> Vectors:
        """Vectors without the background, at unit length: [vectors, dimensions]."""
        return self.background.off(vectors)

    def due_background(self) -> Background | None:
        """The background of what is there, where it is time for another one."""
        if not self.background.is_due(len(self._rows)):
            return None
        return Background.of(self._vectors[np.flatnonzero(self._ids)])

    def set_background(self, background: Background) -> None:
        """Take another background off every vector."""
        self.background = background
        used = len(self._rows) + len(self._free)
        self._directions[:used] = self.directions(self._vectors[:used])
        self._graph = None

    def nearest(self, vector: Vectors, count: int, which: Filter) -> list[tuple[int, float]]:
        """Ids and similarities of the nearest, the nearest first and of equals the oldest."""
        self.take_in()
        direction = self.directions(vector[None])[0]
        rows = self._candidates(direction, count, which)
        products = self._directions[rows].astype(np.float64) @ direction.astype(np.float64)
        order = np.lexsort((self._ids[rows], -products))[:count]
        similarities = np.clip(products[order], -1.0, 1.0)
        return list(zip(self._ids[rows[order]].tolist(), similarities.tolist(), strict=True))

    def take_in(self) -> None:
        """Let the graph take a few rows in, where there is to be one."""
        if self._graph is None and self._wants_graph():
            self._graph = HnswRows(self._dimensions)
            for row in np.flatnonzero(self._ids).tolist():
                self._graph.put(row)
        if self._graph is not None:
            self._graph.take_in(self._directions)

    def _wants_graph(self) -> bool:
        if self._kind == "auto":
            is_large = len(self._rows) >= FEWEST_FOR_GRAPH and self.background.is_settled
            return is_large and is_installed()
        return self._kind == "hnsw"

    def _candidates(self, direction: Vectors, count: int, which: Filter) -> NDArray[np.intp]:
        passes = self._ids > 0
        if not which.is_open:
            passes &= np.isin(self._verdicts, [_VERDICTS[verdict] for verdict in which.verdicts])
            passes &= self._qualities >= which.min_quality
        num_passing = int(passes.sum())
        if self._graph is not None and self._graph.is_complete:
            share = 1 if which.is_open else FILTERED_SHARE
            found = self._graph.nearest(direction, share * count + SPARE_ROWS)
            if found is not None and passes[found].sum() >= min(count, num_passing):
                return found[passes[found]]
        wanted = min(count + SPARE_ROWS, num_passing)
        if not wanted:
            return np.zeros(0, dtype=np.intp)
        products = np.where(passes, self._products(direction), -np.inf)
        return np.argpartition(-products, wanted - 1)[:wanted]

    def _products(self, direction: Vectors) -> Vectors:
        """Of every row and a direction.

        Part by part: NumPy gives a large product to threads, and where the engine's threads are at work they
        wait for one another ten times as long as the product takes.
        """
        found = np.empty(len(self._directions), dtype=np.float32)
        at_once = max(1, PRODUCT_NUMBERS // self._dimensions)
        for begin in range(0, len(found), at_once):
            rows = slice(begin, begin + at_once)
            np.matmul(self._directions[rows], direction, out=found[rows])
        return found

    def _grow(self) -> None:
        def longer(column: NDArray[Any]) -> NDArray[Any]:
            return np.concatenate([column, np.zeros_like(column)])

        self._ids, self._qualities = longer(self._ids), longer(self._qualities)
        self._verdicts = longer(self._verdicts)
        self._vectors, self._directions = longer(self._vectors), longer(self._directions)
