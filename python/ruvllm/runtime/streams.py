"""Answers as their callers read them: whole, piece by piece, or from asyncio.

Each reader is the sink of one request. Whoever stops reading, by `close`, by an exception or by forgetting
the object, cancels the request.
"""

import asyncio
import queue
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from types import TracebackType
from typing import cast

from ruvllm.errors import GenerationError
from ruvllm.outputs import Chunk, Completion, FinishReason, Timings, TokenLogprob, Usage
from ruvllm.runtime.closing import Closing
from ruvllm.runtime.events import Event, Failed, Finished, TokenMade, is_last
from ruvllm.runtime.loop import EngineLoop
from ruvllm.runtime.mailbox import Batch, mailbox_of
from ruvllm.runtime.request import GenerationTask, PromptProgress, Request, Task

__all__ = ["AsyncCompletionStream", "ChunkMaker", "CompletionStream", "join_chunks"]

# While it waits, a thread looks for signals this often; on Unix they interrupt the waiting anyway.
SIGNAL_SECONDS = 0.5


class _QueueSink:
    """Hands events to one thread that waits for them."""

    def __init__(self) -> None:
        self._batches: queue.SimpleQueue[Batch] = queue.SimpleQueue()

    def deliver(self, events: Sequence[Event], now: float) -> None:
        self._batches.put((events, now))

    def take(self) -> Batch:
        while True:
            try:
                return self._batches.get(timeout=SIGNAL_SECONDS)
            except queue.Empty:
                continue


class _AsyncSink:
    """Hands events to the one coroutine that reads; `deliver` runs in another thread than its event loop."""

    def __init__(self, interval: float = 0.0) -> None:
        self._loop = asyncio.get_running_loop()
        self._mailbox = mailbox_of(self._loop, interval)
        self._batches: list[Batch] = []
        self._waiting: asyncio.Future[None] | None = None
        self._has_begun = False

    def deliver(self, events: Sequence[Event], now: float) -> None:
        is_urgent = not self._has_begun or is_last(events[-1])
        self._has_begun = True
        self._mailbox.put(self, (events, now), is_urgent=is_urgent)

    def put(self, batch: Batch) -> None:
        self._batches.append(batch)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def arrived(self) -> None:
        """Wait until something has come."""
        while not self._batches:
            self._waiting = self._loop.create_future()
            await self._waiting

    async def take(self) -> list[Batch]:
        """All that has come since the last time; a failure after other events comes alone."""
        await self.arrived()
        batches, self._batches = self._batches, []
        if len(batches) > 1 and isinstance(batches[-1][0][-1], Failed):
            self._batches.append(batches.pop())
        return batches


class ChunkMaker:
    """Turns events into chunks."""

    def __init__(self, request: Request, *, with_logprobs: bool) -> None:
        self._submitted_at = request.submitted_at
        self._completion_id = request.completion_id
        self._task = request.task
        self._with_logprobs = with_logprobs
        self._first_token_at: float | None = None

    @property
    def has_begun(self) -> bool:
        """Whether a token has come."""
        return self._first_token_at is not None

    def chunk(self, event: Event, now: float) -> Chunk:
        """The event as a chunk; a failure is raised."""
        if isinstance(event, TokenMade):
            if self._first_token_at is None:
                self._first_token_at = now
            return Chunk(text=event.text, token_ids=(event.token_id,), logprobs=self._logprobs(event))
        if isinstance(event, Finished):
            return self._last(event, now)
        if isinstance(event, Failed):
            raise event.error
        raise GenerationError("the engine gave values where tokens were asked for")

    def _logprobs(self, event: TokenMade) -> tuple[TokenLogprob, ...] | None:
        if not self._with_logprobs:
            return None
        return () if event.logprob is None else (event.logprob,)

    def _stop_reason(self, event: Finished) -> str | int | None:
        if event.stop_index is None or not isinstance(self._task, GenerationTask):
            return event.stop_token
        return self._task.params.stop_sequences[event.stop_index]

    def _last(self, event: Finished, now: float) -> Chunk:
        first = now if self._first_token_at is None else self._first_token_at
        return Chunk(
            text=event.text,
            logprobs=() if self._with_logprobs else None,
            finish_reason=cast("FinishReason", event.reason),
            stop_reason=self._stop_reason(event),
            usage=Usage(
                prompt_tokens=event.prompt_tokens,
                completion_tokens=event.completion_tokens,
                cached_tokens=event.cached_tokens,
                cache_miss=event.cache_miss,
                drafted_tokens=event.drafted_tokens,
                accepted_tokens=event.accepted_tokens,
            ),
            timings=Timings(
                first_token_seconds=first - self._submitted_at,
                total_seconds=now - self._submitted_at,
                computed_prompt_tokens=event.prompt_tokens - event.cached_tokens,
                completion_tokens=event.completion_tokens,
            ),
            completion_id=self._completion_id,
        )


