"""What a command reads where its argument asks for stdin; one that is closed has nothing, and says so."""

import sys
from typing import IO

from ruvllm.errors import ConfigError

__all__ = ["open_stdin", "text_of_stdin"]


def open_stdin() -> IO[bytes]:
    """Its bytes; `ConfigError` where it is closed."""
    if sys.stdin is None:
        raise ConfigError("stdin is closed, so nothing can be read there: give a file, or `< FILE`")
    return sys.stdin.buffer


def text_of_stdin() -> str:
    """All of it as a text; `ConfigError` where it is closed or none."""
    try:
        return open_stdin().read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"stdin is no text in UTF-8: {error.reason} at byte {error.start}") from None
