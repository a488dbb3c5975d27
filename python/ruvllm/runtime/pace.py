"""How fast the engine is, as measured while it runs: for shares of a step, preemptions and waiting times."""

from ruvllm.runtime.step_times import StepTimes

__all__ = ["Pace"]

# A new measurement counts so much.
WEIGHT = 0.2
# Before anything was measured.
ASSUMED_TOKENS_PER_SECOND = 200.0
ASSUMED_COPY_BYTES_PER_SECOND = 4e9
MIN_WAIT_SECONDS = 1.0
MAX_WAIT_SECONDS = 600.0


class Pace:
    """Tokens a second over the last plans, and how long their steps took.

    >>> pace = Pace()
    >>> pace.note(steps=2, rows=500, seconds=0.5)
    >>> pace.tokens_per_second, pace.times.seconds(250)
    (1000.0, 0.25)
    """

    def __init__(self) -> None:
        self._measured: float | None = None
        self.times = StepTimes()

    def note(self, *, steps: int, rows: int, seconds: float) -> None:
        """Take in what a plan came to: its steps, and the tokens that were computed in all of them."""
        if steps <= 0 or rows <= 0 or seconds <= 0:
            return
        rate = rows / seconds
        self._measured = rate if self._measured is None else self._measured + WEIGHT * (rate - self._measured)
        self.times.note(rows / steps, seconds / steps)

    @property
    def tokens_per_second(self) -> float:
        """Tokens of prompts and answers that are computed in a second."""
        return self._measured or ASSUMED_TOKENS_PER_SECOND

    def swap_block_seconds(self, block_bytes: int) -> float:
        """What it takes to copy a block."""
        return block_bytes / ASSUMED_COPY_BYTES_PER_SECOND

    def wait_seconds(self, tokens: int) -> float:
        """When so many tokens will be done, within reason."""
        return min(max(tokens / self.tokens_per_second, MIN_WAIT_SECONDS), MAX_WAIT_SECONDS)
