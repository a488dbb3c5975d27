"""Names of models for the shell's completion. A TAB is answered at once: without typer, and no engine.

All else, commands and flags, typer completes. The shells' scripts are typer's
(`ruvllm --install-completion`), and so are the variables in which they tell what stands on the line.
"""

import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import ruvllm.hub as hub

__all__ = ["complete_model", "words_on_the_line"]

ASKING = frozenset({"run", "chat", "complete"})
"""After the model there comes a prompt."""
FETCHING = ASKING | {"serve", "pull", "bench", "prepare", "eval"}
"""What takes a model that is not here yet, so that short names are offered as well."""
TELLING = frozenset({"info", "show", "rm", "doctor"})
SWITCHES = frozenset(
    {
        "--json",
        "--quiet",
        "-q",
        "--verbose",
        "-v",
        "--yes",
        "-y",
        "--force",
        "--learn",
        "--remove",
        "--resume",
    }
)
"""Flags without a value; behind any other there stands one, which may be no model."""
MODEL_FLAGS = ("-m", "--model")
HARMLESS = re.compile(r"[A-Za-z0-9._:/@+=,-]+")
"""Names that mean nothing to a shell. Strangers name files, and typer's scripts evaluate what is printed."""


def words_on_the_line(instruction: str, environment: Mapping[str, str]) -> tuple[list[str], str]:
    """The words before the cursor, the program's name among them, and the one at it."""
    if instruction == "complete_bash":
        return _bash_words(environment)
    if instruction in ("complete_zsh", "complete_fish"):
        return _words(environment.get("_TYPER_COMPLETE_ARGS", ""))
    return [], ""


def complete_model(instruction: str, environment: Mapping[str, str]) -> bool:
    """Print the names of models that may stand at the cursor; `False` where something else may."""
    words, current = words_on_the_line(instruction, environment)
    if not _is_a_models_place(words, current):
        return False
    names = [name for name in _names(words[1]) if name.startswith(current) and HARMLESS.fullmatch(name)]
    if instruction == "complete_zsh":
        quoted = "\n".join('"' + name.replace(":", r"\\:") + '"' for name in names)
        sys.stdout.write(f"_arguments '*: :(({quoted}))'" if names else "_files")
    elif environment.get("_TYPER_COMPLETE_FISH_ACTION") == "is-args":
        sys.exit(0 if names else 1)
    else:
        # For bash a colon ends a word: it has what stands before it already.
        known = current.rpartition(":")[0] + ":" if instruction == "complete_bash" and ":" in current else ""
        sys.stdout.write("\n".join(name.removeprefix(known) for name in names))
    return True


def _is_a_models_place(words: Sequence[str], current: str) -> bool:
    """Whether a model stands at the cursor, behind `words`."""
    if len(words) < 2 or words[1] not in FETCHING | TELLING or current.startswith("-"):
        return False
    if words[-1].startswith("-") and words[-1] not in SWITCHES:
        return words[-1] in MODEL_FLAGS
    if words[1] not in ASKING:
        return True
    before = (
        later
        for earlier, later in pairwise(words[1:])
        if not later.startswith("-") and (not earlier.startswith("-") or earlier in SWITCHES)
    )
    return not any(before) and not set(words) & set(MODEL_FLAGS)


def _names(command: str) -> Iterable[str]:
    here = [model.name for model in hub.list()]
    known = hub.DEFAULT_REGISTRY.names() if command in FETCHING else []
    return dict.fromkeys([*here, *known])


def _words(line: str) -> tuple[list[str], str]:
    """Of a line up to the cursor; the last word is empty behind a blank."""
    try:
        words = shlex.split(line)
    except ValueError:  # a quote that is open: no model's name has one
        return [], ""
    at_cursor = words.pop() if words and not line[-1:].isspace() else ""
    return words, at_cursor


def _bash_words(environment: Mapping[str, str]) -> tuple[list[str], str]:
    """Of bash, which tells a word a line, and makes three of `qwen2.5:0.5b`."""
    split = environment.get("COMP_WORDS", "").split("\n")
    count = environment.get("COMP_CWORD", "")
    index = int(count) if count.isdecimal() else 0
    words: list[str] = []
    for word in split[: index + 1]:
        if words[1:] and (word == ":" or words[-1].endswith(":")) and word:
            words[-1] += word
        else:
            words.append(word)
    if len(split) <= index:
        words.append("")
    at_cursor = words.pop() if words else ""
    return words, at_cursor
