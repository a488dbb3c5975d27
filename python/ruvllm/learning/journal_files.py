"""The files of a learning journal: lines are added to the newest, and of too many the oldest goes.

    journal-00000007.jsonl      a head, then entries
    journal-00000008.jsonl      its head hangs on the last check of the file before

A head says its file's number, the number of the first entry behind it, the check that it hangs on and the
salt of the digests. What a killed process left of a line is cut when the next one opens the journal. A file
that is otherwise not as it was written stays as it is, for whoever looks into it, and a new one is begun.
"""

import json
import re
import secrets
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import FileIO
from os import SEEK_END, PathLike, fstat, fsync
from os.path import samestat
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import ruvllm.whole_file as whole_file
from ruvllm.errors import StorageError
from ruvllm.learning.journal_entry import NO_CHECK, JournalEntry, seal, unseal

__all__ = ["Fault", "JournalFiles", "JournalReading", "read_journal"]

AnyPath: TypeAlias = str | PathLike[str]

FORMAT = 1
SALT_BYTES = 16
# Longer than any line that is written, with both texts.
MAX_LINE_BYTES = 64 * 1024
_NAME = re.compile(r"journal-(\d{8})\.jsonl")


@dataclass(frozen=True, slots=True)
class Fault:
    """A place of the journal that is not as it was written: the file, its line from 1, and what is wrong."""

    file: str
    line: int
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalReading:
    """What a journal holds.

    Attributes:
        entries: With their numbers, the oldest first.
        faults: What is not as it was written; none where everything is.
        num_gone: Entries before the first one that is there: their files were too many.
    """

    entries: tuple[tuple[int, JournalEntry], ...]
    faults: tuple[Fault, ...]
    num_gone: int


def read_journal(folder: AnyPath, *, tenant: str | None = None, last: int | None = None) -> JournalReading:
    """Read a journal, also while it is written; of one tenant alone, or only the last entries."""
    chain = _Chain()
    entries: deque[tuple[int, JournalEntry]] = deque(maxlen=last)
    try:
        for path in _files(Path(folder)):
            # One that is gone was the oldest of too many.
            with suppress(FileNotFoundError), whole_file.open_regular(path) as file:
                found = chain.entries(file, path.name)
                entries.extend(one for one in found if tenant is None or one[1].tenant == tenant)
    except OSError as error:
        raise StorageError(f"the journal in {folder} cannot be read: {error.strerror or error}") from error
    return JournalReading(entries=tuple(entries), faults=tuple(chain.faults), num_gone=chain.first_number - 1)


@dataclass(slots=True)
class _Chain:
    """Follows the checks from line to line, through all files.

    Attributes:
        check: Of the last line that is as it was written; `None` before the first head.
        first_number: Of the first entry behind the first head.
        next_number: Of the next entry.
        salt: What the last head said.
        sound_bytes: Of the last file, up to the last line that is as it was written.
        is_sound: Whether only a torn end follows these.
    """

    check: str | None = None
    first_number: int = 1
    next_number: int = 1
    salt: bytes | None = None
    sound_bytes: int = 0
    is_sound: bool = False
    faults: list[Fault] = field(default_factory=list)

    def entries(self, file: BinaryIO, name: str) -> Iterator[tuple[int, JournalEntry]]:
        """The entries of a file; a fault ends those that can be believed."""
        self.sound_bytes, self.is_sound = 0, True
        for line_number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES), b""), start=1):
            if line[-1:] != b"\n" and len(line) < MAX_LINE_BYTES:
                self.faults.append(Fault(name, line_number, "the last line is torn"))
                return
            found = self._head(line, name) if line_number == 1 else self._entry(line)
            if found is None:
                self.faults.append(Fault(name, line_number, "the line is not as it was written"))
                self.is_sound = False
                return
            self.sound_bytes += len(line)
            if isinstance(found, JournalEntry):
                self.next_number += 1
                yield self.next_number - 1, found
        if not self.sound_bytes:
            self.faults.append(Fault(name, 1, "the file is empty"))
            self.is_sound = False

    def _head(self, line: bytes, name: str) -> dict[str, Any] | None:
        try:
            # Only its check tells whether this is what was written.
            members: dict[str, Any] = json.loads(line)
            opened = unseal(line, members["check_before"])
            if opened is None or members["journal"] != FORMAT:
                return None
            salt, number = bytes.fromhex(members["salt"]), int(members["next_number"])
            if len(salt) != SALT_BYTES or number < 1:
                return None
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            return None
        expected = members["check_before"] if self.check is None else self.check
        if members["check_before"] != expected or (self.check is not None and number != self.next_number):
            self.faults.append(Fault(name, 1, "lines or a file before it are missing"))
        if self.check is None:
            self.first_number = number
        self.salt, self.next_number, self.check = salt, number, opened[1]
        return opened[0]

    def _entry(self, line: bytes) -> JournalEntry | None:
        opened = unseal(line, self.check or NO_CHECK)
        if opened is None:
            return None
        try:
            entry = JournalEntry.of(opened[0])
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        self.check = opened[1]
        return entry


