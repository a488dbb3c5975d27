"""JSON as requests bring it: bounded before it is parsed, and read strictly.

So nothing later meets what it cannot hold, encode or count.
FastAPI's own reading lets lone surrogates, NaN and any depth through, and answers with 422.
"""

import inspect
import json
import re
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, NamedTuple, TypeVar, get_type_hints

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

import ruvllm._native as _native
from ruvllm.serve.errors import ApiError
from ruvllm.serve.off_loop import SMALL_BYTES, Errand, HeldBody
from ruvllm.serve.server import errand_of, server_of

__all__ = ["JsonRoute", "read_body", "validation_error"]

BodyT = TypeVar("BodyT", bound=BaseModel)


class _Bound(NamedTuple):
    """How much of something a body may have, and how that is said."""

    most: int
    what: str


# What a body may have, whatever its bytes; docs/server.md lists it. This bounds what it takes in memory, and
# the time of the single calls that parse and check it. Four thousand messages of two parts each are within.
BOUNDS = {
    "depth": _Bound(64, "levels of nesting"),
    "containers": _Bound(20_480, "objects and lists"),
    "members": _Bound(4096, "fields in one object"),
    "texts": _Bound(65_536, "texts and names of fields"),
    "numbers": _Bound(524_288, "numbers"),
    "fractions": _Bound(8192, "numbers with a fraction or an exponent"),
    "longest_number": _Bound(256, "characters in one number"),
}
# A byte of JSON is parsed in less than a character is turned into tokens.
BYTES_PER_SIZE = 4
# What of a field's name an error repeats.
QUOTED_CHARACTERS = 100
_JSON_KIND = re.compile(r"application/([a-z0-9.-]+\+)?json")
_SOURCES = (("body",), ("query",), ("path",))
_NOT_FIELDS = re.compile(r"[\[(]|^(str|int|float|bool|dict|list|constrained-str|function-.*)$")


class JsonRoute(APIRoute):
    """A route whose body is read by `read_body`."""

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
            errand = errand_of(request)
            with errand.holding(server_of(request).settings.max_body_bytes) as held:
                body = await _body(request, body_type, errand, held)
                answer = await endpoint(body=body, request=request)
            return answer if isinstance(answer, Response) else JSONResponse(answer)

        return handle


async def _body(request: Request, body_type: type[BodyT], errand: Errand, held: HeldBody) -> BodyT:
    """Read a request's body, a large one in another thread."""
    pieces = []
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        piece = message.get("body", b"")
        held.take(len(piece))
        pieces.append(piece)
        more = message.get("more_body", False)
    content = b"".join(pieces)
    del pieces
    return await errand.do(len(content) // BYTES_PER_SIZE, partial(read_body, content, body_type))


def _check_kind(request: Request) -> None:
    """Refuse what is not said to be JSON: any page may send other kinds here without asking first."""
    kind = request.headers.get("content-type", "")
    if not _JSON_KIND.fullmatch(kind.partition(";")[0].strip().lower()):
        message = f"the content-type is {kind!r}; send application/json"
        raise ApiError(415, message, code="unsupported_media_type")


def read_body(content: bytes, body_type: type[BodyT]) -> BodyT:
    """A body out of its bytes; 400 for what is no JSON, goes beyond a bound or is not of its type."""
    shape = _native.json_shape(content)
    for name, (most, what) in BOUNDS.items():
        if (count := shape[name]) > most:
            raise _bad(f"the body has {count} {what}; at most {most} are allowed")
    value = _parse(content)
    if shape["surrogates"]:
        _check_texts(value)
    try:
        return body_type.model_validate(value)
    except ValidationError as error:
        raise validation_error(error) from None


def _parse(content: bytes) -> Any:
    parsers = _LONG_PARSERS if len(content) > SMALL_BYTES else _PARSERS
    try:
        return json.loads(content.decode("utf-8"), **parsers)
    except UnicodeDecodeError as error:
        raise _bad(f"the body is not UTF-8: byte {error.start} does not belong there") from None
    except json.JSONDecodeError as error:
        raise _bad(
            f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except (RecursionError, ValueError) as error:
        raise _bad(f"the body is not JSON that can be read: {error}") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _python_int(digits: str) -> int:
    return int(digits)


def _python_float(digits: str) -> float:
    return float(digits)


_PARSERS: dict[str, Any] = {"parse_constant": _refuse_constant}
# The same numbers, but by a call of Python each, at which the interpreter may be handed to the event loop.
_LONG_PARSERS: dict[str, Any] = {**_PARSERS, "parse_int": _python_int, "parse_float": _python_float}


def _check_texts(value: Any) -> None:
    """Half of a character, written as an escape, is no text."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _bad("a text has half of a surrogate pair, which is no character") from None
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_texts(key)
            _check_texts(item)
    elif isinstance(value, list):
        for item in value:
            _check_texts(item)


def _bad(message: str) -> ApiError:
    return ApiError(400, message, code="invalid_json")


def validation_error(error: RequestValidationError | ValidationError) -> ApiError:
    """Pydantic's first complaint, with the place as a path: `messages[0].content`."""
    if isinstance(error, ValidationError):
        complaints = error.errors(include_url=False, include_context=False, include_input=False)
    else:
        complaints = list(error.errors())
    # Of a union, the alternative that got furthest says what was meant; then one of the right type.
    first = max(complaints, key=lambda one: (len(one["loc"]), not one["type"].endswith("_type")))
    param = _path(first["loc"])
    code = "missing_required_parameter" if first["type"] == "missing" else "invalid_value"
    message = f"{param}: {first['msg']}" if param else f"the body: {first['msg']}"
    return ApiError(400, message, code=code, param=param or None)


def _path(place: tuple[int | str, ...]) -> str:
    path = ""
    for part in place[1:] if place[:1] in _SOURCES else place:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not _NOT_FIELDS.search(name := part[:QUOTED_CHARACTERS]):
            path += f".{name}" if path else name
    return path
