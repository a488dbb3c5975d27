"""Nearest rows through an HNSW graph, for banks so large that looking at every row takes longer.

The graph is voyager's (the extra `ruvllm[bank]`), built on one thread from a seed, so that the same rows in
the same order give the same graph. It takes in a few rows at each call and answers once it has all of them:
nobody waits for a graph to be built, and until then every row is looked at, slower and never less right.
"""

import importlib
import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["HnswRows", "is_installed"]

SEED = 1
# Edges of a row, rows that are looked at for them, and those that are looked at for an answer.
EDGES = 16
BUILD_WIDTH = 200
SEARCH_WIDTH = 128
# About 20 ms, as long as an embedding takes.
ROWS_AT_ONCE = 32


def is_installed() -> bool:
    """Whether there is a library for it."""
    return importlib.util.find_spec("voyager") is not None


class HnswRows:
    """A graph of rows, by their numbers; a number may get another vector, or go."""

    def __init__(self, dimensions: int) -> None:
        voyager = importlib.import_module("voyager")
        self._failure: type[Exception] = voyager.RecallError
        self._index: Any = voyager.Index(
            voyager.Space.InnerProduct, dimensions, M=EDGES, ef_construction=BUILD_WIDTH, random_seed=SEED
        )
        # Rows that the graph does not have yet, in order; and those that it marks as gone.
        self._waiting: dict[int, None] = {}
        self._gone: set[int] = set()
        self._known: set[int] = set()

    @property
    def is_complete(self) -> bool:
        """Whether it has every row."""
        return not self._waiting

    def put(self, row: int) -> None:
        """A row has a vector, or another one."""
        self._waiting[row] = None

    def remove(self, row: int) -> None:
        """A row is gone."""
        self._waiting.pop(row, None)
        if row in self._known and row not in self._gone:
            self._index.mark_deleted(row)
            self._gone.add(row)

    def take_in(self, vectors: NDArray[np.float32], num_rows: int = ROWS_AT_ONCE) -> None:
        """Take the next rows in."""
        for row in list(self._waiting)[:num_rows]:
            # What was marked as gone is there again by that.
            self._index.add_item(vectors[row], row)
            self._gone.discard(row)
            self._known.add(row)
            del self._waiting[row]

    def nearest(self, vector: NDArray[np.float32], count: int) -> NDArray[np.intp] | None:
        """So many rows that are near, as far as it finds them; `None` where it finds too few."""
        if count > len(self._known) - len(self._gone):
            return None
        try:
            rows, _ = self._index.query(vector, count, query_ef=max(SEARCH_WIDTH, 2 * count))
        except self._failure:
            return None
        return np.asarray(rows, dtype=np.intp)
