"""Many short branches behind one beginning: how likely some tokens are at some places of each.

Each branch is a request of its own, so that the scheduler shares steps among tenants as always; the engine
computes what branches have in common once. A few are under way at a time: whoever asks for hundreds fills no
queue, and the next one begins as one ends.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ruvllm.adapters.generation import holding
from ruvllm.errors import GenerationError, OverloadedError
from ruvllm.runtime.events import Event, Failed, Finished, Values
from ruvllm.runtime.loop import EngineLoop
from ruvllm.runtime.outcome import Outcome
from ruvllm.runtime.request import EvaluationTask, Place, Request

if TYPE_CHECKING:
    from ruvllm.adapters.registry import ChosenAdapters

__all__ = ["Branch", "BranchLogprobs", "BranchResults"]

# Enough for the rows of a step, and for those of the next one while these end.
MAX_IN_FLIGHT = 32


@dataclass(frozen=True, slots=True)
class Branch:
    """What stands behind the beginning that all have, and what is asked there.

    `shared_tokens` of its tokens, the beginning included, stand in another branch too: the prefix cache keeps
    no more of it.
    """

    suffix: tuple[int, ...]
    places: tuple[Place, ...]
    shared_tokens: int


class BranchLogprobs(NamedTuple):
    """The log-probabilities of each branch, place by place, and how many tokens were computed for all."""

    logprobs: list[NDArray[np.float32]]
    computed_tokens: int


class BranchResults(Outcome[BranchLogprobs]):
    """What all branches give, once: to the thread that calls `wait`, or to the task that awaits it.

    Whoever stops waiting cancels those that are under way, and no other one begins.
    """

    def __init__(
        self,
        loop: EngineLoop,
        count: int,
        task_of: Callable[[int], EvaluationTask],
        adapters: "ChosenAdapters",
    ) -> None:
        """Begin; `task_of` makes the task of a branch out of its index, once there is room for it."""
        super().__init__()
        self._loop = loop
        self._task_of = task_of
        self._next = 0
        self._count = count
        self._left = count
        self._logprobs: dict[int, NDArray[np.float32]] = {}
        self._computed_tokens = 0
        self._requests: dict[int, Request] = {}
        self._has_ended = False
        # Held by the thread that begins branches and by the one that delivers; under it the loop's own.
        self._lock = threading.RLock()
        # Held by all together, so that no branch has to wait for them anew.
        with holding(adapters) as self._held, self._lock:
            try:
                self._begin_more()
            except BaseException:
                self.cancel()
                raise

    def cancel(self) -> None:
        """Stop: nobody wants the values any more."""
        self._end(None)

    def take(self, index: int, events: Sequence[Event]) -> None:
        """Take the events of a branch; when it has ended, the next one begins."""
        with self._lock:
            for event in events:
                if isinstance(event, Values):
                    self._logprobs[index] = np.asarray(event.values, dtype=np.float32)
                elif isinstance(event, Failed):
                    self._end(event.error)
                elif isinstance(event, Finished):
                    self._finished(index, event)

    def _finished(self, index: int, event: Finished) -> None:
        self._requests.pop(index, None)
        if self._has_ended:
            return
        if index not in self._logprobs:
            self._end(GenerationError(f"the evaluation ended without a result ({event.reason})"))
            return
        self._computed_tokens += event.prompt_tokens - event.cached_tokens
        self._left -= 1
        if not self._left:
            self._has_ended = True
            self._held.let_go()
            logprobs = [self._logprobs[place] for place in range(self._count)]
            self._outcome.set_result(BranchLogprobs(logprobs, self._computed_tokens))
            return
        try:
            self._begin_more()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is for the one who waits
            self._end(error)

    def _begin_more(self) -> None:
        """Begin what there is room for; where the queue is full, as soon as one ends that is in."""
        while self._next < self._count and len(self._requests) < MAX_IN_FLIGHT:
            index = self._next
            try:
                self._requests[index] = self._loop.submit(self._task_of(index), _BranchSink(self, index))
            except OverloadedError:
                if self._requests:
                    return
                raise
            self._next += 1

    def _end(self, error: Exception | None) -> None:
        """End it without a result, for this reason, or for none where nobody waits any more."""
        with self._lock:
            if self._has_ended:
                return
            self._has_ended = True
            requests = list(self._requests.values())
            self._held.let_go()
        for request in requests:
            self._loop.cancel(request)
        if error is not None:
            self._outcome.set_exception(error)


class _BranchSink:
    """Hands the events of one branch to what waits for all."""

    def __init__(self, results: BranchResults, index: int) -> None:
        self._results = results
        self._index = index

    def deliver(self, events: Sequence[Event], now: float) -> None:
        """Take events, as a `Sink` does."""
        self._results.take(self._index, events)
