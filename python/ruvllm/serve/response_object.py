"""A response in the shape of OpenAI's Responses API: begun, ended, failed; and the events that tell of it."""

import secrets
import time
from typing import Any

from ruvllm.outputs import Completion, Usage
from ruvllm.serve.errors import ApiError
from ruvllm.serve.generation import Job
from ruvllm.serve.response_items import Event
from ruvllm.serve.schemas.responses import ResponseRequest
from ruvllm.serve.sse import named_frame

__all__ = ["ResponseEvents", "ResponseObject", "status_of"]


class ResponseObject:
    """One response, from its id to its end."""

    def __init__(self, request: ResponseRequest, job: Job) -> None:
        self.response_id = f"resp_{secrets.token_hex(24)}"
        effort = request.reasoning.effort if request.reasoning else None
        self._shared: dict[str, Any] = {
            "id": self.response_id,
            "object": "response",
            "created_at": int(time.time()),
            "completed_at": None,
            "background": False,
            "frequency_penalty": job.params.frequency_penalty,
            "instructions": request.instructions,
            "max_output_tokens": request.max_output_tokens,
            "max_tool_calls": request.max_tool_calls,
            "metadata": request.metadata or {},
            "model": job.model.name,
            "parallel_tool_calls": request.parallel_tool_calls is not False,
            "previous_response_id": request.previous_response_id,
            "presence_penalty": job.params.presence_penalty,
            "prompt_cache_key": request.prompt_cache_key,
            "reasoning": {"effort": effort, "summary": None},
            "safety_identifier": request.safety_identifier,
            "service_tier": "default",
            "store": request.store is not False,
            "temperature": job.params.temperature,
            "text": {"format": (request.text.format if request.text else None) or {"type": "text"}},
            "tool_choice": request.tool_choice or "auto",
            "tools": request.tools or [],
            "top_logprobs": 0,
            "top_p": job.params.top_p,
            "truncation": "disabled",
        }

    def begun(self) -> dict[str, Any]:
        """The response before its answer."""
        return self._whole("in_progress")

    def ended(
        self, completion: Completion, items: list[dict[str, Any]], *, reasoning_tokens: int
    ) -> dict[str, Any]:
        """The response with its answer."""
        status = status_of(completion.finish_reason)
        whole = self._whole(status)
        whole["output"] = items
        whole["usage"] = _usage(completion.usage, reasoning_tokens)
        if status == "completed":
            whole["completed_at"] = int(time.time())
        else:
            whole["incomplete_details"] = {"reason": "max_output_tokens"}
        return whole

    def failed(self, error: ApiError) -> dict[str, Any]:
        """The response that got no answer, in a stream that has begun."""
        code = "rate_limit_exceeded" if error.status_code == 429 else "server_error"
        return {**self._whole("failed"), "error": {"code": code, "message": error.message}}

    def _whole(self, status: str) -> dict[str, Any]:
        state: dict[str, Any] = {
            "status": status,
            "error": None,
            "incomplete_details": None,
            "output": [],
            "usage": None,
        }
        return {**self._shared, **state}


class ResponseEvents:
    """The events of one stream, numbered."""

    def __init__(self, response: ResponseObject) -> None:
        self._response = response
        self._next = 0

    def of_response(self, kind: str, response: dict[str, Any]) -> bytes:
        """An event with the whole response in it."""
        return self.of((f"response.{kind}", {"response": response}))

    def of(self, event: Event) -> bytes:
        """An event of an item."""
        kind, facts = event
        number, self._next = self._next, self._next + 1
        return named_frame(kind, {"type": kind, "sequence_number": number, **facts})

    def failure(self, error: ApiError) -> bytes:
        """The last event of a stream that met an error."""
        return self.of_response("failed", self._response.failed(error))


def status_of(finish_reason: str | None) -> str:
    """What an answer's end makes of its response."""
    return "incomplete" if finish_reason == "length" else "completed"


def _usage(usage: Usage, reasoning_tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.prompt_tokens - usage.cached_tokens,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }
