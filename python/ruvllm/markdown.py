"""What a model wrote, as Markdown that a page may show. Notebooks show `Completion` by it.

Models write code in spans and fences, and tags in plain text mean their characters: a page would take
`<think>` for an element and show nothing of it.
"""

import re
from collections.abc import Iterator

__all__ = ["code_span", "without_elements"]

# A fence of code, as CommonMark knows it: what is before it, its marks, and what stands behind them.
_FENCE = re.compile(r" {0,3}(?P<marks>`{3,}(?=[^`]*$)|~{3,})")
_BACKTICKS = re.compile(r"`+")


def without_elements(text: str) -> str:
    """The text with each `<` that is not in code as a character.

    >>> without_elements("a <b> and `<c>`")
    'a &lt;b> and `<c>`'
    """
    return "".join(_lines(text))


def code_span(text: str) -> str:
    """The text as code in a line, whatever it holds.

    >>> code_span("f(`a`)")
    '``f(`a`)``'
    """
    text = " ".join(text.splitlines())
    longest = max(map(len, _BACKTICKS.findall(text)), default=0)
    marks = "`" * (longest + 1)
    # A backtick at the end would belong to the marks.
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{marks}{space}{text}{space}{marks}"


def _lines(text: str) -> Iterator[str]:
    marks, indent, is_clear = "", "", True
    for line in text.splitlines(keepends=True):
        found = _FENCE.match(line.rstrip("\r\n"))
        if marks and line.strip() and not line.startswith(indent):
            # What the fence stands in, an item of a list, is over here, and the fence with it or not.
            is_clear = False
        if not is_clear:
            yield line.replace("<", "&lt;")
        elif not marks and found:
            marks = found["marks"]
            indent = line[: found.start("marks")]
            # What stands behind the marks names a language; a page may show it.
            yield line[: found.end()] + line[found.end() :].replace("<", "&lt;")
        elif not marks:
            yield _plain(line)
        else:
            yield line
            stripped = line.strip()
            if found and set(stripped) == {marks[0]} and len(stripped) >= len(marks):
                marks = ""


def _plain(line: str) -> str:
    """A line without `<` but in its spans of code, which other lines do not go on with."""
    made, place = [], 0
    while found := _BACKTICKS.search(line, place):
        before = line[place : found.start()]
        begins = found.start()
        if (len(before) - len(before.rstrip("\\"))) % 2:
            # The first backtick is a character.
            begins += 1
        size = found.end() - begins
        end = next((one.end() for one in _BACKTICKS.finditer(line, found.end()) if len(one[0]) == size), None)
        made.append(line[place:begins].replace("<", "&lt;"))
        place = end if end is not None and size else found.end()
        made.append(line[begins:place])
    return "".join([*made, line[place:].replace("<", "&lt;")])
