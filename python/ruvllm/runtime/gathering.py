"""Answers to many prompts, each when it is done, with a bound on how many are under way.

All of them report to one queue, so that one thread waits for all; what is made of each is what
`CompletionStream` would have made of it. Of one prompt there may be several answers: each is a request, and
the prompt is done when they all are.
"""

import asyncio
import itertools
import queue
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

from ruvllm.errors import OverloadedError, RuvLLMError
from ruvllm.outputs import Chunk, Completion
from ruvllm.runtime.answering import Answering, Part, Scores
from ruvllm.runtime.closing import Closing
from ruvllm.runtime.events import Event, FoundValues, is_last
from ruvllm.runtime.loop import EngineLoop
from ruvllm.runtime.request import GenerationTask, Request, Task
from ruvllm.runtime.streams import SIGNAL_SECONDS, ChunkMaker, join_chunks

__all__ = [
    "MAX_IN_FLIGHT",
    "CompletionsInTurn",
    "Outcome",
    "awaited_answers",
    "awaited_in_order",
    "completions_in_order",
    "made_of_each",
]

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")

Outcome: TypeAlias = Completion | Exception
"""An answer, or why there is none."""

# Of many requests, so many are under way at once; the others wait here and not in the engine's queue.
MAX_IN_FLIGHT = 128
# So long it waits for others' requests to leave, where the queue is full and none of its own is in it.
OVERLOAD_PAUSE_SECONDS = 0.05


class _Place(NamedTuple):
    """Where what comes of a request belongs: to which prompt, and which of its tasks it is."""

    prompt: int
    task: int


_Batch: TypeAlias = tuple[_Place, Sequence[Event], float]


class _SharedSink:
    """Hands one request's events to the queue of all."""

    def __init__(self, place: _Place, batches: "queue.SimpleQueue[_Batch]") -> None:
        self._place = place
        self._batches = batches

    def deliver(self, events: Sequence[Event], now: float) -> None:
        self._batches.put((self._place, events, now))


class _Answer:
    """One answer on its way."""

    def __init__(self, request: Request, *, with_logprobs: bool) -> None:
        self.request = request
        self._maker = ChunkMaker(request, with_logprobs=with_logprobs)
        self._chunks: list[Chunk] = []

    def take(self, events: Sequence[Event], now: float) -> Part | Exception | None:
        """Take events over; what came of the request, once there are no more."""
        try:
            self._chunks.extend(self._maker.chunk(event, now) for event in events)
        except Exception as error:  # noqa: BLE001 - it is this request's, and the others go on
            return error
        return join_chunks(self._chunks, self.request.task) if is_last(events[-1]) else None


class _Scoring:
    """The scores of one prompt on their way."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self._found = FoundValues()

    def take(self, events: Sequence[Event], now: float) -> Part | Exception | None:
        """The same of these."""
        return cast("Scores | Exception | None", self._found.take(events))


class _Prompt:
    """A prompt some of whose tasks are under way."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._parts: dict[int, Part] = {}

    def take(self, task: int, part: Part) -> Completion | None:
        """Take over what came of a task; the answer, once there is nothing more to come."""
        self._parts[task] = part
        count = len(self._answering.tasks)
        if len(self._parts) < count:
            return None
        return self._answering.completion([self._parts[index] for index in range(count)])


