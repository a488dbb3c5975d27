"""Who uses a model, and when nobody has for long. Of the event loop's thread alone.

Every request holds its model from before it is loaded to the end of the answer, so nothing is taken from
under it: what gives a model up waits here until nobody holds it.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

__all__ = ["ModelUses"]


class ModelUses:
    """The uses of one model.

    Attributes:
        count: The requests that hold it now.
        keep_seconds: How long it stays without being used, from its last use on; `None` is for ever.
    """

    def __init__(self, unused: Callable[[], None]) -> None:
        """Begin without any; `unused` is called once its time is over."""
        self.count = 0
        self._unused = unused
        self.keep_seconds: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._freed = asyncio.Event()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold it while the block runs."""
        self.count += 1
        self.forget_time()
        try:
            yield
        finally:
            self.count -= 1
            if not self.count:
                self._freed.set()
                self.begin_time()

    def begin_time(self, at_least: float = 0.0) -> None:
        """Count the time without a use anew, where nobody uses it."""
        self.forget_time()
        if not self.count and self.keep_seconds is not None:
            seconds = max(self.keep_seconds, at_least)
            self._timer = asyncio.get_running_loop().call_later(seconds, self._is_over)

    def forget_time(self) -> None:
        """Count no time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_over(self) -> None:
        self._timer = None
        self._unused()

    @property
    def end(self) -> float | None:
        """When its time is over, by the clock of Unix, where nobody uses it from now on; `None` is never."""
        if self.keep_seconds is None:
            return None
        if self._timer is None:
            return time.time() + self.keep_seconds
        return time.time() + max(0.0, self._timer.when() - asyncio.get_running_loop().time())

    async def none_within(self, seconds: float) -> bool:
        """Wait until nobody holds it, so long at most; whether that came to be.

        It holds until the caller waits for anything else.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while self.count:
            left = deadline - loop.time()
            if left <= 0:
                return False
            self._freed.clear()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._freed.wait(), left)
        return True
