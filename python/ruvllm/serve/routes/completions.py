"""`POST /v1/completions`: texts continued; their own tokens scored with `echo`."""

import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from ruvllm.outputs import Chunk, Completion, Usage
from ruvllm.runtime.answering import Scores
from ruvllm.serve.asked_model import AskedModel
from ruvllm.serve.errors import ApiError
from ruvllm.serve.generation import (
    Answers,
    Job,
    answers_usage,
    complete,
    in_slices,
    progress_body,
    usage_body,
)
from ruvllm.serve.json_answer import answer, encoded
from ruvllm.serve.json_body import JsonRoute
from ruvllm.serve.logprobs import TextLogprobs, entries_size
from ruvllm.serve.off_loop import Errand
from ruvllm.serve.prompt_scores import prompt_entries, prompt_scores
from ruvllm.serve.prompts import PromptField, infills_tokens, texts_of, tokens_of
from ruvllm.serve.rendering import rendered, rendered_size
from ruvllm.serve.schemas.completions import CompletionRequest, prompts_of
from ruvllm.serve.server import count_answers, errand_of, note, server_of, terms_of
from ruvllm.serve.settings import ServerSettings
from ruvllm.serve.shaping import shaped
from ruvllm.serve.sse import DONE, EventStream, TextFrames, frame

__all__ = ["router"]

router = APIRouter(route_class=JsonRoute, tags=["completions"])

