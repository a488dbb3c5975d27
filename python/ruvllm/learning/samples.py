"""What is kept of answers: the latest, by their names, as many as fit; and what the deep loop trains on."""

import threading
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ruvllm.training.values import TokenSample

__all__ = ["Collected", "Latest"]

Value = TypeVar("Value")


class Latest(Generic[Value]):
    """The latest values by their names, bounded in number and bytes; their owner holds a lock."""

    def __init__(self, *, max_values: int, max_bytes: int) -> None:
        self._max_values = max_values
        self._max_bytes = max_bytes
        self._by_name: dict[str, tuple[Value, int]] = {}
        self.num_bytes = 0

    def __len__(self) -> int:
        return len(self._by_name)

    def __iter__(self) -> Iterator[Value]:
        return (value for value, _ in self._by_name.values())

    def get(self, name: str) -> Value | None:
        """What has this name, where it is kept."""
        found = self._by_name.get(name)
        return None if found is None else found[0]

    def put(self, name: str, value: Value, num_bytes: int) -> None:
        """Keep one in the place of an older one of its name; the oldest have to go."""
        self.take(name)
        self._by_name[name] = value, num_bytes
        self.num_bytes += num_bytes
        while len(self._by_name) > self._max_values or self.num_bytes > self._max_bytes:
            self.take(next(iter(self._by_name)))

    def take(self, name: str) -> Value | None:
        """The same as `get`, and it is not kept any more."""
        value, num_bytes = self._by_name.pop(name, (None, 0))
        self.num_bytes -= num_bytes
        return value

    def clear(self) -> None:
        """Keep none."""
        self._by_name.clear()
        self.num_bytes = 0


class Collected:
    """Of a tenant's answers the tokens, and those before them: what the deep loop trains on. Of all threads.

    What was asked waits until feedback comes; half of the bytes are for what waits.
    """

    def __init__(self, *, max_samples: int, max_bytes: int) -> None:
        self._lock = threading.Lock()
        half = max(1, max_bytes // 2)
        self._asked: Latest[NDArray[np.uint32]] = Latest(max_values=2 * max_samples, max_bytes=half)
        self._rated: Latest[TokenSample] = Latest(max_values=max_samples, max_bytes=half)

    def asked(self, completion_id: str, tokens: Sequence[int]) -> None:
        """An answer to these tokens is being made."""
        asked = np.array(tokens, np.uint32)
        with self._lock:
            self._asked.put(completion_id, asked, asked.nbytes)

    def rated(self, completion_id: str, answer: Sequence[int], quality: float) -> None:
        """Feedback came for it; where what was asked is not kept, neither is it."""
        with self._lock:
            before = self._rated.take(completion_id)
            prompt = self._asked.take(completion_id) if before is None else before.prompt
            if prompt is not None and prompt.size and answer:
                sample = TokenSample(prompt=prompt, answer=np.array(answer, np.uint32), quality=quality)
                self._rated.put(completion_id, sample, sample.num_bytes)

    def samples(self) -> list[TokenSample]:
        """Those with feedback, the oldest first."""
        with self._lock:
            return list(self._rated)

    @property
    def num_bytes(self) -> int:
        """What all of it takes."""
        with self._lock:
            return self._asked.num_bytes + self._rated.num_bytes

    def clear(self) -> None:
        """Keep none of those with feedback."""
        with self._lock:
            self._rated.clear()
