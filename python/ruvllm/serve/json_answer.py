"""JSON as answers bring it: one of many tokens is built and written beside the event loop, in slices.

`json.dumps` of a million values is a single call into C, for whose time no other thread runs.
"""

import json
from collections.abc import Callable
from typing import Any

from starlette.responses import JSONResponse, Response

from ruvllm.serve.off_loop import AT_ONCE, Errand

__all__ = ["answer", "encoded"]

# So many numbers or short texts are written with one call, or so many entries of some of these.
SLICE_SCALARS = 1024
SLICE_ENTRIES = 64
# The most that a list in such an entry may have; the likeliest tokens at a place are no more.
ENTRY_ITEMS = 32

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


async def answer(errand: Errand, size: int, make: Callable[[], Any]) -> Response:
    """The response with what `make` gives; `size` is how long that takes, in the unit of `AT_ONCE`."""
    if size <= AT_ONCE:
        return JSONResponse(make())
    content = await errand.do(size, lambda: encoded(make()))
    return Response(content, media_type="application/json")


def encoded(value: Any) -> bytes:
    """What `json.dumps` would give, made by many short calls."""
    pieces: list[str] = []
    _write(value, pieces)
    return "".join(pieces).encode()


def _write(value: Any, pieces: list[str]) -> None:
    if isinstance(value, dict) and value:
        mark = "{"
        for name, item in value.items():
            pieces.append(f"{mark}{_encode(name)}:")
            _write(item, pieces)
            mark = ","
        pieces.append("}")
    elif isinstance(value, list) and isinstance(_first(value), dict | list):
        _write_entries(value, pieces)
    elif isinstance(value, list) and len(value) > SLICE_SCALARS:
        _write_slices(value, SLICE_SCALARS, pieces)
    else:
        pieces.append(_encode(value))


def _first(items: list[Any]) -> Any:
    """The first that there is: a prompt's first token has no entry, and the others say what a list is of."""
    return next((item for item in items if item is not None), None)


def _write_entries(entries: list[Any], pieces: list[str]) -> None:
    if all(map(_is_short, entries)):
        _write_slices(entries, SLICE_ENTRIES, pieces)
        return
    mark = "["
    for entry in entries:
        pieces.append(mark)
        _write(entry, pieces)
        mark = ","
    pieces.append("]")


def _is_short(entry: Any) -> bool:
    """Whether it is an object of scalars and short lists, such as a token with the likeliest in its place.

    A few objects of scalars may stand in it as well: those tokens by their ids. `None` is short, too.
    """
    if entry is None:
        return True
    if not isinstance(entry, dict):
        return False
    objects = 0
    for item in entry.values():
        if isinstance(item, dict):
            objects += 1
            if len(item) > ENTRY_ITEMS or any(isinstance(one, dict | list) for one in item.values()):
                return False
        elif isinstance(item, list) and len(item) > ENTRY_ITEMS:
            return False
    return objects <= ENTRY_ITEMS


def _write_slices(items: list[Any], size: int, pieces: list[str]) -> None:
    mark = "["
    for start in range(0, len(items), size):
        pieces.append(mark + _encode(items[start : start + size])[1:-1])
        mark = ","
    pieces.append("]")