DEFAULT_MAX_TOKENS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What a request comes to: a job for each prompt; with no answers where only scores are wanted."""

    body: CompletionRequest
    jobs: list[Job]
    wanted: int
    echoed: list[str]
    errand: Errand

    @property
    def scores(self) -> bool:
        """Whether prompts that are given back come with their scores."""
        return bool(self.body.echo) and self.body.logprobs is not None

    @property
    def scored_tokens(self) -> int | None:
        """How many likeliest tokens of each place in the prompts are wanted; `None` for no scores at all."""
        asked = self.body.prompt_logprobs
        return max(self.body.logprobs or 0, asked or 0) if self.scores else asked


@router.post("/v1/completions", response_model=None)
async def completions(body: CompletionRequest, request: Request) -> Response:
    """Continue texts, at once or as a stream; with `echo` and `logprobs` the prompt is scored, too."""
    server, errand = server_of(request), errand_of(request)
    model = await server.model_for(request, body)
    # Counted before it costs anything. A prompt that is scored alone counts as one answer, too.
    count_answers(request, len(prompts_of(body.prompt)) * max(1, _num_answers(body, server.settings)))
    plan = await _plan(errand, model, body, request)
    note(request, prompts=len(plan.jobs), stream=bool(body.stream))
    head: dict[str, Any] = {
        "id": f"cmpl-{secrets.token_hex(12)}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": model.name,
        "system_fingerprint": model.fingerprint,
    }
    # Of a choice that was the best of several, nobody knows which it was.
    answer_id = "" if plan.jobs[0].num_answers > plan.wanted else head["id"]
    # Scores come first, also of a stream: what a prompt is worth stands before what follows it.
    scores: list[Scores] = [() for _ in plan.jobs]
    if plan.scored_tokens is not None:
        scores = await prompt_scores(plan.jobs, plan.scored_tokens, request)
    if body.stream:
        answers = await Answers.start(plan.jobs, request, answer_id)
        frames = _frames(answers, plan, scores, head)
        return EventStream(frames, close=answers.aclose, ping_seconds=server.settings.ping_seconds)
    answered = await complete(plan.jobs, request, answer_id)
    size = entries_size(sum(len(completion.token_ids) for completion in answered), body.logprobs)
    size += entries_size(sum(map(len, scores)) * plan.wanted, plan.scored_tokens)
    return await answer(errand, size, lambda: {**head, **_whole(plan, scores, answered)})


@router.post("/v1/completions/render", response_model=None)
async def render_completions(body: CompletionRequest, request: Request) -> Response:
    """Give the tokens of the prompts, a request for each, and compute nothing."""
    errand = errand_of(request)
    model = await server_of(request).model_for(request, body)
    plan = await _plan(errand, model, body, request)
    request_id = f"cmpl-{secrets.token_hex(12)}"

    def whole() -> list[dict[str, Any]]:
        return [
            rendered(job, body, request_id=f"{request_id}-{index}") for index, job in enumerate(plan.jobs)
        ]

    return await answer(errand, rendered_size(plan.jobs), whole)


def _num_answers(body: CompletionRequest, settings: ServerSettings) -> int:
    """How many are made to each prompt; none where only scores are wanted. 400 where that cannot be."""
    _, made = body.candidates(settings.max_choices)
    if body.max_tokens == 0 and not body.echo:
        raise ApiError(400, "max_tokens is 0; that needs echo", code="invalid_value", param="max_tokens")
    num_prompts = len(prompts_of(body.prompt))
    if num_prompts * made > settings.max_inputs:
        message = f"{num_prompts} prompts with {made} answers each are more than {settings.max_inputs}"
        raise ApiError(400, message, code="invalid_value", param="prompt")
    return 0 if body.max_tokens == 0 else made


async def _plan(errand: Errand, model: AskedModel, body: CompletionRequest, request: Request) -> _Plan:
    settings = server_of(request).settings
    num_answers = _num_answers(body, settings)
    wanted, made = body.candidates(settings.max_choices)
    max_tokens = DEFAULT_MAX_TOKENS if body.max_tokens is None else body.max_tokens
    prompts = prompts_of(body.prompt)
    logprobs = 0 if body.logprobs is None and made > wanted else body.logprobs
    params = body.params(
        max_tokens=max(1, max_tokens), vocab_size=model.llm.model_info.vocab_size, logprobs=logprobs
    )
    params = await shaped(errand, model, params, body.shape())
    field = PromptField(
        name="prompt",
        if_empty="the prompt is empty",
        makes_text=max_tokens > 0,
        parse_special=body.parse_special is not False,
    )
    if infills := body.infills():
        filled = await infills_tokens(errand, model, infills, param="suffix")
        token_lists = [one.token_ids for one in filled]
    else:
        token_lists = await tokens_of(errand, model, prompts, field)
    jobs = [
        Job(
            model=model,
            token_ids=token_ids,
            params=params,
            num_answers=num_answers,
            terms=terms_of(request, model, body.priority),
        )
        for token_ids in token_lists
    ]
    echoed = await texts_of(errand, model, prompts, param="prompt") if body.echo else []
    return _Plan(body=body, jobs=jobs, wanted=wanted, echoed=echoed, errand=errand)


def _whole(plan: _Plan, scores: Sequence[Scores], completions: Sequence[Completion]) -> dict[str, Any]:
    choices: list[dict[str, Any]] = []
    for index, job in enumerate(plan.jobs):
        made = completions[index * job.num_answers : (index + 1) * job.num_answers]
        best: Sequence[Completion | None] = _best(made, plan.wanted) or [None] * plan.wanted
        # Made once: choices of one prompt have the same ones.
        of_prompt = _prompt_logprobs(plan, index, scores[index])
        for completion in best:
            choice = _choice(plan, index, scores[index], completion)
            choices.append({"index": len(choices), **choice, **of_prompt})
    return {"choices": choices, "usage": _usage(plan, [completion.usage for completion in completions])}


def _best(completions: Sequence[Completion], wanted: int) -> Sequence[Completion]:
    """The likeliest by token; in the order they were made where all are wanted."""
    if len(completions) <= wanted:
        return completions

    def likelihood(completion: Completion) -> float:
        entries = completion.logprobs or ()
        return sum(entry.logprob for entry in entries) / max(1, len(entries))

    return sorted(completions, key=likelihood, reverse=True)[:wanted]


def _choice(plan: _Plan, index: int, scores: Scores, completion: Completion | None) -> dict[str, Any]:
    echoed = plan.echoed[index] if plan.body.echo else ""
    logprobs = None
    if plan.body.logprobs is not None:
        shape = TextLogprobs(plan.jobs[index].model.llm)
        logprobs = _prompt_lists(plan, index, scores, shape)
        if completion is not None:
            chunk = Chunk(text=completion.text, logprobs=completion.logprobs)
            for name, entries in shape.body([chunk]).items():
                logprobs[name] += entries
    return {
        "text": echoed + (completion.text if completion else ""),
        "logprobs": logprobs,
        "finish_reason": completion.finish_reason if completion else "length",
    }


def _prompt_logprobs(plan: _Plan, index: int, scores: Scores) -> dict[str, Any]:
    """How likely the prompt was, under vLLM's name, where that was asked for."""
    asked = plan.body.prompt_logprobs
    if asked is None:
        return {}
    return {"prompt_logprobs": prompt_entries(plan.jobs[index].model.llm, scores, asked)}


