"""One thread of a model that takes its tenants' background turns, of low priority; requests go first."""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable

from ruvllm.learning.background import BackgroundLoop

__all__ = ["BackgroundThread"]

logger = logging.getLogger(__name__)

# While requests run, a turn that is due waits so long at most.
MAX_WAIT_SECONDS = 5.0
# It looks as often as the hastiest tenant wants, within these.
FASTEST, SLOWEST = 0.01, 1.0
LOWEST_PRIORITY = 19


class BackgroundThread:
    """Takes turns of the loops that were added when they are due; of all threads.

    It begins with the first of them. One that fails has no more turns, and the log says why; the others have.
    """

    def __init__(self, is_busy: Callable[[], bool]) -> None:
        self._is_busy = is_busy
        self._changed = threading.Condition()
        # Since when a turn is due.
        self._due_since: dict[BackgroundLoop, float | None] = {}
        self._thread: threading.Thread | None = None
        self._is_ended = False

    def __contains__(self, loop: BackgroundLoop) -> bool:
        with self._changed:
            return loop in self._due_since

    def add(self, loop: BackgroundLoop) -> None:
        """Take its turns from here on; once is enough."""
        with self._changed:
            self._due_since.setdefault(loop, None)
            if self._thread is None and not self._is_ended:
                self._thread = threading.Thread(target=self._run, name="learning", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def remove(self, loop: BackgroundLoop) -> None:
        """Take no more of its turns; one that is being taken is ended first. Twice is the same as once."""
        with self._changed:
            self._due_since.pop(loop, None)
        loop.wait()

    def close(self) -> None:
        """End the thread, after the turn that it takes."""
        with self._changed:
            self._is_ended = True
            self._due_since.clear()
            thread, self._thread = self._thread, None
            self._changed.notify_all()
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        if sys.platform == "linux":
            # There threads have their own; elsewhere it would be the whole process's.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
        while (loops := self._next_loops()) is not None:
            for loop in loops:
                try:
                    if self._is_time(loop):
                        loop.consolidate()
                except Exception:
                    logger.exception("the background loop of tenant %r failed, and ends", loop.tenant)
                    with self._changed:
                        self._due_since.pop(loop, None)

    def _next_loops(self) -> list[BackgroundLoop] | None:
        """Those to look at, when it is time to look; `None` at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._due_since or self._is_ended)
            seconds = min((loop.interval for loop in self._due_since), default=SLOWEST)
            self._changed.wait_for(lambda: self._is_ended, min(SLOWEST, max(FASTEST, seconds)))
            return None if self._is_ended else list(self._due_since)

    def _is_time(self, loop: BackgroundLoop) -> bool:
        """Whether a turn is due, and requests have gone first for long enough."""
        is_due, now = loop.is_due(), time.monotonic()
        with self._changed:
            if loop not in self._due_since:
                return False
            since = self._due_since[loop] = (self._due_since[loop] or now) if is_due else None
        return since is not None and (not self._is_busy() or now - since >= MAX_WAIT_SECONDS)
