"""Token ids of bodies, and prompts that may be such: up to half a million, so many are checked with one call.

What a prompt is, its first entry says; one error names the first place that is something else.
"""

from collections.abc import Callable, Iterator
from typing import Annotated, Any, TypeAlias

from pydantic import Field, PlainValidator, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

__all__ = ["AnyTokenIds", "Prompts"]

LAST_ID = 2**31 - 1
# So many are checked with one call: longer ones would hold up the event loop from another thread, too.
SLICE = 32_768
_TokenId = Annotated[int, Field(ge=0, le=LAST_ID)]
_TokenIds = Annotated[list[_TokenId], Field(min_length=1)]
_Texts = Annotated[list[str], Field(min_length=1)]
_Lists = Annotated[list[_TokenIds], Field(min_length=1)]

_AN_ID = f"it must be a token id, an integer from 0 to {LAST_ID}"
_A_TEXT = "it must be a text, as the first one is"
_A_LIST = "it must be a list of token ids, as the first one is"


def _prompts(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise _wrong("it must be a text, token ids, or a list of these")
    if not value:
        raise _wrong("it must not be an empty list")
    if isinstance(value[0], str):
        return _all_of(str, value, _A_TEXT)
    if not isinstance(value[0], list):
        return _token_ids(value)
    _all_of(list, value, _A_LIST)
    for index, one in enumerate(value):
        if not one:
            raise _wrong("it must not be an empty list", index)
        _token_ids(one, index)
    return value


def _token_ids(value: Any, *place: int) -> list[int]:
    """The list itself where all are token ids."""
    if not isinstance(value, list):
        raise _wrong("it must be a list of token ids", *place)
    ids = _all_of(int, value, _AN_ID, *place)
    for start, piece in _slices(ids):
        if min(piece) < 0 or max(piece) > LAST_ID:
            raise _wrong(_AN_ID, *place, start + _first(piece, lambda token: not 0 <= token <= LAST_ID))
    return ids


def _all_of(kind: type, values: list[Any], message: str, *place: int) -> list[Any]:
    """The list itself where all are of that very type: a bool is no integer here."""
    for start, piece in _slices(values):
        if set(map(type, piece)) != {kind}:
            raise _wrong(message, *place, start + _first(piece, lambda one: type(one) is not kind))
    return values


def _slices(values: list[Any]) -> Iterator[tuple[int, list[Any]]]:
    """Pieces of a list, none of them empty, and where each begins."""
    return ((start, values[start : start + SLICE]) for start in range(0, len(values), SLICE))


def _first(values: list[Any], is_wrong: Callable[[Any], bool]) -> int:
    return next(index for index, one in enumerate(values) if is_wrong(one))


def _wrong(message: str, *place: int) -> ValidationError:
    error = PydanticCustomError("not_a_prompt", message)
    return ValidationError.from_exception_data(
        "prompt", [InitErrorDetails(type=error, loc=place, input=None)]
    )


def _any_token_ids(value: Any) -> Any:
    return _token_ids(value)


AnyTokenIds: TypeAlias = Annotated[
    list[int], PlainValidator(_any_token_ids, json_schema_input_type=list[_TokenId])
]
"""Token ids, or none."""

Prompts: TypeAlias = Annotated[
    str | list[str] | list[int] | list[list[int]],
    PlainValidator(_prompts, json_schema_input_type=str | _Texts | _TokenIds | _Lists),
]
"""A text, token ids, or several of either."""
