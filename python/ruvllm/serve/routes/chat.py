"""`POST /v1/chat/completions`, and its prompt alone."""

import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from ruvllm.outputs import Chunk, Completion, Usage
from ruvllm.serve.answer_reading import AnswerReader, Reading, reading_of
from ruvllm.serve.chat_parts import deltas, whole_message
from ruvllm.serve.conversation import prompt_tokens
from ruvllm.serve.generation import (
    Answers,
    Job,
    answers_usage,
    complete,
    in_slices,
    progress_body,
    timings_body,
)
from ruvllm.serve.json_answer import answer
from ruvllm.serve.json_body import JsonRoute
from ruvllm.serve.logprobs import ChatLogprobs, entries_size
from ruvllm.serve.prompt_scores import prompt_entries, prompt_scores
from ruvllm.serve.rendering import rendered, rendered_size
from ruvllm.serve.schemas.chat import ChatRequest, messages_size
from ruvllm.serve.server import count_answers, errand_of, note, server_of, terms_of
from ruvllm.serve.shaping import shaped
from ruvllm.serve.sse import DONE, EventStream, TextFrames, frame
from ruvllm.text.response import Content, Part

__all__ = ["router"]

router = APIRouter(route_class=JsonRoute, tags=["chat"])


@router.post("/v1/chat/completions", response_model=None)
async def chat_completions(body: ChatRequest, request: Request) -> Response:
    """Answer a conversation, at once or as a stream of server-sent events."""
    job, reading = await _job(body, request)
    # Counted before the prompt is scored.
    count_answers(request, job.num_answers)
    head = _Head(job, reading)
    if not body.stream:
        readers = head.readers(job.num_answers)
        wanted = body.prompt_logprobs
        [scores] = [()] if wanted is None else await prompt_scores([job], wanted, request)
        completions = await complete(
            [job], request, head.answer_id, observe=lambda index, chunks: readers[index].read(chunks)
        )
        num_tokens = sum(len(completion.token_ids) for completion in completions)
        size = entries_size(num_tokens, job.params.logprobs) + entries_size(len(scores), wanted)

        def whole() -> dict[str, Any]:
            more = {} if wanted is None else {"prompt_logprobs": prompt_entries(head.llm, scores, wanted)}
            return {**head.whole(completions, readers), **more}

        return await answer(errand_of(request), size, whole)
    answers = await Answers.start([job], request, head.answer_id)
    frames = _frames(answers, head, body)
    ping_seconds = server_of(request).settings.ping_seconds
    return EventStream(frames, close=answers.aclose, ping_seconds=ping_seconds)


@router.post("/v1/chat/completions/render", response_model=None)
async def render_chat(body: ChatRequest, request: Request) -> Response:
    """Give the tokens from which a conversation would be answered, and compute nothing."""
    job, _ = await _job(body, request)
    request_id = f"chatcmpl-{secrets.token_hex(12)}"
    make = partial(rendered, job, body, request_id=request_id)
    return await answer(errand_of(request), rendered_size([job]), make)


async def _job(body: ChatRequest, request: Request) -> tuple[Job, Reading]:
    """What is to be computed, and how what comes of it is read."""
    server, errand = server_of(request), errand_of(request)
    model = await server.model_for(request, body)
    params = body.params(
        max_tokens=body.max_completion_tokens or body.max_tokens or model.llm.model_info.max_context,
        vocab_size=model.llm.model_info.vocab_size,
        logprobs=body.num_logprobs(),
    )
    num_answers = body.choices(server.settings.max_choices)
    conversation = await errand.do(messages_size(body.messages), body.conversation)
    token_ids = await prompt_tokens(errand, model, conversation)
    note(request, prompt_tokens=len(token_ids), stream=bool(body.stream), **conversation.use.facts())
    reading = reading_of(model, token_ids, conversation)
    job = Job(
        model=model,
        token_ids=token_ids,
        params=await shaped(errand, model, params, body.shape(), reading),
        num_answers=num_answers,
        terms=terms_of(request, model, body.priority),
    )
    return job, reading


