"""What a request comes to before anything of it is computed, as vLLM's `render` endpoints tell it.

Routers ask for it to send prompts where their beginnings are cached: they compare tokens, which only a server
makes as its model's template and tokenizer do.
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from ruvllm.samplers import llama_names_of
from ruvllm.serve.generation import Job
from ruvllm.serve.schemas.base import TextFields

__all__ = ["rendered", "rendered_size"]


def rendered(job: Job, body: TextFields, *, request_id: str) -> dict[str, Any]:
    """The request of a prompt under vLLM's names; `token_ids` is what its answer will be computed from."""
    stream_options = getattr(body, "stream_options", None) if body.stream else None
    return {
        "request_id": request_id,
        "token_ids": list(job.token_ids),
        "features": None,  # of images and sounds
        "sampling_params": {
            **_sampling_params(job),
            "prompt_logprobs": getattr(body, "prompt_logprobs", None),
        },
        "model": job.model.name,
        "stream": bool(body.stream),
        "stream_options": None if stream_options is None else {"include_usage": stream_options.include_usage},
        "cache_salt": None,
        "priority": job.terms.priority,
    }


def rendered_size(jobs: Sequence[Job]) -> int:
    """How long that takes, in the unit of `off_loop.AT_ONCE`."""
    return sum(len(job.token_ids) for job in jobs)


def _sampling_params(job: Job) -> dict[str, Any]:
    """Samplers that vLLM has not are under the names by which a body asks for them."""
    params = job.params
    samplers = llama_names_of({one.name: getattr(params, one.name) for one in fields(params)})
    room = job.model.llm.model_info.max_context - len(job.token_ids)
    return {
        "n": job.num_answers,
        "max_tokens": min(params.max_tokens, room),
        "temperature": params.temperature,
        "top_p": params.top_p,
        "top_k": params.top_k,
        "min_p": params.min_p,
        "typical_p": params.typical_p,
        "top_n_sigma": params.top_n_sigma,
        **samplers,
        "repetition_penalty": params.repetition_penalty,
        "presence_penalty": params.presence_penalty,
        "frequency_penalty": params.frequency_penalty,
        "logit_bias": {str(token): bias for token, bias in params.logit_bias.items()},
        "seed": params.seed,
        "stop": list(params.stop_sequences),
        "stop_token_ids": list(params.stop_token_ids),
        "min_tokens": params.min_tokens,
        "bad_words": list(params.bad_words),
        "ignore_eos": params.ignore_eos,
        "logprobs": params.logprobs,
    }
