"""How much each key may ask for at once and in a minute."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ruvllm.serve.errors import ApiError
from ruvllm.serve.keys import ApiKey

__all__ = ["KeyLimits"]


class _Bucket:
    """Requests that may still be sent: so many at once, refilled over a minute."""

    def __init__(self, per_minute: int, now: float) -> None:
        self._per_minute = per_minute
        self._left = float(per_minute)
        self._at = now

    def take(self, now: float) -> float:
        """Take one; 0, or in how many seconds there is one again."""
        refilled = self._left + (now - self._at) * self._per_minute / 60
        self._left, self._at = min(self._per_minute, refilled), now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) * 60 / self._per_minute


class KeyLimits:
    """Counts what each key has under way. Of the event loop's thread alone."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[bytes, _Bucket] = {}
        self._under_way: dict[bytes, int] = {}

    @contextmanager
    def request(self, key: ApiKey) -> Iterator[None]:
        """A request of this key, from its beginning to its end; 429 where it is one too many."""
        under_way = self._under_way.get(key.digest, 0)
        if key.concurrent_requests is not None and under_way >= key.concurrent_requests:
            raise _refused(f"this key may have {key.concurrent_requests} requests under way", 1)
        if key.requests_per_minute is not None:
            bucket = self._buckets.setdefault(key.digest, _Bucket(key.requests_per_minute, self._clock()))
            seconds = bucket.take(self._clock())
            if seconds:
                raise _refused(f"this key may send {key.requests_per_minute} requests a minute", seconds)
        self._under_way[key.digest] = under_way + 1
        try:
            yield
        finally:
            self._under_way[key.digest] -= 1


def _refused(what: str, seconds: float) -> ApiError:
    headers = {"retry-after": str(max(1, round(seconds + 0.5)))}
    return ApiError(429, f"{what}; try again later", code="rate_limit_exceeded", headers=headers)
