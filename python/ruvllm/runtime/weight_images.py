"""Weights that were packed before, in files of the cache folder that a start maps."""

import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import ruvllm._native as _native
from ruvllm.engine_settings import WeightImage
from ruvllm.errors import IoError
from ruvllm.hub.storage import cache_folder, image_folder

__all__ = ["Image", "ImageChoice", "images_in", "mapped_bytes", "prepare"]

logger = logging.getLogger(__name__)

# What the disk has left beside an image that is made unasked.
SPARE_BYTES = 2 * 1024**3
# Weights take about as much packed as in their file.
LARGER = 1.25


@dataclass(frozen=True, slots=True)
class Image:
    """A file of packed weights.

    Attributes:
        path: The file.
        model: The name of the model's file.
        size_bytes: How large it is.
    """

    path: Path
    model: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ImageChoice:
    """What loading is told of images."""

    folder: str | None
    keep: bool

    @classmethod
    def of(cls, setting: WeightImage, model: Path, cache: Path | None = None) -> "ImageChoice":
        """Follow the setting; one that would fill the disk is not made."""
        if setting == "off":
            return cls(folder=None, keep=False)
        folder = image_folder(cache or cache_folder())
        keep = setting == "keep" and _has_room(folder, model)
        # Where nothing was ever prepared, no model is sampled for its fingerprint.
        return cls(folder=str(folder) if keep or folder.is_dir() else None, keep=keep)


def mapped_bytes(native: _native.Model) -> int:
    """Bytes of weights that are mapped; what is amiss with an image is logged."""
    path, problem = native.image
    if problem:
        logger.warning("the image of packed weights is not used: %s; weights are packed anew", problem)
    _, mapped = native.weight_bytes
    if path:
        logger.info("packed weights: %s", path)
    return mapped


def prepare(model: Path, progress: Callable[[int, int], None] | None = None) -> tuple[Image, bool]:
    """Pack a model's weights into a file that later starts map; also says whether that was there before.

    Raises `IoError` where the file cannot be written.
    """
    native = _native.Model.load(
        str(model), progress=progress, images=str(image_folder(cache_folder())), keep_image=True
    )
    path, problem = native.image
    if path is None:
        raise IoError(f"no image of {model.name} could be kept: {problem}")
    _, mapped = native.weight_bytes
    return _image(path), mapped > 0


def images_in(cache: Path | None = None) -> Iterator[Image]:
    """All that are here."""
    for path in sorted(image_folder(cache or cache_folder()).glob("*.image")):
        yield _image(path)


def _image(path: Path) -> Image:
    # The fingerprint of what it was made of stands behind the name.
    name, _, _ = path.stem.rpartition("-")
    return Image(path=path, model=name, size_bytes=path.stat().st_size)


def _has_room(folder: Path, model: Path) -> bool:
    files = [model] if model.is_file() else model.glob("*.safetensors")
    needed = LARGER * sum(file.stat().st_size for file in files)
    existing = next(one for one in (folder, *folder.parents) if one.exists())
    free = shutil.disk_usage(existing).free
    if free < needed + SPARE_BYTES:
        logger.warning("no image of packed weights is kept: %s has %d bytes left", existing, free)
        return False
    return True
