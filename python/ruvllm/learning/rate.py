"""How often something may be done: so many times a minute, at once or spread."""

import time
from collections.abc import Callable

from ruvllm.errors import OverloadedError

__all__ = ["Allowance"]


class Allowance:
    """So many turns, which come back evenly within a minute; its owner holds a lock."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._left = float(per_minute)
        self._at = clock()

    def take(self) -> None:
        """Take one turn; an `OverloadedError` where there is none."""
        now = self._clock()
        self._left = min(self._per_minute, self._left + (now - self._at) * self._per_minute / 60)
        self._at = now
        if self._left < 1:
            seconds = (1 - self._left) * 60 / self._per_minute
            error = OverloadedError(
                f"more than {self._per_minute} feedbacks a minute; try again in {seconds:.1f} s"
            )
            error.retry_after_seconds = seconds
            raise error
        self._left -= 1
