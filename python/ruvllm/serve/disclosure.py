"""What of an error a client is told: what happened, and never where on this machine.

Messages of the package name files with their folders, as whoever runs it needs them; clients are others.
`api_error` and the states of models ask here, so that no answer is written past it. The log has the whole.
"""

import re

from ruvllm.errors import RuvLLMError

__all__ = ["UNFORESEEN", "public_message", "without_folders"]

UNFORESEEN = "an unexpected error; the server's log has it"

# A character of a name: spaces may stand in it, but what ends a path in a sentence does not.
_CHARACTER = r"""(?:(?![:,;)\]]\s)(?:[^/\\'"\n]|(?<=\w)['"](?=\w)))"""
_PATH = re.compile(
    # Where no word, tag or bracket goes on: not in `a/b`, `</s>`, `[/INST]`, `https://a/b`.
    r"(?<![\w.~/\\<\[-])"
    r"(?:file://)?(?:[A-Za-z]:[/\\]+|\\\\|(?:~|\.{1,2})/+|/(?!/)|(?<!:)//+)"
    rf"(?:{_CHARACTER}+(?<!\s)[/\\]+)*"
    rf"(?P<name>{_CHARACTER}+?\.\w{{1,16}}(?!\w)|[^\s/\\'\":,;)]+)"
)


def public_message(error: BaseException) -> str:
    """The words for a client; of what is neither the package's nor the system's, none of its own."""
    if isinstance(error, RuvLLMError):
        return without_folders(error.message)
    if isinstance(error, OSError):
        return without_folders(error.strerror or str(error))
    if isinstance(error, MemoryError):
        return "the memory does not suffice"
    return UNFORESEEN


def without_folders(text: str) -> str:
    """A text in which files have their names alone, and folders none.

    >>> without_folders("cannot read '/srv/our models/a.gguf' (looked in /srv)")
    "cannot read 'a.gguf' (looked in a folder)"
    """
    return _PATH.sub(_name_alone, text)


def _name_alone(found: "re.Match[str]") -> str:
    name = found["name"]
    return name if re.search(r"\.\w+$", name) else "a folder"
