"""Work for the engine's thread between two plans, and its outcomes for whoever asked."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from ruvllm.runtime.events import for_one_request

__all__ = ["Calls"]

Result = TypeVar("Result")


class Calls:
    """A queue of calls; any thread adds, the engine's thread runs them."""

    def __init__(self) -> None:
        self._queue: deque[tuple[Callable[[], Any], Future[Any]]] = deque()

    def __bool__(self) -> bool:
        return bool(self._queue)

    def add(self, work: Callable[[], Result]) -> "Future[Result]":
        """Queue a call; the future has what it gives or raises."""
        outcome: Future[Result] = Future()
        self._queue.append((work, outcome))
        return outcome

    def run(self) -> None:
        """Run what is queued."""
        while self._queue:
            work, outcome = self._queue.popleft()
            try:
                outcome.set_result(work())
            except Exception as error:  # noqa: BLE001 - it is the caller's
                outcome.set_exception(error)

    def fail(self, error: Exception) -> None:
        """Tell everyone who waits that nothing will be run."""
        while self._queue:
            self._queue.popleft()[1].set_exception(for_one_request(error))
