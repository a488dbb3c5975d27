"""What is computed once and waited for: by a thread, or by a task that awaits it."""

import asyncio
from collections.abc import Generator
from concurrent import futures
from typing import Any, Generic, TypeVar

from ruvllm.runtime.streams import SIGNAL_SECONDS

__all__ = ["Outcome"]

Result = TypeVar("Result")


class Outcome(Generic[Result]):
    """What comes of it, once; whoever stops waiting cancels it."""

    def __init__(self) -> None:
        self._outcome: futures.Future[Result] = futures.Future()
        # Running from the beginning: a task that stops waiting must not make an outcome impossible.
        self._outcome.set_running_or_notify_cancel()

    def wait(self) -> Result:
        """Wait for it; an exception while waiting cancels it."""
        try:
            while not self._outcome.done():
                futures.wait([self._outcome], SIGNAL_SECONDS)
        except BaseException:
            self.cancel()
            raise
        return self._outcome.result()

    def __await__(self) -> Generator[Any, None, Result]:
        try:
            return (yield from asyncio.wrap_future(self._outcome).__await__())
        except BaseException:
            self.cancel()
            raise

    def cancel(self) -> None:
        """Stop: nobody wants it any more."""
        raise NotImplementedError
