"""Answers with feedback, as many as fit: what the background loop consolidates, and measures itself by."""

from collections.abc import Iterator

from ruvllm.learning.values import Sample

__all__ = ["Samples"]


class Samples:
    """The latest samples by their answers' names, bounded in number and bytes; their owner holds a lock."""

    def __init__(self, *, max_samples: int, max_bytes: int) -> None:
        self._max_samples = max_samples
        self._max_bytes = max_bytes
        self._by_id: dict[str, Sample] = {}
        self._num_bytes = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._by_id.values())

    def get(self, completion_id: str) -> Sample | None:
        """What was said of an answer, where it is kept."""
        return self._by_id.get(completion_id)

    def put(self, completion_id: str, sample: Sample) -> None:
        """Keep one in the place of an older one of its name; the oldest have to go."""
        self._forget(completion_id)
        self._by_id[completion_id] = sample
        self._num_bytes += sample.captured.num_bytes
        while len(self._by_id) > self._max_samples or self._num_bytes > self._max_bytes:
            self._forget(next(iter(self._by_id)))

    def clear(self) -> None:
        """Keep none."""
        self._by_id.clear()
        self._num_bytes = 0

    def _forget(self, completion_id: str) -> None:
        sample = self._by_id.pop(completion_id, None)
        if sample is not None:
            self._num_bytes -= sample.captured.num_bytes
