"""The two consoles: results on stdout, everything else on stderr. NO_COLOR holds, for rich reads it.

rich is imported when something is printed, not when the command starts.
"""

import json
import sys
import unicodedata
from base64 import b64encode
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from ruvllm.observability.sizes import size

# Embeddings, overrides and isolates of bidirectional text, and their ends.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = [
    "copy",
    "err",
    "error",
    "has_colours",
    "note",
    "out",
    "print_json",
    "print_json_line",
    "print_text",
    "show_pairs",
    "show_table",
    "size",
    "traceback",
    "visible",
]


def out() -> "Console":
    """Return the console of stdout, as it is now (tests replace it)."""
    return _console(stderr=False)


def err() -> "Console":
    """Return the console of stderr."""
    return _console(stderr=True)


@cache
def _console(*, stderr: bool) -> "Console":
    from rich.console import Console

    # rich asks for sys.stdout and sys.stderr at each print. A table in a pipe is as wide as it is.
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream is not None and stream.isatty() else 1000
    return Console(stderr=stderr, highlight=False, soft_wrap=True, width=width)


def has_colours() -> bool:
    """Whether stdout is a terminal that shows more than plain text, and may."""
    return sys.stdout.isatty() and not out().no_color and not out().is_dumb_terminal


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """Print a table on stdout; into a pipe, lines are as long as they need to be."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(Text(visible(column)), justify="right" if column in right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    _print_wide(table)


def show_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Print names and values on stdout, a line each."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(name, Text(visible(value)))
    _print_wide(table)


def _print_wide(renderable: "RenderableType") -> None:
    out().print(renderable, soft_wrap=False)


def note(message: str) -> None:
    """Say something aside, on stderr."""
    _say(visible(message), "dim")


def error(message: str) -> None:
    """Say what went wrong in one red line on stderr; a terminal breaks it between words."""
    _say(f"error: {' '.join(visible(message).split())}", "red")


def _say(text: str, style: str) -> None:
    # Into a pipe a line is as long as it is.
    err().print(text, style=style, markup=False, soft_wrap=not err().is_terminal)


def traceback(exception: BaseException) -> None:
    """Print where an error came from."""
    import traceback as module

    err().print("".join(module.format_exception(exception)), style="dim", markup=False)


def print_json(value: Any) -> None:
    """Print a result for programs: one object, without colour."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")
    sys.stdout.flush()


def print_json_line(value: Any) -> None:
    """Print one of several results for programs: an object on a line of its own, at once."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def print_text(text: str, *, style: str | None = None) -> None:
    """Print a piece of a model's answer: as it is into a pipe, harmless and coloured on a terminal."""
    if not sys.stdout.isatty():
        sys.stdout.write(text)
    else:
        out().print(visible(text), style=style, markup=False, end="")
    sys.stdout.flush()


def copy(text: str) -> None:
    """Give a text to the clipboard of the terminal that stdout is, wherever that runs; it does not answer."""
    sent = b64encode(text.encode(errors="replace")).decode()  # half a character is none that could be sent
    sys.stdout.write(f"\x1b]52;c;{sent}\x07")
    sys.stdout.flush()


def visible(text: str) -> str:
    """Leave out control characters but line breaks and tabs: a model must not steer a terminal.

    What turns the direction of writing round goes, too: it would show a text that is not there. Half a
    character, which no terminal takes, is shown as one that is missing.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible, text))


def _visible(character: str) -> str:
    if character in "\n\t":
        return character
    kind = unicodedata.category(character)
    if kind == "Cs":
        return "\ufffd"
    return "" if kind == "Cc" or character in _TURNING else character
