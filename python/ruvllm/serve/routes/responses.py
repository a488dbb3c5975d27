"""`/v1/responses`: answers that the server keeps, so that the next one can follow them."""

import secrets
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from ruvllm.outputs import Chunk
from ruvllm.runtime.streams import join_chunks
from ruvllm.serve.answer_reading import AnswerReader, Reading, reading_of
from ruvllm.serve.conversation import prompt_tokens
from ruvllm.serve.errors import ApiError, unsupported
from ruvllm.serve.generation import Answers, Job, complete
from ruvllm.serve.json_answer import answer
from ruvllm.serve.json_body import JsonRoute
from ruvllm.serve.rendering import rendered, rendered_size
from ruvllm.serve.response_items import OutputItems
from ruvllm.serve.response_object import ResponseEvents, ResponseObject, status_of
from ruvllm.serve.schemas.calls import call_message
from ruvllm.serve.schemas.chat import messages_size
from ruvllm.serve.schemas.responses import ResponseRequest
from ruvllm.serve.server import errand_of, note, server_of, tenant_of, terms_of
from ruvllm.serve.shaping import shaped
from ruvllm.serve.sse import EventStream
from ruvllm.serve.stored_responses import StoredResponse

__all__ = ["router"]

router = APIRouter(route_class=JsonRoute, tags=["responses"])

Keep = Callable[[dict[str, Any]], None]
"""Takes a response that has ended well."""


@router.post("/v1/responses", response_model=None)
async def create_response(body: ResponseRequest, request: Request) -> Response:
    """Answer a conversation, at once or as a stream of events, and keep the response."""
    server = server_of(request)
    job, reading, messages = await _job(body, request)
    reader, items = reading.reader(), OutputItems(reading.use)

    def keep(whole: dict[str, Any]) -> None:
        if body.store is not False:
            stored = _stored(body, (*messages, _answered(reader)), whole)
            server.stored_responses.keep(job.terms.tenant, stored)

    response = ResponseObject(body, job)
    if not body.stream:
        (completion,) = await complete(
            [job],
            request,
            response.response_id,
            observe=lambda _, chunks: [*items.of(reader.read(chunks))],
        )
        for _ in items.end(status_of(completion.finish_reason)):
            pass
        whole = response.ended(completion, items.items, reasoning_tokens=reader.reasoning_tokens)
        keep(whole)
        return reading.use.tell(JSONResponse(whole))
    answers = await Answers.start([job], request, response.response_id)
    events = ResponseEvents(response)
    return reading.use.tell(
        EventStream(
            _frames(answers, _Telling(response, events, reader, items), keep),
            close=answers.aclose,
            ping_seconds=server.settings.ping_seconds,
            failure=events.failure,
        )
    )


@router.post("/v1/responses/render", response_model=None)
async def render_response(body: ResponseRequest, request: Request) -> Response:
    """Give the tokens from which a conversation would be answered; compute and keep nothing."""
    job, _, _ = await _job(body, request)
    make = partial(rendered, job, body, request_id=f"resp_{secrets.token_hex(24)}")
    return await answer(errand_of(request), rendered_size([job]), make)


async def _job(body: ResponseRequest, request: Request) -> tuple[Job, Reading, tuple[dict[str, Any], ...]]:
    """What is to be computed, how what comes of it is read, and all messages up to it."""
    server, errand = server_of(request), errand_of(request)
    model = await server.model_for(request, body)
    info = model.llm.model_info
    params = body.params(
        max_tokens=body.max_output_tokens or info.max_context, vocab_size=info.vocab_size, logprobs=None
    )
    earlier: tuple[dict[str, Any], ...] = ()
    if body.previous_response_id is not None:
        stored = server.stored_responses.find(
            tenant_of(request), body.previous_response_id, param="previous_response_id"
        )
        earlier = stored.messages
    messages = await errand.do(messages_size(body.items()), lambda: body.messages(earlier))
    conversation = body.conversation(messages)
    token_ids = await prompt_tokens(errand, model, conversation)
    note(request, prompt_tokens=len(token_ids), stream=bool(body.stream), **conversation.use.facts())
    terms = terms_of(request, model, body.priority)
    reading = reading_of(model, token_ids, conversation)
    params = await shaped(errand, model, params, body.shape(), reading)
    job = Job(model=model, token_ids=token_ids, params=params, terms=terms)
    return job, reading, messages


