"""Errors of requests, and the statuses that they get.

`ApiError` is what routes raise; `api_error` turns the package's own errors into it. Nothing else decides on a
status. How an error is written stands in `dialects`.
"""

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import HTTPException

from ruvllm.errors import (
    AdapterError,
    ConfigError,
    ContextLengthError,
    GrammarError,
    InvalidOperationError,
    NotFoundError,
    OutOfMemoryError,
    OverloadedError,
    RuvLLMError,
    StorageError,
    TokenizationError,
)
from ruvllm.serve.disclosure import public_message

__all__ = ["ApiError", "api_error", "unsupported"]

logger = logging.getLogger(__name__)

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
    503: "service_unavailable_error",
}


# A message quotes what was sent, but does not give it back.
MAX_MESSAGE = 1000


class ApiError(HTTPException):
    """A request that gets an error for an answer.

    >>> ApiError(400, "n is 99; it must be from 1 to 16", param="n").body()["error"]["param"]
    'n'
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if len(message) > MAX_MESSAGE:
            message = f"{message[: MAX_MESSAGE // 2]} [...] {message[-MAX_MESSAGE // 2 :]}"
        super().__init__(status, message, dict(headers) if headers else None)
        self.message = message
        self.code = code
        self.param = param

    @property
    def kind(self) -> str:
        """OpenAI's `type`."""
        return _TYPES.get(self.status_code, "server_error" if self.status_code >= 500 else _TYPES[400])

    def body(self) -> dict[str, Any]:
        """The JSON that OpenAI's clients get."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": error}


def unsupported(param: str, why: str) -> ApiError:
    """A field that is known, and that this server does not do."""
    return ApiError(400, f"{param} is not supported: {why}", code="unsupported_parameter", param=param)


def _message(error: BaseException) -> str:
    message = public_message(error)
    if isinstance(error, RuvLLMError | OSError) and message != str(error):
        logger.warning("an answer does not say where: %s", error)
    return message


def api_error(error: BaseException, *, param: str | None = None) -> ApiError:
    """The answer to a client for an error of the package; what is not ours is a 500 without its text."""
    if isinstance(error, ApiError):
        return error
    message = _message(error)
    if isinstance(error, OverloadedError):
        seconds = max(1, round(error.retry_after_seconds or 1))
        headers = {"retry-after": str(seconds)}
        return ApiError(429, message, code="overloaded", headers=headers)
    if isinstance(error, ContextLengthError):
        return ApiError(400, message, code="context_length_exceeded", param=param)
    if isinstance(error, OutOfMemoryError):
        return ApiError(400, message, code="insufficient_memory", param=param)
    if isinstance(error, ConfigError | GrammarError | TokenizationError | AdapterError):
        return ApiError(400, message, code="invalid_value", param=param)
    if isinstance(error, NotFoundError):
        return ApiError(404, message, code="not_found", param=param)
    if isinstance(error, InvalidOperationError):
        return ApiError(503, message, code="unavailable", headers={"retry-after": "1"})
    if isinstance(error, StorageError | OSError):
        lead = "" if isinstance(error, RuvLLMError) else "the disk refused: "
        return ApiError(507, lead + message, code="storage_failed")
    if isinstance(error, RuvLLMError):
        return ApiError(500, message, code="engine_error")
    return ApiError(500, "an unexpected error; the server's log has it", code="internal_error")
