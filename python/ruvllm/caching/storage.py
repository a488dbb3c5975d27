"""A prefix cache on disk: written whole or not at all, and read with nothing in it believed.

    magic, version, length of the header
    header                                  JSON: key, layout, and each entry's lengths
    tokens, keys, values                    of each entry, one after the other
    checksum                                BLAKE2b of all before

Numbers are little-endian. Nothing is unpickled, and no length is believed that the file's size does not bear.
"""

import hashlib
import json
import os
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray

import ruvllm.whole_file as whole_file
from ruvllm.errors import ConfigError, StorageError

__all__ = ["Entry", "Layout", "read", "write"]

MAGIC = b"RUVLLMPC"
VERSION = 1
PREAMBLE = struct.Struct("<8sII")
DIGEST_BYTES = 32
DTYPE = re.compile(r"[<>|][fiu][1248]")
# The axis of an array that counts tokens.
TOKEN_AXIS = 3


@dataclass(frozen=True, slots=True)
class Layout:
    """What keys and values have in common: their type, and all axes but the tokens'."""

    dtype: str
    shape: tuple[int, int, int, int]

    @classmethod
    def of(cls, keys: NDArray[Any], values: NDArray[Any], num_tokens: int) -> "Layout":
        """The layout of both arrays; `ConfigError` where they do not fit each other or the tokens."""
        _check_axes("keys", keys, num_tokens)
        _check_axes("values", values, num_tokens)
        if keys.shape != values.shape or keys.dtype != values.dtype:
            raise ConfigError(
                f"keys are {keys.dtype} {keys.shape}, "
                f"values {values.dtype} {values.shape}; both must be alike"
            )
        if DTYPE.fullmatch(keys.dtype.str) is None:
            raise ConfigError(f"keys are {keys.dtype}; they must be floats or integers of up to 8 bytes")
        layers, batch, heads, _, head_dim = keys.shape
        if 0 in (layers, batch, heads, head_dim):
            raise ConfigError(f"keys are {keys.shape}; only the tokens may be none")
        return cls(keys.dtype.str, (layers, batch, heads, head_dim))

    @property
    def token_bytes(self) -> int:
        """Keys and values of one token."""
        values = 1
        for size in self.shape:
            values *= size
        return 2 * values * np.dtype(self.dtype).itemsize

    def array(self, num_tokens: int) -> NDArray[Any]:
        """Room for the keys or values of so many tokens."""
        layers, batch, heads, head_dim = self.shape
        return np.empty((layers, batch, heads, num_tokens, head_dim), np.dtype(self.dtype))

    def __str__(self) -> str:
        layers, batch, heads, head_dim = self.shape
        return f"{np.dtype(self.dtype)} [{layers}, {batch}, {heads}, tokens, {head_dim}]"


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """Some tokens, and the keys and values of those from `begin` on."""

    tokens: NDArray[np.uint32]
    begin: int
    keys: NDArray[Any]
    values: NDArray[Any]


def _check_axes(name: str, array: object, num_tokens: int) -> None:
    if not isinstance(array, np.ndarray) or array.ndim != TOKEN_AXIS + 2:
        shape = array.shape if isinstance(array, np.ndarray) else type(array).__name__
        raise ConfigError(f"{name} is {shape}; it must be an array [layers, batch, heads, tokens, head_dim]")
    if array.shape[TOKEN_AXIS] != num_tokens:
        raise ConfigError(
            f"{name} has {array.shape[TOKEN_AXIS]} tokens, and {num_tokens} token ids stand beside it"
        )


def write(path: Path, key: str, layout: Layout | None, entries: Sequence[Entry]) -> None:
    """Write a file whose place then holds all of it, or what it held before."""
    try:
        with whole_file.replacing(path) as file:
            _write_contents(file, key, layout, entries)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error


