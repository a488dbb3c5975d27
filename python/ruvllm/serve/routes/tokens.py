"""`POST /tokenize` and `POST /detokenize`."""

from typing import Any

from fastapi import APIRouter, Request

from ruvllm.errors import RuvLLMError
from ruvllm.serve.conversation import Conversation, conversation_tokens
from ruvllm.serve.errors import ApiError, api_error
from ruvllm.serve.generation import off_loop
from ruvllm.serve.json_body import JsonRoute
from ruvllm.serve.logprobs import token_name
from ruvllm.serve.models import ServedModel
from ruvllm.serve.schemas.chat import plain_messages
from ruvllm.serve.schemas.tokens import DetokenizeRequest, TokenizeRequest
from ruvllm.serve.server import server_of

__all__ = ["router"]

router = APIRouter(route_class=JsonRoute, tags=["tokens"])


@router.post("/tokenize", response_model=None)
async def tokenize(body: TokenizeRequest, request: Request) -> dict[str, Any]:
    """Give the tokens of a text or of a conversation."""
    model = await server_of(request).model_for(request, body)
    given = [name for name in ("prompt", "content", "messages") if getattr(body, name) is not None]
    if len(given) != 1:
        message = "give one of prompt, content and messages"
        raise ApiError(400, message, code="invalid_value", param="prompt")
    try:
        tokens = await _tokens(model, body)
    except RuvLLMError as error:
        raise api_error(error, param=given[0]) from error
    limit = model.llm.model_info.max_context
    answer: dict[str, Any] = {"count": len(tokens), "max_model_len": limit, "tokens": tokens}
    if body.return_token_strs:
        answer["token_strs"] = [token_name(model.llm, token) for token in tokens]
    return answer


async def _tokens(model: ServedModel, body: TokenizeRequest) -> list[int]:
    if body.messages is not None:
        messages = plain_messages(body.messages)
        parse_special = bool(body.parse_special)
        return await conversation_tokens(model, Conversation(messages=messages, parse_special=parse_special))
    text = body.prompt if body.prompt is not None else body.content or ""
    # What the model wants, unless told: a first token that it does not want is not put there.
    add_bos = None if body.add_special_tokens is not False else False
    parse_special = body.parse_special is not False
    return await off_loop(
        len(text), lambda: model.llm.tokenize(text, add_bos=add_bos, parse_special=parse_special)
    )


@router.post("/detokenize", response_model=None)
async def detokenize(body: DetokenizeRequest, request: Request) -> dict[str, Any]:
    """Give the text of tokens."""
    model = await server_of(request).model_for(request, body)
    try:
        text = model.llm.detokenize(body.tokens) if body.tokens else ""
    except RuvLLMError as error:
        raise api_error(error, param="tokens") from error
    return {"prompt": text, "content": text}
