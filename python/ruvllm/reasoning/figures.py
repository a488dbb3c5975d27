"""Figures of a bank."""

from collections.abc import Mapping
from dataclasses import dataclass

from ruvllm.reasoning.trajectory import Verdict

__all__ = ["BankStats"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BankStats:
    """What a bank holds, and what it did since it was opened.

    Attributes:
        tenant: Whose it is.
        trajectories: How many it holds.
        capacity: How many it may hold.
        verdicts: How many of each.
        mean_quality: Of all of them; 0 where there is none.
        patterns: How many the last distillation found.
        undistilled: Trajectories that came since.
        recorded: Added since it was opened.
        evicted: Given up for others since it was opened.
        searches: Answered since it was opened.
        index: `hnsw` where searches go through a graph now, else `exact`.
        background: Of how many vectors that is which is taken off all of them; 0 where none is yet.
        file_bytes: The length of its file; 0 where it has none.
    """

    tenant: str
    trajectories: int
    capacity: int
    verdicts: Mapping[Verdict, int]
    mean_quality: float
    patterns: int
    undistilled: int
    recorded: int
    evicted: int
    searches: int
    index: str
    background: int
    file_bytes: int
