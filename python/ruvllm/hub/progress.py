"""The bars that show what takes its time: fetching and loading. On stderr, and only where a person looks.

In a terminal rich draws them. A notebook's cell gets a line that is written over: rich would need another
package there, and a cell's output knows no cursor that goes up.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal

__all__ = ["Report", "audience", "bar", "loading_bar", "wants_bar"]

# Called with the bytes that are there and the bytes in all.
Report = Callable[[int, int], None]

# What is done sooner needs no bar.
SHOWN_AFTER_SECONDS = 0.5
# The shells of IPython whose output is a page: Jupyter's, and Google Colab's.
_NOTEBOOK_SHELLS = ("ZMQInteractiveShell", "Shell")


def audience() -> Literal["terminal", "notebook"] | None:
    """Where a person looks at what this process says on stderr; `None` where nobody does."""
    if sys.stderr is None:
        return None
    # Nothing is imported: who is in a notebook has it.
    ipython = sys.modules.get("IPython")
    shell = getattr(ipython, "get_ipython", lambda: None)()
    if shell is not None and type(shell).__name__ in _NOTEBOOK_SHELLS:
        return "notebook"
    return "terminal" if sys.stderr.isatty() else None


def wants_bar(*, quiet: bool) -> bool:
    """Say whether to draw: not when quiet, where nobody looks or against HF_HUB_DISABLE_PROGRESS_BARS."""
    disabled = os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS", "").upper() in ("1", "ON", "YES", "TRUE")
    return not quiet and not disabled and audience() is not None


@contextmanager
def bar(title: str, *, quiet: bool) -> Iterator[Report]:
    """Give a function that draws how a download goes, or one that does nothing."""
    if not wants_bar(quiet=quiet):
        yield lambda done, total: None
    elif audience() == "notebook":
        with _line(title) as report:
            yield report
    else:
        with _fetching(title) as report:
            yield report


@contextmanager
def loading_bar(title: str, *, quiet: bool) -> Iterator[Report]:
    """The same for what is computed, which is gone when it is done, and not there when it is short."""
    if not wants_bar(quiet=quiet):
        yield lambda done, total: None
        return
    draw = _line if audience() == "notebook" else _passing
    begun = time.monotonic()
    drawn: Report | None = None
    with ExitStack() as stack:

        def report(done: int, total: int) -> None:
            nonlocal drawn
            if drawn is None and time.monotonic() - begun >= SHOWN_AFTER_SECONDS:
                drawn = stack.enter_context(draw(title))
            if drawn is not None:
                drawn(done, total)

        yield report


@contextmanager
def _fetching(title: str) -> Iterator[Report]:
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


@contextmanager
def _passing(title: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def _line(title: str) -> Iterator[Report]:
    shown = -1

    def report(done: int, total: int) -> None:
        nonlocal shown
        percent = min(100 * done // total, 100) if total else 0
        if percent != shown:
            shown = percent
            sys.stderr.write(f"\r{title}: {percent} %")
            sys.stderr.flush()

    try:
        yield report
    finally:
        if shown >= 0:
            sys.stderr.write("\n")
