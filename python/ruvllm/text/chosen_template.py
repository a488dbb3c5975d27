"""A chat template that the user chooses, in the place of the model's: a file, a built-in one, or its text."""

import os
from pathlib import Path

from ruvllm.errors import ConfigError
from ruvllm.text.builtin_templates import BUILTIN_TEMPLATES
from ruvllm.text.chat_template import TemplateLimits

__all__ = ["read_template"]

# What no name of a file has, and every template that reads messages.
_BEGINNINGS_OF_JINJA = ("{{", "{%")
MOST_CHARACTERS = TemplateLimits().template_characters


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
    text = str(given) if is_text else _text_of(Path(given).expanduser())
    if not text.strip() or len(text) > MOST_CHARACTERS:
        raise ConfigError(
            f"chat_template has {len(text)} characters; a template has some, and {MOST_CHARACTERS} at most"
        )
    return text


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            # A character has up to four bytes: what is cut off here is too long in any case.
            return file.read(4 * MOST_CHARACTERS + 4).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"chat_template is {str(path)!r}, which is no text in UTF-8: {error}") from None
    except (OSError, ValueError) as error:  # a null character in a name is a ValueError
        names = ", ".join(BUILTIN_TEMPLATES)
        raise ConfigError(
            f"chat_template is {str(path)!r}, which cannot be read: {error}. It is a file with a Jinja "
            f"template, the text of one, which has {{{{ or {{%, or a built-in one: {names}"
        ) from None
