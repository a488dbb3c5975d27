"""Answers under way: several to each prompt, observed, cancelled when nobody waits for them any more."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

from starlette.requests import Request

from ruvllm.errors import OverloadedError, RuvLLMError
from ruvllm.outputs import Chunk, Completion, Timings, Usage
from ruvllm.params import GenerateParams
from ruvllm.runtime.prompts import check_room
from ruvllm.runtime.request import PromptProgress, Terms
from ruvllm.runtime.streams import AsyncCompletionStream, join_chunks
from ruvllm.serve.asked_model import AskedModel
from ruvllm.serve.errors import ApiError
from ruvllm.serve.given_answers import name_of
from ruvllm.serve.metrics import RequestWatch
from ruvllm.serve.off_loop import AT_ONCE, Errand
from ruvllm.serve.server import Server, count_answers, errand_of, server_of
from ruvllm.serve.sse import unless_disconnected

__all__ = [
    "Answers",
    "Job",
    "answers_usage",
    "check_length",
    "complete",
    "gather_in_turn",
    "in_slices",
    "progress_body",
    "timings_body",
    "usage_body",
]

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

# How often a stream that asked for it is told how far its prompts are read.
PROGRESS_SECONDS = 0.25
# So many pieces are made into one event: of a stream that is read slowly, thousands may have come together.
SLICE_CHUNKS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a request asks of a model."""

    model: AskedModel
    token_ids: Sequence[int]
    params: GenerateParams
    terms: Terms
    num_answers: int = 1


Observe: TypeAlias = Callable[[int, Sequence[Chunk]], object]
"""Is told the number of an answer, and pieces of it."""
_Pieces: TypeAlias = "asyncio.Queue[tuple[int, list[Chunk] | Exception]]"