class CompletionsInTurn(Closing, Iterator[tuple[int, Outcome]]):
    """Pairs of a prompt's index and its outcome, in the order in which they end.

    Prompts are taken from their iterator when there is room for them. `close`, leaving a `with` block, an
    exception while waiting and the end of the object's life cancel what is under way.
    """

    def __init__(
        self,
        loop: EngineLoop,
        prompts: Iterable[Any],
        make: Callable[[Any], Answering],
        *,
        max_in_flight: int,
    ) -> None:
        self._loop = loop
        self._prompts = enumerate(prompts)
        self._make = make
        self._max_in_flight = max_in_flight
        self._batches: queue.SimpleQueue[_Batch] = queue.SimpleQueue()
        self._open: dict[int, _Prompt] = {}
        self._to_begin: deque[tuple[_Place, Task]] = deque()
        self._under_way: dict[_Place, _Answer | _Scoring] = {}
        self._done: deque[tuple[int, Outcome]] = deque()
        self._closed = False

    def __repr__(self) -> str:
        return f"CompletionsInTurn(under_way={len(self._under_way)})"

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
        self._to_begin.clear()
        self._open.clear()
        for one in self._under_way.values():
            self._loop.cancel(one.request)
        self._under_way.clear()

    def __del__(self) -> None:
        if hasattr(self, "_closed"):
            self.close()

    def _fill(self) -> bool:
        """Begin what there is room for; false where nothing is under way or to come."""
        while len(self._under_way) < self._max_in_flight and not self._done:
            if not self._to_begin and not self._next_prompt():
                break
            try:
                self._begin(*self._to_begin[0])
            except OverloadedError:
                if self._under_way:
                    break
                time.sleep(OVERLOAD_PAUSE_SECONDS)
            else:
                self._to_begin.popleft()
        return bool(self._under_way or self._done)

    def _next_prompt(self) -> bool:
        """Take the next prompt that can be asked; where one cannot, that is its outcome."""
        item = next(self._prompts, None)
        if item is None:
            return False
        index, prompt = item
        try:
            answering = self._make(prompt)
        except RuvLLMError as error:
            self._done.append((index, error))
            return False
        self._open[index] = _Prompt(answering)
        self._to_begin.extend((_Place(index, number), task) for number, task in enumerate(answering.tasks))
        return True

    def _begin(self, place: _Place, task: Task) -> None:
        request = self._loop.submit(task, _SharedSink(place, self._batches))
        if isinstance(task, GenerationTask):
            self._under_way[place] = _Answer(request, with_logprobs=task.params.logprobs is not None)
        else:
            self._under_way[place] = _Scoring(request)

    def _take(self) -> None:
        """Wait for events, and take over all that have come."""
        try:
            place, events, now = self._batches.get(timeout=SIGNAL_SECONDS)
        except queue.Empty:
            return
        if place not in self._under_way:
            return  # of a prompt that has failed already
        part = self._under_way[place].take(events, now)
        if part is None:
            return
        del self._under_way[place]
        outcome = part if isinstance(part, Exception) else self._open[place.prompt].take(place.task, part)
        if isinstance(outcome, Exception):
            self._give_up(place.prompt)
        if outcome is not None:
            del self._open[place.prompt]
            self._done.append((place.prompt, outcome))

    def _give_up(self, prompt: int) -> None:
        """End what is left of a prompt."""
        while self._to_begin and self._to_begin[0][0].prompt == prompt:
            self._to_begin.popleft()
        for place in [one for one in self._under_way if one.prompt == prompt]:
            self._loop.cancel(self._under_way.pop(place).request)


def completions_in_order(
    loop: EngineLoop, answerings: Sequence[Answering], *, max_in_flight: int
) -> list[Completion]:
    """The answers to all prompts, in their order; the first error ends what is under way, and is raised."""
    completions: dict[int, Completion] = {}
    with CompletionsInTurn(loop, answerings, lambda one: one, max_in_flight=max_in_flight) as outcomes:
        for index, outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
            completions[index] = outcome
    return [completions[index] for index in range(len(answerings))]


async def awaited_answers(
    begin: Callable[[Task], Awaitable[Part]], answerings: Sequence[Answering], *, max_in_flight: int
) -> list[Completion]:
    """The same for a coroutine; cancelling it ends what is under way."""
    tasks = [task for one in answerings for task in one.tasks]
    parts = iter(await awaited_in_order(begin, tasks, max_in_flight=max_in_flight))
    return [one.completion(list(itertools.islice(parts, len(one.tasks)))) for one in answerings]


async def made_of_each(make: Callable[..., _Made], given: Iterable[Sequence[Any]]) -> list[_Made]:
    """What is made of each one's arguments, while the event loop has its turn between any two."""
    made: list[_Made] = []
    for arguments in given:
        if made:
            await asyncio.sleep(0)
        made.append(make(*arguments))
    return made


async def awaited_in_order(
    begin: Callable[[_Given], Awaitable[_Made]], tasks: Sequence[_Given], *, max_in_flight: int
) -> list[_Made]:
    """What comes of all tasks, in their order; the first error ends what is under way."""
    made: dict[int, _Made] = {}
    waiting = enumerate(tasks)
    # Where the engine's queue is full, one waits for room, and the others for that one.
    door = asyncio.Lock()

    async def make_in_turn() -> None:
        for index, task in waiting:
            async with door:
                begun = await _begun(begin, task)
            made[index] = await begun

    makers = [asyncio.ensure_future(make_in_turn()) for _ in tasks[:max_in_flight]]
    try:
        await asyncio.gather(*makers)
    finally:
        for one in makers:
            one.cancel()
        await asyncio.gather(*makers, return_exceptions=True)
    return [made[index] for index in range(len(tasks))]


async def _begun(begin: Callable[[_Given], Awaitable[_Made]], task: _Given) -> Awaitable[_Made]:
    """What is to come of a task, begun as soon as there is room for it."""
    while True:
        try:
            return begin(task)
        except OverloadedError:
            await asyncio.sleep(OVERLOAD_PAUSE_SECONDS)
