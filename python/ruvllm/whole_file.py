"""Files written for good: whole or not at all, and never through a link.

What is written stands beside its place under a name that nobody can guess, made exclusively, and takes the
place once it is on the disk. While it is written its maker holds a lock on it; what lies there without one
was left by a process that died, and goes at the next write of the same place (`remove_abandoned`). A link in
the place is itself replaced, and what it leads to stays as it is.

Everything in the package that writes a file writes it here, and `open_regular` reads what was written. Only a
file that grows line by line is no whole one: `open_to_append` opens it, and its owner knows a torn line.
"""

import errno
import os
import re
import secrets
import shutil
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2s
from io import FileIO
from pathlib import Path
from typing import BinaryIO
from weakref import WeakValueDictionary

if sys.platform != "win32":
    import fcntl

__all__ = [
    "creating",
    "move",
    "open_regular",
    "open_to_append",
    "owning",
    "placing_folder",
    "remove_abandoned",
    "replacing",
]

AnyPath = str | os.PathLike[str]

PRIVATE_MODE = 0o600
SHARED_MODE = 0o666
# The longest name of common file systems, in bytes, and what is added to one for a temporary file.
MAX_NAME_BYTES = 255
RANDOM_BYTES = 8
ENDING = ".part"
# What the owner of a folder holds a lock on; it stays there.
OWNED = ".owned"
# What is new can be taken for abandoned only between its making and its locking.
TRIES = 16

CLOSED_ON_EXEC = getattr(os, "O_CLOEXEC", 0)
NO_LINK = getattr(os, "O_NOFOLLOW", 0) | CLOSED_ON_EXEC
NO_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
BINARY = getattr(os, "O_BINARY", 0)
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@contextmanager
def replacing(path: AnyPath, *, private: bool = True) -> Iterator[BinaryIO]:
    """A file to write in, which takes its place when the block ends well, and is gone when it does not.

    A private file is its owner's alone, whatever was there before; another one has the permissions of the
    file that it replaces, or of any new file. Only a regular file is replaced, or a link to one or to
    nothing. Threads take turns for a place; of several processes the last one wins, and each file is whole.
    """
    target = Path(path).absolute()
    _check_replaceable(target)
    with _turns.of(target), _writing(target, os.replace, private=private) as file:
        yield file


@contextmanager
def creating(path: AnyPath) -> Iterator[BinaryIO]:
    """As `replacing`, for a private file that must not be there yet: `FileExistsError`."""
    target = Path(path).absolute()
    with _turns.of(target):
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        with _writing(target, _name_anew, private=True) as file:
            yield file


@contextmanager
def placing_folder(path: AnyPath) -> Iterator[Path]:
    """An empty folder to fill, which takes its place, where there is none, when the block ends well."""
    target = Path(path).absolute()
    with _turns.of(target):
        remove_abandoned(target)
        written, descriptor = _make_folder(target)
        try:
            yield written
            _settle_contents(written)
            written.rename(target)
            _settle(target.parent)
        finally:
            shutil.rmtree(written, ignore_errors=True)
            if descriptor is not None:
                os.close(descriptor)


def move(path: AnyPath, target: AnyPath) -> None:
    """Give a file that was written here another place, and replace what is there."""
    os.replace(path, target)
    _settle(Path(target).absolute().parent)


