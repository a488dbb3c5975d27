"""The learning journal: who taught what, when, and what it did, on disk without anybody waiting for the disk.

Entries wait in a queue; a thread writes them, a hundred at a time or what there is after a second. A queue
that is full is never emptied by dropping: whoever has an entry for it waits, and gets a `StorageError` where
there is no room in time. `room` asks for the place before the update is made, so that none is made which
cannot be told of. While the disk is full entries stay in the queue and are tried again.
"""

import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import ruvllm.whole_file as whole_file
from ruvllm._checks import Interval
from ruvllm._settings import check_settings, described, setting
from ruvllm.errors import InvalidOperationError, StorageError
from ruvllm.learning.journal_entry import JournalEntry, note_of
from ruvllm.learning.journal_files import JournalFiles

__all__ = ["Journal", "JournalSettings", "JournalStats"]

logger = logging.getLogger(__name__)

# What could not be written is tried again after so long.
RETRY_SECONDS = 1.0
# At the end of the process, what waits still has so long.
CLOSE_SECONDS = 10.0


@described
@dataclass(frozen=True, slots=True, kw_only=True)
class JournalSettings:
    """How a learning journal is written.

    Attributes:
        {settings}
    """

    batch_entries: int = setting(100, "So many entries are written at once.", bounds=1)
    batch_seconds: float = setting(
        1.0,
        "Fewer are written when the first of them has waited for so long.",
        bounds=Interval(0, 3600),
    )
    max_waiting: int = setting(10_000, "Entries that may wait to be written.", bounds=1)
    wait_seconds: float = setting(
        5.0,
        "So long one waits for room among them before it is refused.",
        bounds=Interval(0, 3600),
    )
    fsync: bool = setting(
        default=False,
        help="Whether each batch is on the disk before it counts as written: then it outlives a power cut.",
    )
    file_bytes: int = setting(8 * 1024 * 1024, "A file of so many bytes gives way to a new one.", bounds=4096)
    max_files: int = setting(8, "Files that are kept; the oldest goes.", bounds=1)
    keep_texts: bool = setting(
        default=False,
        help="Whether the beginnings of requests and answers are written, and not their digests alone.",
    )

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalStats:
    """What a journal has done since it was opened.

    Attributes:
        recorded: Entries that it took.
        written: Those that are in its files.
        refused: Those for which there was no room in time.
        failures: How often its files could not be written; what was to be written waits.
    """

    recorded: int
    written: int
    refused: int
    failures: int

    @property
    def waiting(self) -> int:
        """Entries that are not yet written."""
        return self.recorded - self.written


