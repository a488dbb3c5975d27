"""A text that a model is to read, and how far it has read it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ruvllm.whole_file as whole_file
from ruvllm.cli import terminal
from ruvllm.cli.standard_input import open_stdin
from ruvllm.errors import ConfigError, IoError
from ruvllm.hub.progress import Report, wants_bar

__all__ = ["counting_bar", "read_text"]

# What is read of a text at most: far more than any figure needs.
MAX_TEXT_BYTES = 256 * 1024 * 1024


def read_text(path: Path) -> str:
    """The text of a file, or of stdin for `-`."""
    try:
        if str(path) == "-":
            read = open_stdin().read(MAX_TEXT_BYTES + 1)
        else:
            with whole_file.open_regular(path) as file:
                read = file.read(MAX_TEXT_BYTES + 1)
    except OSError as error:
        raise IoError(f"{path}: {error.strerror or error}") from error
    if len(read) > MAX_TEXT_BYTES:
        raise ConfigError(f"{path} has more than {MAX_TEXT_BYTES} bytes; give a part of it")
    try:
        return read.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no text in UTF-8: {error.reason} at byte {error.start}") from None


@contextmanager
def counting_bar(title: str, *, quiet: bool) -> Iterator[Report]:
    """Tokens or questions done, with the time that is left, where somebody looks."""
    if not wants_bar(quiet=quiet):
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=terminal.err(), transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