class JournalFiles:
    """The end of a journal, to which lines are added. Of one thread at a time.

    Attributes:
        found: What was not as it was written when it was opened.
        salt: Of the digests of texts.
    """

    def __init__(self, folder: Path, *, file_bytes: int, max_files: int, syncs: bool) -> None:
        self._folder = folder
        self._file_bytes = file_bytes
        self._max_files = max_files
        self._syncs = syncs
        self.found: list[Fault] = []
        self._file: FileIO | None = None
        self._path: Path | None = None
        self._num_bytes = 0
        chain = self._last_state()
        self._check = chain.check or NO_CHECK
        self._next_number = chain.next_number
        self.salt = chain.salt or secrets.token_bytes(SALT_BYTES)
        if chain.check is not None and chain.is_sound and len(self.found) == len(chain.faults):
            self._path = _files(folder)[-1]
            self._file = whole_file.open_to_append(self._path)
            self._file.truncate(chain.sound_bytes)
            self._num_bytes = chain.sound_bytes
        else:
            self._begin_file()

    @property
    def num_files(self) -> int:
        """How many there are."""
        return len(_files(self._folder))

    def add(self, entries: Sequence[JournalEntry]) -> None:
        """Write entries, all of them; an `OSError`, and none of them, where that cannot be."""
        file = self._file
        if file is None or self._num_bytes >= self._file_bytes or not self._is_in_place(file):
            file = self._begin_file()
        lines, check = [], self._check
        for number, entry in enumerate(entries, start=self._next_number):
            line, check = seal({"number": number, **entry.members()}, check)
            lines.append(line)
        data = b"".join(lines)
        try:
            _write(file, data)
            if self._syncs:
                fsync(file.fileno())
        except OSError:
            # What stands of them goes, so that the next try finds the end of whole lines.
            with suppress(OSError):
                file.truncate(self._num_bytes)
            raise
        self._check = check
        self._next_number += len(entries)
        self._num_bytes += len(data)

    def close(self) -> None:
        """Nothing is added any more."""
        if self._file is not None:
            self._file.close()

    def _last_state(self) -> _Chain:
        """What the journal ends with; a file of which not even the head can be believed is passed over."""
        chain = _Chain()
        for path in reversed(_files(self._folder)):
            chain = _Chain()
            with whole_file.open_regular(path) as file:
                deque(chain.entries(file, path.name), maxlen=0)
            self.found += chain.faults
            if chain.check is not None:
                break
        return chain

    def _begin_file(self) -> FileIO:
        self.close()
        number = max(map(_number, _files(self._folder)), default=0) + 1
        head = {
            "journal": FORMAT,
            "file": number,
            "next_number": self._next_number,
            "check_before": self._check,
            "salt": self.salt.hex(),
        }
        line, check = seal(head, self._check)
        path = self._folder / f"journal-{number:08}.jsonl"
        with whole_file.creating(path) as file:
            file.write(line)
        self._path, self._check, self._num_bytes = path, check, len(line)
        self._file = opened = whole_file.open_to_append(path)
        for old in _files(self._folder)[: -self._max_files]:
            with suppress(FileNotFoundError):
                old.unlink()
        return opened

    def _is_in_place(self, file: FileIO) -> bool:
        """Whether it is the file that its name leads to, and as long as what was written."""
        if self._path is None or file.closed:
            return False
        try:
            is_same = samestat(self._path.lstat(), fstat(file.fileno()))
        except FileNotFoundError:
            return False
        return is_same and file.seek(0, SEEK_END) == self._num_bytes


def _files(folder: Path) -> list[Path]:
    try:
        found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    except FileNotFoundError:
        return []
    return sorted(found, key=_number)


def _number(path: Path) -> int:
    found = _NAME.fullmatch(path.name)
    return int(found[1]) if found else 0


def _write(file: FileIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) or 0 :]