class _Head:
    """What all parts of an answer have in common."""

    def __init__(self, job: Job, reading: Reading) -> None:
        self.job = job
        self._reading = reading
        self.llm = job.model.llm
        self.answer_id = f"chatcmpl-{secrets.token_hex(12)}"
        model = job.model
        self._shared = {
            "id": self.answer_id,
            "created": int(time.time()),
            "model": model.name,
            "system_fingerprint": model.fingerprint,
            "service_tier": "default",
        }

    def readers(self, count: int) -> list[AnswerReader]:
        """Those that tell the parts of so many answers apart."""
        return [self._reading.reader() for _ in range(count)]

    def whole(self, completions: Sequence[Completion], readers: Sequence[AnswerReader]) -> dict[str, Any]:
        """The answer in one piece."""
        choices = []
        for index, (completion, reader) in enumerate(zip(completions, readers, strict=True)):
            logprobs = None
            if completion.logprobs is not None:
                chunk = Chunk(text=completion.text, logprobs=completion.logprobs)
                logprobs = ChatLogprobs(self.llm).body([chunk])
            choices.append(
                {
                    "index": index,
                    "message": whole_message(reader),
                    "logprobs": logprobs,
                    "finish_reason": reader.finish_reason,
                }
            )
        return {
            **self._shared,
            "object": "chat.completion",
            "choices": choices,
            "usage": self.usage([completion.usage for completion in completions], readers),
            "timings": timings_body(completions[0].usage, completions[0].timings),
            **_takes_feedback(completions),
        }

    def usage(self, usages: Sequence[Usage], readers: Sequence[AnswerReader]) -> dict[str, Any]:
        """The tokens of all answers."""
        thought = sum(reader.reasoning_tokens for reader in readers)
        return answers_usage(usages, [self.job], reasoning_tokens=thought)

    def chunk(self, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        """A piece of the answer."""
        return {**self._shared, "object": "chat.completion.chunk", "choices": choices, **more}


async def _frames(answers: Answers, head: _Head, body: ChatRequest) -> AsyncGenerator[bytes, None]:
    with_usage = body.stream_options is not None and body.stream_options.include_usage
    more: dict[str, Any] = {"usage": None} if with_usage else {}
    usages: dict[int, Usage] = {}
    count = answers.count
    readers = head.readers(count)
    logprobs = [ChatLogprobs(head.llm) if body.logprobs else None for _ in range(count)]
    texts = [_texts(head, index, more) for index in range(count)]
    async for opening in _opening(answers, head, body, more):
        yield opening
    pieces = in_slices(answers.pieces()) if body.logprobs else answers.pieces()
    async for index, chunks in pieces:
        parts = readers[index].read(chunks)
        aligner = logprobs[index]
        if aligner is None:
            for part in parts:
                if isinstance(part, Content):
                    yield texts[index].frame(part.text)
                for delta in () if isinstance(part, Content) else deltas([part]):
                    yield frame(head.chunk([_choice(index, delta)], **more))
        else:
            for choice in _with_logprobs(index, parts, aligner.body(chunks)):
                yield frame(head.chunk([choice], **more))
        last = chunks[-1]
        if last.finish_reason is not None and last.usage is not None and last.timings is not None:
            usages[index] = last.usage
            timings = timings_body(last.usage, last.timings)
            end = _choice(index, {}, finish_reason=readers[index].finish_reason)
            yield frame(head.chunk([end], **more, timings=timings, **_takes_feedback([last])))
    if with_usage:
        usage = head.usage([usages[index] for index in range(count)], readers)
        yield frame(head.chunk([], usage=usage))
    yield DONE


async def _opening(
    answers: Answers, head: _Head, body: ChatRequest, more: dict[str, Any]
) -> AsyncGenerator[bytes, None]:
    """What comes before the first piece of an answer: whose it is, and how far its prompt is read."""
    began = time.perf_counter()
    for index in range(answers.count):
        delta = {"role": "assistant", "content": "", "refusal": None}
        yield frame(head.chunk([_choice(index, delta)], **more))
    if body.return_progress:
        async for index, progress in answers.reading():
            told = progress_body(progress, began)
            yield frame(head.chunk([_choice(index, {})], **more, prompt_progress=told))


def _takes_feedback(answers: Sequence[Completion | Chunk]) -> dict[str, Any]:
    """Say so, where feedback may come for them by the id: where nobody learns, nothing is said."""
    return {"takes_feedback": True} if all(one.completion_id is not None for one in answers) else {}


def _with_logprobs(index: int, parts: Sequence[Part], entries: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The parts of a piece; the entries of its tokens come with the first, or alone."""
    choices = [_choice(index, delta) for delta in deltas(parts)]
    if entries and (choices or entries["content"]):
        choices = choices or [_choice(index, {"content": ""})]
        choices[0]["logprobs"] = entries
    return choices


def _texts(head: _Head, index: int, more: dict[str, Any]) -> TextFrames:
    return TextFrames(lambda text: head.chunk([_choice(index, {"content": text})], **more))


def _choice(
    index: int,
    delta: dict[str, Any],
    *,
    logprobs: dict[str, Any] | None = None,
    finish_reason: str | None = None,
) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
