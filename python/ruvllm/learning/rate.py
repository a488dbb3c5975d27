"""How much feedback may come: so many times a minute."""

import time
from collections.abc import Callable

from ruvllm.errors import OverloadedError
from ruvllm.runtime.bucket import Bucket

__all__ = ["Allowance"]


class Allowance:
    """So many turns, which come back evenly within a minute; its owner holds a lock."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._bucket = Bucket(per_minute, clock())

    def take(self) -> None:
        """Take one turn; an `OverloadedError` where there is none."""
        if not self._bucket.take(1, self._clock()):
            seconds = self._bucket.seconds_until(1)
            error = OverloadedError(
                f"more than {self._per_minute} feedbacks a minute; try again in {seconds:.1f} s"
            )
            error.retry_after_seconds = seconds
            raise error
