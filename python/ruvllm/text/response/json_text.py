"""JSON as models write it, read strictly: what is read can be written, encoded and told again."""

import json
from typing import Any

__all__ = ["object_in", "text_in", "value_in"]

# As deep as what a request may bring (`serve/json_body.py`), since it comes back in the next one.
MAX_DEPTH = 64


def value_in(text: str) -> Any:
    """The value of a text; `ValueError` where it is none, or is deep, endless or half of a character.

    >>> value_in('[1, "a"]')
    [1, 'a']
    """
    try:
        value = json.loads(text, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("it is too deep") from error
    if _depth(value) > MAX_DEPTH:
        raise ValueError("it is too deep")
    # Numbers beyond all bounds, and escapes of lone surrogates, are found when they are written.
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    return value


def object_in(text: str) -> dict[str, Any] | None:
    """An object's fields; `None` where the text is none that `value_in` reads."""
    try:
        value = value_in(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def text_in(text: str) -> str | None:
    """The text of a string, which may have line ends in it; `None` where it is none, or half a character."""
    try:
        value = json.loads(text, strict=False)
        str(value).encode()
    except ValueError:
        return None
    return value if isinstance(value, str) else None


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level and depth <= MAX_DEPTH:
        level = [one for one in level if isinstance(one, dict | list)]
        depth += bool(level)
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return depth
