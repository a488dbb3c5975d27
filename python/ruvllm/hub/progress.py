"""The bar that shows a download. On stderr, and only where a person watches."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Report", "bar", "wants_bar"]

# Called with the bytes that are there and the bytes in all.
Report = Callable[[int, int], None]


def wants_bar(*, quiet: bool) -> bool:
    """Say whether to draw: not when quiet, without a terminal or against HF_HUB_DISABLE_PROGRESS_BARS."""
    disabled = os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS", "").upper() in ("1", "ON", "YES", "TRUE")
    return not quiet and not disabled and sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def bar(title: str, *, quiet: bool) -> Iterator[Report]:
    """Give a function that draws progress, or one that does nothing."""
    if not wants_bar(quiet=quiet):
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
