"""How much of a model of the Hub is in its cache already, while `huggingface_hub` fetches it.

That tells nobody but its own bars how far it is, so the files in the cache are looked at: those that are
whole have their hash for a name, and those on their way a name that begins so.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ruvllm.hub.progress import Report

__all__ = ["ComingFile", "reported"]

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class ComingFile:
    """A file that is to come: its hash, as it is called in the cache, and its bytes."""

    hash_name: str
    num_bytes: int


@contextmanager
def reported(blobs: Path, files: Sequence[ComingFile], report: Report) -> Iterator[None]:
    """Tell of the bytes of these files that are in the folder, while the block runs and at its end."""
    total = sum(file.num_bytes for file in files)
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(LOOK_SECONDS):
            try:
                done = sum(_num_bytes(blobs, file) for file in files)
            except Exception:
                logger.exception("how much of a download is in %s is told no more", blobs)
                return
            try:
                report(done, total)
            except Exception:  # noqa: BLE001 - who breaks off so does it again at the end, where it is heard
                return

    report(0, total)
    watching = threading.Thread(target=look, name="watch a download", daemon=True)
    watching.start()
    try:
        yield
    finally:
        ended.set()
        watching.join()
    report(total, total)


def _num_bytes(blobs: Path, file: ComingFile) -> int:
    sizes = [0]
    for path in blobs.glob(f"{file.hash_name}*"):
        with suppress(OSError):  # it was moved to its place meanwhile
            sizes.append(path.stat().st_size)
    return min(max(sizes), file.num_bytes)
