"""`POST /tokenize`, `POST /detokenize` and `GET /tokenizer_info`."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from ruvllm.errors import RuvLLMError
from ruvllm.serve.asked_model import AskedModel, asked_model
from ruvllm.serve.conversation import Conversation, conversation_tokens
from ruvllm.serve.errors import ApiError, api_error
from ruvllm.serve.json_answer import answer
from ruvllm.serve.json_body import JsonRoute
from ruvllm.serve.logprobs import token_name
from ruvllm.serve.off_loop import Errand
from ruvllm.serve.prompts import check_texts, text_of
from ruvllm.serve.schemas.chat import messages_size, plain_messages
from ruvllm.serve.schemas.tokens import DetokenizeRequest, TokenizeRequest
from ruvllm.serve.schemas.tools import chat_tools
from ruvllm.serve.server import ends_of, errand_of, server_of

__all__ = ["router"]

router = APIRouter(route_class=JsonRoute, tags=["tokens"])

# A token's own text is found and written in the time in which so many characters become tokens.
NAME_SIZE = 4


@router.post("/tokenize", response_model=None)
async def tokenize(body: TokenizeRequest, request: Request) -> Response:
    """Give the tokens of a text or of a conversation."""
    errand = errand_of(request)
    model = await server_of(request).model_for(request, body)
    given = [name for name in ("prompt", "content", "messages") if getattr(body, name) is not None]
    if len(given) != 1:
        message = "give one of prompt, content and messages"
        raise ApiError(400, message, code="invalid_value", param="prompt")
    try:
        tokens = await _tokens(errand, model, body)
    except RuvLLMError as error:
        raise api_error(error, param=given[0]) from error

    def whole() -> dict[str, Any]:
        limit = model.llm.model_info.max_context
        counted: dict[str, Any] = {"count": len(tokens), "max_model_len": limit, "tokens": tokens}
        if body.return_token_strs:
            # Each name is one object, however often it stands there.
            names = {token: token_name(model.llm, token) for token in set(tokens)}
            counted["token_strs"] = [names[token] for token in tokens]
        return counted

    return await answer(errand, len(tokens) * (NAME_SIZE if body.return_token_strs else 1), whole)


async def _tokens(errand: Errand, model: AskedModel, body: TokenizeRequest) -> list[int]:
    if (messages := body.messages) is not None:
        plain = await errand.do(messages_size(messages), lambda: plain_messages(messages))
        use = chat_tools(body.tools or (), None, parallel=True)
        conversation = Conversation(messages=plain, use=use, parse_special=bool(body.parse_special))
        return await conversation_tokens(errand, model, conversation)
    text = body.prompt if body.prompt is not None else body.content or ""
    check_texts(model, [text], param="prompt" if body.prompt is not None else "content")
    # What the model wants, unless told: a first token that it does not want is not put there.
    add_bos = None if body.add_special_tokens is not False else False
    parse_special = body.parse_special is not False
    return await errand.do(
        len(text), lambda: model.llm.tokenize(text, add_bos=add_bos, parse_special=parse_special)
    )


@router.get("/tokenizer_info", response_model=None)
async def tokenizer_info(request: Request) -> Response:
    """Tell the first model's marks and chat template, under vLLM's names: lm-eval asks before it scores."""
    model = await asked_model(server_of(request).models, None, ends_of(request))
    llm, tokenizer = model.llm, model.llm.tokenizer
    if tokenizer is None:
        raise ApiError(400, f"the model {model.name} has no tokenizer", code="invalid_value")

    def whole() -> dict[str, Any]:
        def text(token: int | None) -> str | None:
            return None if token is None else tokenizer.token_text(token)

        return {
            "bos_token": text(tokenizer.bos_token),
            "eos_token": text(tokenizer.eos_token),
            "add_bos_token": tokenizer.adds_bos,
            "model_max_length": llm.model_info.max_context,
            "chat_template": llm.chat_template,
        }

    return await answer(errand_of(request), len(llm.chat_template or ""), whole)


@router.post("/detokenize", response_model=None)
async def detokenize(body: DetokenizeRequest, request: Request) -> Response:
    """Give the text of tokens."""
    model = await server_of(request).model_for(request, body)
    errand = errand_of(request)
    text = await text_of(errand, model, body.tokens, param="tokens")
    return await answer(errand, len(text), lambda: {"prompt": text, "content": text})