class Answers:
    """The answers to jobs, from their submission to their end, numbered in the order of the jobs.

        async with await Answers.start([job], request) as answers:
            async for index, chunks in answers.pieces(): ...

    `start` submits all of them or raises; `aclose` and leaving the block end those that still run.
    """

    def __init__(self, jobs: Sequence[Job], server: Server, answer_id: str) -> None:
        self._jobs = jobs
        self._job_of_answer = [job for job in jobs for _ in range(job.num_answers)]
        self._server = server
        self._answer_id = answer_id
        self._ends = AsyncExitStack()
        self._streams: list[tuple[AsyncCompletionStream, RequestWatch]] = []

    @classmethod
    async def start(cls, jobs: Sequence[Job], request: Request, answer_id: str = "") -> "Answers":
        """Submit all answers, or none; feedback may come for them under `answer_id`, if they have one."""
        count_answers(request, sum(job.num_answers for job in jobs))
        server = server_of(request)
        server.metrics.asked(jobs[0].model)
        answers = cls(jobs, server, answer_id)
        try:
            if server.settings.learn:
                await _begin_learning(jobs[0], errand_of(request))
            await answers._submit(errand_of(request))
        except BaseException:
            await answers.aclose()
            raise
        return answers

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._streams)

    async def aclose(self) -> None:
        """End what still runs."""
        await self._ends.aclose()
        for _, watch in self._streams:
            watch.left()

    async def __aenter__(self) -> "Answers":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _submit(self, errand: Errand) -> None:
        num_tokens = 0
        for job in self._jobs:
            engine = await job.model.ready()
            for params in await _params_of_answers(job, errand):
                # Each prompt is looked through once more; between many long ones others have their turn.
                num_tokens += len(job.token_ids)
                if num_tokens > AT_ONCE:
                    num_tokens = 0
                    await asyncio.sleep(0)
                work = engine.on(job.terms)
                async with work.adapters_ready():
                    stream = work.stream(
                        job.token_ids, params, interval=self._server.settings.stream_interval
                    )
                await self._ends.enter_async_context(stream)
                name, now = job.model.served.name, time.perf_counter()
                watch = self._server.metrics.watch(name, len(job.token_ids), now)
                self._streams.append((stream, watch))

    async def reading(self) -> AsyncIterator[tuple[int, PromptProgress]]:
        """How far the prompts are read, each time that has grown, until the first piece of any answer.

        This stream alone looks, at what the engine's thread notes at each plan anyway. A request that gave
        its place to another is computed anew; it is told of again once that is further than before.
        """
        beginnings = [asyncio.ensure_future(stream.begun()) for stream, _ in self._streams]
        told: dict[int, int] = {}
        any_of_them, wait = asyncio.FIRST_COMPLETED, partial(asyncio.wait, timeout=PROGRESS_SECONDS)
        try:
            # Without an answer, where a prompt is only scored, there is none to wait for.
            while beginnings and not (await wait(beginnings, return_when=any_of_them))[0]:
                for index, (stream, _) in enumerate(self._streams):
                    progress = stream.prompt_progress
                    if progress is None:
                        continue
                    if progress.computed_tokens > told.get(index, progress.cached_tokens - 1):
                        told[index] = progress.computed_tokens
                        yield index, progress
        finally:
            for beginning in beginnings:
                beginning.cancel()
            await asyncio.gather(*beginnings, return_exceptions=True)

    async def pieces(self) -> AsyncIterator[tuple[int, list[Chunk]]]:
        """Pieces with the index of their answer, as they come."""
        if len(self._streams) == 1:
            while chunks := await self._batch(0):
                yield 0, chunks
            return
        queue: _Pieces = asyncio.Queue()
        readers = [asyncio.create_task(self._read(index, queue)) for index in range(len(self._streams))]
        try:
            open_answers = len(readers)
            while open_answers:
                index, piece = await queue.get()
                if isinstance(piece, Exception):
                    raise piece
                open_answers -= not piece
                if piece:
                    yield index, piece
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)

    async def _read(self, index: int, queue: "_Pieces") -> None:
        try:
            while chunks := await self._batch(index):
                queue.put_nowait((index, chunks))
            queue.put_nowait((index, []))
        except Exception as error:  # noqa: BLE001 - raised again by the one who reads the queue
            queue.put_nowait((index, error))

    async def _batch(self, index: int) -> list[Chunk]:
        """The next pieces of an answer; none after its end."""
        stream, watch = self._streams[index]
        chunks = await stream.batch()
        if chunks:
            watch.passed(chunks, time.perf_counter())
            if (kept_as := chunks[-1].completion_id) is not None and self._answer_id:
                job = self._job_of_answer[index]
                self._server.given_answers.keep(
                    job.terms.tenant,
                    name_of(self._answer_id, index),
                    model=job.model.served,
                    kept_as=kept_as,
                    prompt=job.token_ids,
                )
            if chunks[-1].finish_reason == "cancelled":
                # Nobody here did it, so it must not pass for a whole answer.
                message = "the server ended this answer before its end"
                raise ApiError(503, message, code="unavailable", headers={"retry-after": "1"})
        return chunks

    async def completions(self, errand: Errand, observe: Observe | None = None) -> list[Completion]:
        """All answers, whole; `observe` is told of their pieces as they come."""
        chunks_of: list[list[Chunk]] = [[] for _ in self._streams]
        async for index, chunks in self.pieces():
            chunks_of[index].extend(chunks)
            if observe is not None:
                observe(index, chunks)
        size = sum(map(len, chunks_of))
        return await errand.do(size, lambda: [join_chunks(chunks) for chunks in chunks_of])


async def in_slices(
    pieces: AsyncIterator[tuple[int, list[Chunk]]],
) -> AsyncIterator[tuple[int, list[Chunk]]]:
    """The same, of each answer a few at a time, with others' turns between."""
    async for index, chunks in pieces:
        for start in range(0, len(chunks), SLICE_CHUNKS):
            if start:
                await asyncio.sleep(0)
            yield index, chunks[start : start + SLICE_CHUNKS]


async def gather_in_turn(works: Iterable[Awaitable[Result]]) -> list[Result]:
    """Await all of them; each is begun in a turn of the loop of its own, since to begin may take long."""
    tasks: list[asyncio.Future[Result]] = []
    try:
        for work in works:
            tasks.append(asyncio.ensure_future(work))
            await asyncio.sleep(0)
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def _params_of_answers(job: Job, errand: Errand) -> list[GenerateParams]:
    """Those of each answer, made in a thread where a prediction is among them.

    It becomes tokens once for all answers, and is checked again wherever params are made anew.
    """
    text = job.params.prediction

    def made() -> list[GenerateParams]:
        params = job.params
        if isinstance(text, str):
            params = replace(params, prediction=job.model.llm.foretold(params))
        return [params.of_choice(index) for index in range(job.num_answers)]

    return await errand.do(len(text) * job.num_answers, made) if isinstance(text, str) else made()


