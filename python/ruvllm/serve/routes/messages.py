"""`POST /v1/messages` and `POST /v1/messages/count_tokens`, for Anthropic's clients."""

import secrets
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from ruvllm.outputs import Chunk, Completion
from ruvllm.runtime.streams import join_chunks
from ruvllm.serve.answer_reading import AnswerReader, reading_of
from ruvllm.serve.conversation import conversation_tokens, prompt_tokens
from ruvllm.serve.dialects import anthropic_error
from ruvllm.serve.generation import Answers, Job, complete
from ruvllm.serve.json_body import JsonRoute
from ruvllm.serve.message_parts import BlockFrames, content_blocks, event
from ruvllm.serve.schemas.chat import messages_size
from ruvllm.serve.schemas.messages import CountTokensRequest, MessageRequest
from ruvllm.serve.server import errand_of, note, server_of, terms_of
from ruvllm.serve.shaping import shaped
from ruvllm.serve.sse import EventStream, named_frame

__all__ = ["router"]

router = APIRouter(route_class=JsonRoute, tags=["messages"])

_PING = named_frame("ping", {"type": "ping"})


@router.post("/v1/messages", response_model=None)
async def create_message(body: MessageRequest, request: Request) -> Response:
    """Answer a conversation, at once or as a stream of events."""
    server, errand = server_of(request), errand_of(request)
    model = await server.model_for(request, body)
    params = body.params(
        max_tokens=body.max_tokens, vocab_size=model.llm.model_info.vocab_size, logprobs=None
    )
    conversation = await errand.do(messages_size(body.messages), body.conversation)
    token_ids = await prompt_tokens(errand, model, conversation)
    reading = reading_of(model, token_ids, conversation)
    job = Job(
        model=model,
        token_ids=token_ids,
        params=await shaped(errand, model, params, body.shape(), reading),
        terms=terms_of(request, model, body.priority),
    )
    use = conversation.use
    note(request, prompt_tokens=len(token_ids), stream=bool(body.stream), **use.facts())
    answer_id = f"msg_{secrets.token_hex(12)}"
    shows = body.thinking is None or body.thinking.display != "omitted"
    if not body.stream:
        reader = reading.reader()
        (completion,) = await complete(
            [job], request, answer_id, observe=lambda _, chunks: reader.read(chunks)
        )
        ending, usage = _ending(job, completion, reader), _usage(completion, reader)
        content = content_blocks(reader, shows_thoughts=shows)
        whole = {**_begun(job, answer_id), "content": content, **ending, "usage": usage}
        return use.tell(JSONResponse(whole))
    answers = await Answers.start([job], request, answer_id)
    request_id = request.state.request_id
    return use.tell(
        EventStream(
            _frames(answers, _Telling(job, answer_id, reading.reader(), BlockFrames(shows_thoughts=shows))),
            close=answers.aclose,
            ping_seconds=server.settings.ping_seconds,
            ping=_PING,
            failure=lambda error: named_frame("error", anthropic_error(error, request_id)),
        )
    )


@router.post("/v1/messages/count_tokens", response_model=None)
async def count_tokens(body: CountTokensRequest, request: Request) -> dict[str, Any]:
    """Count the tokens that the model would see, as many as they are."""
    model = await server_of(request).model_for(request, body)
    errand = errand_of(request)
    conversation = await errand.do(messages_size(body.messages), body.conversation)
    return {"input_tokens": len(await conversation_tokens(errand, model, conversation))}


def _begun(job: Job, answer_id: str) -> dict[str, Any]:
    """A message before its answer. What of its prompt is cached is known when it is computed."""
    return {
        "id": answer_id,
        "type": "message",
        "role": "assistant",
        "model": job.model.name,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "container": None,
        "usage": _tokens(computed=len(job.token_ids), written=None, cached=None, made=0),
    }


def _ending(job: Job, completion: Completion, reader: AnswerReader) -> dict[str, Any]:
    """Why the answer ended; one that filled the context is not one that came to its own limit."""
    found = completion.stop_reason
    reason = "end_turn" if found is None else "stop_sequence"
    if completion.finish_reason == "length":
        reached = completion.usage.completion_tokens >= job.params.max_tokens
        reason = "max_tokens" if reached else "model_context_window_exceeded"
    elif reader.finish_reason == "tool_calls":
        reason, found = "tool_use", None
    return {"stop_reason": reason, "stop_sequence": found}


def _usage(completion: Completion, reader: AnswerReader) -> dict[str, Any]:
    """The prompt in two parts: computed, and read from the cache. Writing it is part of computing."""
    usage = completion.usage
    computed, made = usage.prompt_tokens - usage.cached_tokens, usage.completion_tokens
    thought = {"thinking_tokens": reader.reasoning_tokens}
    tokens = _tokens(computed=computed, written=0, cached=usage.cached_tokens, made=made)
    return {**tokens, "output_tokens_details": thought}


def _tokens(*, computed: int, written: int | None, cached: int | None, made: int) -> dict[str, Any]:
    return {
        "input_tokens": computed,
        "cache_creation": None,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached,
        "output_tokens": made,
        "output_tokens_details": {"thinking_tokens": 0},
        "server_tool_use": None,
        "service_tier": "standard",
        "inference_geo": None,
    }


@dataclass(frozen=True, slots=True)
class _Telling:
    """One message while it is told as a stream."""

    job: Job
    answer_id: str
    reader: AnswerReader
    blocks: BlockFrames


async def _frames(answers: Answers, telling: _Telling) -> AsyncGenerator[bytes, None]:
    job, reader, blocks = telling.job, telling.reader, telling.blocks
    yield event("message_start", message=_begun(job, telling.answer_id))
    yield _PING
    chunks: list[Chunk] = []
    async for _, pieces in answers.pieces():
        chunks += pieces
        for data in blocks.of(reader.read(pieces)):
            yield data
    for data in blocks.end():
        yield data
    completion = join_chunks(chunks)
    ending, usage = _ending(job, completion, reader), _usage(completion, reader)
    yield event("message_delta", delta=ending, usage=usage)
    yield event("message_stop")