def _prompt_lists(plan: _Plan, index: int, scores: Scores, shape: TextLogprobs) -> dict[str, list[Any]]:
    """The prompt's own tokens; nothing stands before the first, so it has no logprob."""
    if not plan.scores:
        return shape.lists([])
    wanted = plan.body.logprobs or 0
    cut = (replace(one, top_logprobs=one.top_logprobs[:wanted]) for one in scores)
    return shape.lists([plan.jobs[index].token_ids[0], *cut])


class _Events:
    """The events of a stream; of those that bring a text alone, all the rest is encoded once."""

    def __init__(self, head: dict[str, Any], num_choices: int) -> None:
        self._head = head
        self._texts = [TextFrames(partial(self._body, index)) for index in range(num_choices)]

    def frame(self, index: int, text: str, logprobs: Any, reason: str | None = None) -> bytes:
        """A piece of a choice."""
        if logprobs is None and reason is None:
            return self._texts[index].frame(text)
        return frame(self._body(index, text, logprobs, reason))

    def progress_frame(self, index: int, told: dict[str, Any]) -> bytes:
        """How far the prompt of a choice is read."""
        return frame({**self._body(index, ""), "prompt_progress": told})

    def long_frame(self, index: int, text: str, logprobs: Any, reason: str | None) -> bytes:
        """The same for one of many tokens."""
        return b"data: " + encoded(self._body(index, text, logprobs, reason)) + b"\n\n"

    def _body(self, index: int, text: str, logprobs: Any = None, reason: str | None = None) -> dict[str, Any]:
        choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}
        return {**self._head, "choices": [choice]}


def _scored(plan: _Plan, events: _Events, index: int, scores: Sequence[Scores], shape: TextLogprobs) -> bytes:
    """The event of a prompt that is given back with what its tokens are worth."""
    job = index // plan.wanted
    lists = _prompt_lists(plan, job, scores[job], shape)
    return events.long_frame(index, plan.echoed[job], lists, _end_of_prompt(plan, job))


def _end_of_prompt(plan: _Plan, job: int) -> str | None:
    """Why a choice ends with its prompt; `None` where an answer follows."""
    return None if plan.jobs[job].num_answers else "length"


async def _frames(
    answers: Answers, plan: _Plan, scores: Sequence[Scores], head: dict[str, Any]
) -> AsyncGenerator[bytes, None]:
    body = plan.body
    with_usage = body.stream_options is not None and body.stream_options.include_usage
    more: dict[str, Any] = {"usage": None} if with_usage else {}

    events = _Events({**head, **more}, len(plan.jobs) * plan.wanted)
    shapes = []
    for index in range(len(plan.jobs) * plan.wanted):
        job = index // plan.wanted
        shape = TextLogprobs(plan.jobs[job].model.llm) if body.logprobs is not None else None
        shapes.append(shape)
        if body.echo and shape:
            yield await plan.errand.do(
                entries_size(len(scores[job]), body.logprobs),
                partial(_scored, plan, events, index, scores, shape),
            )
        elif body.echo:
            yield events.frame(index, plan.echoed[job], None, _end_of_prompt(plan, job))
    async for told in _reading(answers, body, events):
        yield told
    usages: dict[int, Usage] = {}
    pieces = answers.pieces() if body.logprobs is None else in_slices(answers.pieces())
    async for index, chunks in pieces:
        text = "".join(chunk.text for chunk in chunks)
        shape = shapes[index]
        last = chunks[-1]
        if last.usage is not None:
            usages[index] = last.usage
        if text or last.finish_reason is not None:
            yield events.frame(index, text, shape.body(chunks) if shape else None, last.finish_reason)
        elif shape:
            shape.body(chunks)  # no text is out, so nothing is released: only taken note of
    if with_usage:
        yield frame(
            {**head, "choices": [], "usage": _usage(plan, [usages[index] for index in sorted(usages)])}
        )
    yield DONE


async def _reading(answers: Answers, body: CompletionRequest, events: _Events) -> AsyncGenerator[bytes, None]:
    """How far the prompts are read, where that is asked for."""
    began = time.perf_counter()
    if body.return_progress:
        async for index, progress in answers.reading():
            yield events.progress_frame(index, progress_body(progress, began))


def _usage(plan: _Plan, usages: Sequence[Usage]) -> dict[str, Any]:
    if usages:
        return answers_usage(usages, plan.jobs)
    prompts = [Usage(prompt_tokens=len(job.token_ids), completion_tokens=0) for job in plan.jobs]
    return usage_body(prompts, completion_tokens=0)
