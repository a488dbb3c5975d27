"""`POST /infill`, as llama.cpp's editors send it: what stands at a cursor, between two texts."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from ruvllm.outputs import Chunk
from ruvllm.runtime.streams import join_chunks
from ruvllm.serve.generation import Answers, Job, timings_body
from ruvllm.serve.infill_bounds import InfillBounds
from ruvllm.serve.json_body import JsonRoute
from ruvllm.serve.prompts import infills_tokens
from ruvllm.serve.schemas.infill import InfillRequest
from ruvllm.serve.schemas.llama_sampling import length
from ruvllm.serve.server import errand_of, note, server_of, terms_of
from ruvllm.serve.shaping import shaped
from ruvllm.serve.sse import EventStream, frame, unless_disconnected

__all__ = ["router"]

router = APIRouter(route_class=JsonRoute, tags=["completions"])

# Room that is left for an answer whose length is not said.
ROOM = 256


@router.post("/infill", response_model=None)
async def infill(body: InfillRequest, request: Request) -> Response:
    """Write what stands between two texts; where they do not fit, what is farthest from the cursor goes."""
    server, errand = server_of(request), errand_of(request)
    model = await server.model_for(request, body)
    params = await shaped(errand, model, body.params(model.llm.model_info.max_context), body.shape())
    room = max(1, length(body.n_predict, ROOM))
    (prompt,) = await infills_tokens(errand, model, [body.infill()], param="input_prefix", room_for=room)
    job = Job(
        model=model,
        token_ids=prompt.token_ids,
        params=params,
        terms=terms_of(request, model),
    )
    note(request, prompt_tokens=len(prompt.token_ids), stream=bool(body.stream))
    filling = _Filling(body, job, was_cut=prompt.was_cut)
    if body.stream:
        answers = await Answers.start([job], request)
        ping_seconds = server.settings.ping_seconds
        return EventStream(_frames(answers, filling), close=answers.aclose, ping_seconds=ping_seconds)
    return JSONResponse(await unless_disconnected(request, asyncio.ensure_future(_whole(request, filling))))


class _Filling:
    """One answer on its way: what it says within its bounds, and what is told of it."""

    def __init__(self, body: InfillRequest, job: Job, *, was_cut: bool) -> None:
        milliseconds = body.t_max_predict_ms or 0
        self._body = body
        self.job = job
        self._was_cut = was_cut
        self._bounds = InfillBounds(
            indent=body.n_indent or 0, seconds=milliseconds / 1000 if milliseconds > 0 else None
        )
        self._began = time.perf_counter()
        self._first: float | None = None
        self._chunks: list[Chunk] = []

    async def texts(self, answers: Answers) -> AsyncIterator[str]:
        """What is shown, piece by piece; where a bound ends it, the rest is not waited for."""
        async for _, chunks in answers.pieces():
            self._first = self._first or time.perf_counter()
            self._chunks += chunks
            text = "" if self._body.makes_nothing else "".join(chunk.text for chunk in chunks)
            shown = self._bounds.shown(text)
            if chunks[-1].finish_reason is not None:
                shown += self._bounds.rest()
            if shown:
                yield shown
            if self._bounds.has_ended:
                return

    def piece(self, text: str) -> dict[str, Any]:
        """A piece of a stream."""
        return {"index": 0, "content": text, "stop": False, **self._counts()}

    def whole(self, text: str) -> dict[str, Any]:
        """The last piece, or all in one, with the fields that were asked for."""
        facts = {
            "index": 0,
            "content": text,
            "stop": True,
            "model": self.job.model.name,
            **self._counts(),
            **self._ending(),
            "truncated": self._was_cut,
            "has_new_line": self._bounds.has_new_line,
        }
        fields = self._body.response_fields
        return facts if fields is None else _only(facts, fields)

    def _counts(self) -> dict[str, int]:
        made = 0 if self._body.makes_nothing else sum(len(chunk.token_ids) for chunk in self._chunks)
        return {"tokens_predicted": made, "tokens_evaluated": len(self.job.token_ids)}

    def _ending(self) -> dict[str, Any]:
        """Why it ended, and what it took; of one that a bound ended only what was seen here."""
        last = self._chunks[-1]
        if last.usage is None or last.timings is None:
            ended = time.perf_counter()
            first = self._first or ended
            timings: dict[str, Any] = {
                "prompt_ms": round((first - self._began) * 1000, 3),
                "predicted_n": self._counts()["tokens_predicted"],
                "predicted_ms": round((ended - first) * 1000, 3),
            }
            return {"stop_type": "limit", "stopping_word": "", "timings": timings}
        completion = join_chunks(self._chunks)
        word = completion.stop_reason
        kind = "limit" if completion.finish_reason == "length" or self._bounds.has_ended else "eos"
        return {
            "stop_type": kind if word is None else "word",
            "stopping_word": word or "",
            "tokens_cached": last.usage.cached_tokens,
            "timings": timings_body(last.usage, last.timings),
        }


async def _whole(request: Request, filling: _Filling) -> dict[str, Any]:
    async with await Answers.start([filling.job], request) as answers:
        return filling.whole("".join([text async for text in filling.texts(answers)]))


async def _frames(answers: Answers, filling: _Filling) -> AsyncGenerator[bytes, None]:
    async for text in filling.texts(answers):
        yield frame(filling.piece(text))
    yield frame(filling.whole(""))


def _only(facts: dict[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    """The fields of these names, each under its whole name; `a/b` is the field `b` of `a`."""
    found = {}
    for field in fields:
        outer, _, inner = field.partition("/")
        value = facts.get(outer)
        if inner and isinstance(value, dict):
            value = value.get(inner)
        elif inner:
            continue
        if value is not None:
            found[field] = value
    return found
