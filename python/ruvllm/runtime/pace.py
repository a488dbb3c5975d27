"""How fast the engine is, as measured while it runs: for the price of a preemption and the time to wait."""

from collections.abc import Mapping

__all__ = ["Pace"]

# A new measurement counts so much.
WEIGHT = 0.2
# Before anything was measured.
ASSUMED_TOKENS_PER_SECOND = 200.0
ASSUMED_COPY_BYTES_PER_SECOND = 4e9
MIN_WAIT_SECONDS = 1.0
MAX_WAIT_SECONDS = 600.0


class Pace:
    """Tokens a second over the last plans.

    >>> pace = Pace()
    >>> pace.note({1: 0}, {1: 500}, 0.5)
    >>> pace.tokens_per_second
    1000.0
    """

    def __init__(self) -> None:
        self._measured: float | None = None

    def note(self, before: Mapping[int, int], after: Mapping[int, int], seconds: float) -> None:
        """Take in how many tokens each sequence had computed before and after a plan."""
        tokens = sum(after[sequence] - count for sequence, count in before.items() if sequence in after)
        if tokens <= 0 or seconds <= 0:
            return
        rate = tokens / seconds
        self._measured = rate if self._measured is None else (1 - WEIGHT) * self._measured + WEIGHT * rate

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
