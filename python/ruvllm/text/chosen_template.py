"""A chat template that the user chooses, in the place of the model's: a file, a built-in one, or its text."""

import os
from pathlib import Path

from ruvllm._checks import check_whole_characters
from ruvllm.errors import ConfigError
from ruvllm.text.builtin_templates import BUILTIN_TEMPLATES
from ruvllm.text.chat_template import TemplateLimits

__all__ = ["read_template"]

# What no name of a file has, and every template that reads messages.
_BEGINNINGS_OF_JINJA = ("{{", "{%")
MOST_CHARACTERS = TemplateLimits().template_characters
# A character has up to four, and there may be a mark before them.
MOST_BYTES = 4 * MOST_CHARACTERS + 3


def read_template(given: str | os.PathLike[str]) -> str:
    """The template's text; `ConfigError` where nothing is called so, or it is no text.

    >>> read_template("chatml").startswith("{%")
    True
    """
    if not isinstance(given, str | os.PathLike):
        raise ConfigError(f"chat_template is {given!r}; it must be a text or a path")
    if isinstance(given, str) and given in BUILTIN_TEMPLATES:
        return BUILTIN_TEMPLATES[given]
    is_text = isinstance(given, str) and any(beginning in given for beginning in _BEGINNINGS_OF_JINJA)
    text = str(given) if is_text else _text_of(Path(given))
    if not text.strip() or len(text) > MOST_CHARACTERS:
        raise ConfigError(
            f"chat_template has {len(text)} characters; a template has some, and {MOST_CHARACTERS} at most"
        )
    check_whole_characters("chat_template", text)
    return text


def _text_of(path: Path) -> str:
    try:
        with path.expanduser().open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    # A null character in a name is a ValueError, the home of nobody a RuntimeError.
    except (OSError, ValueError, RuntimeError) as error:
        names = ", ".join(BUILTIN_TEMPLATES)
        raise ConfigError(
            f"chat_template is {str(path)!r}, which cannot be read: {error}. It is a file with a Jinja "
            f"template, the text of one, which has {{{{ or {{%, or a built-in one: {names}"
        ) from None
    if len(content) > MOST_BYTES:
        raise ConfigError(
            f"chat_template is {str(path)!r}, which is too long; a template has {MOST_CHARACTERS} characters "
            "at most"
        )
    try:
        # Editors of Windows put a mark before a text.
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"chat_template is {str(path)!r}, which is no text in UTF-8: {error}") from None
