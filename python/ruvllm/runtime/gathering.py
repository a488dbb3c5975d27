"""Answers to many prompts, each when it is done, with a bound on how many are under way.

All of them report to one queue, so that one thread waits for all; what is made of each is what
`CompletionStream` would have made of it.
"""

import asyncio
import queue
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

from ruvllm.errors import OverloadedError, RuvLLMError
from ruvllm.outputs import Chunk, Completion
from ruvllm.runtime.closing import Closing
from ruvllm.runtime.events import Event, is_last
from ruvllm.runtime.loop import EngineLoop
from ruvllm.runtime.request import GenerationTask, Request
from ruvllm.runtime.streams import SIGNAL_SECONDS, AsyncCompletionStream, ChunkMaker, join_chunks

__all__ = [
    "MAX_IN_FLIGHT",
    "CompletionsInTurn",
    "Outcome",
    "awaited_in_order",
    "completions_in_order",
    "made_of_each",
]

_Made = TypeVar("_Made")

Outcome: TypeAlias = Completion | Exception
"""An answer, or why there is none."""

# Of many prompts, so many are under way at once; the others wait here and not in the engine's queue.
MAX_IN_FLIGHT = 128
# So long it waits for others' requests to leave, where the queue is full and none of its own is in it.
OVERLOAD_PAUSE_SECONDS = 0.05

_Batch: TypeAlias = tuple[int, Sequence[Event], float]


class _SharedSink:
    """Hands one request's events to the queue of all."""

    def __init__(self, index: int, batches: "queue.SimpleQueue[_Batch]") -> None:
        self._index = index
        self._batches = batches

    def deliver(self, events: Sequence[Event], now: float) -> None:
        self._batches.put((self._index, events, now))


class _Answer:
    """One answer on its way."""

    def __init__(self, request: Request, *, with_logprobs: bool) -> None:
        self.request = request
        self._maker = ChunkMaker(request, with_logprobs=with_logprobs)
        self._chunks: list[Chunk] = []

    def take(self, events: Sequence[Event], now: float) -> Outcome | None:
        """Take events over; what came of the request, once there are no more."""
        try:
            self._chunks.extend(self._maker.chunk(event, now) for event in events)
        except Exception as error:  # noqa: BLE001 - it is this request's, and the others go on
            return error
        return join_chunks(self._chunks, self.request.task) if is_last(events[-1]) else None


class CompletionsInTurn(Closing, Iterator[tuple[int, Outcome]]):
    """Pairs of a prompt's index and its outcome, in the order in which they end.

    Prompts are taken from their iterator when there is room for them. `close`, leaving a `with` block, an
    exception while waiting and the end of the object's life cancel what is under way.
    """

    def __init__(
        self,
        loop: EngineLoop,
        prompts: Iterable[Any],
        make: Callable[[Any], GenerationTask],
        *,
        max_in_flight: int,
    ) -> None:
        self._loop = loop
        self._prompts = enumerate(prompts)
        self._make = make
        self._max_in_flight = max_in_flight
        self._batches: queue.SimpleQueue[_Batch] = queue.SimpleQueue()
        self._answers: dict[int, _Answer] = {}
        self._held_back: tuple[int, GenerationTask] | None = None
        self._done: deque[tuple[int, Outcome]] = deque()
        self._closed = False

    def __repr__(self) -> str:
        return f"CompletionsInTurn(under_way={len(self._answers)})"

    def __iter__(self) -> "CompletionsInTurn":
        return self

    def __next__(self) -> tuple[int, Outcome]:
        try:
            while not self._done:
                if self._closed or not self._fill():
                    raise StopIteration
                if not self._done:
                    self._take()
        except BaseException:
            self.close()
            raise
        return self._done.popleft()

    def close(self) -> None:
        """Stop: the engine ends what is under way, and nothing more is begun."""
        self._closed = True
        self._done.clear()
        for answer in self._answers.values():
            self._loop.cancel(answer.request)
        self._answers.clear()

    def __del__(self) -> None:
        if hasattr(self, "_closed"):
            self.close()

    def _fill(self) -> bool:
        """Begin what there is room for; false where nothing is under way or to come."""
        while len(self._answers) < self._max_in_flight and not self._done:
            item = self._held_back or self._next_task()
            self._held_back = None
            if item is None:
                break
            try:
                self._begin(*item)
            except OverloadedError:
                self._held_back = item
                if self._answers:
                    break
                time.sleep(OVERLOAD_PAUSE_SECONDS)
        return bool(self._answers or self._done)

    def _next_task(self) -> tuple[int, GenerationTask] | None:
        """The next prompt that can be asked; where one cannot, that is its outcome."""
        item = next(self._prompts, None)
        if item is None:
            return None
        index, prompt = item
        try:
            return index, self._make(prompt)
        except RuvLLMError as error:
            self._done.append((index, error))
            return None

    def _begin(self, index: int, task: GenerationTask) -> None:
        request = self._loop.submit(task, _SharedSink(index, self._batches))
        self._answers[index] = _Answer(request, with_logprobs=task.params.logprobs is not None)

    def _take(self) -> None:
        """Wait for events, and take over all that have come."""
        try:
            index, events, now = self._batches.get(timeout=SIGNAL_SECONDS)
        except queue.Empty:
            return
        outcome = self._answers[index].take(events, now)
        if outcome is not None:
            del self._answers[index]
            self._done.append((index, outcome))


def completions_in_order(
    loop: EngineLoop, tasks: Sequence[GenerationTask], *, max_in_flight: int
) -> list[Completion]:
    """The answers to all tasks, in their order; the first error ends what is under way, and is raised."""
    completions: dict[int, Completion] = {}
    with CompletionsInTurn(loop, tasks, lambda task: task, max_in_flight=max_in_flight) as outcomes:
        for index, outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
            completions[index] = outcome
    return [completions[index] for index in range(len(tasks))]


async def made_of_each(make: Callable[..., _Made], given: Iterable[Sequence[Any]]) -> list[_Made]:
    """What is made of each one's arguments, while the event loop has its turn between any two."""
    made: list[_Made] = []
    for arguments in given:
        if made:
            await asyncio.sleep(0)
        made.append(make(*arguments))
    return made


async def awaited_in_order(
    begin: Callable[[GenerationTask], AsyncCompletionStream],
    tasks: Sequence[GenerationTask],
    *,
    max_in_flight: int,
) -> list[Completion]:
    """The same for a coroutine; cancelling it ends what is under way."""
    completions: dict[int, Completion] = {}
    waiting = enumerate(tasks)
    # Where the engine's queue is full, one waits for room, and the others for that one.
    door = asyncio.Lock()

    async def answer_in_turn() -> None:
        for index, task in waiting:
            async with door:
                stream = await _begun(begin, task)
            completions[index] = await stream.completion()

    answers = [asyncio.ensure_future(answer_in_turn()) for _ in tasks[:max_in_flight]]
    try:
        await asyncio.gather(*answers)
    finally:
        for one in answers:
            one.cancel()
        await asyncio.gather(*answers, return_exceptions=True)
    return [completions[index] for index in range(len(tasks))]


async def _begun(
    begin: Callable[[GenerationTask], AsyncCompletionStream], task: GenerationTask
) -> AsyncCompletionStream:
    """The answer on its way, as soon as there is room for it."""
    while True:
        try:
            return begin(task)
        except OverloadedError:
            await asyncio.sleep(OVERLOAD_PAUSE_SECONDS)
