"""`POST /api/chat` and `/api/generate`, and vectors, for Ollama's clients."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Literal

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from ruvllm.outputs import Completion
from ruvllm.serve.answer_reading import Reading, reading_of
from ruvllm.serve.asked_model import AskedModel
from ruvllm.serve.conversation import Conversation, prompt_tokens
from ruvllm.serve.dialects import ollama_error
from ruvllm.serve.embedding import embedded
from ruvllm.serve.generation import Answers, Job, complete, in_slices
from ruvllm.serve.json_answer import answer
from ruvllm.serve.json_body import JsonRoute
from ruvllm.serve.logprobs import ChatLogprobs, entries_size
from ruvllm.serve.model_management import UNLOAD_WAIT_SECONDS
from ruvllm.serve.ollama_parts import Clock, Ollama, Said, Sayings, all_said
from ruvllm.serve.prompts import PromptField, infills_tokens, tokens_of
from ruvllm.serve.schemas.chat import messages_size
from ruvllm.serve.schemas.keep_alive import kept_seconds
from ruvllm.serve.schemas.ollama import (
    OllamaChat,
    OllamaEmbed,
    OllamaEmbeddings,
    OllamaGenerate,
    OllamaGeneration,
)
from ruvllm.serve.server import errand_of, is_manager, manager, note, server_of, terms_of
from ruvllm.serve.shaping import shaped
from ruvllm.serve.sse import LineStream, TextFrames, line

__all__ = ["router"]

router = APIRouter(route_class=JsonRoute, tags=["ollama"])

_RAW = PromptField(name="prompt", if_empty="the prompt is empty", makes_text=True)
_INPUT = PromptField(name="input", if_empty="a text of input is empty")
_PROMPT = PromptField(name="prompt", if_empty="the prompt is empty")


@router.post("/api/chat", response_model=None)
async def chat(body: OllamaChat, request: Request) -> Response:
    """Answer a conversation, as lines of JSON or in one."""
    clock = Clock()
    if body.only_gives_up:
        return await _given_up(body, request, "chat")
    model = await clock.loading(server_of(request).model_for(request, body))
    _keep_as_asked(request, model, body.keep_alive)
    words = Ollama(model.name, "chat")
    if not body.messages:
        return _loaded(words)
    conversation = await errand_of(request).do(messages_size(body.messages), body.conversation)
    return await _conversed(_Asked(request, body, model, clock, words), conversation)


@router.post("/api/generate", response_model=None)
async def generate(body: OllamaGenerate, request: Request) -> Response:
    """Answer a prompt, go on from one that is raw, or write what stands before a suffix."""
    clock = Clock()
    if body.only_gives_up:
        return await _given_up(body, request, "generate")
    model = await clock.loading(server_of(request).model_for(request, body))
    _keep_as_asked(request, model, body.keep_alive)
    asked = _Asked(request, body, model, clock, Ollama(model.name, "generate"))
    errand = errand_of(request)
    if (infill := body.infill()) is not None:
        (filled,) = await infills_tokens(errand, model, [infill], param="suffix")
        return await _answered(asked, filled.token_ids, None)
    if not body.asks_for_text:
        return _loaded(asked.words)
    if body.raw:
        (token_ids,) = await tokens_of(errand, model, [body.raw_prompt()], _RAW)
        return await _answered(asked, token_ids, None)
    return await _conversed(asked, body.conversation())


@router.post("/api/embed", response_model=None)
async def embed(body: OllamaEmbed, request: Request) -> Response:
    """Give a vector for each text."""
    clock = Clock()
    model = await clock.loading(server_of(request).model_for(request, body))
    _keep_as_asked(request, model, body.keep_alive)
    inputs = [body.input] if isinstance(body.input, str) else body.input
    found = await embedded(request, model, inputs, _INPUT, dimensions=body.dimensions or None)

    def whole() -> dict[str, Any]:
        return {
            "model": model.name,
            "embeddings": [vector.astype(float).tolist() for vector in found.vectors],
            **clock.durations(),
            "prompt_eval_count": found.num_tokens,
        }

    return await answer(errand_of(request), found.size, whole)


@router.post("/api/embeddings", response_model=None)
async def embeddings(body: OllamaEmbeddings, request: Request) -> Response:
    """Give the vector of one text."""
    model = await server_of(request).model_for(request, body)
    _keep_as_asked(request, model, body.keep_alive)
    found = await embedded(request, model, [body.prompt], _PROMPT)
    return await answer(
        errand_of(request), found.size, lambda: {"embedding": found.vectors[0].astype(float).tolist()}
    )


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request for text, and how it is answered."""

    request: Request
    body: OllamaGeneration
    model: AskedModel
    clock: Clock
    words: Ollama