async def _begin_learning(job: Job, errand: Errand) -> None:
    """Have a tenant's answers kept for feedback; where that cannot be, they are answers all the same."""
    await job.model.ready()
    learning = job.model.served.learning
    if learning is None or learning.learns_for(job.terms.tenant):
        return
    try:
        await errand.pool.do(errand.tenant, 1, partial(learning.begin, job.terms.tenant))
    except OverloadedError as error:
        # As many as may learn do; it is said to whoever gives feedback.
        logger.debug("%s", error)
    except RuvLLMError as error:
        logger.error("nothing is learned for %s: %s", job.terms.tenant, error)


async def complete(
    jobs: Sequence[Job], request: Request, answer_id: str = "", *, observe: Observe | None = None
) -> list[Completion]:
    """All answers to jobs, unless the client leaves before; see `Answers.start` and `completions`."""

    async def work() -> list[Completion]:
        async with await Answers.start(jobs, request, answer_id) as answers:
            return await answers.completions(errand_of(request), observe)

    completions: list[Completion] = await unless_disconnected(request, asyncio.ensure_future(work()))
    return completions


def check_length(model: AskedModel, num_tokens: int) -> None:
    """Refuse a prompt that leaves no room for an answer; nothing is ever cut."""
    check_room(num_tokens, model.llm.model_info.max_context)


def usage_body(
    prompts: Sequence[Usage],
    *,
    completion_tokens: int,
    reasoning_tokens: int = 0,
    drafted_tokens: int = 0,
    accepted_tokens: int = 0,
) -> dict[str, Any]:
    """Tokens of prompts, each counted once, and of all answers to them."""
    prompt_tokens = sum(usage.prompt_tokens for usage in prompts)
    cached_tokens = sum(usage.cached_tokens for usage in prompts)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {
            "cached_tokens": cached_tokens,
            "cache_write_tokens": prompt_tokens - cached_tokens,
        },
        "completion_tokens_details": {
            "reasoning_tokens": reasoning_tokens,
            "accepted_prediction_tokens": accepted_tokens,
            "rejected_prediction_tokens": drafted_tokens - accepted_tokens,
        },
    }


def answers_usage(
    usages: Sequence[Usage], jobs: Sequence[Job], *, reasoning_tokens: int = 0
) -> dict[str, Any]:
    """The tokens of all answers to jobs, in their order."""
    left = iter(usages)
    prompts = [Usage.of_choices(list(islice(left, job.num_answers))) for job in jobs]
    return usage_body(
        prompts,
        completion_tokens=sum(usage.completion_tokens for usage in prompts),
        reasoning_tokens=reasoning_tokens,
        drafted_tokens=sum(usage.drafted_tokens for usage in prompts),
        accepted_tokens=sum(usage.accepted_tokens for usage in prompts),
    )


def progress_body(progress: PromptProgress, began: float) -> dict[str, Any]:
    """How far a prompt is read, by when it was asked for, under llama.cpp's names."""
    return {
        "total": progress.total_tokens,
        "cache": progress.cached_tokens,
        "processed": progress.computed_tokens,
        "time_ms": round((time.perf_counter() - began) * 1000),
    }


def timings_body(usage: Usage, timings: Timings) -> dict[str, Any]:
    """How long an answer took, under llama.cpp's names."""
    answer_ms = (timings.total_seconds - timings.first_token_seconds) * 1000
    return {
        "cache_n": usage.cached_tokens,
        "prompt_n": timings.computed_prompt_tokens,
        "prompt_ms": round(timings.first_token_seconds * 1000, 3),
        "prompt_per_second": round(timings.prefill_tokens_per_second, 2),
        "predicted_n": timings.completion_tokens,
        "predicted_ms": round(answer_ms, 3),
        "predicted_per_second": round(timings.decode_tokens_per_second, 2),
        "draft_n": usage.drafted_tokens,
        "draft_n_accepted": usage.accepted_tokens,
    }
