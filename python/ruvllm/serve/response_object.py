"""A response in the shape of OpenAI's Responses API: begun, ended, failed; and the events that tell of it."""

import secrets
import time
from typing import Any

from ruvllm.outputs import Completion, Usage
from ruvllm.serve.errors import ApiError
from ruvllm.serve.generation import Job
from ruvllm.serve.schemas.responses import ResponseRequest, output_text
from ruvllm.serve.sse import named_frame

__all__ = ["ResponseEvents", "ResponseObject"]


class ResponseObject:
    """One response, from its id to its end."""

    def __init__(self, request: ResponseRequest, job: Job) -> None:
        self.response_id = f"resp_{secrets.token_hex(24)}"
        self.item_id = f"msg_{secrets.token_hex(24)}"
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
            "parallel_tool_calls": False,
            "previous_response_id": request.previous_response_id,
            "presence_penalty": job.params.presence_penalty,
            "prompt_cache_key": request.prompt_cache_key,
            "reasoning": {"effort": None, "summary": None},
            "safety_identifier": request.safety_identifier,
            "service_tier": "default",
            "store": request.store is not False,
            "temperature": job.params.temperature,
            "text": {"format": {"type": "text"}},
            "tool_choice": "none",
            "tools": [],
            "top_logprobs": 0,
            "top_p": job.params.top_p,
            "truncation": "disabled",
        }

    def begun(self) -> dict[str, Any]:
        """The response before its answer."""
        return self._whole("in_progress")

    def ended(self, completion: Completion) -> dict[str, Any]:
        """The response with its answer."""
        status = "incomplete" if completion.finish_reason == "length" else "completed"
        whole = self._whole(status)
        whole["output"] = [self.item(status, [output_text(completion.text)])]
        whole["usage"] = _usage(completion.usage)
        if status == "completed":
            whole["completed_at"] = int(time.time())
        else:
            whole["incomplete_details"] = {"reason": "max_output_tokens"}
        return whole

    def failed(self, error: ApiError) -> dict[str, Any]:
        """The response that got no answer, in a stream that has begun."""
        code = "rate_limit_exceeded" if error.status_code == 429 else "server_error"
        return {**self._whole("failed"), "error": {"code": code, "message": error.message}}

    def item(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        """The message of the answer."""
        return {
            "id": self.item_id,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": content,
        }

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
        self._place = {"item_id": response.item_id, "output_index": 0, "content_index": 0}

    def of_response(self, kind: str, response: dict[str, Any]) -> bytes:
        """An event with the whole response in it."""
        return self._frame(f"response.{kind}", response=response)

    def of_item(self, kind: str, item: dict[str, Any]) -> bytes:
        """An event with the answer's message in it."""
        return self._frame(f"response.output_item.{kind}", output_index=0, item=item)

    def of_text(self, kind: str, **facts: Any) -> bytes:
        """An event about the text of the message."""
        return self._frame(f"response.{kind}", **self._place, **facts)

    def failure(self, error: ApiError) -> bytes:
        """The last event of a stream that met an error."""
        return self.of_response("failed", self._response.failed(error))

    def _frame(self, kind: str, **facts: Any) -> bytes:
        number, self._next = self._next, self._next + 1
        return named_frame(kind, {"type": kind, "sequence_number": number, **facts})


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.prompt_tokens - usage.cached_tokens,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.total_tokens,
    }
