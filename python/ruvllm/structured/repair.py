"""JSON out of a text that was meant to be JSON: prose around it, a cut end, what JSON does not know.

A valid text is taken as it is. What is mended is named; what could mean more than one value is an error.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

from ruvllm.errors import GenerationError
from ruvllm.structured.broken_json import BrokenJson, Repair, RepairError

__all__ = ["Mended", "Repair", "mended"]

_FENCE = re.compile(r"```[ \t]*([A-Za-z0-9+#-]*)[ \t]*\r?\n?")
_CONTAINER = re.compile(r"[{\[]")
# Behind the value there may be words, and closing marks too many; nothing that could be more of the value.
_MORE = re.compile(r"[{\[]|^\s*[,:]\s*[^\s}\]]|^\s*[\"'\u201c]")
_TOO_MANY = re.compile(r"[\s}\],;]*")


@dataclass(frozen=True, slots=True)
class Mended:
    """A value, and what had to be mended to read it.

    >>> mended('Sure: {name: "Ann", "tags": ["a",]}')
    Mended(value={'name': 'Ann', 'tags': ['a']}, repairs=('prose', 'key', 'comma'))

    Attributes:
        value: What the text says.
        repairs: What was mended, each kind once; empty for valid JSON.
    """

    value: Any
    repairs: tuple[Repair, ...] = ()


def mended(text: str, *, is_cut: bool = False) -> Mended:
    """The value of a text; `GenerationError` where it says none, or may say several.

    >>> mended('{"a": [1, 25', is_cut=True).value
    {'a': [1]}

    Args:
        text: What a model wrote.
        is_cut: Whether it was ended from outside: then a number at its end may be the beginning of another
            one and is left out, as are a key without a value and half a word. A text stays as far as it came.
    """
    if not (is_cut and re.search(r"[-+.0-9eE]\Z", text)):
        try:
            return Mended(json.loads(text, parse_constant=_no_constant))
        except (ValueError, RecursionError):
            pass
    try:
        return _read(text, is_cut=is_cut)
    except (RepairError, RecursionError, ValueError) as error:
        raise GenerationError(f"the text is no JSON and cannot be mended: {error}") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _read(text: str, *, is_cut: bool) -> Mended:
    bare = text.strip("\ufeff \t\r\n\u00a0")
    if not bare:
        raise RepairError("it is empty")
    # White space at the end says that a number has ended, so it stays.
    whole = text.lstrip("\ufeff \t\r\n\u00a0")
    # A text that begins as JSON may have a fence in its strings.
    if bare[0] in "{[\"'\u201c/#":
        return _value(whole, 0, is_cut=is_cut)
    if "```" in whole:
        return _fenced(whole, is_cut=is_cut)
    return _among_words(whole, is_cut=is_cut)


def _among_words(text: str, *, is_cut: bool) -> Mended:
    reader = BrokenJson(text, 0, is_cut=is_cut)
    if reader.is_at_word_or_number():
        found = reader.root()
        if not text[reader.place :].strip():
            return Mended(found, tuple(reader.repairs))
    container = _CONTAINER.search(text)
    if container is None:
        raise RepairError("there is no object and no list in it")
    return _value(text, container.start(), "prose", is_cut=is_cut)


def _fenced(text: str, *, is_cut: bool) -> Mended:
    """What stands in the block of code that is JSON, or in the only one."""
    marks = list(_FENCE.finditer(text))
    blocks = [one for one in marks if one[1].lower() in ("json", "json5", "jsonc")]
    if not blocks and len(marks) <= 2:
        blocks = marks[:1]
    if len(blocks) != 1:
        raise RepairError("it has several blocks of code, or none of JSON")
    start = blocks[0].end()
    content = text[start:]
    reader = BrokenJson(content, 0, is_cut=is_cut)
    reader.note("fence")
    if text[: blocks[0].start()].strip():
        reader.note("prose")
    found = reader.root()
    rest = content[reader.place :].lstrip()
    if rest:
        inside, mark, behind = rest.partition("```")
        _check_rest(reader, inside if mark else rest)
        if behind.strip():
            reader.note("prose")
    elif not is_cut:
        reader.note("end")
    return Mended(found, tuple(reader.repairs))


def _value(text: str, start: int, *noted: Repair, is_cut: bool) -> Mended:
    reader = BrokenJson(text, start, is_cut=is_cut)
    for one in noted:
        reader.note(one)
    found = reader.root()
    rest = text[reader.place :]
    if rest.strip() and not isinstance(found, dict | list):
        raise RepairError(f"something stands behind the value: {rest.strip()[:40]!r}")
    _check_rest(reader, rest)
    return Mended(found, tuple(reader.repairs))


def _check_rest(reader: BrokenJson, rest: str) -> None:
    if not rest.strip():
        return
    if _MORE.search(rest):
        raise RepairError(f"what stands behind the value may belong to it: {rest.strip()[:40]!r}")
    reader.note("closing" if _TOO_MANY.fullmatch(rest) else "prose")