def _answered(reader: AnswerReader) -> dict[str, Any]:
    """An answer as a message of the conversation that follows it."""
    message: dict[str, Any] = {"role": "assistant", "content": reader.content}
    if reader.reasoning:
        message["reasoning_content"] = reader.reasoning
    if calls := reader.calls:
        message["tool_calls"] = [call_message(call.id, call.name, call.arguments) for call in calls]
    return message


def _stored(
    body: ResponseRequest, messages: tuple[dict[str, Any], ...], whole: dict[str, Any]
) -> StoredResponse:
    items = [item.listed() for item in body.items()]
    return StoredResponse(body=whole, input_items=items, messages=messages)


@dataclass(frozen=True, slots=True)
class _Telling:
    """One response while it is told as a stream."""

    response: ResponseObject
    events: ResponseEvents
    reader: AnswerReader
    items: OutputItems


async def _frames(answers: Answers, telling: _Telling, keep: Keep) -> AsyncGenerator[bytes, None]:
    response, events, items = telling.response, telling.events, telling.items
    yield events.of_response("created", response.begun())
    yield events.of_response("in_progress", response.begun())
    chunks: list[Chunk] = []
    async for _, pieces in answers.pieces():
        chunks += pieces
        for event in items.of(telling.reader.read(pieces)):
            yield events.of(event)
    completion = join_chunks(chunks)
    for event in items.end(status_of(completion.finish_reason)):
        yield events.of(event)
    thought = telling.reader.reasoning_tokens
    whole = response.ended(completion, items.items, reasoning_tokens=thought)
    # Kept before the client hears of it, which may ask for it at once.
    keep(whole)
    yield events.of_response(whole["status"], whole)


@router.get("/v1/responses/{response_id}", response_model=None)
async def retrieve_response(
    response_id: str,
    request: Request,
    stream: Annotated[bool, Query()] = False,  # noqa: FBT002
) -> dict[str, Any]:
    """Give a response that was kept."""
    if stream:
        raise unsupported("stream", "a response is streamed once, while it is made")
    return _find(response_id, request).body


@router.delete("/v1/responses/{response_id}", response_model=None)
async def delete_response(response_id: str, request: Request) -> dict[str, Any]:
    """Forget a response; those that followed it stay."""
    server_of(request).stored_responses.forget(tenant_of(request), response_id)
    return {"id": response_id, "object": "response", "deleted": True}


@router.post("/v1/responses/{response_id}/cancel", response_model=None)
async def cancel_response(response_id: str, request: Request) -> None:
    """Refuse: only what runs in the background can be cancelled so, and nothing does."""
    _find(response_id, request)
    message = (
        "only a response in the background can be cancelled, and this one was not; to end one that is being "
        "made, close its connection"
    )
    raise ApiError(400, message, code="invalid_value", param="response_id")


@router.post("/v1/responses/compact", response_model=None)
async def compact_responses() -> None:
    """Refuse: nothing here makes a conversation shorter."""
    raise ApiError(404, "this server does not compact conversations", code="unknown_url")


@router.get("/v1/responses/{response_id}/input_items", response_model=None)
async def list_input_items(
    response_id: str,
    request: Request,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
    after: str | None = None,
) -> dict[str, Any]:
    """List the items of a response's own request; those before it are the previous response's."""
    items = _find(response_id, request).input_items
    if order == "desc":
        items = items[::-1]
    start = 0
    if after is not None:
        places = [index for index, item in enumerate(items) if item["id"] == after]
        if not places:
            raise ApiError(400, f"after is {after[:100]!r}, which is no item of it", param="after")
        start = places[0] + 1
    page = items[start : start + limit]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": start + limit < len(items),
    }


def _find(response_id: str, request: Request) -> StoredResponse:
    return server_of(request).stored_responses.find(tenant_of(request), response_id)
