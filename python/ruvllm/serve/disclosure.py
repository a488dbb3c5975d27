"""What of an error a client is told: what happened, and never where on this machine.

Messages of the package name files with their folders, as whoever runs it needs them; clients are others.
`api_error` and the states of models ask here, so that no answer is written past it. The log has the whole.
"""

import re
from itertools import pairwise

__all__ = ["public_message", "without_folders"]

MAX_CHARACTERS = 8192
# Where a path begins: no word, tag or bracket goes on there, as in `a/b`, `</s>`, `[/INST]`, `https://a/b`.
_BEGIN = re.compile(
    r"(?<![\w.~/\\<\[-])"
    r"(?:file://)?(?:[A-Za-z]:[/\\]|\\\\(?=\w)|(?:~|\.{1,2})?/(?=[^\s/])|(?<!:)//(?=[^\s/]))"
)
# Where one of the package's own files ends; a folder may have any character in its name, but hardly ends so.
_OWN_END = re.compile(r"\.(?:gguf|jinja|json|prefixes|safetensors|toml|txt|wasm)[\w.-]{0,40}(?=[:'\",;)]|$)")
# The name of any other file, behind the last separator: all before it may be folders, too.
_NAME = re.compile(r"[^\s'\":,;)\]]*")


def public_message(error: BaseException) -> str:
    """The words for a client."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, MemoryError) and not error.args:
        return "the memory does not suffice"
    return without_folders(str(error)) or type(error).__name__


def without_folders(text: str) -> str:
    """A text in which files have their names alone, and folders none.

    >>> without_folders("cannot read '/srv/our models/a.gguf' (looked in /srv)")
    "cannot read 'a.gguf' (looked in a folder)"
    """
    if len(text) > MAX_CHARACTERS:  # it quotes what a client sent
        text = f"{text[:MAX_CHARACTERS]} [...]"
    begins = [found.start() for found in _BEGIN.finditer(text)]
    pieces = [text[begin:end] for begin, end in pairwise([0, *begins, len(text)])]
    return pieces[0] + "".join(_name_alone(piece) for piece in pieces[1:])


def _name_alone(path: str) -> str:
    """A text that begins with a path, without its folders."""
    own_end = _OWN_END.search(path)
    before = path[: own_end.end()] if own_end else path
    name_begin = max(before.rfind("/"), before.rfind("\\")) + 1
    name = before[name_begin:] if own_end else _NAME.match(path, name_begin)[0]  # type: ignore[index]
    rest = path[name_begin + len(name) :]
    return (name if re.search(r"\w\.\w+$", name) else "a folder") + rest
