"""How many answers each key may ask for at once and in a minute.

Answers are counted, not bodies: a body of 64 prompts, of 16 choices or of 200 texts to embed is as much work
as so many bodies. A request counts as one when it comes, before its body is read, and takes the rest once it
is known, all of it or nothing.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ruvllm.runtime.bucket import Bucket
from ruvllm.serve.errors import ApiError
from ruvllm.serve.keys import ApiKey

__all__ = ["KeyLimits", "Lease"]


class KeyLimits:
    """Counts what each key has under way. Of the event loop's thread alone."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[bytes, Bucket] = {}
        self._under_way: dict[bytes, int] = {}

    @contextmanager
    def request(self, key: ApiKey) -> Iterator["Lease"]:
        """A request of this key, from its beginning to its end; 429 where it is one too many."""
        lease = Lease(self, key)
        lease.cover(1)
        try:
            yield lease
        finally:
            lease.close()

    def take(self, key: ApiKey, held: int, count: int) -> None:
        """Take `count` for a request that has `held`, or nothing: 429 where the key may not have so many."""
        whole = held + count
        under_way = self._under_way.get(key.digest, 0)
        most, per_minute = key.concurrent_requests, key.requests_per_minute
        if most is not None:
            if whole > most:
                raise _never(f"this request asks for {whole} answers, and this key may have {most} at once")
            if under_way + count > most:
                raise _not_now(f"this key may have {most} answers under way, and has {under_way - held}", 1)
        if per_minute is not None:
            if whole > per_minute:
                raise _never(
                    f"this request asks for {whole} answers, and this key may have {per_minute} a minute"
                )
            bucket = self._buckets.setdefault(key.digest, Bucket(per_minute, self._clock()))
            if not bucket.take(count, self._clock()):
                # What is held is not given back, a body was read for it: the next try needs all of them.
                seconds = bucket.seconds_until(whole)
                raise _not_now(f"this key may ask for {per_minute} answers a minute", seconds)
        self._under_way[key.digest] = under_way + count

    def give_back(self, key: ApiKey, count: int) -> None:
        """Note that so many are not under way any more."""
        self._under_way[key.digest] -= count


class Lease:
    """What one request has taken of its key's limits, until its end."""

    def __init__(self, limits: KeyLimits, key: ApiKey) -> None:
        self._limits = limits
        self._key = key
        self._held = 0
        self._is_open = True

    def cover(self, num_answers: int) -> None:
        """Make it so many answers in all, where it is fewer; 429, and as before, where that is too many."""
        missing = num_answers - self._held
        if not self._is_open:
            raise RuntimeError("the request has ended: nothing more can be taken for it")
        if missing > 0:
            self._limits.take(self._key, self._held, missing)
            self._held = num_answers

    def close(self) -> None:
        """Give back what is under way. Twice is the same as once."""
        self._is_open = False
        self._limits.give_back(self._key, self._held)
        self._held = 0


def _not_now(what: str, seconds: float) -> ApiError:
    headers = {"retry-after": str(max(1, round(seconds + 0.5)))}
    return ApiError(429, f"{what}; try again later", code="rate_limit_exceeded", headers=headers)


def _never(what: str) -> ApiError:
    # A 429, as OpenAI answers what is above a limit in itself: the key's limit is no fault of the body. But
    # waiting helps nobody, and OpenAI's and Anthropic's clients try a 429 again unless they are told not to.
    headers = {"x-should-retry": "false"}
    return ApiError(429, f"{what}: ask for fewer", code="rate_limit_exceeded", headers=headers)
