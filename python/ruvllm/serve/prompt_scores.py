"""How likely prompts' own tokens are: for `echo` with `logprobs`, and for vLLM's `prompt_logprobs`."""

import asyncio
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request

from ruvllm.llm import LLM
from ruvllm.outputs import TokenLogprob
from ruvllm.runtime.answering import Scores
from ruvllm.serve.generation import Job, gather_in_turn
from ruvllm.serve.logprobs import token_name
from ruvllm.serve.sse import unless_disconnected

__all__ = ["prompt_entries", "prompt_scores"]


async def prompt_scores(jobs: Sequence[Job], top_logprobs: int, request: Request) -> list[Scores]:
    """Those of each job's prompt, unless the client leaves before; of one token there are none."""

    async def score(job: Job) -> Scores:
        if len(job.token_ids) < 2:
            return ()
        engine = await job.model.ready()
        return await engine.on(job.terms).token_logprobs(job.token_ids, top_logprobs=top_logprobs)

    works = gather_in_turn(score(job) for job in jobs)
    scores: list[Scores] = await unless_disconnected(request, asyncio.ensure_future(works))
    return scores


def prompt_entries(llm: LLM, scores: Scores, top_logprobs: int) -> list[dict[str, Any] | None]:
    """An entry for each token of a prompt, by token id; `None` for the first, which nothing stands before.

    Which place a token has among all is known of the likeliest alone.
    """
    return [None, *(_entry(llm, one, one.top_logprobs[:top_logprobs]) for one in scores)]


def _entry(llm: LLM, own: TokenLogprob, likeliest: Sequence[tuple[int, float]]) -> dict[str, Any]:
    ranks: dict[int, int | None] = {own.token_id: None}
    ranks.update((token, place) for place, (token, _) in enumerate(likeliest, start=1))
    logprobs = {own.token_id: own.logprob, **dict(likeliest)}
    return {
        str(token): {"logprob": logprobs[token], "rank": rank, "decoded_token": token_name(llm, token)}
        for token, rank in ranks.items()
    }
