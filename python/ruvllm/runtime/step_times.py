"""How long a step takes, by its rows, as measured while the engine runs."""

import math

__all__ = ["StepTimes"]

# A new measurement counts so much.
WEIGHT = 0.2
# What a step costs whatever its rows, counted in rows: for sizes far from any that were measured.
FIXED_ROWS = 4.0


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

    def __bool__(self) -> bool:
        return bool(self._points)

    def note(self, rows: float, seconds: float) -> None:
        """Take in that steps of so many rows took so long each."""
        if rows < 1 or seconds <= 0:
            return
        size = int(math.log2(rows))
        known = self._points.get(size)
        if known is None:
            self._points[size] = (rows, seconds)
        else:
            self._points[size] = (
                known[0] + WEIGHT * (rows - known[0]),
                known[1] + WEIGHT * (seconds - known[1]),
            )

    def seconds(self, rows: float) -> float:
        """How long a step of so many rows takes; something must have been measured."""
        points = self._curve()
        below = [point for point in points if point[0] <= rows]
        above = [point for point in points if point[0] >= rows]
        if not below or not above:
            nearest_rows, nearest_seconds = (below or above)[-1 if below else 0]
            return nearest_seconds * (rows + FIXED_ROWS) / (nearest_rows + FIXED_ROWS)
        (low_rows, low), (high_rows, high) = below[-1], above[0]
        if high_rows == low_rows:
            return low
        return low + (high - low) * (rows - low_rows) / (high_rows - low_rows)

    def rows_within(self, seconds: float) -> int:
        """The most rows of a step that takes no longer; at least one."""
        low, high = 1, 2
        while self.seconds(high) <= seconds and high < 1 << 20:
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.seconds(middle) <= seconds else (low, middle)
        return low

    def _curve(self) -> list[tuple[float, float]]:
        """The points by rows, each at least as long as the one before: more rows never take less."""
        longest = 0.0
        curve = []
        for rows, seconds in sorted(self._points.values()):
            longest = max(longest, seconds)
            curve.append((rows, longest))
        return curve
