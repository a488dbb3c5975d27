"""The bars that show what takes its time: fetching and loading. On stderr, and only where a person looks.

In a terminal rich draws them, and leaves the program's streams alone: what other threads print during a bar
goes where they print it. A notebook's cell gets a line that is written over: rich would need another
package there, and a cell's output knows no cursor that goes up.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Literal, TypeAlias

__all__ = ["Report", "audience", "bar", "loading_bar", "wants_bar"]

# Called with the bytes that are there and the bytes in all.
Report = Callable[[int, int], None]
_Draw: TypeAlias = Callable[[str], AbstractContextManager[Report]]

# What is done sooner needs no bar.
SHOWN_AFTER_SECONDS = 0.5
# The shells of IPython whose output is a page: Jupyter's, and Google Colab's.
_NOTEBOOK_SHELLS = ("ZMQInteractiveShell", "Shell")


def audience() -> Literal["terminal", "notebook"] | None:
    """Where a person looks at what this process says on stderr; `None` where nobody does."""
    stream = sys.stderr
    if stream is None or getattr(stream, "closed", False):
        return None
    # Nothing is imported: who is in a notebook has it.
    ipython = sys.modules.get("IPython")
    shell = getattr(ipython, "get_ipython", lambda: None)()
    if shell is not None and type(shell).__name__ in _NOTEBOOK_SHELLS:
        return "notebook"
    try:
        return "terminal" if stream.isatty() else None
    except (AttributeError, OSError, ValueError):
        # What programs put there may do no more than write, or be detached.
        return None


def wants_bar(*, quiet: bool) -> bool:
    """Say whether to draw: not when quiet, where nobody looks or against HF_HUB_DISABLE_PROGRESS_BARS."""
    disabled = os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS", "").upper() in ("1", "ON", "YES", "TRUE")
    return not quiet and not disabled and audience() is not None


@contextmanager
def bar(title: str, *, quiet: bool) -> Iterator[Report]:
    """Give a function that draws how a download goes, or one that does nothing."""
    if not wants_bar(quiet=quiet):
        yield lambda done, total: None
        return
    draw = _line if audience() == "notebook" else _fetching
    with _drawn(draw, title, after_seconds=0.0) as report:
        yield report


@contextmanager
def loading_bar(title: str, *, quiet: bool) -> Iterator[Report]:
    """The same for what is computed, which is gone when it is done, and not there when it is short."""
    if not wants_bar(quiet=quiet):
        yield lambda done, total: None
        return
    draw = _line if audience() == "notebook" else _passing
    with _drawn(draw, title, after_seconds=SHOWN_AFTER_SECONDS) as report:
        yield report


@contextmanager
def _drawn(draw: _Draw, title: str, *, after_seconds: float) -> Iterator[Report]:
    """What is drawn from then on. What cannot be drawn ends the drawing, never the work that it shows."""
    begun = time.monotonic()
    stack = ExitStack()
    drawn: Report | None = None
    failed = False

    def report(done: int, total: int | None) -> None:
        nonlocal drawn, failed
        if failed or time.monotonic() - begun < after_seconds:
            return
        try:
            if drawn is None:
                drawn = stack.enter_context(draw(title))
            if total is not None:
                drawn(done, total)
        except Exception:  # noqa: BLE001 - a stream that is closed, a terminal that is gone, whatever it is
            failed = True
            close()

    def close() -> None:
        with suppress(Exception):
            stack.close()

    try:
        # What is fetched shows that it begins, before its first bytes are there.
        report(0, None)
        yield report
    finally:
        close()


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
    console = Console(stderr=True)
    with Progress(*columns, console=console, redirect_stdout=False, redirect_stderr=False) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def _passing(title: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as progress:
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
