"""When a model that could not be loaded is tried again."""

import time
from collections.abc import Callable

from ruvllm.errors import (
    AdapterError,
    ConfigError,
    ModelError,
    NotFoundError,
    PackError,
    TokenizationError,
)

__all__ = ["LoadFailures"]

# What the files and the settings themselves are to blame for; all else (memory, open files, a disk, a
# download) may be better the next time.
_FINAL = (ModelError, ConfigError, NotFoundError, TokenizationError, PackError, AdapterError)
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0


class LoadFailures:
    """Why a model could not be loaded, and how long nobody tries again: twice as long after each time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._number = 0
        self._again_at = 0.0
        self.last: Exception | None = None

    def add(self, error: Exception) -> None:
        """It has failed, once more."""
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(self._number, 10))
        self._number += 1
        self._again_at = self._clock() + pause
        self.last = error

    def clear(self) -> None:
        """It is loaded."""
        self._number, self.last = 0, None

    @property
    def standing(self) -> Exception | None:
        """The last one, where it is not time to try again, or never will be."""
        return None if self.pause == 0 else self.last

    @property
    def pause(self) -> float | None:
        """Seconds until it may be tried again; `None` where it would fail again for certain."""
        if self.last is None:
            return 0.0
        return None if isinstance(self.last, _FINAL) else max(0.0, self._again_at - self._clock())
