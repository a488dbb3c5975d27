"""Grammars of formats that have no schema: JSON lines, CSV and XML, in Lark.

White space that means nothing is bounded everywhere: without a bound some models write nothing else.
`Grammar` has them by their names.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ruvllm.errors import GrammarError

__all__ = ["csv_lark", "jsonl_lark", "xml_lark"]

# A table of columns that nobody has named may be as wide: each width is a rule of its own.
MAX_UNNAMED_COLUMNS = 16
_FIELD = r"""
field: BARE? | QUOTED
filled: BARE | QUOTED
BARE: /[^",\x00-\x20\x7f]+( {1,4}[^",\x00-\x20\x7f]+)*/
QUOTED: /"([^"\x00-\x08\x0b-\x1f\x7f]|"")*"/
"""
# `>` is written `&gt;`, so that no text has `]]>`; XML has no U+FFFE and U+FFFF, and few control characters.
_XML_TEXT = r"([^<>&\x00-\x20\x7f\uFFFE\uFFFF]|&(lt|gt|amp|quot|apos);)+"
_XML_VALUE = r'"([^<>&"\x00-\x1f\x7f\uFFFE\uFFFF]|&(lt|gt|amp|quot|apos);)*"'
_XML_NAME = re.compile(r"(?!xml)[A-Za-z_][A-Za-z0-9_.-]*", re.IGNORECASE)


def jsonl_lark(schema: "Mapping[str, Any] | None") -> str:
    """A JSON value in each line, one line at least; every value is one of the schema, if there is one."""
    # Within a line there is no place for a line's end: one blank at most, behind commas and colons.
    separators = {"whitespace_flexible": False, "item_separator": ", ?", "key_separator": ": ?"}
    try:
        held = {**(schema or {}), "x-guidance": separators}
        value = json.dumps(held, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise GrammarError(f"the schema cannot be written as JSON: {error}", pointer="") from None
    return f'start: value ("\\n" value)* "\\n"?\nvalue: %json {value}'


def csv_lark(columns: "Sequence[str] | None") -> str:
    """Rows of as many fields each, quoted as RFC 4180 has it; first of all the columns' names, if any."""
    if columns is None:
        tables = [f"table_{width}" for width in range(1, MAX_UNNAMED_COLUMNS + 1)]
        rules = [f"start: {' | '.join(tables)}"]
        rules += [
            f'{table}: row_{width} ("\\n" row_{width})* "\\n"?' for width, table in enumerate(tables, 1)
        ]
        rules += [f"row_{width}: {_row(width)}" for width in range(1, MAX_UNNAMED_COLUMNS + 1)]
        return "\n".join(rules) + _FIELD
    if isinstance(columns, str) or not columns or not all(map(_is_text, columns)):
        raise GrammarError("the columns of a CSV are a list of names, none of them empty")
    header = json.dumps(",".join(map(_written, columns)), ensure_ascii=False)
    return f'start: {header} ("\\n" row)* "\\n"?\nrow: {_row(len(columns))}' + _FIELD


def _row(width: int) -> str:
    """A row is no empty line: that would be no row, so a lone field is not empty."""
    return "filled" if width == 1 else ' "," '.join(["field"] * width)


def _written(name: str) -> str:
    """A name as a field of CSV."""
    if re.fullmatch(r'[^",\x00-\x1f]+', name) and name == name.strip():
        return name
    return '"' + name.replace('"', '""') + '"'


def xml_lark(elements: Sequence[str], attributes: Sequence[str]) -> str:
    """One element in which are others and text, each closed as it was opened."""
    for kind, names in (("elements", elements), ("attributes", attributes)):
        if isinstance(names, str) or not all(_is_text(name) and _XML_NAME.fullmatch(name) for name in names):
            raise GrammarError(
                f"the {kind} of XML are a list of names: letters, digits, '_', '.' and '-', "
                "beginning with a letter and not with 'xml'"
            )
        if len(set(names)) != len(names):
            raise GrammarError(f"the {kind} of XML have a name twice")
    if not elements:
        raise GrammarError("XML needs the name of one element at least")
    # An attribute comes once, and so in an order.
    given = " ".join(f'(" {name}=" VALUE)?' for name in attributes)
    rules = [
        f'element_{index}: "<{name}" {given} ("/>" | ">" content "</{name}>")'
        for index, name in enumerate(elements)
    ]
    named = " | ".join(f"element_{index}" for index in range(len(elements)))
    terminals = [r"SPACE: /[ \t\n]{1,40}/", f"TEXT: /{_XML_TEXT}/", f"VALUE: /{_XML_VALUE}/"]
    head = ["start: element SPACE?", "content: SPACE? ((element | TEXT) SPACE?)*", f"element: {named}"]
    return "\n".join([*head, *rules, *terminals])


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)