def open_regular(path: AnyPath) -> BinaryIO:
    """Open a file to read; an `OSError` where a folder, a pipe or a device stands there: none is waited for.

    A link is followed: who may put one there could as well put a file there.
    """
    descriptor = os.open(path, os.O_RDONLY | NO_WAITING | BINARY | CLOSED_ON_EXEC)
    try:
        _check_regular(os.fstat(descriptor).st_mode, path)
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def open_to_append(path: AnyPath) -> FileIO:
    """Open a private file that is there, to add to its end without a buffer; a link is refused.

    What is added is on its way to the disk after each write, and may be torn where the process is killed.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | NO_WAITING | BINARY | NO_LINK)
    try:
        _check_regular(os.fstat(descriptor).st_mode, path)
        if sys.platform != "win32":
            os.fchmod(descriptor, PRIVATE_MODE)
    except OSError:
        os.close(descriptor)
        raise
    return FileIO(descriptor, "ab")


@contextmanager
def owning(folder: AnyPath, *, must_lock: bool = False) -> Iterator[None]:
    """Be the only one who writes in a folder, which is made; `BlockingIOError` where somebody else is.

    A process that dies owns nothing. Where the system has no locks, nobody is refused, or with `must_lock`
    everybody is, by the system's own `OSError`.
    """
    place = Path(folder).absolute()
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(place / OWNED, os.O_RDWR | os.O_CREAT | NO_WAITING | NO_LINK, PRIVATE_MODE)
    try:
        if sys.platform != "win32":
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BlockingIOError(error.errno, "somebody else writes there", str(place)) from error
            except OSError as error:
                if must_lock or error.errno not in NO_LOCKS:
                    raise
        yield
    finally:
        os.close(descriptor)


def remove_abandoned(path: AnyPath) -> None:
    """Remove what processes that died have left of their writing of a place; what is written now stays.

    Where the file system has no locks the two cannot be told apart, and both stay.
    """
    target = Path(path).absolute()
    pattern = re.compile(re.escape(_beginning(target.name)) + f"[0-9a-f]{{{2 * RANDOM_BYTES}}}{ENDING}")
    try:
        names = os.listdir(target.parent)
    except OSError:  # where that matters, the writing says what is wrong
        return
    for name in filter(pattern.fullmatch, names):
        with suppress(OSError):
            _remove_unlocked(target.parent / name)


class _Turns:
    """One writer of a place at a time, of this process."""

    def __init__(self) -> None:
        self.begin_anew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.begin_anew)

    def begin_anew(self) -> None:
        """Forget who writes: after a fork, nobody of this process does."""
        self._guard = threading.Lock()
        self._locks: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()

    @contextmanager
    def of(self, target: Path) -> Iterator[None]:
        """Wait for the turn at a place."""
        place = os.path.join(os.path.realpath(target.parent), target.name)
        with self._guard:
            lock = self._locks.setdefault(place, threading.Lock())
        with lock:
            yield


_turns = _Turns()


# -- what is written


@contextmanager
def _writing(
    target: Path, put_in_place: Callable[[Path, Path], None], *, private: bool
) -> Iterator[BinaryIO]:
    remove_abandoned(target)
    written, descriptor = _make_file(target, PRIVATE_MODE if private else SHARED_MODE)
    file = os.fdopen(descriptor, "wb")
    try:
        yield file
        file.flush()
        _set_mode(descriptor, target, private=private)
        os.fsync(descriptor)
        if sys.platform == "win32":
            file.close()  # what is open cannot be named otherwise there
        put_in_place(written, target)
        _settle(target.parent)
    finally:
        if sys.platform == "win32":
            file.close()
        # The lock goes with the file, after the name: until then nobody takes it for abandoned.
        with suppress(FileNotFoundError):
            written.unlink()
        with suppress(OSError):  # what could not be written was told of when it was
            file.close()


def _beginning(name: str) -> str:
    """What the temporary names of a place begin with, and those of no other."""
    longest = MAX_NAME_BYTES - len("..") - 2 * RANDOM_BYTES - len(ENDING)
    encoded = os.fsencode(name)
    return f".{name}." if len(encoded) <= longest else f".{blake2s(encoded).hexdigest()}."


def _temporary(target: Path) -> Path:
    return target.with_name(f"{_beginning(target.name)}{secrets.token_hex(RANDOM_BYTES)}{ENDING}")


def _make_file(target: Path, mode: int) -> tuple[Path, int]:
    for _ in range(TRIES):
        written = _temporary(target)
        descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY | NO_LINK, mode)
        if _keep(descriptor, written):
            return written, descriptor
        os.close(descriptor)
        written.unlink(missing_ok=True)
    raise OSError(errno.EAGAIN, "each new file beside it was taken away", str(target))


def _make_folder(target: Path) -> tuple[Path, int | None]:
    for _ in range(TRIES):
        written = _temporary(target)
        written.mkdir()
        if sys.platform == "win32":
            return written, None
        with suppress(FileNotFoundError):
            descriptor = os.open(written, os.O_RDONLY | os.O_DIRECTORY | NO_LINK)
            if _keep(descriptor, written):
                return written, descriptor
            os.close(descriptor)
        shutil.rmtree(written, ignore_errors=True)
    raise OSError(errno.EAGAIN, "each new folder beside it was taken away", str(target))


def _keep(descriptor: int, written: Path) -> bool:
    """Lock what was just made, for as long as it is open; whether nobody has taken it for abandoned."""
    if sys.platform == "win32":
        return True  # what is open cannot be removed there
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    try:
        return os.path.samestat(os.lstat(written), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _remove_unlocked(path: Path) -> None:
    """Remove a file or folder; an `OSError` where somebody holds it, or where it was not made here."""
    is_folder = stat.S_ISDIR(os.lstat(path).st_mode)
    if sys.platform == "win32":
        if not is_folder:
            path.unlink()
        return
    access = os.O_RDONLY | os.O_DIRECTORY if is_folder else os.O_WRONLY
    descriptor = os.open(path, access | NO_WAITING | NO_LINK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_folder:
            shutil.rmtree(path)
        elif stat.S_ISREG(os.fstat(descriptor).st_mode):
            path.unlink()
    finally:
        os.close(descriptor)


def _check_regular(mode: int, path: AnyPath) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder, not a file", os.fspath(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a regular file", os.fspath(path))


def _check_replaceable(target: Path) -> None:
    try:
        mode = os.stat(target).st_mode
    except OSError:  # nothing is there, or the writing will say what is wrong with the way to it
        return
    _check_regular(mode, target)


def _set_mode(descriptor: int, target: Path, *, private: bool) -> None:
    if sys.platform == "win32":
        return
    if private:
        os.fchmod(descriptor, PRIVATE_MODE)
        return
    with suppress(FileNotFoundError):
        before = os.lstat(target).st_mode
        if stat.S_ISREG(before):
            os.fchmod(descriptor, before & 0o777)


def _name_anew(written: Path, target: Path) -> None:
    """Give a file its name, where nothing else has it; the old name goes later."""
    if sys.platform != "win32":
        try:
            os.link(written, target)
        except FileExistsError:
            raise
        except OSError:  # a file system without links; that the place is free was looked at before
            pass
        else:
            return
    os.rename(written, target)


# -- the disk


def _settle(folder: Path) -> None:
    """Have the disk keep what names a folder holds, where the system can do that."""
    if sys.platform == "win32":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | CLOSED_ON_EXEC)
    except PermissionError:  # a folder in which one may write and not look
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(descriptor)


def _settle_contents(folder: Path) -> None:
    """Have the disk keep all that lies in a folder and below."""
    for parent, _, names in os.walk(folder):
        for name in names:
            with open_regular(Path(parent, name)) as file:
                if sys.platform != "win32":
                    os.fsync(file.fileno())
        _settle(Path(parent))
