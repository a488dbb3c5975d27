"""Importance matrices: how much each column of a matrix matters, as llama.cpp's `imatrix` says it.

Written as GGUF, as llama.cpp does today; read as that and in the older form. Whoever measures one is
`ruvllm.evaluating`; whoever uses it is `quantize`.
"""

import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

import ruvllm._native as _native
import ruvllm.whole_file as whole_file
from ruvllm.errors import ConfigError, IoError
from ruvllm.gguf_values import Entry, encoded, text_bytes

__all__ = ["ImportanceMatrix"]

Floats: TypeAlias = NDArray[np.float32]
SUMS, COUNTS = ".in_sum2", ".counts"
ALIGNMENT = 32
F32 = 0
# Of the older form: entries, and bytes of a name or a file, that are believed.
MOST_ENTRIES, MOST_NAME_BYTES, MOST_FILE_BYTES = 1 << 16, 1024, 1 << 28
MOST_CHUNKS = 2**31
# Columns that nothing went into count so much beside the mean: another text may use them.
LEAST_WEIGHT = 1e-6


@dataclass(frozen=True, eq=False, kw_only=True)
class ImportanceMatrix:
    """What went into each matrix over a text.

        ImportanceMatrix.load("imatrix.gguf").weights()["blk.0.ffn_down.weight"]

    Attributes:
        sums: Of each matrix, by its name in GGUF files, the sum of squares of what went into each column.
        counts: How many rows went into it.
        datasets: Names of the texts.
        chunk_count: How many chunks were read.
        chunk_size: Tokens of a chunk.
    """

    sums: Mapping[str, Floats]
    counts: Mapping[str, float]
    datasets: tuple[str, ...] = field(default=())
    chunk_count: int = 0
    chunk_size: int = 512

    def weights(self) -> dict[str, Floats]:
        """What an error in each column counts, beside others of its matrix; their mean is 1.

        Of a matrix that nothing went into there is none. `ConfigError` where a sum is no sum of squares.
        """
        found = {}
        for name, sums in self.sums.items():
            if not (np.isfinite(sums).all() and (sums >= 0).all()):
                raise ConfigError(f"the importance of '{name}' has a number that is no sum of squares")
            mean = float(sums.mean(dtype=np.float64))
            if self.counts[name] > 0 and mean > 0:
                found[name] = np.maximum(sums / mean, LEAST_WEIGHT).astype(np.float32)
        return found

    def entries(self, file: str) -> list[Entry]:
        """What llama.cpp writes into a model that was quantized with it."""
        said = {
            "quantize.imatrix.file": encoded(file),
            "quantize.imatrix.dataset": encoded(", ".join(self.datasets)),
            "quantize.imatrix.entries_count": encoded(len(self.sums)),
            "quantize.imatrix.chunks_count": encoded(self.chunk_count),
        }
        return list(said.items())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as llama.cpp does."""
        tensors: dict[str, Floats] = {}
        for name in sorted(self.sums):
            tensors[name + SUMS] = self.sums[name].reshape(1, -1)
            tensors[name + COUNTS] = np.array([[self.counts[name]]], dtype=np.float32)
        said: list[Entry] = [
            ("general.type", encoded("imatrix")),
            ("imatrix.datasets", encoded(list(self.datasets))),
            ("imatrix.chunk_count", encoded(self.chunk_count)),
            ("imatrix.chunk_size", encoded(self.chunk_size)),
        ]
        try:
            with whole_file.replacing(path, private=False) as file:
                _write(file, said, tensors)
        except OSError as error:
            raise IoError(f"{path} cannot be written: {error.strerror or error}") from error

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "ImportanceMatrix":
        """Read one in either form; `ConfigError` where the file is none."""
        try:
            with whole_file.open_regular(path) as file:
                if file.read(4) == b"GGUF":
                    return _from_gguf(Path(path))
                file.seek(0)
                return _from_older(file, path)
        except OSError as error:
            if isinstance(error, IoError):
                raise
            raise IoError(f"{path}: {error.strerror or error}") from error


def _write(file: BinaryIO, said: list[Entry], tensors: Mapping[str, Floats]) -> None:
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(said))
    head += b"".join(text_bytes(key) + value for key, value in said)
    place = 0
    for name, values in tensors.items():
        rows, columns = values.shape
        head += text_bytes(name) + struct.pack("<IQQIQ", 2, columns, rows, F32, place)
        place += _padded(values.nbytes)
    file.write(head.ljust(_padded(len(head)), b"\0"))
    for values in tensors.values():
        file.write(values.astype("<f4").tobytes().ljust(_padded(values.nbytes), b"\0"))


def _padded(length: int) -> int:
    return -(-length // ALIGNMENT) * ALIGNMENT


def _from_gguf(path: Path) -> ImportanceMatrix:
    if path.stat().st_size > MOST_FILE_BYTES:
        raise ConfigError(f"{path} is larger than an importance matrix may be, {MOST_FILE_BYTES} bytes")
    file = _native.GgufFile.open(path)
    if file is None or file.value("general.type") != "imatrix":
        raise ConfigError(f"{path} is no importance matrix; `ruvllm imatrix` writes one")
    arrays = {name: _floats(file, name, kind) for name, kind, _ in file.tensors()}
    names = [name.removesuffix(SUMS) for name in arrays if name.endswith(SUMS)]
    counts = {}
    for name in names:
        count = arrays.get(name + COUNTS)
        if count is None or count.size != 1:
            raise ConfigError(f"{path}: '{name}' has no count of its own; experts are not supported")
        counts[name] = float(count[0])
        if not (math.isfinite(counts[name]) and counts[name] >= 0):
            raise ConfigError(f"{path}: the count of '{name}' is {counts[name]}")
    chunks, size = (file.value(f"imatrix.{key}") for key in ("chunk_count", "chunk_size"))
    return ImportanceMatrix(
        sums={name: arrays[name + SUMS] for name in names},
        counts=counts,
        chunk_count=chunks if isinstance(chunks, int) and 0 <= chunks < MOST_CHUNKS else 0,
        chunk_size=size if isinstance(size, int) and 0 <= size < MOST_CHUNKS else 0,
    )


def _floats(file: _native.GgufFile, name: str, kind: str) -> Floats:
    data = file.data(name)
    if kind != "F32" or data is None:
        raise ConfigError(f"an importance matrix holds F32; '{name}' is {kind}")
    return data.view("<f4").astype(np.float32)


def _from_older(file: BinaryIO, path: str | os.PathLike[str]) -> ImportanceMatrix:
    """Names with a number of calls and means times that number, as llama.cpp wrote them until 2025."""
    data = file.read(MOST_FILE_BYTES)
    reader = _Reader(data)
    try:
        entries = reader.integer(MOST_ENTRIES)
        sums: dict[str, Floats] = {}
        counts: dict[str, float] = {}
        for _ in range(entries):
            name = reader.take(reader.integer(MOST_NAME_BYTES)).decode("utf-8")
            calls = reader.integer()
            values = np.frombuffer(reader.take(4 * reader.integer(len(data) // 4)), dtype="<f4")
            sums[name], counts[name] = values.astype(np.float32), float(max(calls, 1))
        chunks = 0
        datasets: tuple[str, ...] = ()
        if reader.left:
            chunks = reader.integer()
            texts = reader.take(reader.integer(MOST_NAME_BYTES)) if reader.left else b""
            datasets = (texts.decode("utf-8", "replace"),) if texts else ()
    except (ValueError, struct.error) as error:
        raise ConfigError(f"{os.fspath(path)} is no importance matrix: {error}") from None
    if not sums:
        raise ConfigError(f"{os.fspath(path)} is no importance matrix: it has no entries")
    return ImportanceMatrix(sums=sums, counts=counts, datasets=datasets, chunk_count=chunks, chunk_size=0)


class _Reader:
    """Bytes, from the first on; `ValueError` where there are fewer than is said."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    @property
    def left(self) -> int:
        """How many there are."""
        return len(self._data) - self._place

    def take(self, length: int) -> bytes:
        """The next so many."""
        if length > self.left:
            raise ValueError(f"it ends {length - self.left} bytes early")
        self._place += length
        return self._data[self._place - length : self._place]

    def integer(self, most: int = 2**31 - 1) -> int:
        """The next integer, which is not negative."""
        (value,) = struct.unpack("<i", self.take(4))
        if not 0 <= value <= most:
            raise ValueError(f"a length is {value}; from 0 to {most} is allowed")
        return int(value)
