"""What a tenant's loops count."""

import time
from dataclasses import dataclass

from ruvllm.learning.values import LearningLoopStats

__all__ = ["Counters"]


@dataclass(slots=True)
class Counters:
    """Sums and counts; their owner holds a lock."""

    instant_count: int = 0
    instant_us: float = 0.0
    background_count: int = 0
    background_ms: float = 0.0
    deep_count: int = 0
    deep_secs: float = 0.0
    total_samples: int = 0
    accumulated_quality: float = 0.0
    pending: int = 0
    refused: int = 0
    background_at: float | None = None
    deep_at: float | None = None

    def instant(self, latency_us: float, quality: float) -> None:
        """A feedback was taken in."""
        self.instant_count += 1
        self.instant_us += latency_us
        self.total_samples += 1
        self.pending += 1
        self.accumulated_quality += quality

    def background(self, milliseconds: float) -> None:
        """The background loop ran; nothing waits for it any more."""
        self.background_count += 1
        self.background_ms += milliseconds
        self.background_at = time.monotonic()
        self.pending = 0

    def deep(self, seconds: float) -> None:
        """The deep loop ran."""
        self.deep_count += 1
        self.deep_secs += seconds
        self.deep_at = time.monotonic()
        self.accumulated_quality = 0.0

    def stats(self, *, generation: int, samples: int) -> LearningLoopStats:
        """All of it as plain values."""
        now = time.monotonic()
        return LearningLoopStats(
            instant_count=self.instant_count,
            instant_avg_latency_us=self.instant_us / max(1, self.instant_count),
            background_count=self.background_count,
            background_avg_latency_ms=self.background_ms / max(1, self.background_count),
            deep_count=self.deep_count,
            deep_avg_latency_secs=self.deep_secs / max(1, self.deep_count),
            total_samples=self.total_samples,
            accumulated_quality=self.accumulated_quality,
            pending_samples=min(self.pending, samples),
            last_background_secs=None if self.background_at is None else now - self.background_at,
            last_deep_secs=None if self.deep_at is None else now - self.deep_at,
            generation=generation,
            refused=self.refused,
        )
