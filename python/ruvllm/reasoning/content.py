"""What a bank holds, in memory: it changes only by `Change`, so that what is read back is what was there."""

from collections.abc import Iterator, Sequence

import numpy as np

from ruvllm.reasoning.change import LARGEST_ID, Change, Kept, Vectors
from ruvllm.reasoning.patterns import Distilled, Pattern
from ruvllm.reasoning.table import IndexKind, VectorTable
from ruvllm.reasoning.trajectory import Match, Trajectory

__all__ = ["MAX_CAPACITY", "BankContent"]

MAX_CAPACITY = 1_000_000
# A content that is written whole is written in changes of so many trajectories.
ADDED_AT_ONCE = 64
# What is found often is worth up to so much quality more.
WORTH_OF_USE = 0.5


class BankContent:
    """Trajectories by id, their vectors, and the patterns of the last distillation. Of one thread at a time.

    Attributes:
        trajectories: By id, the oldest first.
        uses: How often each was found.
        table: Their vectors.
        distilled: The patterns, and up to where they are of it.
        next_id: Of the next one.
    """

    def __init__(self, dimensions: int, index: IndexKind) -> None:
        self.trajectories: dict[int, Trajectory] = {}
        self.uses: dict[int, int] = {}
        self.table = VectorTable(dimensions, index)
        self.distilled = Distilled()
        self.next_id = 1

    def __len__(self) -> int:
        return len(self.trajectories)

    def apply(self, change: Change) -> None:
        """Become what the change makes of it; a `ValueError`, and nothing changed, where that cannot be."""
        self._check(change)
        self.uses.update(change.uses)
        for number in change.dropped:
            self._drop(number)
        for one in change.added:
            self.trajectories[one.id] = one.trajectory
            self.uses[one.id] = one.uses
            self.table.add(one.id, one.vector, one.trajectory)
            self.next_id = one.id + 1
        if change.background is not None:
            self.table.set_background(change.background)
        if change.distilled is not None:
            self.distilled = change.distilled

    def whole(self) -> Iterator[Change]:
        """Changes that make the same out of nothing."""
        if self.table.background.count:
            yield Change(background=self.table.background)
        yield from self._adding(list(self.trajectories))
        if self.distilled.patterns:
            yield Change(distilled=self.distilled)

    def match(self, number: int, similarity: float) -> Match:
        """A trajectory that was found."""
        return Match(number, similarity, self.trajectories[number])

    def worst(self, count: int) -> list[int]:
        """Those to give up first: of little quality and seldom found, of equals the oldest.

        The best of a pattern go last, since they are what it says.
        """
        if count <= 0:
            return []
        spared = {number for pattern in self.distilled.patterns for number in pattern.best}
        ranks = [(number in spared, self.worth(number), number) for number in self.trajectories]
        return [number for _, _, number in sorted(ranks)[:count]]

    def worth(self, number: int) -> float:
        """A trajectory's quality, and up to a half for how often it was found."""
        return self.trajectories[number].quality + WORTH_OF_USE * (1.0 - 1.0 / (1.0 + self.uses[number]))

    def pattern_directions(self) -> Vectors:
        """The patterns' middles without the background: [patterns, dimensions]."""
        return self.table.directions(np.array([one.middle for one in self.distilled.patterns]))

    def patterns(self) -> tuple[Pattern, ...]:
        """The patterns as they are shown, with their best trajectories that are still there."""
        if not self.distilled.patterns:
            return ()
        directions = self.pattern_directions()
        return tuple(
            Pattern(
                id=position,
                count=one.count,
                mean_quality=one.mean_quality,
                verdicts=dict(one.verdicts),
                best=self._matches(one.best, direction),
                centre=direction,
            )
            for position, (one, direction) in enumerate(zip(self.distilled.patterns, directions, strict=True))
        )

    def _matches(self, numbers: Sequence[int], direction: Vectors) -> tuple[Match, ...]:
        there = [number for number in numbers if number in self.trajectories]
        return tuple(self.match(number, self.table.similarity(number, direction)) for number in there)

    def _adding(self, numbers: Sequence[int]) -> Iterator[Change]:
        for begin in range(0, len(numbers), ADDED_AT_ONCE):
            yield Change(
                added=[
                    Kept(number, self.trajectories[number], self.table.vector(number), self.uses[number])
                    for number in numbers[begin : begin + ADDED_AT_ONCE]
                ]
            )

    def _drop(self, number: int) -> None:
        del self.trajectories[number], self.uses[number]
        self.table.remove(number)

    def _check(self, change: Change) -> None:
        next_id = self.next_id
        for one in change.added:
            if not next_id <= one.id < LARGEST_ID:
                raise ValueError(f"trajectory {one.id} follows {next_id - 1}; ids only rise")
            next_id = one.id + 1
        for number in [*change.dropped, *change.uses]:
            if number not in self.trajectories:
                raise ValueError(f"it speaks of trajectory {number}, which is not there")
        if len(set(change.dropped)) != len(change.dropped):
            raise ValueError("it drops a trajectory twice")
        if len(self) + len(change.added) - len(change.dropped) > MAX_CAPACITY:
            raise ValueError(f"it has more than {MAX_CAPACITY} trajectories")
