"""A sign of life while there is nothing to show: what goes on, and for how long.

It stands in a row of its own, is written over in place, and is gone before anything else is written.
"""

import threading
import time
from collections.abc import Callable
from types import TracebackType

from rich.cells import set_cell_size
from rich.console import Console
from rich.control import Control
from rich.segment import ControlType, Segment, Segments
from rich.style import Style

__all__ = ["WaitingLine"]

# What is there sooner needs no sign.
SHOWN_AFTER_SECONDS = 0.3
FRAME_SECONDS = 0.1
FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
PLAIN_FRAMES = "|/-\\"
_BACK = Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 0))


class WaitingLine:
    """Shown between `start` and `stop`, which the end of a `with` block is, too."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_shown = False
        unicode = console.encoding.startswith("utf") and not console.legacy_windows
        self._frames = FRAMES if unicode else PLAIN_FRAMES

    def __enter__(self) -> "WaitingLine":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, said: Callable[[], str]) -> None:
        """Show what goes on, as `said` tells each time, and the seconds from now on, in an empty line."""
        self.stop()
        if self._console.is_dumb_terminal:
            return
        self._is_over.clear()
        self._thread = threading.Thread(
            target=self._draw, args=(said, time.monotonic()), name="ruvllm-waiting", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Take the line away, if it is there."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._is_over.set()
        thread.join()
        if self._is_shown:
            self._console.print(Segments([_BACK.segment]), end="")
            self._is_shown = False

    def _draw(self, said: Callable[[], str], begun: float) -> None:
        delay = SHOWN_AFTER_SECONDS
        while not self._is_over.wait(delay):
            delay = FRAME_SECONDS
            seconds = time.monotonic() - begun
            frame = self._frames[int(seconds / FRAME_SECONDS) % len(self._frames)]
            parts = [part for part in (said(), f"{seconds:.1f} s") if part]
            text = f"{frame} {' · '.join(parts)}"
            if len(text) >= self._console.width:
                text = set_cell_size(text, self._console.width - 1)
            self._is_shown = True
            self._console.print(Segments([_BACK.segment, Segment(text, Style(dim=True))]), end="")
