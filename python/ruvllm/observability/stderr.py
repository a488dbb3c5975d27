"""A stderr that blocks nobody: a bounded queue, and a thread of its own that writes.

Whoever writes to a pipe that is full waits until it is read, which may be never; a server whose event loop
waits there answers nobody. `queue_stderr` puts the queue in the place of `sys.stderr`, so that it serves the
log, progress bars, consoles, warnings and tracebacks alike. `ruvllm serve` calls it; the library never does.
"""

import atexit
import io
import logging
import sys
import threading
import time
from collections import deque
from typing import TextIO, cast

__all__ = ["QueuedStream", "flush_stderr", "queue_stderr"]

logger = logging.getLogger(__name__)

# What may wait; as much again may be in the thread's hands.
MAX_QUEUED_BYTES = 256 * 1024
# At the end of the process, what waits still has so long.
FLUSH_SECONDS = 1.0
_RETRY_SECONDS = 0.05
# So long lines gather, to be written at once: to wake the thread for each would take the interpreter from
# others a thousand times a second where a server is busy.
_GATHER_SECONDS = 0.01


class QueuedStream(io.TextIOBase):
    """Takes text without ever waiting; what does not fit is dropped, counted, and told of in the log."""

    def __init__(self, raw: io.RawIOBase, *, encoding: str, max_bytes: int = MAX_QUEUED_BYTES) -> None:
        super().__init__()
        self._raw = raw
        self._encoding = encoding
        self._max_bytes = max_bytes
        # An RLock inside: a signal's handler may write while its own thread does.
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._num_bytes = 0
        self._num_dropped = 0
        self._is_busy = False
        threading.Thread(target=self._run, name="stderr", daemon=True).start()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """As the stream has it underneath."""
        return self._encoding

    def isatty(self) -> bool:
        """Whether a person watches."""
        return self._raw.isatty()

    def fileno(self) -> int:
        """Its number, for what writes past Python."""
        return self._raw.fileno()

    def writable(self) -> bool:
        """Always, from outside."""
        return True

    def write(self, text: str, /) -> int:
        """Put a text into the queue, or drop it."""
        if not isinstance(text, str):
            raise TypeError(f"a text is written here, not {type(text).__name__}")
        data = text.encode(self._encoding, "backslashreplace")
        with self._changed:
            if self._num_bytes + len(data) > self._max_bytes:
                self._num_dropped += text.count("\n")
            else:
                self._waiting.append(data)
                self._num_bytes += len(data)
                if not self._is_busy:
                    self._changed.notify_all()
        return len(text)

    def flush(self) -> None:
        """Nothing: it is written soon, and nobody waits for that."""

    def drain(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Wait until all is written, for so long at most; whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._is_busy, seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._is_busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: bool(self._waiting))
                self._is_busy = True
            time.sleep(_GATHER_SECONDS)
            with self._changed:
                data = b"".join(self._waiting)
                self._waiting.clear()
                self._num_bytes = 0
            self._write_out(data)
            with self._changed:
                num_dropped, self._num_dropped = self._num_dropped, 0
            if num_dropped:
                # By way of the log, which has its own form, into this queue.
                logger.error("%d lines are missing here: stderr was not read", num_dropped)

    def _write_out(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                written = self._raw.write(rest)
            except (OSError, ValueError):
                return  # nobody will ever read it
            if written is None:  # a stream that others set not to wait
                time.sleep(_RETRY_SECONDS)
            else:
                rest = rest[written:]


def queue_stderr() -> None:
    """Put a queue in the place of `sys.stderr`; one that is no file of the system cannot block, and stays."""
    stream = sys.stderr
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)  # unbuffered streams have no layer between
    if isinstance(raw, io.RawIOBase):
        queued = QueuedStream(raw, encoding=stream.encoding or "utf-8")
        sys.stderr = cast("TextIO", queued)
        atexit.register(queued.drain)


def flush_stderr() -> None:
    """Give what waits its time, where the process is to end without more ado."""
    if isinstance(sys.stderr, QueuedStream):
        sys.stderr.drain()
