"""How long a step takes, by its rows, as measured while the engine runs."""

import math
from bisect import bisect_left, bisect_right
from itertools import accumulate

__all__ = ["StepTimes"]

# A new measurement counts so much: steps become dearer with every portion of a long prompt.
WEIGHT = 0.4
# What a step costs whatever its rows, counted in rows: for sizes far from any that were measured.
FIXED_ROWS = 4.0
# One measurement counts as so many times what is known at the most: machines do other work, too.
LONGEST_OF_KNOWN = 2.0


class StepTimes:
    """Seconds of steps of various sizes, remembered by powers of two and interpolated between them.

    >>> times = StepTimes()
    >>> times.note(1, 0.01); times.note(16, 0.03)
    >>> times.seconds(16), times.rows_within(0.03)
    (0.03, 16)
    >>> 0.01 < times.seconds(8) < 0.03
    True
    """

    def __init__(self) -> None:
        self._points: dict[int, tuple[float, float]] = {}
        # By rows, each at least as long as the one before: more rows never take less.
        self._curve: list[tuple[float, float]] = []

    def __bool__(self) -> bool:
        return bool(self._points)

    def note(self, rows: float, seconds: float) -> None:
        """Take in that steps of so many rows took so long each."""
        if rows < 1 or seconds <= 0:
            return
        size = int(math.log2(rows))
        known_rows, known_seconds = self._points.get(size, (rows, seconds))
        seconds = min(seconds, LONGEST_OF_KNOWN * known_seconds)
        self._points[size] = (
            known_rows + WEIGHT * (rows - known_rows),
            known_seconds + WEIGHT * (seconds - known_seconds),
        )
        self._correct_larger(size)
        longest = accumulate((point[1] for point in sorted(self._points.values())), max)
        self._curve = [
            (point[0], time) for point, time in zip(sorted(self._points.values()), longest, strict=True)
        ]

    def _correct_larger(self, size: int) -> None:
        """Bring down what larger steps are thought to take where this size shows that it is too much.

        No row costs more in a larger step. Without this, one slow step would keep all others small for good:
        a size that is thought too slow is never tried again.
        """
        rows, seconds = self._points[size]
        for larger in [known for known in self._points if known > size]:
            larger_rows, known = self._points[larger]
            most = seconds * larger_rows / rows
            if known > most:
                self._points[larger] = (larger_rows, known + WEIGHT * (most - known))

    def seconds(self, rows: float) -> float:
        """How long a step of so many rows takes; something must have been measured."""
        place = bisect_left(self._curve, (rows, 0.0))
        if place == 0 or place == len(self._curve):
            known_rows, known = self._curve[min(place, len(self._curve) - 1)]
            return known * (rows + FIXED_ROWS) / (known_rows + FIXED_ROWS)
        (low_rows, low), (high_rows, high) = self._curve[place - 1], self._curve[place]
        return low + (high - low) * (rows - low_rows) / (high_rows - low_rows)

    def rows_within(self, seconds: float) -> int:
        """The most rows of a step that takes no longer; at least one."""
        place = bisect_right([known for _, known in self._curve], seconds)
        if place == 0 or place == len(self._curve):
            known_rows, known = self._curve[min(place, len(self._curve) - 1)]
            rows = seconds / known * (known_rows + FIXED_ROWS) - FIXED_ROWS
        else:
            (low_rows, low), (high_rows, high) = self._curve[place - 1], self._curve[place]
            rows = low_rows + (high_rows - low_rows) * (seconds - low) / (high - low)
        # What is measured in whole rows must not come out a hair below.
        return max(1, int(rows + 1e-6))