class CompletionStream(Closing, Iterator[Chunk]):
    """An answer, piece by piece.

    The request runs from the beginning, read or not. `close`, leaving a `with` block, an exception while
    waiting and the end of the object's life all cancel it.
    """

    def __init__(self, loop: EngineLoop, task: Task, *, with_logprobs: bool = False) -> None:
        self._loop = loop
        self._sink = _QueueSink()
        self._done = False
        self._chunks: deque[Chunk] = deque()
        self._request = loop.submit(task, self._sink)
        self._maker = ChunkMaker(self._request, with_logprobs=with_logprobs)

    def __repr__(self) -> str:
        return f"CompletionStream({'at its end' if self._done else 'under way'})"

    def __iter__(self) -> "CompletionStream":
        return self

    def __next__(self) -> Chunk:
        if self._done:
            raise StopIteration
        try:
            while not self._chunks:
                events, now = self._sink.take()
                self._chunks.extend(self._maker.chunk(event, now) for event in events)
        except BaseException:
            self.close()
            raise
        chunk = self._chunks.popleft()
        self._done = chunk.finish_reason is not None
        return chunk

    def close(self) -> None:
        """Stop: the engine ends the request, and there are no more chunks."""
        if not self._done:
            self._done = True
            self._loop.cancel(self._request)

    @property
    def task(self) -> Task:
        """What is computed."""
        return self._request.task

    @property
    def prompt_share(self) -> float | None:
        """The share of the prompt that is computed, 0 to 1; `None` where the engine does not say."""
        return 1.0 if self._maker.has_begun else self._request.prompt_share

    def completion(self) -> Completion:
        """Wait for all that is left and join it."""
        left = list(self)
        return join_chunks(left, self.task)

    def __del__(self) -> None:
        if hasattr(self, "_request"):
            self.close()


class AsyncCompletionStream(AsyncIterator[Chunk]):
    """An answer, piece by piece, for `async for`; made inside a running event loop.

    `aclose`, cancelling the task that waits and the end of the object's life all cancel the request. Pieces
    come at least `interval` seconds apart, what was made meanwhile together; the first and the last at once.
    """

    def __init__(
        self, loop: EngineLoop, task: Task, *, with_logprobs: bool = False, interval: float = 0.0
    ) -> None:
        self._loop = loop
        self._sink = _AsyncSink(interval)
        self._done = False
        self._chunks: deque[Chunk] = deque()
        self._request = loop.submit(task, self._sink)
        self._maker = ChunkMaker(self._request, with_logprobs=with_logprobs)

    def __repr__(self) -> str:
        return f"AsyncCompletionStream({'at its end' if self._done else 'under way'})"

    def __aiter__(self) -> "AsyncCompletionStream":
        return self

    async def __anext__(self) -> Chunk:
        if not self._chunks:
            self._chunks.extend(await self.batch())
        if not self._chunks:
            raise StopAsyncIteration
        return self._chunks.popleft()

    @property
    def prompt_progress(self) -> PromptProgress | None:
        """How far the prompt is read, where a token has not come yet and the engine says it."""
        return None if self._maker.has_begun else self._request.prompt_progress

    async def begun(self) -> None:
        """Wait until there is a piece to read, or the end, and read nothing."""
        if not self._done and not self._chunks:
            await self._sink.arrived()

    async def batch(self) -> list[Chunk]:
        """Wait for the next pieces and give all that came together; none after the last."""
        if self._done:
            return []
        try:
            batches = await self._sink.take()
            chunks = [self._maker.chunk(event, now) for events, now in batches for event in events]
        except BaseException:
            self._cancel()
            raise
        self._done = chunks[-1].finish_reason is not None
        return chunks

    async def completion(self) -> Completion:
        """Wait for all that is left and join it."""
        async with self:
            left = [chunk async for chunk in self]
            return join_chunks(left, self._request.task)

    async def aclose(self) -> None:
        """Stop: the engine ends the request, and there are no more chunks."""
        self._cancel()

    async def __aenter__(self) -> "AsyncCompletionStream":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cancel()

    def _cancel(self) -> None:
        if not self._done:
            self._done = True
            self._loop.cancel(self._request)

    def __del__(self) -> None:
        if hasattr(self, "_request"):
            self._cancel()


def join_chunks(chunks: Sequence[Chunk], task: Task | None = None) -> Completion:
    """Join the chunks of an answer, up to its end, with the prompt that its task knows."""
    last = chunks[-1] if chunks else None
    if last is None or last.finish_reason is None or last.usage is None or last.timings is None:
        raise GenerationError("the answer was closed before its end")
    logprobs = None
    if last.logprobs is not None:
        logprobs = tuple(entry for chunk in chunks for entry in chunk.logprobs or ())
    return Completion(
        text="".join(chunk.text for chunk in chunks),
        token_ids=tuple(token for chunk in chunks for token in chunk.token_ids),
        finish_reason=last.finish_reason,
        usage=last.usage,
        timings=last.timings,
        logprobs=logprobs,
        completion_id=last.completion_id,
        prompt=task.prompt if isinstance(task, GenerationTask) else None,
        stop_reason=last.stop_reason,
    )
