"""A server's refusals as this package's errors.

OpenAI's shape, `{"error": {"message", "type", "param", "code"}}`, and what servers send that have another or
none. The class says what to do: `ConfigError` change the request, `AuthenticationError` give a key,
`OverloadedError` wait, `BackendError` look at the server.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from ruvllm.errors import (
    AuthenticationError,
    BackendError,
    ConfigError,
    ContextLengthError,
    GenerationError,
    NotFoundError,
    OverloadedError,
    RuvLLMError,
)

__all__ = ["failure_in_stream", "failure_of", "message_of", "retry_after_seconds"]

_Error = TypeVar("_Error", bound=RuvLLMError)
# A reason is a sentence; a proxy's whole page is not.
MAX_QUOTED = 500
# How servers call a prompt that is too long: OpenAI and llama-cpp-python, llama.cpp.
_TOO_LONG = {"context_length_exceeded", "exceed_context_size_error"}
_BY_STATUS: dict[int, type[RuvLLMError]] = {
    400: ConfigError,
    413: ConfigError,
    422: ConfigError,
    404: NotFoundError,
}


def failure_of(status: int, body: bytes, headers: Mapping[str, str]) -> RuvLLMError:
    """The error for an answer that is none; `headers` has lower-case names.

    >>> failure_of(404, b'{"error": {"message": "no model x"}}', {})
    NotFoundError('Not found: the server: no model x')
    """
    message = message_of(body)
    if status in (401, 403):
        return _made(
            AuthenticationError, f"{message}; give the server's key with --api-key or RUVLLM_API_KEY"
        )
    after = retry_after_seconds(headers.get("retry-after"))
    if status == 429 or (status == 503 and after is not None):
        when = "" if after is None or "again in" in message else f"; try again in {after:.0f} s"
        overloaded = _made(OverloadedError, message + when)
        overloaded.retry_after_seconds = after
        return overloaded
    if _is_too_long(_error_in(body)):
        return _made(ContextLengthError, message)
    kind = _BY_STATUS.get(status)
    return _made(kind, message) if kind else _made(BackendError, f"{message} (HTTP status {status})")


def failure_in_stream(error: object) -> RuvLLMError:
    """The error that came in the middle of an answer, where the status has long been 200."""
    fields = error if isinstance(error, dict) else {"message": error}
    return _made(
        ContextLengthError if _is_too_long(fields) else GenerationError, _text(fields.get("message"))
    )


def message_of(body: bytes) -> str:
    """What a server says went wrong, in a line; never empty."""
    error = _error_in(body)
    return _text(error.get("message") or error.get("detail") or body.decode("utf-8", "replace"))


def retry_after_seconds(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds, out of a `Retry-After` header that has seconds or a date; `None` where it makes no sense.

    >>> retry_after_seconds("7")
    7.0
    """
    if value is None:
        return None
    try:
        return max(0.0, float(int(value)))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=timezone.utc)
    return max(0.0, (date - (now or datetime.now(timezone.utc))).total_seconds())


def _made(kind: type[_Error], message: str) -> _Error:
    """The error, as the server's words; our own server's begin as our errors do."""
    return kind(message if message.startswith(kind.prefix) else f"the server: {message}")


def _error_in(body: bytes) -> dict[str, Any]:
    """The error object; empty where there is none."""
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    if not isinstance(value, dict):
        return {}
    error = value.get("error", value)
    return error if isinstance(error, dict) else {"message": error}


def _is_too_long(error: Mapping[str, Any]) -> bool:
    # vLLM has no code of its own for it.
    names = {str(error.get("code")), str(error.get("type"))}
    return bool(names & _TOO_LONG) or "maximum context length" in str(error.get("message"))


def _text(message: object) -> str:
    text = message if isinstance(message, str) else json.dumps(message, ensure_ascii=False) if message else ""
    line = " ".join(text.split()) or "no reason given"
    return line if len(line) <= MAX_QUOTED else line[:MAX_QUOTED] + "..."