def _write_contents(file: BinaryIO, key: str, layout: Layout | None, entries: Sequence[Entry]) -> None:
    header = json.dumps(
        {
            "key": key,
            "dtype": layout.dtype if layout else None,
            "shape": layout.shape if layout else None,
            "entries": [[len(entry.tokens), entry.begin] for entry in entries],
        }
    ).encode()
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)

    def put(part: bytes | memoryview) -> None:
        digest.update(part)
        file.write(part)

    put(PREAMBLE.pack(MAGIC, VERSION, len(header)))
    put(header)
    for entry in entries:
        put(entry.tokens.astype("<u4").tobytes())
        put(_bytes_of(np.ascontiguousarray(entry.keys)))
        put(_bytes_of(np.ascontiguousarray(entry.values)))
    file.write(digest.digest())


def read(path: Path, key: str) -> tuple[Layout | None, list[Entry]]:
    """What a file holds; `StorageError` where it is damaged or written under another key."""
    try:
        with whole_file.open_regular(path) as file:
            return _Reader(file, path).contents(key)
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror or error}") from error


@dataclass(frozen=True, slots=True)
class _Header:
    layout: Layout | None
    # Tokens of each entry, and from which one on it has keys and values.
    lengths: list[tuple[int, int]]

    @property
    def body_bytes(self) -> int:
        token_bytes = self.layout.token_bytes if self.layout else 0
        return sum(length * 4 + (length - begin) * token_bytes for length, begin in self.lengths)


class _Reader:
    """Reads a file from its beginning, and counts and hashes what it reads."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._left = os.fstat(file.fileno()).st_size - DIGEST_BYTES
        self._digest = hashlib.blake2b(digest_size=DIGEST_BYTES)

    def contents(self, key: str) -> tuple[Layout | None, list[Entry]]:
        magic, version, header_bytes = PREAMBLE.unpack(self._take(PREAMBLE.size))
        if magic != MAGIC:
            self._refuse("it is no file of a prefix cache")
        if version != VERSION:
            self._refuse(f"it has version {version}, and {VERSION} can be read")
        header = self._header(self._take(header_bytes), key)
        if header.body_bytes != self._left:
            self._refuse(f"{header.body_bytes} bytes must follow its header, but {self._left} do")
        entries = [self._entry(header.layout, *lengths) for lengths in header.lengths if header.layout]
        if self._file.read(DIGEST_BYTES) != self._digest.digest():
            self._refuse("its checksum is wrong")
        return header.layout, entries

    def _header(self, text: bytes, key: str) -> _Header:
        try:
            header = json.loads(text)
            if header["key"] != key:
                self._refuse(f"it was written under the key {header['key']!r}, not {key!r}")
            lengths = [_lengths(*pair) for pair in header["entries"]]
            dtype, shape = header["dtype"], header["shape"]
            if dtype is None and not lengths:
                return _Header(None, [])
            if DTYPE.fullmatch(dtype) is None:
                self._refuse("its values have no type that is known")
            layers, batch, heads, head_dim = (_count(size) for size in shape)
            np.dtype(dtype)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            self._refuse("its header is damaged", error)
        return _Header(Layout(dtype, (layers, batch, heads, head_dim)), lengths)

    def _entry(self, layout: Layout, length: int, begin: int) -> Entry:
        tokens = np.empty(length, np.dtype("<u4"))
        keys, values = layout.array(length - begin), layout.array(length - begin)
        for array in (tokens, keys, values):
            self._fill(_bytes_of(array))
        return Entry(tokens.astype(np.uint32, copy=False), begin, keys, values)

    def _take(self, size: int) -> bytes:
        if size > self._left:
            self._refuse("it is cut off")
        part = bytearray(size)
        self._fill(memoryview(part))
        return bytes(part)

    def _fill(self, room: memoryview) -> None:
        if self._file.readinto(room) != len(room):  # type: ignore[attr-defined]
            self._refuse("it is cut off")
        self._left -= len(room)
        self._digest.update(room)

    def _refuse(self, reason: str, cause: Exception | None = None) -> NoReturn:
        raise StorageError(f"{self._path} cannot be loaded: {reason}") from cause


def _bytes_of(array: NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _count(value: object, low: int = 1) -> int:
    if type(value) is not int or value < low:
        raise ValueError(f"{value!r} is no count")
    return value


def _lengths(length: object, begin: object) -> tuple[int, int]:
    first = _count(begin, 0)
    return _count(length, first + 1), first