class Journal:
    """A journal that is written; of one process, and of all its threads.

    with Journal("learned/journal") as journal:
        with journal.room() as record:
            record(JournalEntry(tenant="ada", loop="instant", applied=True, drift=0.01))
        journal.flush()
    """

    def __init__(self, folder: str | os.PathLike[str], settings: JournalSettings | None = None) -> None:
        self.folder = Path(folder)
        self.settings = settings or JournalSettings()
        self._owned = ExitStack()
        try:
            self._owned.enter_context(whole_file.owning(self.folder))
            self._files = JournalFiles(
                self.folder,
                file_bytes=self.settings.file_bytes,
                max_files=self.settings.max_files,
                syncs=self.settings.fsync,
            )
        except OSError as error:
            self._owned.close()
            reason = error.strerror or error
            raise StorageError(f"no journal can be written in {self.folder}: {reason}") from error
        for fault in self._files.found:
            logger.warning("the learning journal: %s, line %d: %s", fault.file, fault.line, fault.what)
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._waiting: deque[JournalEntry] = deque()
        self._num_reserved = 0
        self._num_recorded = self._num_written = self._num_refused = self._num_failures = 0
        self._failure: OSError | None = None
        self._flush_until = 0
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="learning-journal", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    @contextmanager
    def room(self, seconds: float | None = None) -> Iterator[Callable[..., None]]:
        """Room for one entry, before what it tells of is done; `StorageError` where there is none in time.

        Inside the block, what is given records the entry as `record` does, without waiting. A place that is
        not used is free again.

        Args:
            seconds: How long to wait, in place of `wait_seconds`; 0 does not wait.
        """
        self._reserve(self.settings.wait_seconds if seconds is None else seconds)
        is_used = False

        def record(entry: JournalEntry, *, request: str | None = None, response: str | None = None) -> None:
            nonlocal is_used
            if is_used:
                raise InvalidOperationError("there was room for one entry, which is recorded")
            is_used = True
            self._put(self._noted(entry, request, response))

        try:
            yield record
        finally:
            if not is_used:
                with self._changed:
                    self._num_reserved -= 1
                    self._changed.notify_all()

    def record(
        self,
        entry: JournalEntry,
        *,
        request: str | None = None,
        response: str | None = None,
        seconds: float | None = None,
    ) -> None:
        """Take an entry, to be written soon; of the texts what the journal keeps of texts.

        Waits while the queue is full, as `room` does.
        """
        with self.room(seconds) as put:
            put(entry, request=request, response=response)

    def flush(self, seconds: float = 60.0) -> None:
        """Wait until all that was recorded before is written; `StorageError` where it cannot be.

        Then it is there however the process ends, and with `fsync` however the machine does.
        """
        self._check_process()
        with self._changed:
            wanted, failures = self._num_recorded, self._num_failures
            self._flush_until = max(self._flush_until, wanted)
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._num_written >= wanted or self._num_failures > failures, seconds
            )
            if self._num_written < wanted:
                missing = wanted - self._num_written
                raise StorageError(f"{missing} entries of the journal are not written{self._why()}")

    def stats(self) -> JournalStats:
        """What was counted."""
        with self._changed:
            return JournalStats(
                recorded=self._num_recorded,
                written=self._num_written,
                refused=self._num_refused,
                failures=self._num_failures,
            )

    def close(self) -> None:
        """Write what waits and end; `StorageError` says what could not be written."""
        if os.getpid() != self._process:
            return
        with self._changed:
            was_closing, self._is_closing = self._is_closing, True
            self._changed.notify_all()
        if was_closing:
            return
        atexit.unregister(self.close)
        self._thread.join(CLOSE_SECONDS)
        if not self._thread.is_alive():  # else it waits for a disk that does not answer
            self._files.close()
            self._owned.close()
        if num_lost := self.stats().waiting:
            raise StorageError(f"{num_lost} entries of the journal are lost{self._why()}")

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _reserve(self, seconds: float) -> None:
        self._check_process()
        with self._changed:
            if not self._changed.wait_for(lambda: self._is_closing or self._has_room(), seconds):
                self._num_refused += 1
                raise StorageError(
                    f"{self.settings.max_waiting} entries wait to be written to the learning journal"
                    f"{self._why()}"
                )
            if self._is_closing:
                raise InvalidOperationError("the learning journal is closed")
            self._num_reserved += 1

    def _has_room(self) -> bool:
        return len(self._waiting) + self._num_reserved < self.settings.max_waiting

    def _put(self, entry: JournalEntry) -> None:
        with self._changed:
            self._num_reserved -= 1
            self._waiting.append(entry)
            self._num_recorded += 1
            self._changed.notify_all()

    def _noted(self, entry: JournalEntry, request: str | None, response: str | None) -> JournalEntry:
        keep, salt = self.settings.keep_texts, self._files.salt
        return replace(
            entry,
            request=entry.request if request is None else note_of(request, salt, keep=keep),
            response=entry.response if response is None else note_of(response, salt, keep=keep),
        )

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise InvalidOperationError("the journal is of the process that opened it, not of its child")

    def _why(self) -> str:
        return "" if self._failure is None else f": {self._failure.strerror or self._failure}"

    # -- the thread

    def _run(self) -> None:
        while batch := self._next_batch():
            try:
                self._files.add(batch)
            except OSError as error:
                if not self._tries_again(error):
                    return
            else:
                with self._changed:
                    for _ in batch:
                        self._waiting.popleft()
                    self._num_written += len(batch)
                    self._failure = None
                    self._changed.notify_all()

    def _next_batch(self) -> list[JournalEntry]:
        """What is to be written now; nothing at the end. Until it is written it waits where it was."""
        with self._changed:
            # Whoever has a place may still use it.
            self._changed.wait_for(lambda: self._waiting or (self._is_closing and not self._num_reserved))
            self._changed.wait_for(self._is_urgent, self.settings.batch_seconds)
            return list(islice(self._waiting, self.settings.batch_entries))

    def _is_urgent(self) -> bool:
        is_flushed = self._num_written < self._flush_until
        is_enough = len(self._waiting) >= self.settings.batch_entries or not self._has_room()
        return self._is_closing or is_flushed or is_enough

    def _tries_again(self, error: OSError) -> bool:
        with self._changed:
            if self._failure is None:
                logger.error("the learning journal in %s cannot be written: %s", self.folder, error)
            self._failure = error
            self._num_failures += 1
            self._changed.notify_all()
            if self._is_closing:
                return False
            until = time.monotonic() + RETRY_SECONDS
            self._changed.wait_for(lambda: self._is_closing or time.monotonic() >= until, RETRY_SECONDS)
            return True
