"""How errors are written: as the API has them to which a path belongs.

OpenAI's is `{"error": {message, type, param, code}}`, Anthropic's
`{"type": "error", "error": {type, message}, "request_id"}`, Ollama's `{"error": message}`. Whoever answers
with an error, be it a route, the validation of a body or the boundary before them, asks here.
"""

import json
from typing import Any

from starlette.responses import Response
from starlette.types import Scope

from ruvllm.serve.errors import ApiError

__all__ = ["anthropic_error", "error_response", "is_anthropic", "is_ollama", "ollama_error"]

_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
}


def is_anthropic(path: str, root_path: str = "") -> bool:
    """Whether Anthropic's clients ask there.

    >>> is_anthropic("/v1/messages/count_tokens"), is_anthropic("/v1/chat/completions")
    (True, False)
    """
    path = path.removeprefix(root_path)
    return path == "/v1/messages" or path.startswith("/v1/messages/")


def is_ollama(path: str, root_path: str = "") -> bool:
    """Whether Ollama's clients ask there.

    >>> is_ollama("/api/chat"), is_ollama("/v1/chat/completions")
    (True, False)
    """
    return path.removeprefix(root_path).startswith("/api/")


def anthropic_error(error: ApiError, request_id: str) -> dict[str, Any]:
    """The JSON that Anthropic's clients get."""
    other = "api_error" if error.status_code >= 500 else "invalid_request_error"
    kind = _ANTHROPIC_TYPES.get(error.status_code, other)
    body = {"type": kind, "message": error.message}
    return {"type": "error", "error": body, "request_id": request_id}


def ollama_error(error: ApiError) -> dict[str, Any]:
    """The JSON that Ollama's clients get; the field at fault has no place there but the message.

    >>> ollama_error(ApiError(400, "it must be a text", param="prompt"))
    {'error': 'prompt: it must be a text'}
    """
    names_it = error.param is None or error.param in error.message
    return {"error": error.message if names_it else f"{error.param}: {error.message}"}


def error_response(error: ApiError, scope: Scope) -> Response:
    """The error as a response to the request of this scope."""
    path, root_path = scope["path"], scope.get("root_path", "")
    content = error.body()
    if is_anthropic(path, root_path):
        content = anthropic_error(error, scope.get("state", {}).get("request_id", ""))
    elif is_ollama(path, root_path):
        content = ollama_error(error)
    # Only ASCII, since a message may quote what no encoding can carry.
    body = json.dumps(content).encode()
    headers = dict(error.headers or {})
    return Response(body, error.status_code, headers=headers, media_type="application/json")
