"""Files of random weights for sizes.py: written once into .bench/models, where there is room for them."""

import shutil
import sys
from pathlib import Path

from benches import files
from benches.shapes import FORMATS, ModelShape, Weights, file_bytes, write_shape

__all__ = ["NoRoom", "file_of", "path_of", "require_memory", "written"]

GB = 1e9
# What stays free on the disk, and what two engines need beside weights and caches.
SPARE_DISK_BYTES = 2**30
SPARE_MEMORY_BYTES = 2**30
# Each engine may hold the weights in a layout of its own, and keys and values in f16.
ENGINES = 2
CACHED_BYTES = 2


class NoRoom(Exception):  # noqa: N818 - a reason to leave something out, and no failure
    """This machine has not enough disk or memory; the text says of what."""


def path_of(name: str, format_name: str, shape: ModelShape) -> Path:
    """Where a file stands, or will: what makes it another one is in its name."""
    return files.MODELS / f"random-{name}-{format_name}-{shape.vocabulary}.gguf"


def written(path: Path, shape: ModelShape, weights: Weights) -> Path:
    """The file, which is written first where it is not there; `NoRoom` where the disk is too small for it."""
    if path.is_file():
        return path
    size = file_bytes(shape, weights)
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if size + SPARE_DISK_BYTES > free:
        raise NoRoom(f"a file of {size / GB:.1f} GB, and {free / GB:.1f} GB are free in {path.parent}")
    print(f"writing {path}: {size / GB:.1f} GB of {free / GB:.1f} GB that are free", file=sys.stderr)

    def tell(done: int) -> None:
        end = "\n" if done == size else ""
        print(f"\r  {done / size:4.0%}", end=end, file=sys.stderr, flush=True)

    # A file comes to its place whole: one that was half written would be taken for a model.
    half = path.with_suffix(".part")
    try:
        write_shape(shape, half, weights, tell)
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
    return path


def file_of(name: str, format_name: str, shape: ModelShape) -> Path:
    """The file of a shape in a format, which is written first where it is not there."""
    return written(path_of(name, format_name, shape), shape, FORMATS[format_name])


def require_memory(shape: ModelShape, weights: Weights, context: int, free: int | None) -> None:
    """`NoRoom` where both engines together, with so many tokens each, need more than is free."""
    cache = shape.cached_numbers * CACHED_BYTES * context
    needed = ENGINES * (file_bytes(shape, weights) + cache) + SPARE_MEMORY_BYTES
    if free is not None and needed > free:
        raise NoRoom(f"{needed / GB:.1f} GB of memory for both engines, and {free / GB:.1f} GB are free")
