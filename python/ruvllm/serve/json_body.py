"""JSON as requests bring it: read strictly, so that nothing later meets what it cannot encode or count.

FastAPI's own reading lets lone surrogates, NaN and any depth through, and answers with 422.
"""

import inspect
import json
import re
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, get_type_hints

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError

from ruvllm.serve.errors import ApiError

__all__ = ["JsonRoute", "validation_error"]

MAX_DEPTH = 64
_JSON_KIND = re.compile(r"application/([a-z0-9.-]+\+)?json")
_SOURCES = (("body",), ("query",), ("path",))
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_NOT_FIELDS = re.compile(r"[\[(]|^(str|int|float|bool|dict|list|constrained-str|function-.*)$")


class JsonRoute(APIRoute):
    """A route whose body is read by `_parse`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Hand a `body` and the `request` to the endpoint; what asks for other things is FastAPI's."""
        if list(inspect.signature(self.endpoint).parameters) == ["body", "request"]:
            # FastAPI would find out each time what is known here: a fifth of a short request's cost.
            answer = self._handler(self.endpoint)
        else:
            answer = super().get_route_handler()

        async def handle(request: Request) -> Response:
            if request.method == "POST":
                _check_kind(request)
            return await answer(request)

        return handle

    def _handler(
        self, endpoint: Callable[..., Awaitable[Any]]
    ) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        body_type: type[BaseModel] = get_type_hints(endpoint)["body"]

        async def handle(request: Request) -> Response:
            value = _parse(await request.body())
            try:
                body = body_type.model_validate(value)
            except ValidationError as error:
                raise validation_error(error) from None
            answer = await endpoint(body=body, request=request)
            return answer if isinstance(answer, Response) else JSONResponse(answer)

        return handle


def _check_kind(request: Request) -> None:
    """Refuse what is not said to be JSON: any page may send other kinds here without asking first."""
    kind = request.headers.get("content-type", "")
    if not _JSON_KIND.fullmatch(kind.partition(";")[0].strip().lower()):
        message = f"the content-type is {kind!r}; send application/json"
        raise ApiError(415, message, code="unsupported_media_type")


def _parse(body: bytes) -> Any:
    try:
        text = body.decode("utf-8")
        value = json.loads(text, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise _bad(f"the body is not UTF-8: byte {error.start} does not belong there") from None
    except json.JSONDecodeError as error:
        raise _bad(
            f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except (RecursionError, ValueError) as error:
        raise _bad(f"the body is not JSON that can be read: {error}") from None
    if _ESCAPED_SURROGATE.search(body):
        _check_texts(value)
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _check_texts(value: Any, depth: int = 0) -> None:
    """Half of a character, written as an escape, is no text."""
    if depth > MAX_DEPTH:
        raise _bad(f"the body is nested deeper than {MAX_DEPTH}")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _bad("a text has half of a surrogate pair, which is no character") from None
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_texts(key, depth + 1)
            _check_texts(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_texts(item, depth + 1)


def _bad(message: str) -> ApiError:
    return ApiError(400, message, code="invalid_json")


def validation_error(error: RequestValidationError | ValidationError) -> ApiError:
    """Pydantic's first complaint, with the place as a path: `messages[0].content`."""
    # Of a union, the alternative that got furthest says what was meant.
    first = max(error.errors(), key=lambda one: len(one["loc"]))
    param = _path(first["loc"])
    code = "missing_required_parameter" if first["type"] == "missing" else "invalid_value"
    message = f"{param}: {first['msg']}" if param else f"the body: {first['msg']}"
    return ApiError(400, message, code=code, param=param or None)


def _path(place: tuple[int | str, ...]) -> str:
    path = ""
    for part in place[1:] if place[:1] in _SOURCES else place:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not _NOT_FIELDS.search(part):
            path += f".{part}" if path else part
    return path
