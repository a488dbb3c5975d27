"""`POST /v1/messages` and `POST /v1/messages/count_tokens`, for Anthropic's clients."""

import secrets
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from ruvllm.outputs import Chunk, Completion
from ruvllm.runtime.streams import join_chunks
from ruvllm.serve.conversation import conversation_tokens, prompt_tokens
from ruvllm.serve.dialects import anthropic_error
from ruvllm.serve.endings import stop_sequence
from ruvllm.serve.generation import Answers, Job, complete
from ruvllm.serve.json_body import JsonRoute
from ruvllm.serve.schemas.chat import messages_size
from ruvllm.serve.schemas.messages import CountTokensRequest, MessageRequest
from ruvllm.serve.server import errand_of, note, server_of, terms_of
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
    job = Job(
        model=model,
        token_ids=token_ids,
        params=params,
        terms=terms_of(request, model, body.priority),
    )
    note(request, prompt_tokens=len(token_ids), stream=bool(body.stream))
    answer_id = f"msg_{secrets.token_hex(12)}"
    if not body.stream:
        (completion,) = await complete([job], request, answer_id)
        content = [_text(completion.text)]
        ending = _ending(job, completion)
        return JSONResponse(
            {**_begun(job, answer_id), "content": content, **ending, "usage": _usage(completion)}
        )
    answers = await Answers.start([job], request, answer_id)
    request_id = request.state.request_id
    return EventStream(
        _frames(answers, job, answer_id),
        close=answers.aclose,
        ping_seconds=server.settings.ping_seconds,
        ping=_PING,
        failure=lambda error: named_frame("error", anthropic_error(error, request_id)),
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


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text, "citations": None}


def _ending(job: Job, completion: Completion) -> dict[str, Any]:
    """Why the answer ended; one that filled the context is not one that came to its own limit."""
    found = stop_sequence(job.model.llm, completion, job.params.stop_sequences)
    reason = "end_turn" if found is None else "stop_sequence"
    if completion.finish_reason == "length":
        reached = completion.usage.completion_tokens >= job.params.max_tokens
        reason = "max_tokens" if reached else "model_context_window_exceeded"
    return {"stop_reason": reason, "stop_sequence": found}


def _usage(completion: Completion) -> dict[str, Any]:
    """The prompt in two parts: computed, and read from the cache. Writing it is part of computing."""
    usage = completion.usage
    computed = usage.prompt_tokens - usage.cached_tokens
    return _tokens(computed=computed, written=0, cached=usage.cached_tokens, made=usage.completion_tokens)


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


async def _frames(answers: Answers, job: Job, answer_id: str) -> AsyncGenerator[bytes, None]:
    yield _event("message_start", message=_begun(job, answer_id))
    yield _event("content_block_start", index=0, content_block=_text(""))
    yield _PING
    chunks: list[Chunk] = []
    async for _, pieces in answers.pieces():
        chunks += pieces
        text = "".join(chunk.text for chunk in pieces)
        if text:
            yield _event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})
    completion = join_chunks(chunks)
    yield _event("content_block_stop", index=0)
    yield _event("message_delta", delta=_ending(job, completion), usage=_usage(completion))
    yield _event("message_stop")


def _event(kind: str, **facts: Any) -> bytes:
    return named_frame(kind, {"type": kind, **facts})
