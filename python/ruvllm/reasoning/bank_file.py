"""A tenant's bank on disk: one file to whose end changes are added, and which is now and then written anew.

    FOLDER/TENANT'S DIGEST/bank    a head, the content as it was, the changes since

The head says whose it is and by what means its vectors were made; another tenant's file, or another model's,
is refused. A change is on the disk before anybody is told of it. One process at a time has a bank open.
"""

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from hashlib import blake2b
from io import FileIO
from pathlib import Path

import numpy as np

import ruvllm.whole_file as whole_file
from ruvllm.errors import RuvLLMError, StorageError
from ruvllm.reasoning.change import LARGEST_ID, Change, Vectors, decode_change, encode_change
from ruvllm.reasoning.frames import MAGIC, Frame, FrameReader, frame_bytes

__all__ = ["BankFile", "Head"]

FORMAT = 1
NAME = "bank"
# Vectors of one text by the same model, on another machine's instruction set, are closer than this.
SAME_COSINE = 0.98

logger = logging.getLogger("ruvllm.reasoning")


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """Whose bank it is, and by what means its vectors are made.

    Attributes:
        tenant: Whose it is.
        probe: The vector of a text that is always the same.
        next_id: Of the next trajectory; ids are never given twice.
    """

    tenant: str
    probe: Vectors
    next_id: int = 1

    def frame(self) -> bytes:
        """As the file has it."""
        content = {"bank": FORMAT, "tenant": self.tenant, "next_id": self.next_id}
        return frame_bytes(content, self.probe)

    def check(self, frame: Frame) -> int:
        """The next id of a file whose head this is; a `ValueError` where it is of something else."""
        content = frame.content
        if content.get("bank") != FORMAT:
            raise ValueError(f"it is of format {content.get('bank')!r}; this version knows {FORMAT}")
        if content.get("tenant") != self.tenant:
            raise ValueError(f"it belongs to another tenant than {self.tenant!r}")
        if frame.floats.shape != self.probe.shape:
            raise ValueError(
                f"its vectors have {len(frame.floats)} dimensions, and this model's {len(self.probe)}; "
                "a bank is of one model"
            )
        cosine = float(frame.floats.astype(np.float64) @ self.probe)
        if not SAME_COSINE <= cosine <= 2.0 - SAME_COSINE:
            raise ValueError("its vectors were made by another model; a bank is of one model")
        next_id = content.get("next_id")
        if not isinstance(next_id, int) or isinstance(next_id, bool) or not 1 <= next_id <= LARGEST_ID:
            raise ValueError(f"its next id is {next_id!r}")
        return next_id


class BankFile:
    """The end of a bank's file, owned by this object until it is closed. Of one thread at a time."""

    def __init__(self, folder: str | os.PathLike[str], head: Head) -> None:
        digest = blake2b(head.tenant.encode(), digest_size=16).hexdigest()
        self._folder = Path(folder) / digest
        self._path = self._folder / NAME
        self._head = head
        self._file: FileIO | None = None
        self.num_bytes = 0
        # Of what was read, with trajectories in it.
        self.added_bytes = 0
        self._held = ExitStack()
        try:
            self._held.enter_context(whole_file.owning(self._folder))
        except BlockingIOError as error:
            raise StorageError(f"the bank in {self._folder} is open already, here or elsewhere") from error
        except OSError as error:
            raise self._failed("opened", error) from error

    def read(self) -> Iterator[int | Change]:
        """The next id, and all changes since the beginning; makes the file where there is none.

        A `StorageError` says what is wrong with it. What was torn when a process was killed is cut off.
        """
        try:
            if not os.path.lexists(self._path):
                self.rewrite((), next_id=1)
                yield 1
                return
            with whole_file.open_regular(self._path) as file:
                reader = FrameReader(file, os.fstat(file.fileno()).st_size)
                yield from self._content(reader)
            self._open(reader.sound_bytes, is_torn=reader.is_torn)
        except OSError as error:
            raise self._failed("read", error) from error

    def damaged(self, what: object) -> StorageError:
        """The error that says that the file is not what it should be."""
        return StorageError(f"{self._path} is no bank that can be used: {what}")

    def append(self, change: Change) -> None:
        """Add a change; where that cannot be, a `StorageError`, and the file is as it was."""
        data = _frame(change)
        file = self._file
        if file is None:
            raise StorageError(f"{self._path} could not be restored after a failed write; open the bank anew")
        try:
            _write(file, data)
            os.fsync(file.fileno())
        except OSError as error:
            self._restore(file)
            raise self._failed("written", error) from error
        self.num_bytes += len(data)

    def rewrite(self, changes: Iterable[Change], *, next_id: int) -> None:
        """Write the file anew: what these changes do not say is no longer in it."""
        try:
            with whole_file.replacing(self._path) as file:
                file.write(MAGIC)
                file.write(Head(self._head.tenant, self._head.probe, next_id).frame())
                for change in changes:
                    file.write(_frame(change))
                num_bytes = file.tell()
            self._open(num_bytes, is_torn=False)
        except OSError as error:
            raise self._failed("written", error) from error

    def close(self) -> None:
        """Let another one open it."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._held.close()

    def _content(self, reader: FrameReader) -> Iterator[int | Change]:
        dimensions = len(self._head.probe)
        try:
            frames = iter(reader)
            head = next(frames, None)
            if head is None:
                raise ValueError("it ends within its head")
            yield self._head.check(head)
            for frame in frames:
                if len(frame.floats) % dimensions:
                    raise ValueError("it has a part of a vector")
                change = decode_change(frame.content, frame.floats.reshape(-1, dimensions))
                self.added_bytes += frame.num_bytes if change.added else 0
                yield change
        except ValueError as error:
            if isinstance(error, RuvLLMError):
                raise
            raise self.damaged(error) from error

    def _open(self, num_bytes: int, *, is_torn: bool) -> None:
        if self._file is not None:
            self._file.close()
        self._file = whole_file.open_to_append(self._path)
        self.num_bytes = num_bytes
        if is_torn:
            logger.warning("%s ends with a change that was not written whole; it is cut off", self._path)
            self._file.truncate(num_bytes)

    def _restore(self, file: FileIO) -> None:
        try:
            file.truncate(self.num_bytes)
        except OSError:
            # What was begun stays: nothing may be added behind it.
            with suppress(OSError):
                file.close()
            self._file = None

    def _failed(self, what: str, error: OSError) -> StorageError:
        return StorageError(f"{self._path} cannot be {what}: {error.strerror or error}")


def _frame(change: Change) -> bytes:
    content, vectors = encode_change(change)
    return frame_bytes(content, vectors)


def _write(file: FileIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) or 0 :]
