r"""A file that grows frame by frame: each is whole and as it was written, or the file says where it is not.

    RUVBANK\n | frame | frame | ...
    frame: bytes of JSON, bytes of vectors, CRC-32 of both, CRC-32 of these twelve bytes, JSON, vectors

All numbers are little-endian and have 32 bits. What a killed process left of the last frame is a torn end,
and no damage: the file ends inside it, or with it and its check fails, or only zeros follow, which a file
system may have put there when the power failed. Whatever else is wrong is damage.
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ruvllm.reasoning.change import STORED, parse_json

__all__ = ["MAGIC", "MAX_FRAME_BYTES", "Frame", "FrameReader", "frame_bytes"]

MAGIC = b"RUVBANK\n"
MAX_FRAME_BYTES = 256 * 1024**2
_HEAD = struct.Struct("<III")
_CHECK = struct.Struct("<I")
_HEAD_BYTES = _HEAD.size + _CHECK.size


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A frame's two parts: an object of JSON, and floats in a row; and its length in the file."""

    content: dict[str, Any]
    floats: NDArray[np.float32]
    num_bytes: int


def frame_bytes(content: dict[str, Any], vectors: NDArray[np.float32]) -> bytes:
    """A frame, as the file has it."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    floats = vectors.astype(STORED).tobytes()
    head = _HEAD.pack(len(text), len(floats), crc32(floats, crc32(text)))
    return head + _CHECK.pack(crc32(head)) + text + floats


class FrameReader:
    """Reads a file's frames one by one; a `ValueError` where it is damaged.

    Attributes:
        sound_bytes: Up to the end of the last frame that was read.
        is_torn: Whether the file ended inside a frame.
    """

    def __init__(self, file: BinaryIO, num_bytes: int) -> None:
        self._file = file
        self._num_bytes = num_bytes
        self.sound_bytes = 0
        self.is_torn = False

    def __iter__(self) -> Iterator[Frame]:
        if self._file.read(len(MAGIC)) != MAGIC:
            raise ValueError("it does not begin as a bank does")
        self.sound_bytes = len(MAGIC)
        while self.sound_bytes < self._num_bytes:
            frame = self._next()
            if frame is None:
                self.is_torn = True
                return
            yield frame

    def _next(self) -> Frame | None:
        """The next frame; `None` where the rest is a torn end."""
        head = self._file.read(_HEAD_BYTES)
        if len(head) < _HEAD_BYTES:
            return None
        if crc32(head[: _HEAD.size]) != _CHECK.unpack_from(head, _HEAD.size)[0]:
            if not any(head) and self._only_zeros_follow():
                return None
            raise ValueError(f"what stands at byte {self.sound_bytes} is no frame's head")
        text_bytes, floats_bytes, check = _HEAD.unpack_from(head)
        num_bytes = text_bytes + floats_bytes
        if num_bytes > MAX_FRAME_BYTES:
            raise ValueError(f"the frame at byte {self.sound_bytes} has more than {MAX_FRAME_BYTES} bytes")
        end = self.sound_bytes + _HEAD_BYTES + num_bytes
        if end > self._num_bytes:
            return None
        body = self._file.read(num_bytes)
        if crc32(body) != check:
            if end == self._num_bytes:
                return None
            raise ValueError(f"the frame at byte {self.sound_bytes} is not as it was written")
        if floats_bytes % STORED.itemsize:
            raise ValueError(f"the frame at byte {self.sound_bytes} has a part of a number")
        content = parse_json(body[:text_bytes])
        floats = np.frombuffer(body, dtype=STORED, offset=text_bytes).astype(np.float32)
        self.sound_bytes = end
        return Frame(content, floats, _HEAD_BYTES + num_bytes)

    def _only_zeros_follow(self) -> bool:
        return not any(any(part) for part in iter(lambda: self._file.read(1 << 16), b""))
