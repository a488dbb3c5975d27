"""A sign of life until there is something to show: how long it takes and, where that is known, how far it is.

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
    """Shown from the beginning of its `with` block to `stop`, or to the block's end.

    `share` says what part of the prompt is read, or `None` where nobody knows.
    """

    def __init__(self, console: Console, share: Callable[[], float | None]) -> None:
        self._console = console
        self._share = share
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_shown = False
        unicode = console.encoding.startswith("utf") and not console.legacy_windows
        self._frames = FRAMES if unicode else PLAIN_FRAMES

    def __enter__(self) -> "WaitingLine":
        self._begun = time.monotonic()
        if not self._console.is_dumb_terminal:
            self._thread = threading.Thread(target=self._draw, name="ruvllm-waiting", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Take the line away. Twice is the same as once."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._is_over.set()
        thread.join()
        if self._is_shown:
            self._console.print(Segments([_BACK.segment]), end="")

    def _draw(self) -> None:
        delay = SHOWN_AFTER_SECONDS
        while not self._is_over.wait(delay):
            delay = FRAME_SECONDS
            seconds = time.monotonic() - self._begun
            frame = self._frames[int(seconds / FRAME_SECONDS) % len(self._frames)]
            text = f"{frame} {_said(self._share())}{seconds:.1f} s"
            if len(text) >= self._console.width:
                text = set_cell_size(text, self._console.width - 1)
            self._is_shown = True
            self._console.print(Segments([_BACK.segment, Segment(text, Style(dim=True))]), end="")


def _said(share: float | None) -> str:
    if share is None or share >= 1:
        return ""
    return f"reading the prompt, {share:.0%} · "