def _keep_as_asked(request: Request, model: AskedModel, keep_alive: float | str | None) -> None:
    """Have a model stay loaded as long as a request says, which concerns all others: for admin keys alone."""
    if keep_alive is not None:
        seconds = kept_seconds(keep_alive)
        if is_manager(request):
            model.served.keep_for(seconds)


async def _given_up(body: OllamaGeneration, request: Request, kind: Literal["chat", "generate"]) -> Response:
    """The answer to one who asked for nothing but that a model is given up."""
    manager(request)
    body.check_fields()
    model = server_of(request).models.named(body.model)
    await model.unload(UNLOAD_WAIT_SECONDS)
    return JSONResponse(Ollama(body.model, kind).whole(Said(), "unload", {}))


def _loaded(words: Ollama) -> Response:
    """The answer to one who asked for nothing but the model, which is loaded now."""
    return JSONResponse(words.whole(Said(), "load", {}))


async def _conversed(asked: _Asked, conversation: Conversation) -> Response:
    token_ids = await prompt_tokens(errand_of(asked.request), asked.model, conversation)
    note(asked.request, **conversation.use.facts())
    return await _answered(asked, token_ids, reading_of(asked.model, token_ids, conversation))


async def _answered(asked: _Asked, token_ids: list[int], reading: Reading | None) -> Response:
    """The answer to a prompt; `reading` is how one to a conversation is read."""
    request, model, words = asked.request, asked.model, asked.words
    streams = asked.body.stream is not False
    params = asked.body.params(model.llm.model_info.max_context)
    job = Job(
        model=model,
        token_ids=token_ids,
        params=await shaped(errand_of(request), model, params, asked.body.shape(), reading),
        terms=terms_of(request, model),
    )
    note(request, prompt_tokens=len(token_ids), stream=streams)
    logprobs = None if job.params.logprobs is None else ChatLogprobs(model.llm)
    sayings = Sayings(reading.reader() if reading else None, logprobs)
    if streams:
        answers = await Answers.start([job], request)
        return LineStream(
            _lines(answers, asked, sayings),
            close=answers.aclose,
            ping_seconds=server_of(request).settings.ping_seconds,
            ping=line(words.piece(Said())),
            failure=lambda error: line(ollama_error(error)),
        )
    said: list[Said] = []
    (completion,) = await complete([job], request, observe=lambda _, chunks: said.extend(sayings.of(chunks)))
    size = entries_size(len(completion.token_ids), job.params.logprobs)
    return await answer(
        errand_of(request), size, lambda: words.whole(all_said(said), *_ending(asked.clock, completion))
    )


def _ending(clock: Clock, completion: Completion) -> tuple[str, dict[str, int]]:
    return completion.finish_reason, clock.figures(completion.usage, completion.timings)


async def _lines(answers: Answers, asked: _Asked, sayings: Sayings) -> AsyncGenerator[bytes, None]:
    words = asked.words
    texts = TextFrames(lambda text: words.piece(Said(content=text)), line)
    pieces = in_slices(answers.pieces()) if asked.body.logprobs else answers.pieces()
    async for _, chunks in pieces:
        for said in sayings.of(chunks):
            is_text = not (said.thinking or said.calls or said.logprobs)
            yield texts.frame(said.content) if is_text else line(words.piece(said))
        last = chunks[-1]
        if last.finish_reason is not None and last.usage is not None and last.timings is not None:
            figures = asked.clock.figures(last.usage, last.timings)
            yield line(words.whole(Said(), last.finish_reason, figures))
